//! What the property tests share: their seeds, corrupted input, and a second reader of JSON objects.
//!
//! Half of the cases are the same in every run, and half are new. `BALANCE_TEST_SEED` sets one seed for all of them,
//! `BALANCE_TEST_CASES` their number; a failure prints both.

use std::collections::BTreeMap;
use std::fmt;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseResult, TestRunner};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The cases of one property, unless `BALANCE_TEST_CASES` says otherwise.
const CASES: u32 = 20_000;

/// The seed of the cases that are the same in every run.
const SEED: u64 = 20_250_804;

/// Changes of one input.
const CHANGES_MAX: usize = 4;

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let named = std::env::var(name).ok()?;
    let number = named.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// The seeds of a test: a fixed one and a new one, or the one that is named. The new one is printed.
pub(crate) fn seeds() -> Vec<u64> {
    let seeds = match number("BALANCE_TEST_SEED") {
        Some(seed) => vec![seed],
        None => vec![SEED, rand::random::<u32>().into()],
    };
    println!("seeds: {seeds:?}");
    seeds
}

/// Checks a property over all cases.
pub(crate) fn check<S: Strategy>(strategy: S, property: impl Fn(S::Value) -> TestCaseResult) {
    check_part(1, strategy, property);
}

/// Checks a property over one of so many parts of all cases, where a case costs more than usual.
pub(crate) fn check_part<S: Strategy>(
    part: u32,
    strategy: S,
    property: impl Fn(S::Value) -> TestCaseResult,
) {
    let seeds = seeds();
    let all = number("BALANCE_TEST_CASES").unwrap_or(CASES / seeds.len() as u32);
    for seed in seeds {
        let config = Config {
            cases: (all / part).max(1),
            max_global_rejects: (all / part).max(1_024),
            rng_seed: RngSeed::Fixed(seed),
            failure_persistence: None,
            ..Config::default()
        };
        if let Err(error) = TestRunner::new(config).run(&strategy, &property) {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            panic!(
                "{error}\nagain: BALANCE_TEST_SEED={seed} BALANCE_TEST_CASES={all} cargo test --lib {name}"
            );
        }
    }
}

/// One change of some bytes; places and lengths are taken modulo what is there.
#[derive(Debug, Clone)]
enum Change {
    Bit(usize, u8),
    Byte(usize, u8),
    Put(usize, &'static str),
    Cut(usize, usize),
    Again(usize, usize),
    Swap(usize, usize),
}

/// Pieces that parsers often get wrong.
const TRAPS: &[&str] = &[
    "\0",
    " ",
    "\t",
    "\n",
    "\u{a0}",
    "\u{661}",
    "\u{ff11}",
    "\u{feff}",
    "\u{202e}",
    "é",
    "+",
    "-",
    "--",
    ".",
    "..",
    ",",
    "=",
    "==",
    "e",
    "E5",
    "0",
    "00",
    "9",
    "99999999999999999999",
    "0x",
    "_",
    "/",
    ":",
    ";",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    "{}",
    "[]",
    "null",
    "true",
    "1e999",
    "-0",
    "v1,",
    " v1,",
    "%00",
    "NaN",
    "'",
    "#",
];

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |at: usize| {
            if bytes.is_empty() {
                0
            } else {
                at % bytes.len()
            }
        };
        let range =
            |at: usize, length: usize| place(at)..(place(at) + 1 + length % 8).min(bytes.len());
        match *self {
            Self::Put(at, text) => {
                drop(bytes.splice(at % (bytes.len() + 1)..at % (bytes.len() + 1), text.bytes()))
            }
            _ if bytes.is_empty() => {}
            Self::Bit(at, bit) => {
                let at = place(at);
                bytes[at] ^= 1 << (bit % 8);
            }
            Self::Byte(at, byte) => {
                let at = place(at);
                bytes[at] = byte;
            }
            Self::Cut(at, length) => drop(bytes.drain(range(at, length))),
            Self::Again(at, length) => {
                let part = bytes[range(at, length)].to_vec();
                let at = place(at);
                drop(bytes.splice(at..at, part));
            }
            Self::Swap(one, other) => {
                let (one, other) = (place(one), place(other));
                bytes.swap(one, other);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, bit)| Change::Bit(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (at(), prop::sample::select(TRAPS)).prop_map(|(at, text)| Change::Put(at, text)),
        (at(), at()).prop_map(|(at, length)| Change::Cut(at, length)),
        (at(), at()).prop_map(|(at, length)| Change::Again(at, length)),
        (at(), at()).prop_map(|(one, other)| Change::Swap(one, other)),
    ]
}

/// The values of a strategy, with none to a few changes.
pub(crate) fn spoiled(good: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (good, prop::collection::vec(change(), 0..=CHANGES_MAX)).prop_map(|(mut bytes, changes)| {
        changes.iter().for_each(|change| change.apply(&mut bytes));
        bytes
    })
}

/// The same for texts; invalid UTF-8 becomes replacement characters.
pub(crate) fn spoiled_text(good: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    spoiled(good.prop_map(String::into_bytes))
        .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The members of a JSON object in their order, read without any code of ours; metadata is kept as it is written.
#[derive(Debug)]
pub(crate) struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

impl Members {
    /// Of a whole text; `None` when it is no JSON object.
    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// Whether a name is there twice.
    pub(crate) fn has_repeated(&self, of: impl Fn(&str) -> bool) -> bool {
        let mut seen = BTreeMap::new();
        self.0
            .iter()
            .any(|(name, _)| of(name) && seen.insert(name, ()).is_some())
    }

    /// All names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// A member as it is written.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.get())
    }

    /// A member's value; what no reader could hold (`1e999`, half a surrogate) is `null`, which nothing takes.
    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        self.raw(name)
            .map(|text| serde_json::from_str(text).unwrap_or(Value::Null))
    }
}
