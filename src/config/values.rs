//! Two configurations compared key by key, secrets included, without showing a value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::config::keys::{self, CURRENCIES, KEYS};
use crate::config::secret::MASK;
use crate::config::settings::Settings;

/// Every key with its value. Not printable, because some values are secrets.
#[derive(Clone)]
pub struct Values(BTreeMap<String, Value>);

/// The keys whose values differ in two configurations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that change while the program runs.
    pub reloaded: Vec<String>,
    /// Those that need a restart.
    pub for_restart: Vec<String>,
}

impl Values {
    /// Of checked settings, and of the merged sources from which they were made.
    ///
    /// Settings are compared as they are in effect, so that a default that is written out is no change. Where they are
    /// shown masked, what was written is compared.
    pub(super) fn of(settings: &Settings, merged: &Value) -> Self {
        let shown = serde_json::to_value(settings)
            .expect("settings are tables of strings, booleans and integers");
        let mut values = leaves(&shown);
        let written = leaves(merged);
        for (key, value) in &mut values {
            if value.to_string().contains(MASK) {
                *value = written.get(key).cloned().unwrap_or_default();
            }
        }
        Self(values)
    }

    /// The keys in which `new` differs from these values.
    pub fn changes(&self, new: &Self) -> Changes {
        let keys: BTreeSet<&String> = self.0.keys().chain(new.0.keys()).collect();
        let differ = keys
            .into_iter()
            .filter(|key| self.0.get(*key) != new.0.get(*key))
            .cloned();
        let (reloaded, for_restart) = differ.partition(|key| keys::is_reloaded(key));
        Changes {
            reloaded,
            for_restart,
        }
    }

    /// Takes over what changes while the program runs.
    pub fn reload(&mut self, new: &Self) {
        self.0.retain(|key, _| !keys::is_reloaded(key));
        let reloaded = new.0.iter().filter(|(key, _)| keys::is_reloaded(key));
        let reloaded = reloaded.map(|(key, value)| (key.clone(), value.clone()));
        self.0.extend(reloaded);
    }
}

/// The keys that change while the program runs.
pub fn reloaded_keys() -> impl Iterator<Item = &'static str> {
    let all = KEYS.iter().map(|(key, _)| *key);
    all.filter(|key| keys::is_reloaded(key))
}

/// The values by key: two levels deep, and three among the currencies.
fn leaves(sections: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (section, keys) in sections.as_object().into_iter().flatten() {
        for (key, value) in keys.as_object().into_iter().flatten() {
            match value.as_object() {
                Some(fields) if section == CURRENCIES => {
                    let fields = fields.iter();
                    found.extend(
                        fields.map(|(field, value)| {
                            (format!("{section}.{key}.{field}"), value.clone())
                        }),
                    );
                }
                _ => drop(found.insert(format!("{section}.{key}"), value.clone())),
            }
        }
    }
    found
}
