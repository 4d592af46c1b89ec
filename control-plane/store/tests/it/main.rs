//! The store's contract: one suite, run on every engine. A test takes an open, empty store and owns it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod current_engine;
mod engine;
mod audit;
mod bodies;
mod exactly_once;
mod import;
mod leases;
mod ledger;
mod alerts;
mod exports;
mod logs;
mod log_sessions;
mod logs_elsewhere;
mod membership;
mod nodes;
mod opening;
mod outage;
mod resources;
mod revision_gap;
mod revisions;
mod server;
mod sessions;
mod traffic;
mod spend;
mod usage;

/// Runs every test of the contract on one engine.
macro_rules! contract {
    ($engine:ident: $($area:ident::{$($test:ident),+ $(,)?})+) => {
        mod $engine {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let Some(world) = crate::engine::$engine().await else { return };
                    crate::$area::$test(&world.store).await;
                }
            )+)+
        }
    };
}

macro_rules! engines {
    ($($engine:ident),+; $tests:tt) => { $(engines!(@one $engine $tests);)+ };
    (@one $engine:ident { $($tests:tt)+ }) => { contract!($engine: $($tests)+); };
}

engines!(memory, file, postgres; {
    resources::{
        an_item_comes_back_as_it_was_written,
        items_are_paged_by_name,
        an_item_is_found_by_name_or_id,
        a_key_is_found_by_its_digest,
        names_and_digests_are_unique,
    }
    exports::{
        each_record_is_behind_the_cursor_or_before_it,
        what_is_deleted_before_it_was_sent_is_counted,
    }
    revisions::{
        each_class_has_its_own_line,
        a_commit_from_an_old_head_is_refused,
        a_failed_commit_leaves_nothing,
        changes_come_in_whole_revisions,
        earlier_states_are_known,
        compaction_keeps_states_and_says_from_where_changes_are_complete,
        a_name_can_be_taken_over_in_one_commit,
        commits_are_announced,
        concurrent_writers_skip_and_reorder_nothing,
    }
    audit::{entries_are_chained_and_paged, pruning_keeps_the_chain_walkable}
    usage::{
        a_batch_counts_once,
        a_batch_before_its_predecessor_is_kept_but_not_acknowledged,
        every_class_is_kept_and_summed_up,
        events_are_paged_newest_first,
        unpriced_requests_cost_nothing_and_are_counted,
        savings_are_of_those_whose_baseline_is_known,
        pruned_events_stay_in_the_sums,
        whatever_a_node_tells_can_be_stored,
        a_large_batch_fits,
    }
    spend::{
        sums_agree_with_each_other_and_with_the_events,
        a_page_goes_on_after_the_last_group,
        a_window_is_priced_anew_exactly,
    }
    logs::{
        records_are_filtered_and_paged,
        a_record_counts_once_and_losses_are_kept,
        retention_bounds_age_and_number,
        whatever_a_record_says_can_be_stored,
        a_reader_that_was_away_catches_up,
        records_are_found_by_what_they_say,
        a_search_looks_at_a_day_and_says_where_to_go_on,
        a_needle_is_found_among_many,
        numbers_are_found_by_how_great_they_are,
        those_that_are_far_back_are_found_by_any_field_once_and_in_order,
    }
    log_sessions::{
        a_session_is_the_sum_of_its_requests,
        sessions_are_found_and_paged,
        whatever_a_session_is_called_is_bounded,
        nobody_makes_sessions_large_or_late,
        sessions_go_with_their_records,
    }
    bodies::{a_body_is_stored_once_and_losses_are_kept, bodies_are_kept_for_a_while}
    nodes::{a_node_keeps_its_first_sight, nodes_that_are_gone_are_forgotten, watermarks_of_boots_that_are_over_are_forgotten}
    ledger::{
        what_is_granted_stays_within_the_amount,
        usage_moves_from_leased_to_spent_exactly_once,
        what_was_spent_beyond_a_lease_is_booked,
        what_a_revoked_node_holds_goes_back,
        windows_that_count_share_one_amount,
        what_nobody_heard_of_a_window_that_is_over_is_free,
        a_boot_that_is_over_gives_back_the_rest,
        reseed_idempotent,
        clock_jumps,
        nodes_at_once_never_share_a_dollar,
    }
    alerts::{a_part_of_a_window_is_told_once, what_was_not_taken_is_sent_again, no_more_than_so_many_wait, an_alert_that_somebody_sees_to_is_sent_no_more}
    sessions::{a_session_lasts_until_its_end}
    traffic::{minutes_are_summed_up_once}
    leases::{a_lease_has_one_holder, a_lease_that_is_over_goes_on_with_a_higher_number}
    membership::{
        the_first_authority_stays,
        a_token_is_used_as_often_as_it_may_be,
        many_at_once_use_a_token_once,
        a_revoked_member_stays_out,
        what_is_over_is_forgotten,
        a_new_epoch_is_announced,
        replicas_know_of_each_other,
    }
});

engines!(clickhouse; {
    logs::{
        records_are_filtered_and_paged,
        a_record_counts_once_and_losses_are_kept,
        whatever_a_record_says_can_be_stored,
        a_reader_that_was_away_catches_up,
        records_are_found_by_what_they_say,
        a_search_looks_at_a_day_and_says_where_to_go_on,
        a_needle_is_found_among_many,
        numbers_are_found_by_how_great_they_are,
        those_that_are_far_back_are_found_by_any_field_once_and_in_order,
    }
    exports::{each_record_is_behind_the_cursor_or_before_it}
    traffic::{minutes_are_summed_up_once}
});
