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
fn however_many_users_are_made_an_entry_waits_for_one_of_them() {
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
fn users_to_be_made_that_nobody_waits_for_are_left_out_and_too_many_refused() {
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
    // That nobody waits for one is seen when its turn comes.
    assert_eq!((refused, made), (2, ORDERS_MAX - 1));
}

#[test]
fn an_order_has_its_place_until_its_turn_and_none_is_tried_once_the_writer_gives_up() {
    let rig = rig(&[]);
    let held = rig.hold();
    let first = rig.single("first");
    let users: Vec<_> = (0..ORDERS_MAX).map(|_| rig.put_user()).collect();
    assert!(
        matches!(
            rig.put_user().blocking_recv(),
            Ok(Err(LedgerError::Overloaded))
        ),
        "though none was taken yet"
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
