//! What a read costs does not grow with a user's history: SQLite finds every row by an index.

use std::sync::{Arc, Mutex};

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel::sql_types::Text;

use super::*;
use crate::clock::Clock;
use crate::config::{DatabaseUrl, Schema};
use crate::domain::EventId;
use crate::ledger::connection::{Access, Source};
use crate::ledger::rows::event_digest;
use crate::ledger::{Progress, migrations};

/// The SQL that a connection ran.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

impl Instrumentation for Statements {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let shown = query.to_string();
            let sql = shown.split(" -- binds:").next().unwrap_or_default();
            self.0.lock().expect("one thread").push(sql.to_owned());
        }
    }
}

#[derive(QueryableByName)]
struct PlanStep {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// Whether a step finds its rows by an index.
fn is_short(detail: &str) -> bool {
    detail.starts_with("SEARCH") || ["SCAN CONSTANT ROW", "SCALAR SUBQUERY 1"].contains(&detail)
}

#[test]
fn no_read_of_one_user_goes_through_the_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = DatabaseUrl::Sqlite(folder.path().join("ledger.db"));
    let source = Source::new(&url, &Schema::default());
    let progress = Progress::start(Clock::system());
    migrations::apply_missing(&source, false, &progress).expect("migrated");
    let connected = source.connect(1000, "", Access::Write).expect("connected");
    let mut connection = connected.connection;
    let currencies = Currencies::default();
    let user = UserId::new(184).expect("valid");
    let page = HistoryPage {
        limit: 50,
        before_version: Some(400_000),
    };

    let statements = Statements::default();
    connection.set_instrumentation(statements.clone());
    account(&mut connection, user, &currencies).expect("read");
    // The new ledger has no such version.
    assert!(balances_at(&mut connection, user, 400_000, &currencies).is_err());
    history(&mut connection, user, page, &currencies).expect("read");
    user_exists(&mut connection, user).expect("read");
    let key = look_ups::EntryKey::Event(EventId::parse("farm:184").expect("valid"));
    look_ups::entry(&mut connection, &key, &currencies).expect("read");
    let sqlite = connection.sqlite().expect("a file");
    event_digest::complete(sqlite, i64::MIN, i64::MAX).expect("none is there");
    let ran = std::mem::take(&mut *statements.0.lock().expect("one thread"));
    assert_eq!(ran.len(), 7, "{ran:#?}");

    let mut finds_one_version = 0;
    for sql in ran {
        let plan: Vec<PlanStep> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}"))
            .load(&mut connection)
            .expect("a plan");
        let details: Vec<&str> = plan.iter().map(|step| step.detail.as_str()).collect();
        assert!(!details.is_empty(), "{sql}");
        assert!(
            details.iter().all(|detail| is_short(detail)),
            "{sql}\n{details:#?}"
        );
        finds_one_version += details
            .iter()
            .filter(|detail| detail.contains("(user_id=? AND version=?)"))
            .filter(|detail| detail.contains("entries"))
            .count();
    }
    assert_eq!(finds_one_version, 1);
}
