//! From where on something is a finding. Where Prometheus has an alert for the same, it uses the same number.

/// No reward for so many seconds: `BalanceRewardsSilent`.
pub(super) const REWARDS_SILENT_S: f64 = 900.0;

/// No entry of another kind for so many seconds, ...
pub(super) const SILENT_S: f64 = 3600.0;

/// ... and for so many times the usual time between two, ...
pub(super) const SILENT_INTERVALS: f64 = 10.0;

/// ... of a kind of which so many have come.
pub(super) const SILENT_ENTRIES_MIN: f64 = 10.0;

/// Conflicts in `limits::FINDINGS_WINDOW_S`: `BalanceConflicts`.
pub(super) const CONFLICTS_MAX: f64 = 0.0;

/// Entries of a kind that are refused with a code that is a mistake, likewise: `BalanceEntriesRefused`.
pub(super) const REFUSED_MAX: f64 = 10.0;

/// Reads of which most should be answered from memory, likewise; fewer tell nothing.
pub(super) const CACHE_READS_MIN: f64 = 1000.0;

/// The 99th percentile of commits: `BalanceCommitSlow`.
pub(super) const COMMIT_SLOW_S: f64 = 0.5;

/// The 99th percentile of direct pushes: `BalancePushSlow`.
pub(super) const PUSH_SLOW_S: f64 = 0.5;

/// The 99th percentile of what pages report.
pub(super) const DISPLAY_SLOW_S: f64 = 2.0;

/// The share of requests that fail: `BalanceErrorRatio`.
pub(super) const ERROR_SHARE: f64 = 0.01;

/// The share of `limits.sessions` that is open: `BalanceSessionsNearLimit`.
pub(super) const SESSIONS_SHARE: f64 = 0.9;

/// The share of `limits.queue_entries` that waits.
pub(super) const QUEUE_SHARE: f64 = 0.8;

/// A user with so many sessions stands out.
pub(super) const SESSIONS_CONSPICUOUS: u64 = 8;

/// The age of the last check of versions: `BalanceClusterStale`.
pub(super) const CLUSTER_STALE_S: f64 = 60.0;

/// The difference to the database's clock: `BalanceClusterClockSkew`.
pub(super) const CLUSTER_SKEW_S: f64 = 0.25;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FINDINGS_WINDOW_S;

    #[test]
    fn the_alerts_use_the_same_numbers() {
        let alerts = include_str!("../../deploy/prometheus/alerts.yaml");
        for (alert, number) in [
            ("BalanceRewardsSilent", format!("> {REWARDS_SILENT_S}")),
            ("BalanceConflicts", format!("> {CONFLICTS_MAX}")),
            ("BalanceEntriesRefused", format!("> {REFUSED_MAX}")),
            ("BalanceCommitSlow", format!("> {COMMIT_SLOW_S}")),
            ("BalancePushSlow", format!("> {PUSH_SLOW_S}")),
            ("BalanceErrorRatio", format!("> {ERROR_SHARE}")),
            (
                "BalanceSessionsNearLimit",
                format!("> {SESSIONS_SHARE} * balance_sessions_limit"),
            ),
            ("BalanceClusterStale", format!("> {CLUSTER_STALE_S}")),
            ("BalanceClusterClockSkew", format!("> {CLUSTER_SKEW_S}")),
        ] {
            let rule = alerts
                .split("- alert: ")
                .find(|rule| rule.starts_with(&format!("{alert}\n")))
                .unwrap_or_else(|| panic!("no alert {alert}"));
            let expression = rule.split("        for: ").next().unwrap_or(rule);
            let expression = expression.split("        labels: ").next().unwrap_or(rule);
            let window = format!("[{}m]", FINDINGS_WINDOW_S / 60);
            assert!(
                !expression.contains('[') || expression.contains(&window),
                "{alert}: {window} in {expression}"
            );
            assert!(
                expression.trim_end().ends_with(&number),
                "{alert}: {number} in {expression}"
            );
        }
    }
}
