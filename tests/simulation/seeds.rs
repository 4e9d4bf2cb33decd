//! Seeds that once failed, each named by what it found. The operations of a seed change when the driver does; the rules that
//! these broke are held by every seed.

use super::PROCESS;

macro_rules! seeds {
    ($($name:ident: $seed:expr),+ $(,)?) => { $(
        #[test]
        fn $name() {
            let report = (PROCESS.run)($seed);
            assert!(report.violations.is_empty(), "{}", PROCESS.explain($seed, &report));
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
    a_commit_while_a_read_hangs_is_answered_as_of_its_time: 80,
    a_probe_that_hangs_does_not_delay_the_recovery: 9,
    a_session_that_waits_for_its_first_read_is_served_when_the_ledger_is_back: 540,
    a_short_wait_is_not_rounded_up_to_the_hanging_time: 381,
    a_push_is_paced_by_the_earliest_commit_though_a_later_version_has_it: 3181,
    an_error_that_is_read_late_is_judged_by_the_time_at_which_it_was_said: 3046,
    a_fresh_read_that_waited_behind_one_that_failed_is_marked_stale: 2669,
    a_fresh_read_behind_a_failed_one_is_marked_though_a_commit_came_between: 3830,
    a_refresh_that_an_old_copy_of_the_ledger_answers_is_answered: 2590,
    a_refresh_is_answered_when_the_ledger_is_away_and_only_an_old_copy_is_known: 5957,
    a_commit_is_the_first_balance_of_a_session_whose_actor_died_in_an_outage: 2334,
    a_commit_whose_actor_died_is_the_first_balance_that_the_next_one_knows: 6648,
    changes_that_a_read_found_are_not_pushed_early_once_their_commits_are_heard_of: 7170,
    a_change_found_by_a_read_counts_from_the_earliest_commit_that_is_heard_of: 7494,
    a_session_whose_attachment_died_with_its_actor_attaches_again_at_once: 346,
    a_push_that_follows_a_read_keeps_the_time_of_its_commits: 761,
    an_answer_of_a_process_that_has_ended_is_judged_by_what_that_process_knew: 214,
    a_read_that_hangs_is_tried_again_though_another_one_has_failed_meanwhile: 5_001_766,
    a_commit_from_before_the_actor_that_is_heard_of_late_is_not_called_fresh: 5_001_009,
    a_commit_that_is_heard_of_behind_a_later_one_is_told_with_the_time_of_its_commit: 5_002_023,
    what_is_known_from_hearsay_is_not_answered_from_memory: 5_002_974,
    a_fresh_read_that_waits_for_a_version_is_answered_by_the_ledger_and_not_by_an_old_commit: 9_014_469,
    what_was_sent_before_two_epochs_began_may_be_read_after_the_loss: 30_011_748,
}
