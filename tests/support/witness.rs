//! Checks the guarantees to a session, frame by frame.

use serde_json::Value;

/// What one session has received.
#[derive(Debug, Default)]
pub struct Witness {
    epoch: Option<String>,
    /// The largest version of any frame.
    pub version: u64,
    /// The balances of the newest frame that had some.
    pub balances: Value,
    /// `balance_update` frames, and the entries that they summed up.
    pub updates: u64,
    pub entries: u64,
}

impl Witness {
    /// A witness of a session that begins with a snapshot.
    pub fn of(snapshot: &Value) -> Self {
        let mut witness = Self::default();
        witness.see(snapshot);
        witness
    }

    /// Checks and records a frame.
    ///
    /// # Panics
    /// When it violates a guarantee.
    pub fn see(&mut self, frame: &Value) {
        let is_update = frame["type"] == "balance_update";
        if !is_update && frame["type"] != "balance" {
            return;
        }
        let version = frame["version"]
            .as_u64()
            .unwrap_or_else(|| panic!("a version in {frame}"));
        let epoch = frame["epoch"]
            .as_str()
            .unwrap_or_else(|| panic!("an epoch in {frame}"));
        let known = self.epoch.get_or_insert_with(|| epoch.to_owned());
        assert_eq!(known, epoch, "the epoch changed: {frame}");
        if is_update {
            assert!(
                version > self.version,
                "an update after version {}: {frame}",
                self.version
            );
            self.updates += 1;
            self.entries += frame["entries"]
                .as_u64()
                .unwrap_or_else(|| panic!("entries in {frame}"));
        } else {
            assert!(
                version >= self.version,
                "an older version than {}: {frame}",
                self.version
            );
            assert!(
                version > self.version
                    || self.balances.is_null()
                    || self.balances == frame["balances"],
                "{frame}"
            );
        }
        self.version = version;
        self.balances = frame["balances"].clone();
    }
}
