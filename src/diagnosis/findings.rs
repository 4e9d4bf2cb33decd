//! What is wrong, or may soon be, by the answers of the running service.

use crate::clock::Wall;

use super::Finding;
use super::Severity::{self, High, Low, Medium};
use super::facts::{conflicts_by_user, last_entries};
use super::service::Seen;
use super::thresholds::{
    COMMIT_SLOW_S, DISPLAY_SLOW_S, ERROR_SHARE, PUSH_SLOW_S, REWARDS_SILENT_S,
    SESSIONS_CONSPICUOUS, SESSIONS_SHARE, SILENT_S,
};

/// What only the diagnosis sees: answers that did not come.
pub(super) fn unreachable(seen: &Seen) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for why in &seen.missing {
        let is_down = seen.registry.is_null();
        let severity = if is_down { High } else { Medium };
        found.push(Finding::new(
            "service_unreachable",
            severity,
            "The service does not answer, or not with what was asked",
            why.clone(),
            "Is it running, and are --url, --internal-url and the tokens right?",
        ));
    }
    found
}

/// What the service's own answers tell, the worst first.
pub(crate) fn findings(seen: &Seen, now: Wall) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    super::standing::ledger(seen, &mut found);
    super::standing::cluster(seen, &mut found);
    balances(seen, &mut found);
    counted(seen, &mut found);
    requests(seen, &mut found);
    times(seen, &mut found);
    for (kind, age_s) in last_entries(seen, now).into_iter().filter(|(kind, age_s)| {
        *age_s
            > if kind == "reward" {
                REWARDS_SILENT_S
            } else {
                SILENT_S
            }
    }) {
        let severity = if kind == "reward" { Medium } else { Low };
        found.push(Finding::new(
            "source_silent",
            severity,
            "A source may have gone silent",
            format!("the latest {kind} was committed {age_s:.0} s ago"),
            "Ask the sender; nothing is lost that is sent again with its event id.",
        ));
    }
    crowds(seen, &mut found);
    found.sort_by_key(|finding| finding.severity);
    found
}

/// Signs that balances may be wrong.
fn balances(seen: &Seen, found: &mut Vec<Finding>) {
    let count = seen.audit["violations_total"].as_u64().unwrap_or(0);
    if count > 0 {
        let first = &seen.audit["violations"][0];
        found.push(Finding::new(
            "violations",
            High,
            "The ledger does not hold, or memory differs from it",
            format!("the audit has found {count} violations, the latest at {}: {}", first["at"], first["violation"]),
            "Run balance-coordinator verify; it names every user at fault. Nothing is repaired automatically.",
        ));
    }
    if let Some(error) = seen.audit["last_error"]["reason"].as_str() {
        found.push(Finding::new(
            "audit_failed",
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
            "canary_failed",
            High,
            "The canary saw a balance that was late or wrong",
            format!("{}: {}", run["started_at"], run["deviations"]),
            "GET /admin/v1/canary shows each step; run balance-coordinator canary again.",
        ));
    }
    if seen.registry["actors_rebuilt"].as_u64() > Some(0) {
        found.push(Finding::new(
            "actors_rebuilt",
            High,
            "Actors have died and were made again: a bug",
            format!("actors_rebuilt {}", seen.registry["actors_rebuilt"]),
            "No balance is wrong because of it; the log has the panic, please report it.",
        ));
    }
}

/// Counters that should be zero, or low.
fn counted(seen: &Seen, found: &mut Vec<Finding>) {
    type Row = (
        &'static str,
        &'static str,
        Severity,
        &'static str,
        &'static str,
    );
    let metrics = &seen.metrics;
    let rows: [Row; 3] = [
        (
            "actors_stale",
            "balance_actors_stale",
            Medium,
            "Users are shown a stale balance",
            "The ledger is or was away; see GET /readyz.",
        ),
        (
            "log_dropped",
            "log_lines_dropped_total",
            Medium,
            "Lines of the log were dropped",
            "The program that reads standard error is too slow.",
        ),
        (
            "cache_evictions",
            "balance_cache_evictions_total",
            Low,
            "Balances were evicted from memory",
            "Raise cache.max_entries while memory allows.",
        ),
    ];
    for (code, name, severity, what, next_step) in rows {
        let count = metrics.sum(name, &[]);
        if count > 0.0 {
            found.push(Finding::new(
                code,
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
            "ledger_errors",
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
            "webhooks_unsigned",
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
    if all > 0.0 && failed / all > ERROR_SHARE {
        found.push(Finding::new(
            "requests_fail",
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
    for (code, name, labels, slow_s, what, next_step) in [
        (
            "commits_slow",
            "balance_commit_seconds",
            &[][..],
            COMMIT_SLOW_S,
            "Commits are slow",
            next,
        ),
        (
            "pushes_late",
            "balance_commit_to_push_seconds",
            &[("mode", "direct")],
            PUSH_SLOW_S,
            "Direct pushes are late",
            push,
        ),
        (
            "displays_late",
            "balance_commit_to_displayed_seconds",
            &[("mode", "direct")],
            DISPLAY_SLOW_S,
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
                code,
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
            "cache_misses",
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
            "conflicts",
            Medium,
            "Entries came again with other content",
            format!("{} users; the most, {count}, of user {user}", users.len()),
            "GET /admin/v1/conflicts shows both beside each other: a bug of the sender, or an attack.",
        ));
    }
    let busiest = &seen.busiest["actors"][0];
    if busiest["sessions"].as_u64() >= Some(SESSIONS_CONSPICUOUS) {
        found.push(Finding::new(
            "crowd",
            Low,
            "One user has many sessions open",
            format!("user {} has {}", busiest["user_id"], busiest["sessions"]),
            "Many tabs, or a page that opens a new one without closing the last.",
        ));
    }
    let sum = |name: &str| seen.metrics.sum(name, &[]);
    let (open, limit) = (sum("balance_sessions"), sum("balance_sessions_limit"));
    if limit > 0.0 && open > SESSIONS_SHARE * limit {
        found.push(Finding::new(
            "sessions_near_limit",
            Medium,
            "Sessions are near their limit",
            format!("{open} of {limit}"),
            "Raise limits.sessions, or add a process.",
        ));
    }
    let files = sum("process_max_fds");
    if files > 0.0 && files < limit + 1000.0 {
        found.push(Finding::new(
            "files_too_few",
            Medium,
            "The limit on open files is too low for the sessions",
            format!("the process may open {files} files, limits.sessions is {limit}"),
            "Raise the system's limit (ulimit -n, LimitNOFILE), or lower limits.sessions.",
        ));
    }
}
