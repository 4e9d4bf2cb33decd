//! Small bodies: an object of known fields and nothing else.

use proptest::prelude::*;

use crate::http::extract::json::JsonObject;
use crate::http::problem::{Code, Problem};
use crate::tests::{Members, check, spoiled};

const NAMES: [&str; 2] = ["user_id", "ttl_s"];

fn parse(json: &[u8]) -> Result<(i64, u64), Problem> {
    let object = JsonObject::closed(json, &NAMES)?;
    object.required("user_id")?;
    let user_id = object.number("user_id")?.expect("it is there");
    Ok((user_id, object.number("ttl_s")?.unwrap_or(0)))
}

/// The fields of a body; `None` when it is not valid.
fn model(json: &[u8]) -> Option<(i64, u64)> {
    let members = Members::read(json)?;
    let is_known = members
        .names()
        .all(|name| matches!(name, "user_id" | "ttl_s"));
    let user_id = members.value("user_id")?.as_i64()?;
    let ttl_s = members.value("ttl_s").map_or(Some(0), |ttl| ttl.as_u64())?;
    (is_known && !members.has_repeated(|_| true)).then_some((user_id, ttl_s))
}

#[test]
fn a_small_body_is_an_object_of_known_fields_or_refused_by_the_field() {
    let good = prop::sample::select(
        &[
            r#"{"user_id":184}"#,
            r#"{"user_id":184,"ttl_s":60}"#,
            r#" {"ttl_s":1,"user_id":-7} "#,
            "[184]",
            "[184,60]",
            r#"{"user_id":"184"}"#,
            r#"{"user_id":184,"scope":"all"}"#,
        ][..],
    );
    let good = good.prop_map(|text| text.as_bytes().to_vec());
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    check(
        prop_oneof![8 => spoiled(good).boxed(), 1 => noise.boxed()],
        |json| {
            let shown = String::from_utf8_lossy(&json).into_owned();
            let parsed = parse(&json);
            if let Err(problem) = &parsed {
                let is_named = problem.field_name().is_some();
                let is_refusal = match problem.code() {
                    Code::InvalidJson => true,
                    Code::InvalidField | Code::UnknownField => is_named,
                    _ => false,
                };
                prop_assert!(is_refusal, "{:?}: {}", problem, shown);
            }
            prop_assert_eq!(parsed.ok(), model(&json), "{}", shown);
            Ok(())
        },
    );
}
