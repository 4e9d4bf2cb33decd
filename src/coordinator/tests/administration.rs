//! What administrators see of an actor.

use crate::coordinator::messages::InspectResident;
use crate::coordinator::tests::rig::Rig;
use crate::domain::Kind;

#[actix_rt::test]
async fn an_actor_that_does_not_answer_is_shown_from_outside() {
    let rig = Rig::start().await;
    rig.post(184, "d", Kind::Deposit, 5)
        .await
        .expect("accepted");
    let user_id = crate::domain::UserId::new(184).expect("user id");
    // More than its mailbox holds, and the question behind them.
    let burst = rig.burst(184, crate::limits::ACTOR_MAILBOX_MAX + 1);
    let (from_outside, from_inside) = rig
        .registry
        .send(InspectResident(user_id))
        .await
        .expect("alive")
        .expect("resident");
    assert!(
        from_inside.await.is_err(),
        "it has no room for the question"
    );
    let shown = serde_json::to_value(&from_outside).expect("serializable");
    assert_eq!(
        (&shown["stale"], &shown["version"]),
        (&true.into(), &1.into()),
        "{shown}"
    );
    assert_eq!(shown["mailbox"]["queued"], crate::limits::ACTOR_MAILBOX_MAX);
    assert_eq!(
        (&shown["balances"], &shown["counters"]["is_stale"]),
        (&().into(), &().into())
    );
    drop(burst);
    rig.settle().await;
    let (_, from_inside) = rig
        .registry
        .send(InspectResident(user_id))
        .await
        .expect("alive")
        .expect("resident");
    let shown =
        serde_json::to_value(from_inside.await.expect("it answers again")).expect("serializable");
    assert_eq!(shown["stale"], false);
}
