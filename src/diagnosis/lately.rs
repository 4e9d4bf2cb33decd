//! What went wrong lately: by how much counters have grown. Each of these findings ends by itself, some minutes after its
//! trouble; Prometheus' alerts look at as much time.

use std::collections::BTreeMap;

use serde_json::json;

use crate::domain::CONFLICT_CODE;

use super::Severity::{self, High, Low, Medium};
use super::facts::conflicts_by_user;
use super::service::Seen;
use super::thresholds::{
    CACHE_READS_MIN, COMMIT_SLOW_S, CONFLICTS_MAX, DISPLAY_SLOW_S, ERROR_SHARE, PUSH_SLOW_S,
    REFUSED_MAX,
};
use super::{Finding, counted};

/// How many users an evidence names.
const USERS_NAMED_MAX: usize = 3;

const REFUSALS: &str = "balance_entry_refusals_total";

/// Codes with which entries are refused although their senders make no mistake: users ask for too much.
pub(super) const ORDINARY: [&str; 2] = ["insufficient_funds", "exceeds_original"];

/// Entries and webhooks that are refused for a mistake of their sender.
pub(super) fn refused(seen: &Seen, found: &mut Vec<Finding>) {
    conflicts(seen, found);
    let (grown, when) = (&seen.lately.grown, seen.lately.when());
    let window_s = seen.lately.seconds;
    let mut refused: BTreeMap<(String, String), f64> = BTreeMap::new();
    for (labels, count) in grown.of_name(REFUSALS) {
        let of = |label| labels.get(label).unwrap_or_default().to_owned();
        let (kind, code) = (of("kind"), of("code"));
        if code != CONFLICT_CODE && !ORDINARY.contains(&&*code) {
            *refused.entry((kind, code)).or_default() += count;
        }
    }
    refused.retain(|_, count| *count > REFUSED_MAX);
    if !refused.is_empty() {
        let told = refused
            .iter()
            .map(|((kind, code), count)| format!("{kind} {code} {count}"));
        let values = refused
            .iter()
            .map(|((kind, code), count)| json!({ "kind": kind, "code": code, "count": count }));
        let finding = Finding::new(
            "entries_refused",
            Medium,
            "A sender makes entries that are refused",
            format!("{when}: {}", told.collect::<Vec<_>>().join(", ")),
            "The answers name the field. Correct the sender; its entries can be sent again with the same event ids.",
        );
        found.push(
            finding.with(json!({ "refused": values.collect::<Vec<_>>(), "window_s": window_s })),
        );
    }
    let unsigned = [
        "invalid_signature",
        "missing_signature",
        "timestamp_out_of_range",
    ];
    let of_code = |code: &&str| grown.sum("balance_webhook_rejected_total", &[("code", code)]);
    let unsigned: f64 = unsigned.iter().map(of_code).sum();
    if unsigned > 0.0 {
        let finding = Finding::new(
            "webhooks_unsigned",
            Medium,
            "Webhooks came with a wrong signature or time",
            format!("{} {when}", counted(unsigned as u64, "webhook")),
            "A sender has an old secret or a wrong clock, or it is an attack.",
        );
        found.push(finding.with(json!({ "count": unsigned, "window_s": window_s })));
    }
}

fn conflicts(seen: &Seen, found: &mut Vec<Finding>) {
    let mut by_kind: BTreeMap<&str, f64> = BTreeMap::new();
    for (labels, count) in seen.lately.grown.of_name(REFUSALS) {
        if labels.get("code") == Some(CONFLICT_CODE) {
            *by_kind
                .entry(labels.get("kind").unwrap_or_default())
                .or_default() += count;
        }
    }
    by_kind.retain(|_, count| *count > 0.0);
    let count: f64 = by_kind.values().sum();
    if count <= CONFLICTS_MAX {
        return;
    }
    let kinds: Vec<String> = by_kind
        .iter()
        .map(|(kind, n)| format!("{kind} {n}"))
        .collect();
    let mut evidence = format!("{count} {}", seen.lately.when());
    let per_minute = seen.lately.seconds.map(|s| count * 60.0 / s as f64);
    if let Some(per_minute) = per_minute {
        evidence += &format!(", {per_minute:.1} a minute");
    }
    evidence += &format!(" ({})", kinds.join(", "));
    let users = conflicts_by_user(seen);
    let named = users.iter().take(USERS_NAMED_MAX);
    let named: Vec<String> = named.map(|(user_id, _)| user_id.to_string()).collect();
    if !named.is_empty() {
        evidence += &format!(", of user {}", named.join(", "));
    }
    let finding = Finding::new(
        "conflicts",
        Medium,
        "Entries came again with other content",
        evidence,
        "GET /admin/v1/conflicts shows both beside each other: a bug of the sender, or an attack.",
    );
    let values = json!({
        "code": CONFLICT_CODE, "count": count, "by_kind": by_kind, "per_minute": per_minute, "users": named,
        "window_s": seen.lately.seconds,
    });
    found.push(finding.with(values));
}

