//! What a duplicate, a page of a history and a balance cost a user with 10,000,000 entries, beside one with 10 in the same
//! ledger. The other currency of both has its only entry at version 1: to look for it from the newest entry down would be
//! to read the whole history.

use crate::Result;
use crate::bench::Bench;
use crate::client::clock::now_us;
use crate::client::http::{self, Pace};
use crate::client::signing::Signer;
use crate::measure::{median, ms};
use crate::report::{Figure, Gate};
use crate::system::database::Database;
use crate::system::service::Service;

const RUN: &str = "history";
/// Entries of the user beside.
const FEW: i64 = 10;
/// Entries of a page: the user beside has as many before the middle.
const PAGE: i64 = FEW / 2;

#[derive(Clone, Copy)]
struct User {
    id: i64,
    entries: i64,
}

/// What is asked for.
#[derive(Clone, Copy)]
enum Question {
    /// The entry of a version again.
    Duplicate(Place),
    /// A page that ends with that of a version.
    Page(Place),
    Balance,
}

#[derive(Clone, Copy)]
enum Place {
    Beginning,
    Middle,
    End,
}

const QUESTIONS: [(&str, Question); 7] = [
    (
        "duplicate of an early entry",
        Question::Duplicate(Place::Beginning),
    ),
    (
        "duplicate from the middle",
        Question::Duplicate(Place::Middle),
    ),
    (
        "duplicate of the newest entry",
        Question::Duplicate(Place::End),
    ),
    (
        "page of the earliest entries",
        Question::Page(Place::Beginning),
    ),
    ("page from the middle", Question::Page(Place::Middle)),
    ("page of the newest entries", Question::Page(Place::End)),
    ("fresh balance", Question::Balance),
];

impl User {
    fn version(self, place: Place) -> i64 {
        match place {
            Place::Beginning => PAGE,
            Place::Middle => self.entries / 2,
            Place::End => self.entries,
        }
    }
}

impl Question {
    fn request(self, signer: &Signer, user: User) -> Vec<u8> {
        let id = user.id;
        match self {
            Self::Duplicate(place) => {
                let event_id = format!("h:{id}:{}", user.version(place));
                let body = format!(
                    r#"{{"event_id":"{event_id}","user_id":{id},"currency":"TON","amount":"0.000000001"}}"#
                );
                signer.request("POST", "/internal/v1/rewards", "load", body.as_bytes())
            }
            Self::Page(place) => {
                let before = user.version(place) + 1;
                let path =
                    format!("/internal/v1/users/{id}/entries?limit={PAGE}&before_version={before}");
                signer.request("GET", &path, "load", b"")
            }
            Self::Balance => {
                let path = format!("/internal/v1/users/{id}/balance?fresh=true");
                signer.request("GET", &path, "load", b"")
            }
        }
    }

    /// A part of the right answer.
    fn expected(self, user: User) -> String {
        match self {
            Self::Duplicate(place) => {
                format!(r#""version":{},"duplicate":true"#, user.version(place))
            }
            Self::Page(place) => format!(r#""version":{},"#, user.version(place)),
            Self::Balance => format!(r#""version":{}}}"#, user.entries),
        }
    }
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let many = bench.size(bench.options.entries, 10_000_000, 50_000);
    let users = [
        User {
            id: 1,
            entries: FEW,
        },
        User {
            id: 2,
            entries: i64::try_from(many)?,
        },
    ];
    for database in bench.databases()? {
        measure(bench, &database, users)?;
    }
    Ok(())
}

fn measure(bench: &mut Bench, database: &Database, users: [User; 2]) -> Result<()> {
    let rounds = bench.size(bench.options.rounds, 5, 1);
    let asked = bench.size(None, 500, 20);
    let bar = bench.bar(RUN, rounds * QUESTIONS.len() + 1);
    database.migrate()?;
    for user in users {
        database.execute(&filling(database, user))?;
    }
    let mut service = bench.launch(RUN, &[]).start(database)?;
    bar.inc(1);
    let mut costs_us = vec![[Vec::new(), Vec::new()]; QUESTIONS.len()];
    for _ in 0..rounds {
        for ((_, question), costs_us) in QUESTIONS.into_iter().zip(&mut costs_us) {
            for (user, costs_us) in users.into_iter().zip(costs_us) {
                costs_us.push(cost_us(bench, &service, question, user, asked)?);
            }
            bar.inc(1);
        }
    }
    bench.finish(&mut service)?;
    bar.finish();
    for ((what, _), [few, many]) in QUESTIONS.into_iter().zip(&costs_us) {
        let what = format!("{what}, {} entries, {}", users[1].entries, database.kind());
        let figure = Figure::new(RUN, what, median(many), "µs")
            .beside(format!("{FEW} entries"), median(few));
        bench.report.figures.push(figure.gate(Gate::AtMost(2.0)));
    }
    Ok(())
}

/// The median latency of one question, asked again and again, each after the answer to the last.
fn cost_us(
    bench: &mut Bench,
    service: &Service,
    question: Question,
    user: User,
    asked: usize,
) -> Result<f64> {
    let expected = question.expected(user);
    let mut wrong = None;
    let signer = bench.signer.clone();
    let requests = (0..asked).map(|_| question.request(&signer, user));
    let outcome = http::run(
        service.internal,
        1,
        Pace::AsAnswered,
        requests,
        &mut |answer| {
            if answer.status != 200 || http::find(answer.body, expected.as_bytes()).is_none() {
                wrong = Some(String::from_utf8_lossy(answer.body).into_owned());
            }
        },
    )?;
    bench.report.check(
        || format!("user {} is answered {expected}, but: {wrong:?}", user.id),
        wrong.is_none() && outcome.answers() == asked as u64,
    );
    Ok(ms(&outcome.latencies, 0.5) * 1000.0)
}

/// SQL that gives a user its entries: the first in UNI, the others in TON, each of one smallest unit.
fn filling(database: &Database, User { id, entries }: User) -> String {
    let now_us = now_us();
    let event_id = format!("'h:' || {id} || ':' || v");
    let (before, numbers, after, digest) = match database {
        Database::Sqlite { .. } => (
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; BEGIN;",
            format!(
                "(WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < {entries}) SELECT v FROM n)"
            ),
            "COMMIT; PRAGMA journal_mode = WAL;",
            [
                ", event_digest".to_owned(),
                format!(", event_digest({event_id})"),
            ],
        ),
        Database::Postgres { .. } => (
            "",
            format!("(SELECT v FROM generate_series(1::BIGINT, {entries}) AS v)"),
            "ANALYZE entries;",
            [String::new(), String::new()],
        ),
    };
    let last = entries - 1;
    let [digest, digest_of] = digest;
    format!(
        "{before} \
         INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, other_balances, event_id, \
         committed_at_us{digest}) \
         SELECT {id}, v, 'reward', 'reward', CASE WHEN v = 1 THEN 'UNI' ELSE 'TON' END, 1, \
         CASE WHEN v = 1 THEN 1 ELSE v - 1 END, CASE WHEN v = 1 THEN NULL ELSE '{{\"UNI\":1}}' END, {event_id}, {now_us}{digest_of} FROM {numbers} AS numbers; \
         INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) VALUES ({id}, {entries}, {now_us}, {now_us}); \
         INSERT INTO balances (user_id, currency, amount) VALUES ({id}, 'UNI', 1), ({id}, 'TON', {last}); \
         {after}"
    )
}
