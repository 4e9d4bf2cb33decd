//! One layer of configuration, checked by key and type before it is laid over another.
//!
//! A file is strict: an integer is an integer, not `"5"` and not `5.0`. An environment variable is text and is read by
//! its key's type. The result holds only strings, integers, booleans, lists and tables.

use std::collections::BTreeMap;
use std::fmt;
use std::num::ParseIntError;

use config::{Map, Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use crate::config::error::ConfigError;
use crate::config::keys::{CURRENCIES, Shape};
use crate::config::{keys, lines};
use crate::domain::Currencies;

/// The prefix of this service's environment variables.
const PREFIX: &str = "BALANCE_";

/// The values of one source.
#[derive(Clone, Default)]
pub(super) struct Layer(Map<String, Value>);

impl fmt::Debug for Layer {
    /// Without the values, because some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    /// Reads a TOML text; `origin` names it in errors.
    pub(super) fn from_toml(origin: &str, text: &str) -> Result<Self, ConfigError> {
        let document = DeTable::parse(text).map_err(|error| {
            let before = error
                .span()
                .and_then(|span| text.get(..span.start))
                .unwrap_or_default();
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            ConfigError::Syntax {
                origin: origin.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                message: error.message().to_owned(),
            }
        })?;
        let mut reader = FileReader {
            origin,
            path: Vec::new(),
        };
        let read = reader.section(document.get_ref())?;
        lines::check("", &read)?;
        Ok(Self(read))
    }

    /// Reads the variables that start with `BALANCE_`, and ignores all others.
    pub(super) fn from_environment(
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut layer = Self::default();
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if is_service_link(rest, text) {
                continue;
            }
            let path = path_of(rest);
            let key = path.join(".");
            let Some(shape) = keys::shape_of(&path) else {
                return Err(ConfigError::UnknownKey {
                    key,
                    origin: name.clone(),
                });
            };
            if !matches!(shape, Shape::Integer | Shape::Boolean) {
                lines::check_text(&key, text)?;
            }
            let value = parse(text, shape).ok_or_else(|| ConfigError::WrongType {
                key,
                origin: name.clone(),
                expected: shape.expected(),
            })?;
            insert(&mut layer.0, &path, value);
        }
        // Items of lists, too.
        lines::check("", &layer.0)?;
        Ok(layer)
    }

    /// The default currencies, which a file's section replaces and the environment adds to.
    pub(super) fn default_currencies() -> Self {
        let mut layer = Self::default();
        for (_, currency) in Currencies::default().iter() {
            let path = [CURRENCIES, &currency.code, "decimals"].map(str::to_owned);
            insert(&mut layer.0, &path, i64::from(currency.decimals).into());
        }
        layer
    }

    /// Whether there is a `[currencies]` section.
    pub(super) fn has_currencies(&self) -> bool {
        self.0.contains_key(CURRENCIES)
    }

    /// Drops the `[currencies]` section, because a later file has its own.
    pub(super) fn drop_currencies(&mut self) {
        self.0.remove(CURRENCIES);
    }
}

/// Walks a TOML document, with the path of the current table for errors.
struct FileReader<'a> {
    origin: &'a str,
    path: Vec<String>,
}

impl FileReader<'_> {
    fn section(&mut self, table: &DeTable<'_>) -> Result<Map<String, Value>, ConfigError> {
        let mut read = Map::new();
        for (key, value) in table {
            let key = key.get_ref().to_string();
            self.path.push(key.clone());
            read.insert(key, self.value(value.get_ref())?);
            self.path.pop();
        }
        Ok(read)
    }

    fn value(&mut self, value: &DeValue<'_>) -> Result<Value, ConfigError> {
        if keys::is_section(&self.path) {
            let DeValue::Table(table) = value else {
                return Err(self.wrong_type("a section"));
            };
            return Ok(Value::new(None, ValueKind::Table(self.section(table)?)));
        }
        let Some(shape) = keys::shape_of(&self.path) else {
            return Err(ConfigError::UnknownKey {
                key: self.path.join("."),
                origin: self.origin.to_owned(),
            });
        };
        let read = match (shape, value) {
            (Shape::Integer, DeValue::Integer(number)) => {
                integer(i64::from_str_radix(number.as_str(), number.radix()))
            }
            (Shape::Boolean, DeValue::Boolean(value)) => Some((*value).into()),
            (Shape::Text, DeValue::String(text)) => Some(text.to_string().into()),
            (Shape::Urls, DeValue::String(text)) => Some(vec![text.to_string()].into()),
            (shape, DeValue::Array(items)) if shape.is_list() => items
                .iter()
                .map(|item| list_item(item.get_ref(), shape))
                .collect::<Option<Vec<_>>>()
                .map(Value::from),
            _ => None,
        };
        read.ok_or_else(|| self.wrong_type(shape.expected()))
    }

    fn wrong_type(&self, expected: &'static str) -> ConfigError {
        ConfigError::WrongType {
            key: self.path.join("."),
            origin: self.origin.to_owned(),
            expected,
        }
    }
}

