//! Planted bugs: each must be caught within a few worlds, by the oracle that is there for it, in a
//! world that passes without it.

use campusgrid_sim::oracle::Oracle;
use campusgrid_sim::saboteur::Bug;

use crate::play;

/// Plants a bug in one world after another until an oracle finds something.
#[track_caller]
fn is_caught(bug: Bug, by: &[Oracle], within_seeds: u64) {
    for seed in 0..within_seeds {
        let Err(finding) = play(seed, Some(bug)) else { continue };
        println!("{bug:?} is caught with seed {seed} by {finding}");
        assert!(by.contains(&finding.oracle), "{bug:?}: {finding}, and not one of {by:?}");
        if let Err(finding) = play(seed, None) {
            panic!("seed {seed} does not pass without {bug:?}: {finding}");
        }
        return;
    }
    panic!("{bug:?} went unnoticed in {within_seeds} worlds");
}

/// A change that is not written is missed at once where recovery needs it; where the next change
/// of the same batch covers it, by what the disk then does not tell.
#[test]
fn a_forgotten_change_of_any_kind() {
    for kind in [
        "UserRegistered",
        "Account",
        "Transferred",
        "JobSubmitted",
        "SubmitKeyKept",
        "SubmitKeyForgotten",
        "TaskLeased",
        "JobLocked",
        "AttemptStarted",
        "TaskCancelling",
        "TaskRequeued",
        "TaskEnded",
        "UntouchedCancelled",
        "JobEnded",
        "WorkerApproved",
        "WorkerRenamed",
        "WorkerRemoved",
        "WorkerSetAside",
        "JobCancelling",
        "TaskPausing",
        "TaskRoused",
        "CheckpointSaved",
        "CheckpointDropped",
        "TaskChecking",
        "WorkerRulesSet",
        "WorkerAskSet",
        "WorkerRecord",
        "BidPlaced",
        "BidOver",
        "JobAwarded",
        "JobReopened",
        "AfterMet",
        "JobHoldSet",
        "JobPrioritySet",
        "Drafted",
        "DraftChanged",
        "DraftDiscarded",
        "VoucherMade",
        "VoucherUsed",
        "VoucherOver",
        "RoleSet",
    ] {
        let by = [
            Oracle::MemoryIsDisk,
            Oracle::StoreTakesAll,
            Oracle::AttemptsEnd,
            Oracle::BooksBalance,
            Oracle::OneWinner,
        ];
        is_caught(Bug::ForgetsChange(kind), &by, 300);
    }
}

#[test]
fn a_payment_that_is_written_twice() {
    is_caught(Bug::PaysTwice, &[Oracle::StoreTakesAll], 10);
}

#[test]
fn a_payment_that_people_are_never_shown() {
    is_caught(Bug::ForgetsChange("AttemptPaid"), &[Oracle::BooksBalance], 10);
}

#[test]
fn a_rest_that_is_given_back_twice() {
    is_caught(Bug::RefundsTwice, &[Oracle::StoreTakesAll], 10);
}

#[test]
fn more_paid_than_is_held() {
    is_caught(Bug::PaysAboveTheHold, &[Oracle::BooksBalance], 10);
}

#[test]
fn a_bid_accepted_that_nobody_asked_for() {
    is_caught(Bug::AcceptsAnother, &[Oracle::OneWinner], 300);
}

#[test]
fn minutes_paid_for_that_nothing_was_saved_of() {
    is_caught(Bug::InventsCheckpoints, &[Oracle::CheckpointIsTrue], 60);
}

#[test]
fn a_freeze_that_gets_lost_in_the_worker() {
    is_caught(Bug::LosesFreezes, &[Oracle::FrozenStands], 60);
}

#[test]
fn machines_that_get_tasks_though_their_owners_want_them() {
    is_caught(Bug::IgnoresShares, &[Oracle::ClosedRests], 60);
}

#[test]
fn rules_that_are_agreed_to_and_forgotten() {
    is_caught(Bug::IgnoresRules, &[Oracle::RulesHold], 300);
}

#[test]
fn a_charge_that_is_written_wrong() {
    is_caught(Bug::WritesNoCharge, &[Oracle::BooksBalance], 10);
}

#[test]
fn a_charge_that_is_not_what_the_policy_says() {
    is_caught(Bug::ChargesTheQuote, &[Oracle::MoneyIsRight], 30);
}

/// What nobody would ever run is missed at the end.
#[test]
fn a_cancel_that_is_agreed_to_and_forgotten() {
    let by = [Oracle::CancelledStays, Oracle::EverythingEnds];
    is_caught(Bug::IgnoresCancels, &by, 60);
}

#[test]
fn workers_told_before_the_commit() {
    is_caught(Bug::SendsBeforeCommit, &[Oracle::ToldIsOnDisk, Oracle::RemovedStaysOut], 10);
}

#[test]
fn people_told_before_the_commit() {
    is_caught(Bug::AnswersBeforeCommit, &[Oracle::PromisesKept, Oracle::VouchersHold], 60);
}

#[test]
fn a_result_confirmed_and_not_stored() {
    is_caught(Bug::ConfirmsUnstored, &[Oracle::ToldIsOnDisk], 10);
}

/// Once a start is lost, its attempt is kept alive for ever.
#[test]
fn leases_renewed_that_nobody_listed() {
    is_caught(Bug::RenewsAll, &[Oracle::EverythingEnds], 20);
}

