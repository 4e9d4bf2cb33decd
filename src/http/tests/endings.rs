//! How a session ends: its actor always hears of it.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::clock::{Clock, Wall};
use crate::config::{Settings, Sources};
use crate::coordinator::messages::{InspectRegistry, Peer, ToActor, ToUser};
use crate::coordinator::pacing::Intervals;
use crate::coordinator::{Policy, Recent, Registry, Shared};
use crate::credentials::access::CurrentAccess;
use crate::domain::{Currencies, SessionId, UserId};
use crate::http::session::shared::SessionShared;
use crate::http::start_over;
use crate::ledger::memory::MemoryLedger;
use crate::telemetry::counters::Counters;

fn sessions() -> Arc<SessionShared> {
    tokio::time::pause();
    let secret = "the-session-secret-of-this-test-of-32-bytes";
    let sources = Sources {
        environment: [("BALANCE_AUTH__SESSION_SECRETS".into(), secret.into())].into(),
        ..Sources::default()
    };
    let mut settings = Settings::load(&sources).expect("good settings");
    let access = CurrentAccess::take(&mut settings);
    let (clock, counters) = (
        Clock::virtual_from(1_754_301_900_000_000),
        Arc::new(Counters::default()),
    );
    let (orphans, unheard) = mpsc::channel(1);
    let ledger = Arc::new(MemoryLedger::new(clock, orphans));
    let shared = Shared {
        ledger: ledger.clone(),
        clock,
        currencies: Currencies::default(),
        policy: Policy {
            intervals: Intervals {
                debounce_us: 1_500_000,
                min_interval_us: 5_000_000,
                direct_interval_us: 100_000,
            },
            direct_kinds: Vec::new(),
            cache_ttl_us: 300_000_000,
            cache_entries_max: 10,
            cache_sweep_ms: 60_000,
            sessions_per_user_max: 3,
            answer_within: Duration::from_secs(5),
            reads_ask_ledger: false,
            checks: None,
            retry_after_ms: 1000,
        },
        counters: counters.clone(),
        coverage: Arc::default(),
        recent: Recent::default(),
    };
    let registry = Registry::new(shared, unheard).start();
    let settings = Arc::new(settings);
    Arc::new(SessionShared::new(
        settings, access, clock, registry, counters, ledger,
    ))
}

#[actix_rt::test]
async fn a_session_that_ends_while_the_registry_is_full_is_forgotten() {
    let shared = sessions();
    let user_id = UserId::new(184).expect("a user id");
    let keys = &shared.access.now().keys;
    let token = keys.issue(user_id, 3600, shared.clock.now_s()).token;
    let peer = Peer {
        address: None,
        user_agent: None,
        connected_at: Wall::default(),
    };
    let (_to_server, mut incoming) = mpsc::unbounded_channel::<Result<Bytes, PayloadError>>();
    let incoming = futures_util::stream::poll_fn(move |cx| incoming.poll_recv(cx));
    let frames = start_over(shared.clone(), Some(&token), peer, incoming).expect("room");
    let mut frames = Box::pin(frames);
    for what in ["hello", "snapshot"] {
        assert!(
            frames.next().await.is_some_and(|frame| frame.is_ok()),
            "{what}"
        );
    }
    let totals = || async { shared.registry.send(InspectRegistry).await.expect("alive") };
    assert_eq!(totals().await.actors_with_sessions, 1);
    // Nothing is taken out meanwhile: this thread is the registry's.
    let another = |id| ToUser {
        user_id: UserId::new(1).expect("a user id"),
        message: ToActor::DetachSession {
            session_id: SessionId(id),
        },
    };
    let fills = (0..).take_while(|id| shared.registry.try_send(another(1000 + id)).is_ok());
    assert!(fills.count() > 1000, "it is full");
    drop(frames);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(totals().await.actors_with_sessions, 0);
}
