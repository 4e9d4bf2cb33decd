//! Reads query strings. Every refusal names its parameter: one that is unknown, there twice, missing, or of another type.

use std::borrow::Cow;
use std::fmt;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use serde::de::{DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

use crate::http::extract::json::NAME_CHARS_MAX;
use crate::http::problem::{Code, Problem};

/// The query string as a struct of parameters.
#[derive(Debug)]
pub(in crate::http) struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(read(request.query_string()).map(Self))
    }
}

fn read<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    T::deserialize(Parameters { pairs, value: None }).map_err(Into::into)
}

/// A parameter that can't be used, and why.
#[derive(Debug)]
struct Wrong {
    name: String,
    why: String,
}

impl Wrong {
    fn new(name: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            name: name.into(),
            why: why.to_string(),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the parameter {} {}", self.name, self.why)
    }
}

impl std::error::Error for Wrong {}

impl serde::de::Error for Wrong {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new("", why)
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
        let why = if known.is_empty() {
            "does not exist; this path has none".to_owned()
        } else {
            format!("does not exist; this path has {}", known.join(", "))
        };
        Self::new(shown, why)
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::new("", format!("must be one of {}", known.join(", ")))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(name, "is missing")
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::new(name, "is there twice")
    }
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Self {
        Self::new(Code::InvalidField, wrong.to_string()).field(wrong.name)
    }
}

/// The parameters in their order.
struct Parameters<'de> {
    pairs: form_urlencoded::Parse<'de>,
    /// The parameter whose name was read last.
    value: Option<(Cow<'de, str>, Cow<'de, str>)>,
}

impl<'de> Deserializer<'de> for Parameters<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Parameters<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        let Some(pair) = self.pairs.next() else {
            return Ok(None);
        };
        let (name, _) = self.value.insert(pair);
        seed.deserialize((**name).into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (name, value) = self.value.take().unwrap_or_default();
        seed.deserialize(Value(value))
            .map_err(|wrong| Wrong::new(name, wrong.why))
    }
}

/// The value of a parameter, as the type that is asked for.
struct Value<'de>(Cow<'de, str>);

impl Value<'_> {
    fn number<T: std::str::FromStr<Err: fmt::Display>>(&self) -> Result<T, Wrong> {
        // A number has one spelling; `parse` would accept a plus sign.
        if self.0.starts_with('+') {
            return Err(Wrong::new("", "must have no plus sign"));
        }
        let wrong = |error| Wrong::new("", format!("is not a number in range: {error}"));
        self.0.parse().map_err(wrong)
    }
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_str(&self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &*self.0 {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(Wrong::new("", "must be true or false")),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_i64(self.number()?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_u32(self.number()?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_u64(self.number()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    // Types that no parameter has.
    forward_to_deserialize_any! {
        i8 i16 i32 u8 u16 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq tuple tuple_struct map
        struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Clone, Copy, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Sort {
        #[default]
        UserId,
        IdleMs,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct All {
        user_id: i64,
        limit: Option<usize>,
        snapshots: Option<u32>,
        #[serde(default)]
        fresh: bool,
        #[serde(default)]
        sort: Sort,
    }

    #[test]
    fn parameters_are_read_by_their_types() {
        let all = |limit, fresh, sort| All {
            user_id: 7,
            limit,
            snapshots: None,
            fresh,
            sort,
        };
        for (query, expected) in [
            ("user_id=7", all(None, false, Sort::UserId)),
            (
                "sort=idle_ms&user_id=7&fresh=true&limit=5",
                all(Some(5), true, Sort::IdleMs),
            ),
            (
                "&user%5fid=%37&&limit=05",
                all(Some(5), false, Sort::UserId),
            ),
        ] {
            assert_eq!(read::<All>(query).ok(), Some(expected), "{query}");
        }
    }

    #[test]
    fn a_refusal_names_the_parameter() {
        for (query, name) in [
            ("", "user_id"),
            ("limit=1", "user_id"),
            ("user_id=7&user_id=7", "user_id"),
            ("user_id=7&fresh=true&fresh=false", "fresh"),
            ("user_id=7&limit=1&fresh=true&limit=x", "limit"),
            ("user_id=7&sort=user_id&sort=user_id", "sort"),
            ("user_id=x", "user_id"),
            ("user_id=", "user_id"),
            ("user_id", "user_id"),
            ("user_id=%2B7", "user_id"),
            ("user_id=7.0", "user_id"),
            ("user_id=9223372036854775808", "user_id"),
            ("user_id=7&limit=-1", "limit"),
            ("user_id=7&limit=%ff", "limit"),
            ("user_id=7&snapshots=4294967296", "snapshots"),
            ("user_id=7&fresh=yes", "fresh"),
            ("user_id=7&fresh=TRUE", "fresh"),
            ("user_id=7&fresh", "fresh"),
            ("user_id=7&sort=name", "sort"),
            ("user_id=7&Limit=1", "Limit"),
            ("user_id=7&id=1&id=2", "id"),
            ("user_id=7&limit[]=1", "limit[]"),
            ("user_id=7&=1", ""),
        ] {
            let problem = read::<All>(query).expect_err(query);
            assert_eq!(problem.code(), Code::InvalidField, "{query}");
            assert_eq!(problem.field_name(), Some(name), "{query}: {problem}");
        }
        let long = format!("user_id=7&{}=1", "é".repeat(1000));
        let problem = read::<All>(&long).expect_err("unknown");
        assert_eq!(problem.field_name(), Some(&*"é".repeat(NAME_CHARS_MAX)));
    }
}
