//! Senders, that send until they are acknowledged, and readers.

use std::rc::Rc;
use std::time::Duration;

use balance_coordinator::coordinator::messages::{
    GetBalance, PostAtomic, PostBatch, PostEntries, ToActor, ToUser,
};
use balance_coordinator::domain::{
    Amount, Change, Currencies, EventId, Kind, NewEntry, Reversal, Source, TxHash, UserId,
};
use balance_coordinator::ledger::{EntryOutcome, Lane, Posted};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::books::shown;
use super::ledger::TIMEOUT_MS;
use super::network::Network;
use super::oracle::Item;
use super::random::Chance;
use super::world::note;

const TIMEOUT: Duration = Duration::from_millis(TIMEOUT_MS);

/// How entries travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Each by a webhook of its own.
    Single,
    /// In one batch.
    Batch,
    /// In one batch, all or nothing.
    Atomic,
}

/// An entry as a webhook would make it.
pub fn entry(event: &str, item: Item, tx_hash: Option<TxHash>) -> NewEntry {
    NewEntry {
        event_id: EventId::parse(event).expect("an event id"),
        user_id: UserId::new(item.user).expect("a user id"),
        kind: item.kind,
        change: change(event, item),
        source: Source::from(item.kind),
        tx_hash,
        details: None,
    }
}

/// A reversal is of the entry whose event id is in its own, behind the colon.
fn change(event: &str, item: Item) -> Change {
    let Item {
        currency, minor, ..
    } = item;
    match event.split_once(':') {
        Some((_, reverses)) if item.kind == Kind::Reversal => {
            let amount = shown(minor.abs());
            Change::Reversal(Box::new(Reversal {
                reverses: EventId::parse(reverses).expect("an event id"),
                currency: Some(currency),
                amount: Some(amount.into()),
            }))
        }
        _ => Change::Plain {
            currency,
            amount: Amount::from_minor(minor),
        },
    }
}

/// Something to post.
pub fn item(chance: &mut Chance, users: i64) -> Item {
    let currencies = Currencies::default();
    let all: Vec<_> = currencies.iter().map(|(id, _)| id).collect();
    let kinds = [
        Kind::Reward,
        Kind::Reward,
        Kind::Reward,
        Kind::Deposit,
        Kind::Deposit,
        Kind::Withdrawal,
        Kind::Adjustment,
    ];
    let kind = *chance.pick(&kinds).expect("several");
    let size = chance.between(1, 2_000_000_000) as i64;
    let is_negative = kind == Kind::Withdrawal || kind == Kind::Adjustment && chance.percent(50);
    Item {
        user: chance.between(1, users as u64) as i64,
        kind,
        currency: *chance.pick(&all).expect("several"),
        minor: if is_negative { -size } else { size },
    }
}

/// Sends entries again and again until each has a final answer.
pub async fn send(
    network: Rc<Network>,
    mut entries: Vec<NewEntry>,
    shape: Shape,
    mut chance: Chance,
) {
    while !entries.is_empty() {
        let asked_us = network.world.now_us();
        for entry in &entries {
            note!(
                network.world,
                "send {} to user {} by {shape:?}",
                entry.event_id.as_str(),
                entry.user_id
            );
            network.world.lock().oracle.sends(entry);
        }
        let outcomes = match shape {
            Shape::Single | Shape::Batch => post_each(&network, &entries, shape).await,
            Shape::Atomic => post_atomic(&network, &entries).await,
        };
        let mut again = Vec::new();
        let is_refused = outcomes
            .iter()
            .any(|outcome| *outcome == Some(EntryOutcome::NotApplied));
        for (entry, outcome) in entries.into_iter().zip(outcomes) {
            note!(
                network.world,
                "answer {} {outcome:?}",
                entry.event_id.as_str()
            );
            if is_refused
                && network
                    .world
                    .lock()
                    .oracle
                    .books
                    .find(entry.event_id.as_str())
                    .is_some()
            {
                network.world.violation(&format!(
                    "{} is there though its batch was refused",
                    entry.event_id.as_str()
                ));
            }
            let mut is_final = is_refused;
            if let Some(outcome) = outcome {
                network.world.check(|oracle, _| {
                    is_final |=
                        oracle.answered(&entry, &outcome, shape == Shape::Atomic, asked_us)?;
                    Ok(())
                });
            }
            if !is_final {
                again.push(entry);
            }
        }
        entries = again;
        if !entries.is_empty() {
            sleep(Duration::from_millis(chance.between(100, 1500))).await;
        }
    }
}