#[test]
fn heartbeats_that_list_nothing() {
    is_caught(Bug::ListsNothing, &[Oracle::NeverTwice], 60);
}

#[test]
fn an_old_result_counted_for_the_attempt_that_runs() {
    is_caught(Bug::FencingOff, &[Oracle::ResultIsTrue, Oracle::NeverTwice], 300);
}

#[test]
fn a_repeated_submit_that_makes_a_second_job() {
    is_caught(Bug::IgnoresSubmitKeys, &[Oracle::OneJobPerKey], 30);
}

#[test]
fn a_recovery_that_forgets() {
    for bug in [
        Bug::RecoveryForgetsSubmitKeys,
        Bug::RecoveryForgetsTries,
        Bug::RecoveryForgetsLeases,
        Bug::RecoveryForgetsCancels,
        Bug::RecoveryForgetsGpus,
        Bug::RecoveryForgetsLocks,
        Bug::RecoveryForgetsLosses,
        Bug::RecoveryForgetsSetAside,
        Bug::RecoveryForgetsUses,
        Bug::RecoveryForgetsPauses,
        Bug::RecoveryForgetsRuns,
        Bug::RecoveryForgetsChains,
        Bug::RecoveryForgetsHolds,
        Bug::RecoveryForgetsDrafts,
        Bug::RecoveryForgetsNumbers,
        Bug::RecoveryForgetsCheckpoints,
        Bug::RecoveryForgetsPaid,
        Bug::RecoveryForgetsBids,
        Bug::RecoveryForgetsAwards,
        Bug::RecoveryForgetsDeals,
        Bug::RecoveryForgetsVotes,
        Bug::RecoveryForgetsRules,
        Bug::RecoveryForgetsAsks,
        Bug::RecoveryForgetsRecords,
    ] {
        is_caught(bug, &[Oracle::MemoryIsDisk], 300);
    }
}

#[test]
fn jobs_that_start_before_what_they_were_to_follow() {
    is_caught(Bug::IgnoresChains, &[Oracle::ChainsHold], 10);
}

#[test]
fn more_tasks_at_once_than_may_run() {
    is_caught(Bug::IgnoresAtOnce, &[Oracle::AtOnceHolds], 30);
}

#[test]
fn tasks_that_start_after_their_deadline() {
    is_caught(Bug::IgnoresDeadlines, &[Oracle::DeadlinesHold], 60);
}

#[test]
fn failed_tasks_that_run_again_without_their_pause() {
    is_caught(Bug::IgnoresBackoff, &[Oracle::PausesLast], 30);
}

#[test]
fn failed_tasks_that_run_once_too_often() {
    is_caught(Bug::RetriesOnceMore, &[Oracle::MoneyIsRight], 30);
}

#[test]
fn a_hold_that_is_agreed_to_and_forgotten() {
    is_caught(Bug::IgnoresHolds, &[Oracle::HoldsHold], 60);
}

#[test]
fn programs_that_are_told_a_position_for_an_index() {
    is_caught(Bug::TellsPositions, &[Oracle::IndexIsTrue], 10);
}

#[test]
fn gpus_that_are_counted_and_not_numbered() {
    is_caught(Bug::GrantsByCount, &[Oracle::GpusNeverShared], 60);
}

#[test]
fn tasks_of_one_job_with_packages_of_their_own() {
    is_caught(Bug::LocksEachForItself, &[Oracle::OneLock], 10);
}

#[test]
fn machines_that_are_said_to_offer_everything() {
    is_caught(Bug::BelievesAllLabels, &[Oracle::LabelsRespected], 10);
}

#[test]
fn a_result_deleted_before_it_is_confirmed() {
    is_caught(Bug::DeletesUnconfirmed, &[Oracle::ResultsSurvive], 10);
}

#[test]
fn a_result_sent_before_it_is_synced() {
    is_caught(Bug::ReportsUnsynced, &[Oracle::ReportedIsSynced], 10);
}

#[test]
fn a_clock_that_stands_still_in_a_suspended_machine() {
    is_caught(Bug::SleepsThroughLeases, &[Oracle::NeverTwice], 300);
}

#[test]
fn room_freed_while_the_old_processes_still_die() {
    is_caught(Bug::FreesRoomEarly, &[Oracle::NeverOverfilled], 60);
}

#[test]
fn a_token_that_lets_in_more_machines_than_it_is_for() {
    is_caught(Bug::AcceptsAnyToken, &[Oracle::VouchersHold], 300);
}

#[test]
fn a_removed_machine_that_is_taken_for_another() {
    is_caught(Bug::AdmitsRemoved, &[Oracle::RemovedStaysOut], 60);
}

#[test]
fn a_machine_that_was_set_aside_and_gets_tasks_again_by_itself() {
    is_caught(Bug::ReleasesByItself, &[Oracle::SetAsideRests], 300);
}

#[test]
fn jobs_and_results_taken_in_while_the_disk_is_full() {
    is_caught(Bug::IgnoresIntake, &[Oracle::ShutIsShut], 60);
}

#[test]
fn tasks_lost_since_the_manager_stood_still() {
    is_caught(Bug::ForgetsPauses, &[Oracle::StandstillIsForgiven], 300);
}

#[test]
fn a_torn_end_taken_for_a_whole_one() {
    is_caught(Bug::TakesTornEnds, &[Oracle::SpoolIsTrue], 300);
}
