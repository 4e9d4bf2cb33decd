//! The one reader of JSON objects that come from outside: entries, small bodies, WebSocket messages.
//!
//! It looks for known names and keeps their values unparsed until they are asked for, so that each refusal names its
//! field, and a batch item costs no allocation.

use std::borrow::Cow;
use std::fmt;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::UserId;
use crate::http::extract::bodies::{Body, Share, read};
use crate::http::extract::signed::check_json;
use crate::http::extract::{invalid, state};
use crate::http::problem::{Code, Problem};

/// The longest part of an unknown name that is shown, in characters.
pub(super) const NAME_CHARS_MAX: usize = 64;

/// A JSON body of at most `BYTES_MAX`, read without a credential.
#[derive(Debug)]
pub(in crate::http) struct JsonBody<const BYTES_MAX: usize>(pub Body);

impl<const BYTES_MAX: usize> FromRequest for JsonBody<BYTES_MAX> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            check_json(request.headers())?;
            let room = state(&request).bodies.room(Share::Public);
            read(request.headers(), payload, BYTES_MAX, room)
                .await
                .map(Self)
        })
    }
}

/// The known members of a JSON object, the first unknown name, and the first known name that is there twice.
#[derive(Debug)]
pub(in crate::http) struct JsonObject<'a, const N: usize> {
    names: &'static [&'static str; N],
    members: [Option<&'a RawValue>; N],
    unknown: Option<String>,
    repeated: Option<&'static str>,
}

impl<'a, const N: usize> JsonObject<'a, N> {
    /// Reads one object.
    ///
    /// # Errors
    /// `invalid_json` when it is none.
    pub(in crate::http) fn parse(
        json: &'a [u8],
        names: &'static [&'static str; N],
    ) -> Result<Self, Problem> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let object = deserializer
            .deserialize_map(ObjectVisitor(names))
            .and_then(|object| deserializer.end().map(|()| object));
        object
            .map_err(|error| Problem::new(Code::InvalidJson, format!("not a JSON object: {error}")))
    }

    /// Reads one object that has no other names than these.
    pub(in crate::http) fn closed(
        json: &'a [u8],
        names: &'static [&'static str; N],
    ) -> Result<Self, Problem> {
        let object = Self::parse(json, names)?;
        object.check_names(|_| true)?;
        Ok(object)
    }

    /// Refuses names outside `allowed`, and names that are there twice.
    pub(in crate::http) fn check_names(
        &self,
        allowed: impl Fn(&str) -> bool,
    ) -> Result<(), Problem> {
        let misplaced = self
            .names
            .iter()
            .zip(&self.members)
            .find(|(name, value)| value.is_some() && !allowed(name));
        let unknown = self.unknown.clone().map(Cow::Owned);
        if let Some(name) = unknown.or(misplaced.map(|(name, _)| Cow::Borrowed(*name))) {
            let detail = format!("{name} is not a field of this object");
            return Err(Problem::new(Code::UnknownField, detail).field(name));
        }
        self.check_repeated()
    }

    /// Refuses known names that are there twice.
    pub(in crate::http) fn check_repeated(&self) -> Result<(), Problem> {
        match self.repeated {
            Some(name) => Err(invalid(name, "is there twice")),
            None => Ok(()),
        }
    }

    pub(in crate::http) fn get(&self, name: &'static str) -> Option<&'a RawValue> {
        let index = self.names.iter().position(|known| *known == name)?;
        self.members[index]
    }

    pub(in crate::http) fn required(&self, name: &'static str) -> Result<&'a RawValue, Problem> {
        self.get(name).ok_or_else(|| invalid(name, "is missing"))
    }

    pub(in crate::http) fn text(
        &self,
        name: &'static str,
    ) -> Result<Option<Cow<'a, str>>, Problem> {
        self.get(name).map(|value| string(name, value)).transpose()
    }

    pub(in crate::http) fn required_text(
        &self,
        name: &'static str,
    ) -> Result<Cow<'a, str>, Problem> {
        string(name, self.required(name)?)
    }

    /// A whole number, where it is given.
    pub(in crate::http) fn number<T: serde::de::DeserializeOwned>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, Problem> {
        let number = self
            .get(name)
            .map(|value| serde_json::from_str(value.get()));
        number.transpose().map_err(|error| invalid(name, error))
    }

    pub(in crate::http) fn user_id(&self) -> Result<UserId, Problem> {
        UserId::parse(self.required("user_id")?.get()).map_err(|error| invalid("user_id", error))
    }
}

/// A JSON string; borrowed unless it has escapes.
pub(in crate::http) fn string<'a>(
    name: &'static str,
    value: &'a RawValue,
) -> Result<Cow<'a, str>, Problem> {
    let json = value.get();
    match json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(json)
            .map(Cow::Owned)
            .map_err(|error| invalid(name, error)),
        None => Err(invalid(name, "must be a string")),
    }
}

/// A member's name; borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct ObjectVisitor<const N: usize>(&'static [&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for ObjectVisitor<N> {
    type Value = JsonObject<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self(names) = self;
        let mut object = JsonObject {
            names,
            members: [None; N],
            unknown: None,
            repeated: None,
        };
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            match names.iter().position(|known| *known == name) {
                Some(index) => {
                    if object.members[index].replace(value).is_some() {
                        object.repeated.get_or_insert(names[index]);
                    }
                }
                None => {
                    object
                        .unknown
                        .get_or_insert_with(|| name.chars().take(NAME_CHARS_MAX).collect());
                }
            }
        }
        Ok(object)
    }
}