/// One item of a list in a file.
fn list_item(item: &DeValue<'_>, shape: Shape) -> Option<Value> {
    match item {
        DeValue::String(text) => Some(text.to_string().into()),
        DeValue::Table(fields) if matches!(shape, Shape::Tokens | Shape::Accounts) => {
            let fields = fields.iter().map(|(name, value)| match value.get_ref() {
                DeValue::String(text) => {
                    Some((name.get_ref().to_string(), Value::from(text.to_string())))
                }
                _ => None,
            });
            fields
                .collect::<Option<Map<_, _>>>()
                .map(|fields| Value::new(None, ValueKind::Table(fields)))
        }
        _ => None,
    }
}

/// The key path of a variable's name without the prefix. Currency codes stay in capitals, all else is lower-case.
fn path_of(name: &str) -> Vec<String> {
    let code = name
        .strip_prefix("CURRENCIES__")
        .and_then(|rest| rest.strip_suffix("__DECIMALS"));
    match code {
        Some(code) => [CURRENCIES, code, "decimals"].map(str::to_owned).into(),
        // Not in capitals: kept as it is, so that it is an unknown key and not a second spelling.
        None if name.contains(|c: char| c.is_ascii_lowercase()) => vec![name.to_owned()],
        None => name
            .to_ascii_lowercase()
            .split("__")
            .map(str::to_owned)
            .collect(),
    }
}

/// Reads the text of a variable by the type of its key.
fn parse(text: &str, shape: Shape) -> Option<Value> {
    match shape {
        Shape::Integer => integer(text.parse()),
        Shape::Boolean => text.parse::<bool>().ok().map(Value::from),
        Shape::Text => Some(text.into()),
        Shape::Texts | Shape::Urls | Shape::Tokens | Shape::Accounts if text.is_empty() => {
            Some(Vec::<String>::new().into())
        }
        Shape::Texts | Shape::Urls | Shape::Tokens | Shape::Accounts => {
            let items = text.split(',').map(|item| item.trim_matches(' '));
            Some(items.collect::<Vec<_>>().into())
        }
    }
}

/// An integer that is not negative.
fn integer(read: Result<i64, ParseIntError>) -> Option<Value> {
    read.ok().filter(|number| *number >= 0).map(Value::from)
}

/// Kubernetes sets variables for each Service in every pod: for one called `balance-web` `BALANCE_WEB_SERVICE_HOST`,
/// `BALANCE_WEB_PORT=tcp://…` and more like these. They are not configuration, and no key of this service looks like
/// them.
fn is_service_link(name: &str, text: &str) -> bool {
    let is_url =
        text.starts_with("tcp://") || text.starts_with("udp://") || text.starts_with("sctp://");
    let of_service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    let of_port = ["_PORT_", "_TCP", "_UDP", "_SCTP"]
        .iter()
        .filter(|part| name.contains(**part))
        .count()
        >= 2;
    !name.contains("__") && (of_service || of_port || (name.ends_with("_PORT") && is_url))
}

/// Puts `value` at `path`, making the tables on the way.
fn insert(table: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => drop(table.insert(key.clone(), value)),
        [section, rest @ ..] => {
            let entry = table
                .entry(section.clone())
                .or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
            if let ValueKind::Table(inner) = &mut entry.kind {
                insert(inner, rest, value);
            }
        }
    }
}
