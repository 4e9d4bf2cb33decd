//! Orders of administrators while the registry hangs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use actix::{Addr, AsyncContext as _, Context};
use actix_web::http::StatusCode;
use actix_web::web::Data;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::cluster::orders::Orders;
use crate::cluster::overview::Overview;
use crate::cluster::view::ClusterView;
use crate::config::{DatabaseUrl, Schema, Settings, Sources};
use crate::coordinator::Registry;
use crate::coordinator::auditing::AuditBoard;
use crate::credentials::access::CurrentAccess;
use crate::domain::{Rules, UserId};
use crate::http::HttpState;
use crate::http::admin::disconnect;
use crate::http::extract::PathUser;
use crate::http::extract::admin::Admin;
use crate::http::session::shared::SessionShared;
use crate::ledger::{Options, OwnNode, Progress, SqlLedger};

fn order() -> Admin<PathUser> {
    Admin {
        name: "admin-1".into(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        asked: PathUser(UserId::new(184).expect("a user id")),
    }
}

fn settings(dir: &std::path::Path) -> Settings {
    let database = format!("sqlite://{}", dir.join("ledger.db").display());
    let variables = [
        (
            "BALANCE_AUTH__SESSION_SECRETS",
            "the-session-secret-of-this-test-of-32-bytes",
        ),
        ("BALANCE_DATABASE__URL", &database),
        ("BALANCE_DATABASE__TIMEOUT_MS", "200"),
    ];
    let environment = variables.map(|(name, value)| (name.into(), value.into()));
    let sources = Sources {
        environment: environment.into(),
        ..Sources::default()
    };
    Settings::load(&sources).expect("good settings")
}

fn state(dir: &std::path::Path, registry: Addr<Registry>) -> Data<HttpState> {
    let (mut settings, clock) = (settings(dir), Clock::system());
    let options = Options {
        url: settings.database.url.clone(),
        schema: Schema::default(),
        pool_size: 1,
        writers: 1,
        migrate_on_start: true,
        timeout_ms: 20_000,
        lock_timeout_ms: 1000,
        conflicts_max: 1000,
        currencies: settings.currencies.clone(),
        rules: Rules { auto_create: true },
        clock,
        counters: Arc::default(),
        feed: None,
    };
    assert!(matches!(options.url, DatabaseUrl::Sqlite(_)));
    let (ledger, _) = SqlLedger::open(options, &Progress::start(clock)).expect("a new ledger");
    let own = OwnNode {
        node: "a".into(),
        boot: "a1".into(),
        build: "test".into(),
        has_bus: false,
        sessions: 0,
    };
    let board = AuditBoard::new(1, clock, Arc::default());
    let access = CurrentAccess::take(&mut settings);
    let (settings, ledger) = (Arc::new(settings), Arc::new(ledger));
    let sessions = SessionShared::new(
        settings,
        access,
        clock,
        registry,
        Arc::default(),
        ledger.clone(),
    );
    let overview = Overview::new(own, Arc::default(), Arc::default(), clock);
    Data::new(HttpState::new(
        sessions,
        ledger,
        Arc::new(board),
        Arc::new(overview),
    ))
}

/// It takes messages, and answers none.
#[actix_rt::test]
async fn sessions_are_closed_without_waiting_for_the_registry() {
    let dir = tempfile::tempdir().expect("a directory");
    let hanging = Context::<Registry>::new();
    let state = state(dir.path(), hanging.address());
    let answer = disconnect(state.clone(), order()).await;
    let answer = answer.expect("there is nothing to wait for");
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);

    // In a cluster the answer tells how many sessions were closed.
    let (orders, _desk) = Orders::new();
    let view = watch::Sender::new(ClusterView::default());
    state.cluster.sees_bus(view.subscribe(), orders);
    let refused = disconnect(state.clone(), order()).await;
    let refused = refused.expect_err("how many is unknown");
    assert_eq!(refused.code().as_str(), "ledger_unavailable");
    state.ledger.finish();
    state.ledger.stop();
}
