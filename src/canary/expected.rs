//! The state that every answer and every page must show, and how an answer differs from it.

use serde_json::Value;

use crate::canary::Options;
use crate::domain::Amount;

/// The state that every answer must show.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub epoch: String,
    pub version: i64,
    pub balances: Value,
}

impl Expected {
    pub(super) fn of(shown: &Value) -> Result<Self, String> {
        let (epoch, version) = (shown["epoch"].as_str(), shown["version"].as_i64());
        let (Some(epoch), Some(version)) = (epoch, version) else {
            return Err(format!("no balance: {shown}"));
        };
        Ok(Self {
            epoch: epoch.to_owned(),
            version,
            balances: shown["balances"].clone(),
        })
    }

    /// The state after an entry: the balance before the run plus `more`, at the version in `answer`.
    pub(super) fn after(
        &self,
        answer: &Value,
        more: Amount,
        options: &Options,
    ) -> Result<Self, String> {
        let version = answer["version"]
            .as_i64()
            .ok_or_else(|| format!("no version: {answer}"))?;
        let mut balances = self.balances.clone();
        let shown = &mut balances[&options.currency];
        let before = shown
            .as_str()
            .and_then(|text| shown_amount(text, options.decimals));
        let after = before.and_then(|before| before.checked_add(more));
        let after = after
            .ok_or_else(|| format!("no balance of {}: {}", options.currency, self.balances))?;
        *shown = Value::String(after.display(options.decimals).to_string());
        Ok(Self {
            epoch: self.epoch.clone(),
            version,
            balances,
        })
    }

    pub(super) fn difference(&self, shown: &Value, has_epoch: bool) -> Option<String> {
        if has_epoch && shown["epoch"] != self.epoch.as_str() {
            return Some(format!(
                "epoch {} instead of {}",
                shown["epoch"], self.epoch
            ));
        }
        if shown["stale"] == true {
            return Some(format!("a stale balance: {shown}"));
        }
        match shown["version"].as_i64() {
            Some(version) if version < self.version => {
                Some(format!("older: version {version} after {}", self.version))
            }
            Some(version) if version > self.version => Some(format!(
                "version {version} instead of {}: another program writes to this user",
                self.version
            )),
            Some(_) if shown["balances"] != self.balances => Some(format!(
                "balances {} instead of {}",
                shown["balances"], self.balances
            )),
            Some(_) => None,
            None => Some(format!("no version: {shown}")),
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "version {}: {}", self.version, self.balances)
    }
}

/// A shown amount, which may be zero.
fn shown_amount(text: &str, decimals: u8) -> Option<Amount> {
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    if is_zero {
        Some(Amount::default())
    } else {
        Amount::parse(text, decimals).ok()
    }
}
