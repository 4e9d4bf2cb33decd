//! Users to be made and orders of administrators, between the transactions of entries.

use super::*;
use crate::domain::UserId;
use crate::ledger::{PutUser, PutUserOutcome};
use crate::limits::ORDERS_MAX;

impl Rig {
    fn put_user(&self) -> oneshot::Receiver<Result<PutUserOutcome, LedgerError>> {
        let (reply, answer) = oneshot::channel();
        let user = PutUser {
            user_id: UserId::new(7).expect("an id"),
            telegram_id: None,
            now_us: 0,
        };
        self.writer.order(Order::PutUser(user, reply));
        answer
    }
}

#[test]
fn an_entry_waits_for_one_user_to_be_made_however_many_wait() {
    let rig = rig(&[]);
    let held = rig.hold();
    let first = rig.single("first");
    let users: Vec<_> = (0..100).map(|_| rig.put_user()).collect();
    let single = rig.single("single");
    drop(held);
    assert!(version(first).is_ok() && version(single).is_ok());
    for user in users {
        assert!(user.blocking_recv().expect("answered").is_ok());
    }
    let log = rig.hold().log.concat();
    let place = log
        .iter()
        .position(|logged| logged == "single")
        .expect("it is committed");
    assert!(
        log[..place]
            .iter()
            .filter(|logged| *logged == "user")
            .count()
            <= 1,
        "{log:?}"
    );
    assert_eq!(log.len(), 102);
}

#[test]
fn orders_without_a_receiver_are_left_out_and_too_many_are_refused() {
    let rig = rig(&[]);
    let held = rig.hold();
    let first = rig.single("first");
    drop(rig.put_user());
    let users: Vec<_> = (0..=ORDERS_MAX).map(|_| rig.put_user()).collect();
    drop(held);
    assert!(version(first).is_ok());
    let answers: Vec<_> = users
        .into_iter()
        .map(|user| user.blocking_recv().expect("answered"))
        .collect();
    let refused = answers
        .iter()
        .filter(|answer| matches!(answer, Err(LedgerError::Overloaded)))
        .count();
    let made = rig
        .hold()
        .log
        .iter()
        .filter(|commit| commit.concat() == "user")
        .count();
    // An order without a receiver keeps its place until its turn.
    assert_eq!((refused, made), (2, ORDERS_MAX - 1));
}

#[test]
fn an_order_keeps_its_place_until_its_turn_and_a_writer_that_gives_up_carries_out_none() {
    let rig = rig(&[]);
    let held = rig.hold();
    let first = rig.single("first");
    let users: Vec<_> = (0..ORDERS_MAX).map(|_| rig.put_user()).collect();
    assert!(
        matches!(
            rig.put_user().blocking_recv(),
            Ok(Err(LedgerError::Overloaded))
        ),
        "though none has begun"
    );
    rig.writer.abort();
    drop(held);
    assert!(version(first).is_ok());
    for user in users {
        assert!(matches!(
            user.blocking_recv(),
            Ok(Err(LedgerError::Unavailable(_)))
        ));
    }
    rig.writer.stop();
    assert_eq!(rig.hold().log.concat(), ["first"]);
}
