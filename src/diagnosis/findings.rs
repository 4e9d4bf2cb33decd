//! What is wrong, or may soon be, by the answers of the running service.

use serde_json::{Value, json};

use crate::clock::{self, Wall};
use crate::limits::FINDINGS_WINDOW_S;

use super::Severity::{High, Low, Medium};
use super::facts::last_entries;
use super::service::Seen;
use super::thresholds::{
    REWARDS_SILENT_S, SESSIONS_CONSPICUOUS, SESSIONS_SHARE, SILENT_ENTRIES_MIN, SILENT_INTERVALS,
    SILENT_S,
};
use super::{Finding, counted, lately};

/// The code of a user with many sessions.
pub(crate) const CROWD: &str = "crowd";

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
    balances(seen, now, &mut found);
    lately::refused(seen, &mut found);
    lately::failed(seen, &mut found);
    lately::slow(seen, &mut found);
    silent(seen, now, &mut found);
    crowds(seen, &mut found);
    found.sort_by_key(|finding| finding.severity);
    found
}

/// Signs that balances may be wrong.
fn balances(seen: &Seen, now: Wall, found: &mut Vec<Finding>) {
    let count = seen.audit["violations_total"].as_u64().unwrap_or(0);
    if count > 0 {
        let first = &seen.audit["violations"][0];
        let finding = Finding::new(
            "violations",
            High,
            "The ledger does not hold, or memory differs from it",
            format!(
                "the audit has found {}, the latest at {}: {}",
                counted(count, "violation"),
                plain(&first["at"]),
                plain(&first["violation"])
            ),
            "Run balance-coordinator verify; it names every user at fault. Nothing is repaired automatically, and this stays until the service is started anew.",
        );
        found.push(
            finding.with(
                json!({ "count": count, "at": first["at"], "violation": first["violation"] }),
            ),
        );
    }
    let failure = &seen.audit["last_error"];
    if let Some(error) = failure["reason"].as_str()
        && is_recent(&failure["at"], now)
    {
        let finding = Finding::new(
            "audit_failed",
            Low,
            "A check of the audit failed",
            format!("{}: {error}", plain(&failure["at"])),
            "It is repeated; look at the database when that goes on.",
        );
        found.push(finding.with(json!({ "at": failure["at"], "reason": error })));
    }
    let runs = seen.canary["runs"].as_array();
    let mut runs = runs.into_iter().flatten().enumerate();
    let is_bad = |(index, run): &(usize, &Value)| {
        run["ok"] == false && (*index == 0 || is_recent(&run["started_at"], now))
    };
    if let Some((_, run)) = runs.find(is_bad) {
        let deviations = run["deviations"].as_array();
        let deviations: Vec<&str> = deviations.into_iter().flatten().map(plain).collect();
        let finding = Finding::new(
            "canary_failed",
            High,
            "The canary saw a balance that was late or wrong",
            format!("{}: {}", plain(&run["started_at"]), deviations.join("; ")),
            "GET /admin/v1/canary shows each step; run balance-coordinator canary again.",
        );
        found.push(finding.with(json!({ "at": run["started_at"], "deviations": deviations })));
    }
    let stale = seen.metrics.sum("balance_actors_stale", &[]);
    if stale > 0.0 {
        let finding = Finding::new(
            "actors_stale",
            Medium,
            "Users are shown a stale balance",
            counted(stale as u64, "user"),
            "The ledger is or was away; see GET /readyz.",
        );
        found.push(finding.with(json!({ "count": stale })));
    }
}

/// A text, without the quotes of JSON.
fn plain(text: &Value) -> &str {
    text.as_str().unwrap_or_default()
}

/// Whether a time is one of the last minutes. One that can't be read is.
fn is_recent(at: &Value, now: Wall) -> bool {
    let at_us = at.as_str().and_then(clock::parse_rfc3339);
    let window_us = i64::try_from(FINDINGS_WINDOW_S * 1_000_000).unwrap_or(i64::MAX);
    at_us.is_none_or(|at_us| now.us().saturating_sub(at_us) <= window_us)
}

/// Kinds of which no entry comes any more. Rewards come often; another kind has to have come often enough to be missed.
fn silent(seen: &Seen, now: Wall, found: &mut Vec<Finding>) {
    let accepted = |kind: &str| {
        let labels = [("kind", kind), ("outcome", "accepted")];
        seen.metrics.sum("balance_entries_total", &labels)
    };
    let uptime_s = seen.registry["uptime_s"].as_f64().unwrap_or(0.0);
    for (kind, age_s) in last_entries(seen, now) {
        let is_reward = kind == "reward";
        let patience_s = if is_reward {
            REWARDS_SILENT_S
        } else {
            let count = accepted(&kind);
            if count < SILENT_ENTRIES_MIN {
                continue;
            }
            SILENT_S.max(SILENT_INTERVALS * (uptime_s - age_s) / count)
        };
        if age_s > patience_s {
            let finding = Finding::new(
                "source_silent",
                if is_reward { Medium } else { Low },
                "A source may have gone silent",
                format!("the latest {kind} was committed {age_s:.0} s ago"),
                "Ask the sender; nothing is lost that is sent again with its event id.",
            );
            found.push(finding.with(json!({ "kind": kind, "seconds": age_s })));
        }
    }
}

/// Users that stand out, and limits that are near.
fn crowds(seen: &Seen, found: &mut Vec<Finding>) {
    let busiest = &seen.busiest["actors"][0];
    if busiest["sessions"].as_u64() >= Some(SESSIONS_CONSPICUOUS) {
        let finding = Finding::new(
            CROWD,
            Low,
            "One user has many sessions open",
            format!(
                "user {} has {} sessions",
                busiest["user_id"], busiest["sessions"]
            ),
            "Many tabs, or a page that opens a new one without closing the last.",
        );
        found.push(
            finding.with(json!({ "user_id": busiest["user_id"], "sessions": busiest["sessions"] })),
        );
    }
    let sum = |name: &str| seen.metrics.sum(name, &[]);
    let (open, limit) = (sum("balance_sessions"), sum("balance_sessions_limit"));
    if limit > 0.0 && open > SESSIONS_SHARE * limit {
        let finding = Finding::new(
            "sessions_near_limit",
            Medium,
            "Sessions are near their limit",
            format!("{open} of {limit}"),
            "Raise limits.sessions, or add a process.",
        );
        found.push(finding.with(json!({ "open": open, "limit": limit })));
    }
    let files = sum("process_max_fds");
    if files > 0.0 && files < limit + 1000.0 {
        let finding = Finding::new(
            "files_too_few",
            Medium,
            "The limit on open files is too low for the sessions",
            format!("the process may open {files} files, limits.sessions is {limit}"),
            "Raise the system's limit (ulimit -n, LimitNOFILE), or lower limits.sessions.",
        );
        found.push(finding.with(json!({ "files": files, "limit": limit })));
    }
}
