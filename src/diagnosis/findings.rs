//! What is wrong, or may soon be, by the answers of the running service.

use crate::clock::Wall;

use super::Finding;
use super::Severity::{self, High, Low, Medium};
use super::facts::{conflicts_by_user, last_entries};
use super::service::Seen;

/// A source counts as silent after so many seconds.
const SILENT_S: f64 = 3600.0;

/// A user with so many sessions stands out.
const SESSIONS_CONSPICUOUS: u64 = 8;

pub(super) fn findings(seen: &Seen, now: Wall) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for why in &seen.missing {
        let is_down = seen.registry.is_null();
        let severity = if is_down { High } else { Medium };
        found.push(Finding::new(
            severity,
            "The service does not answer, or not with what was asked",
            why.clone(),
            "Is it running, and are --url, --internal-url and the tokens right?",
        ));
    }
    balances(seen, &mut found);
    counted(seen, &mut found);
    requests(seen, &mut found);
    times(seen, &mut found);
    for (kind, age_s) in last_entries(seen, now)
        .into_iter()
        .filter(|(_, age_s)| *age_s > SILENT_S)
    {
        let severity = if kind == "reward" { Medium } else { Low };
        found.push(Finding::new(
            severity,
            "A source may have gone silent",
            format!("the latest {kind} was committed {age_s:.0} s ago"),
            "Ask the sender; nothing is lost that is sent again with its event id.",
        ));
    }
    crowds(seen, &mut found);
    found
}

