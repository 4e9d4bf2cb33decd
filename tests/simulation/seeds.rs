//! Seeds that once failed, each named by what it found. The operations of a seed change when the driver does; the rules that
//! these broke are held by every seed.

use super::explain;
use super::run::run;

macro_rules! seeds {
    ($($name:ident: $seed:expr),+ $(,)?) => { $(
        #[test]
        fn $name() {
            let report = run($seed, None);
            assert!(report.violations.is_empty(), "{}", explain($seed, &report));
        }
    )+ };
}

seeds! {
    a_refresh_behind_a_hanging_read_is_answered_in_time: 2,
    a_session_whose_actor_died_is_not_left_without_pushes_after_an_old_read: 4,
    a_change_behind_the_services_back_reaches_open_sessions_in_the_time_to_live: 7,
    a_session_that_is_being_closed_takes_nobodys_place: 8,
    a_read_that_hangs_does_not_delay_the_recovery: 84,
    the_distance_between_pushes_outlives_the_actor: 144,
    a_commit_since_the_question_is_no_stale_answer: 80,
    a_probe_that_hangs_does_not_delay_the_recovery: 9,
    a_session_that_waits_for_its_first_read_is_served_when_the_ledger_is_back: 540,
    a_short_wait_is_not_rounded_up_to_the_hanging_time: 381,
}
