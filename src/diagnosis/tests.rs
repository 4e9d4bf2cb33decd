//! Each finding appears with its trouble, and clears.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::lately::ORDINARY;
use super::service::Seen;
use super::{Readings, Samples, findings};
use crate::clock::{Mono, Wall};
use crate::domain::CONFLICT_CODE;
use crate::limits::{FINDINGS_STEP_S, FINDINGS_WINDOW_S};

/// The series that grow with a trouble, and by how much.
type Trouble = (&'static str, &'static [(&'static str, f64)]);

/// What is judged by growth.
const TROUBLES: [Trouble; 12] = [
    (
        "conflicts",
        &[(
            r#"balance_entry_refusals_total{kind="reward",code="idempotency_conflict"}"#,
            200.0,
        )],
    ),
    (
        "entries_refused",
        &[(
            r#"balance_entry_refusals_total{kind="reward",code="unknown_currency"}"#,
            11.0,
        )],
    ),
    (
        "webhooks_unsigned",
        &[(
            r#"balance_webhook_rejected_total{code="invalid_signature"}"#,
            1.0,
        )],
    ),
    ("actors_rebuilt", &[("balance_actors_rebuilt_total", 1.0)]),
    ("log_dropped", &[("log_lines_dropped_total", 1.0)]),
    ("cache_evictions", &[("balance_cache_evictions_total", 1.0)]),
    (
        "ledger_errors",
        &[(r#"balance_ledger_errors_total{kind="lost"}"#, 1.0)],
    ),
    (
        "requests_fail",
        &[
            (
                r#"http_requests_total{listener="internal",route="/a",status="200"}"#,
                90.0,
            ),
            (
                r#"http_requests_total{listener="internal",route="/a",status="503"}"#,
                2.0,
            ),
        ],
    ),
    (
        "commits_slow",
        &[
            (r#"balance_commit_seconds_bucket{le="0.5"}"#, 9.0),
            (r#"balance_commit_seconds_bucket{le="1"}"#, 10.0),
            (r#"balance_commit_seconds_bucket{le="+Inf"}"#, 10.0),
        ],
    ),
    (
        "pushes_late",
        &[
            (
                r#"balance_commit_to_push_seconds_bucket{mode="direct",le="0.5"}"#,
                0.0,
            ),
            (
                r#"balance_commit_to_push_seconds_bucket{mode="direct",le="1"}"#,
                10.0,
            ),
            (
                r#"balance_commit_to_push_seconds_bucket{mode="direct",le="+Inf"}"#,
                10.0,
            ),
        ],
    ),
    (
        "displays_late",
        &[
            (
                r#"balance_commit_to_displayed_seconds_bucket{mode="direct",le="2.5"}"#,
                9.0,
            ),
            (
                r#"balance_commit_to_displayed_seconds_bucket{mode="direct",le="+Inf"}"#,
                10.0,
            ),
        ],
    ),
    (
        "cache_misses",
        &[
            ("balance_cache_hits_total", 400.0),
            ("balance_cache_misses_total", 600.0),
        ],
    ),
];

/// What is no trouble, however often it comes.
const ORDINARY_SERIES: [&str; 5] = [
    r#"balance_entry_refusals_total{kind="withdrawal",code="insufficient_funds"}"#,
    r#"balance_entry_refusals_total{kind="reversal",code="exceeds_original"}"#,
    r#"balance_ledger_errors_total{kind="raced"}"#,
    r#"balance_ledger_errors_total{kind="replaced"}"#,
    r#"http_requests_total{listener="internal",route="/readyz",status="503"}"#,
];

fn now() -> Wall {
    Wall::from_us(1_800_000_000_000_000)
}

fn codes(seen: &Seen) -> Vec<String> {
    let found = findings(seen, now());
    found.into_iter().map(|finding| finding.code).collect()
}

/// A process with these counters, which are read every [`FINDINGS_STEP_S`].
#[derive(Default)]
struct Process {
    second: u64,
    counters: BTreeMap<&'static str, f64>,
    readings: Readings,
}

impl Process {
    fn grow(&mut self, series: &[(&'static str, f64)]) {
        for (series, by) in series {
            *self.counters.entry(series).or_default() += by;
        }
    }

    fn samples(&self) -> Samples {
        let line = |(series, value): (&&str, &f64)| format!("{series} {value}\n");
        Samples::parse(&self.counters.iter().map(line).collect::<String>())
    }

    fn mono(&self) -> Mono {
        Mono::from_us(self.second * 1_000_000)
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds / FINDINGS_STEP_S {
            self.second += FINDINGS_STEP_S;
            self.readings.keep(self.mono(), &self.samples());
        }
    }

    fn seen(&self) -> Seen {
        let metrics = self.samples();
        Seen {
            lately: self.readings.until(self.mono(), &metrics),
            metrics,
            ..Seen::default()
        }
    }

    fn codes(&self) -> Vec<String> {
        codes(&self.seen())
    }
}

#[test]
fn what_counters_tell_appears_with_its_trouble_and_clears_some_minutes_after_it() {
    let mut process = Process::default();
    for (_, series) in TROUBLES {
        process.grow(series);
    }
    let all = process.codes();
    for (code, _) in TROUBLES {
        let is_there = all.iter().any(|found| found == code);
        assert!(is_there, "{code} of a young process is in {all:?}");
    }
    process.run(FINDINGS_WINDOW_S + FINDINGS_STEP_S);
    assert_eq!(process.codes(), [""; 0], "all of it is long ago");
    process.grow(&ORDINARY_SERIES.map(|series| (series, 1000.0)));
    assert_eq!(process.codes(), [""; 0]);
    for (code, series) in TROUBLES {
        process.grow(series);
        assert_eq!(process.codes(), [code]);
        process.run(FINDINGS_WINDOW_S - FINDINGS_STEP_S);
        assert_eq!(process.codes(), [code], "it lasts for the window");
        process.run(2 * FINDINGS_STEP_S);
        assert_eq!(process.codes(), [""; 0], "{code} is over");
    }
}

#[test]
fn a_trouble_that_goes_on_is_told_as_long_as_it_does() {
    let mut process = Process::default();
    for _ in 0..100 {
        process.run(FINDINGS_STEP_S * 10);
        process.grow(TROUBLES[0].1);
        let seen = process.seen();
        let found = findings(&seen, now());
        assert_eq!(found[0].code, "conflicts");
    }
    let found = findings(&process.seen(), now());
    let values = &found[0].values;
    assert_eq!(values["by_kind"], json!({"reward": 600.0}));
    assert_eq!(values["per_minute"], 120.0, "{}", found[0].evidence);
    assert_eq!(
        found[0].evidence,
        "600 in the last 5 min, 120.0 a minute (reward 600)"
    );
}

#[test]
fn few_refusals_of_a_sender_are_no_finding() {
    let mut process = Process::default();
    process.grow(&[(TROUBLES[1].1[0].0, 10.0)]);
    assert_eq!(process.codes(), [""; 0]);
    process.grow(&[(TROUBLES[1].1[0].0, 1.0)]);
    assert_eq!(process.codes(), ["entries_refused"]);
}

#[test]
fn the_alert_leaves_out_the_same_codes() {
    let alerts = include_str!("../../deploy/prometheus/alerts.yaml");
    let [first, second] = ORDINARY;
    let left_out = format!("code!~\"{CONFLICT_CODE}|{first}|{second}\"");
    assert!(alerts.contains(&left_out), "{left_out}");
}

/// A finding, what makes its trouble, and what ends it.
type State = (&'static str, fn(&mut Seen), fn(&mut Seen));

/// What is judged by a state.
fn states() -> Vec<State> {
    fn metrics(text: &str) -> Samples {
        Samples::parse(text)
    }
    fn ago(seconds: i64) -> Value {
        json!(Wall::from_us(now().us() - seconds * 1_000_000))
    }
    fn entries(count: u64, age_s: u64) -> Samples {
        let at = now().us() / 1_000_000 - age_s as i64;
        metrics(&format!(
            "balance_entries_total{{kind=\"deposit\",outcome=\"accepted\"}} {count}\n\
             balance_last_entry_timestamp_seconds{{kind=\"deposit\"}} {at}\n"
        ))
    }
    vec![
        (
            "ledger_away",
            |seen| seen.ledger = json!({"is_away": true, "since": ago(5)}),
            |seen| seen.ledger = json!({"is_away": false}),
        ),
        (
            "queue_full",
            |seen| {
                seen.queue_limit = 100;
                seen.registry = json!({"queue_single": 80, "queue_bulk": 1});
            },
            |seen| seen.registry = json!({"queue_single": 80, "queue_bulk": 0}),
        ),
        (
            "cluster_not_covered",
            |seen| seen.cluster = json!({"covered": false, "nodes": []}),
            |seen| seen.cluster = json!({"covered": true, "nodes": []}),
        ),
        (
            "cluster_foreign_process",
            |seen| {
                seen.has_bus = true;
                seen.cluster = json!({"covered": true, "nodes": [{"node": "b", "has_bus": false}]});
            },
            |seen| seen.cluster = json!({"covered": true, "nodes": []}),
        ),
        (
            "cluster_stale",
            |seen| seen.metrics = metrics("balance_cluster_verified_age_seconds 61\n"),
            |seen| seen.metrics = metrics("balance_cluster_verified_age_seconds 60\n"),
        ),
        (
            "cluster_skew",
            |seen| seen.metrics = metrics("balance_cluster_clock_skew_seconds -0.3\n"),
            |seen| seen.metrics = metrics("balance_cluster_clock_skew_seconds 0.2\n"),
        ),
        (
            "actors_stale",
            |seen| seen.metrics = metrics("balance_actors_stale 2\n"),
            |seen| seen.metrics = metrics("balance_actors_stale 0\n"),
        ),
        (
            "audit_failed",
            |seen| seen.audit = json!({"last_error": {"at": ago(299), "reason": "lost"}}),
            |seen| seen.audit = json!({"last_error": {"at": ago(301), "reason": "lost"}}),
        ),
        (
            // The latest run counts as long as it is the latest.
            "canary_failed",
            |seen| {
                seen.canary = json!({"runs": [{"ok": false, "started_at": ago(9000), "deviations": ["late"]}]})
            },
            |seen| {
                seen.canary = json!({"runs": [
                    {"ok": true, "started_at": ago(10)},
                    {"ok": false, "started_at": ago(301), "deviations": ["late"]},
                ]})
            },
        ),
        (
            // The one before it counts while it is recent.
            "canary_failed",
            |seen| {
                seen.canary = json!({"runs": [
                    {"ok": true, "started_at": ago(10)},
                    {"ok": false, "started_at": ago(70), "deviations": ["late"]},
                ]})
            },
            |seen| seen.canary = json!({"runs": [{"ok": true, "started_at": ago(10)}]}),
        ),
        (
            "source_silent",
            |seen| {
                let at = now().us() / 1_000_000 - 901;
                let name = "balance_last_entry_timestamp_seconds{kind=\"reward\"}";
                seen.metrics = metrics(&format!("{name} {at}\n"));
            },
            |seen| {
                let at = now().us() / 1_000_000;
                let name = "balance_last_entry_timestamp_seconds{kind=\"reward\"}";
                seen.metrics = metrics(&format!("{name} {at}\n"));
            },
        ),
        (
            // One a minute before.
            "source_silent",
            |seen| {
                seen.registry = json!({"uptime_s": 9700});
                seen.metrics = entries(100, 3700);
            },
            |seen| seen.metrics = entries(101, 0),
        ),
        (
            // One in ten hours is missed after some days.
            "source_silent",
            |seen| {
                seen.registry = json!({"uptime_s": 720_001});
                seen.metrics = entries(10, 360_001);
            },
            |seen| {
                seen.registry = json!({"uptime_s": 363_700});
                seen.metrics = entries(10, 3700);
            },
        ),
        (
            "crowd",
            |seen| seen.busiest = json!({"actors": [{"user_id": 7, "sessions": 8}]}),
            |seen| seen.busiest = json!({"actors": [{"user_id": 7, "sessions": 7}]}),
        ),
        (
            "sessions_near_limit",
            |seen| seen.metrics = metrics("balance_sessions 91\nbalance_sessions_limit 100\n"),
            |seen| seen.metrics = metrics("balance_sessions 90\nbalance_sessions_limit 100\n"),
        ),
        (
            "files_too_few",
            |seen| seen.metrics = metrics("process_max_fds 1024\nbalance_sessions_limit 100\n"),
            |seen| seen.metrics = metrics("process_max_fds 1100\nbalance_sessions_limit 100\n"),
        ),
    ]
}

#[test]
fn what_a_state_tells_appears_with_its_trouble_and_clears() {
    for (code, trouble, cure) in states() {
        let mut seen = Seen::default();
        assert_eq!(codes(&seen), [""; 0]);
        trouble(&mut seen);
        assert_eq!(codes(&seen), [code]);
        cure(&mut seen);
        assert_eq!(codes(&seen), [""; 0], "{code} is over");
    }
}

#[test]
fn a_kind_that_comes_seldom_is_not_missed() {
    let at = now().us() / 1_000_000 - 1_000_000;
    let text = format!(
        "balance_entries_total{{kind=\"adjustment\",outcome=\"accepted\"}} 9\n\
         balance_last_entry_timestamp_seconds{{kind=\"adjustment\"}} {at}\n"
    );
    let seen = Seen {
        metrics: Samples::parse(&text),
        registry: json!({"uptime_s": 1_000_100}),
        ..Seen::default()
    };
    assert_eq!(codes(&seen), [""; 0]);
}

#[test]
fn a_violation_stays_and_says_so() {
    let at = Wall::from_us(now().us() - 86_400_000_000);
    let seen = Seen {
        audit: json!({"violations_total": 1, "violations": [{"at": at, "violation": "user 7: …"}]}),
        ..Seen::default()
    };
    let found = findings(&seen, now());
    assert_eq!(found[0].code, "violations");
    assert!(
        found[0].next_step.contains("stays until"),
        "{}",
        found[0].next_step
    );
}