/// Counters that should not grow, or only slowly.
pub(super) fn failed(seen: &Seen, found: &mut Vec<Finding>) {
    type Row = (
        &'static str,
        &'static str,
        Severity,
        &'static str,
        &'static str,
    );
    let (grown, when) = (&seen.lately.grown, seen.lately.when());
    let window_s = seen.lately.seconds;
    let rows: [Row; 3] = [
        (
            "actors_rebuilt",
            "balance_actors_rebuilt_total",
            High,
            "Actors have died and were made again: a bug",
            "No balance is wrong because of it; the log has the panic, please report it.",
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
        let count = grown.sum(name, &[]);
        if count > 0.0 {
            let evidence = format!("{name} {count} {when}");
            let finding = Finding::new(code, severity, what, evidence, next_step);
            found.push(finding.with(json!({ "count": count, "window_s": window_s })));
        }
    }
    let mut errors = grown.by("balance_ledger_errors_total", "kind");
    errors.retain(|kind, _| kind != "raced" && kind != "replaced");
    if !errors.is_empty() {
        let severity = if errors.contains_key("unfit") {
            High
        } else {
            Medium
        };
        let next_step = "Attempts are repeated, so no entry is lost; look at the database. unfit: a row that this program can't have written.";
        let told: Vec<String> = errors
            .iter()
            .map(|(kind, n)| format!("{kind} {n}"))
            .collect();
        let finding = Finding::new(
            "ledger_errors",
            severity,
            "Attempts at the ledger have failed",
            format!("{} {when}", told.join(", ")),
            next_step,
        );
        found.push(finding.with(json!({ "by_kind": errors, "window_s": window_s })));
    }
    let (mut answered, mut wrong) = (0.0, 0.0);
    for (labels, count) in grown.of_name("http_requests_total") {
        // It answers 503 for as long as the service is not ready.
        if labels.get("route") != Some("/readyz") {
            answered += count;
            let is_wrong = labels.get("status").is_some_and(|s| s.starts_with('5'));
            wrong += if is_wrong { count } else { 0.0 };
        }
    }
    if answered > 0.0 && wrong / answered > ERROR_SHARE {
        let finding = Finding::new(
            "requests_fail",
            Medium,
            "More than one request of a hundred fails",
            format!("{wrong} of {answered} {when}"),
            "http_requests_total tells which routes.",
        );
        found.push(finding.with(json!({ "failed": wrong, "all": answered, "window_s": window_s })));
    }
}

/// Times that are too long, and reads that memory should have answered.
pub(super) fn slow(seen: &Seen, found: &mut Vec<Finding>) {
    let (grown, when) = (&seen.lately.grown, seen.lately.when());
    let window_s = seen.lately.seconds;
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
        if let Some(p99_s) = grown
            .quantile(0.99, name, labels)
            .filter(|p99_s| *p99_s > slow_s)
        {
            let severity = if p99_s > 4.0 * slow_s { High } else { Medium };
            let finding = Finding::new(
                code,
                severity,
                what,
                format!("p99 of {name} is about {p99_s:.3} s {when}"),
                next_step,
            );
            found.push(finding.with(json!({ "p99_s": p99_s, "window_s": window_s })));
        }
    }
    let [hits, misses] =
        ["balance_cache_hits_total", "balance_cache_misses_total"].map(|name| grown.sum(name, &[]));
    if hits + misses >= CACHE_READS_MIN && hits < misses {
        let finding = Finding::new(
            "cache_misses",
            Low,
            "Most balances have to be read from the ledger",
            format!("{hits} from memory, {misses} from the ledger {when}"),
            "Raise cache.ttl_s or cache.max_entries, or find out which client asks for so many users once.",
        );
        found.push(finding.with(json!({ "hits": hits, "misses": misses, "window_s": window_s })));
    }
}