async fn post_each(
    network: &Network,
    entries: &[NewEntry],
    shape: Shape,
) -> Vec<Option<EntryOutcome>> {
    let process = network.process();
    let lane = if shape == Shape::Single {
        Lane::Single
    } else {
        Lane::Bulk
    };
    let mut parts = Vec::new();
    let mut answers = Vec::new();
    let asked_us = network.world.now_us();
    for entry in entries {
        let (reply, answer) = oneshot::channel();
        let permit = process.admission.try_acquire(lane, 1).expect("room");
        let deadline = network.world.clock.deadline(TIMEOUT);
        let message = PostEntries {
            entries: vec![entry.clone()],
            lane,
            deadline,
            permit,
            reply,
        };
        parts.push((entry.user_id, message));
        answers.push(answer);
    }
    if shape == Shape::Single {
        for (user_id, part) in parts {
            let message = ToActor::PostEntries(part);
            let sent = process.registry.try_send(ToUser { user_id, message });
            sent.expect("room");
        }
    } else {
        process.registry.try_send(PostBatch(parts)).expect("room");
    }
    let mut outcomes = Vec::new();
    let all = async {
        for (entry, answer) in entries.iter().zip(answers) {
            let posted: Option<Posted> = answer.await.ok();
            network.world.check(|oracle, now_us| {
                oracle.must_answer(entry.user_id.get(), posted.is_some(), asked_us, now_us)
            });
            outcomes.push(posted.and_then(|posted| posted.outcomes.into_iter().next()));
        }
    };
    // Whoever has no answer by then sends again.
    let _ = timeout(TIMEOUT, all).await;
    outcomes.resize(entries.len(), None);
    outcomes
}

async fn post_atomic(network: &Network, entries: &[NewEntry]) -> Vec<Option<EntryOutcome>> {
    let process = network.process();
    let (reply, answer) = oneshot::channel();
    let permit = process
        .admission
        .try_acquire(Lane::Bulk, entries.len())
        .expect("room");
    let deadline = network.world.clock.deadline(TIMEOUT);
    let message = PostAtomic {
        entries: entries.to_vec(),
        deadline,
        permit,
        reply,
    };
    process.registry.try_send(message).expect("room");
    match timeout(TIMEOUT, answer).await {
        Ok(Ok(posted)) => posted.outcomes.into_iter().map(Some).collect(),
        Ok(Err(_)) | Err(_) => vec![None; entries.len()],
    }
}

/// How a reader asks.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    pub user: i64,
    pub is_fresh: bool,
    pub min_version: Option<i64>,
}

/// Asks for a balance once.
pub async fn read(network: Rc<Network>, question: Question) {
    let Question {
        user,
        is_fresh,
        min_version,
    } = question;
    let user_id = UserId::new(user).expect("a user id");
    let (reply, answer) = oneshot::channel();
    let asked_us = network.world.now_us();
    note!(network.world, "{question:?}");
    let message = ToActor::GetBalance(GetBalance {
        is_fresh,
        min_version,
        request: None,
        reply,
    });
    let process = network.process();
    process
        .registry
        .try_send(ToUser { user_id, message })
        .expect("room");
    let answer = timeout(TIMEOUT, answer).await;
    note!(
        network.world,
        "answer to {question:?} of {asked_us} us: {answer:?}"
    );
    let is_answered = !matches!(answer, Ok(Err(_)));
    network
        .world
        .check(|oracle, now_us| oracle.must_answer(user, is_answered, asked_us, now_us));
    if let Ok(Ok(Ok(view))) = answer {
        network.world.check(|oracle, now_us| {
            if min_version.is_some_and(|least| view.account.version < least) {
                return Err(format!(
                    "version {} for who asked for {min_version:?}",
                    view.account.version
                ));
            }
            oracle.read((process.number, user), &view, is_fresh, asked_us, now_us)
        });
    }
}