/// Signs that balances may be wrong.
fn balances(seen: &Seen, found: &mut Vec<Finding>) {
    let count = seen.audit["violations_total"].as_u64().unwrap_or(0);
    if count > 0 {
        let first = &seen.audit["violations"][0];
        found.push(Finding::new(
            High,
            "The ledger does not hold, or memory differs from it",
            format!("the audit has found {count} violations, the latest at {}: {}", first["at"], first["violation"]),
            "Run balance-coordinator verify; it names every user at fault. Nothing is repaired automatically.",
        ));
    }
    if let Some(error) = seen.audit["last_error"]["reason"].as_str() {
        found.push(Finding::new(
            Low,
            "A check of the audit failed",
            format!("{}: {error}", seen.audit["last_error"]["at"]),
            "It is repeated; look at the database when that goes on.",
        ));
    }
    let runs = seen.canary["runs"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if let Some(run) = runs.iter().find(|run| run["ok"] == false) {
        found.push(Finding::new(
            High,
            "The canary saw a balance that was late or wrong",
            format!("{}: {}", run["started_at"], run["deviations"]),
            "GET /admin/v1/canary shows each step; run balance-coordinator canary again.",
        ));
    }
    if seen.registry["actors_rebuilt"].as_u64() > Some(0) {
        found.push(Finding::new(
            High,
            "Actors have died and were made again: a bug",
            format!("actors_rebuilt {}", seen.registry["actors_rebuilt"]),
            "No balance is wrong because of it; the log has the panic, please report it.",
        ));
    }
}

/// Counters that should be zero, or low.
fn counted(seen: &Seen, found: &mut Vec<Finding>) {
    type Row = (&'static str, Severity, &'static str, &'static str);
    let metrics = &seen.metrics;
    let rows: [Row; 3] = [
        (
            "balance_actors_stale",
            Medium,
            "Users are shown a stale balance",
            "The ledger is or was away; see GET /readyz.",
        ),
        (
            "log_lines_dropped_total",
            Medium,
            "Lines of the log were dropped",
            "The program that reads standard error is too slow.",
        ),
        (
            "balance_cache_evictions_total",
            Low,
            "Balances were evicted from memory",
            "Raise cache.max_entries while memory allows.",
        ),
    ];
    for (name, severity, what, next_step) in rows {
        let count = metrics.sum(name, &[]);
        if count > 0.0 {
            found.push(Finding::new(
                severity,
                what,
                format!("{name} {count}"),
                next_step,
            ));
        }
    }
    let mut errors = metrics.by("balance_ledger_errors_total", "kind");
    errors.retain(|kind, count| *count > 0.0 && kind != "raced" && kind != "replaced");
    if !errors.is_empty() {
        let severity = if errors.contains_key("unfit") {
            High
        } else {
            Medium
        };
        let next_step = "Attempts are repeated, so no entry is lost; look at the database. unfit: a row that this program can't have written.";
        found.push(Finding::new(
            severity,
            "Attempts at the ledger have failed",
            format!("balance_ledger_errors_total {errors:?}"),
            next_step,
        ));
    }
}

/// Requests that are refused or fail.
fn requests(seen: &Seen, found: &mut Vec<Finding>) {
    let metrics = &seen.metrics;
    let unsigned = [
        "invalid_signature",
        "missing_signature",
        "timestamp_out_of_range",
    ];
    let unsigned: f64 = unsigned
        .iter()
        .map(|code| metrics.sum("balance_webhook_rejected_total", &[("code", code)]))
        .sum();
    if unsigned > 0.0 {
        found.push(Finding::new(
            Medium,
            "Webhooks came with a wrong signature or time",
            format!("{unsigned} since the start"),
            "A sender has an old secret or a wrong clock, or it is an attack.",
        ));
    }
    let by_status = metrics.by("http_requests_total", "status");
    let failed: f64 = by_status
        .iter()
        .filter(|(status, _)| status.starts_with('5'))
        .map(|(_, count)| count)
        .sum();
    let all: f64 = by_status.values().sum();
    if all > 0.0 && failed / all > 0.01 {
        found.push(Finding::new(
            Medium,
            "More than one request of a hundred fails",
            format!("{failed} of {all}"),
            "http_requests_total tells which routes.",
        ));
    }
}

/// Times that are too long.
fn times(seen: &Seen, found: &mut Vec<Finding>) {
    let next = "Look at the disk, or at the database and the way to it.";
    let push = "The machine has too much to do, or one user gets more than pacing.direct_interval_ms lets through.";
    for (name, labels, slow_s, what, next_step) in [
        (
            "balance_commit_seconds",
            &[][..],
            0.25,
            "Commits are slow",
            next,
        ),
        (
            "balance_commit_to_push_seconds",
            &[("mode", "direct")],
            0.5,
            "Direct pushes are late",
            push,
        ),
        (
            "balance_commit_to_displayed_seconds",
            &[("mode", "direct")],
            2.0,
            "Pages show deposits late",
            "Slow networks, or pages that do too much.",
        ),
    ] {
        if let Some(p99_s) = seen
            .metrics
            .quantile(0.99, name, labels)
            .filter(|p99_s| *p99_s > slow_s)
        {
            let severity = if p99_s > 4.0 * slow_s { High } else { Medium };
            found.push(Finding::new(
                severity,
                what,
                format!("p99 of {name} is about {p99_s:.3} s"),
                next_step,
            ));
        }
    }
    let (hits, misses) = (
        seen.registry["cache_hits"].as_f64(),
        seen.registry["cache_misses"].as_f64(),
    );
    if let (Some(hits), Some(misses)) = (hits, misses)
        && hits + misses >= 1000.0
        && hits < misses
    {
        found.push(Finding::new(
            Low,
            "Most balances have to be read from the ledger",
            format!("{hits} hits, {misses} misses"),
            "Raise cache.ttl_s or cache.max_entries, or find out which client asks for so many users once.",
        ));
    }
}

/// Users that stand out, and limits that are near.
fn crowds(seen: &Seen, found: &mut Vec<Finding>) {
    let users = conflicts_by_user(seen);
    if let Some((user, count)) = users.first() {
        found.push(Finding::new(
            Medium,
            "Entries came again with other content",
            format!("{} users; the most, {count}, of user {user}", users.len()),
            "GET /admin/v1/conflicts shows both beside each other: a bug of the sender, or an attack.",
        ));
    }
    let busiest = &seen.busiest["actors"][0];
    if busiest["sessions"].as_u64() >= Some(SESSIONS_CONSPICUOUS) {
        found.push(Finding::new(
            Low,
            "One user has many sessions open",
            format!("user {} has {}", busiest["user_id"], busiest["sessions"]),
            "Many tabs, or a page that opens a new one without closing the last.",
        ));
    }
    let sum = |name: &str| seen.metrics.sum(name, &[]);
    let (open, limit) = (sum("balance_sessions"), sum("balance_sessions_limit"));
    if limit > 0.0 && open > 0.8 * limit {
        found.push(Finding::new(
            Medium,
            "Sessions are near their limit",
            format!("{open} of {limit}"),
            "Raise limits.sessions, or add a process.",
        ));
    }
    let files = sum("process_max_fds");
    if files > 0.0 && files < limit + 1000.0 {
        found.push(Finding::new(
            Medium,
            "The limit on open files is too low for the sessions",
            format!("the process may open {files} files, limits.sessions is {limit}"),
            "Raise the system's limit (ulimit -n, LimitNOFILE), or lower limits.sessions.",
        ));
    }
}
