//! Who pays whom for what: the table of DESIGN §4, row by row.

use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::task::{Failure, Outcome, WorkerFault};
use expect_test::{Expect, expect};

use crate::input::Request;
use crate::money::Micros;
use crate::policy::{Billing, Policy};
use crate::tests::world::{ADA, BOB, Wish, World, attempts, job, policy, worker};

/// Ada's job of one core, one GiB and ten minutes, on Bob's machine, a minute into its run.
fn running() -> World {
    running_under(policy(), &job(1, 1))
}

fn running_under(policy: Policy, wish: &Wish) -> World {
    let mut world = World::with(policy);
    world.own(1, &worker(1, 1));
    world.submit(wish);
    world.start(1, "1.0#1");
    for _ in 0..4 {
        world.wait_s(15);
        world.heartbeat(1, attempts(&["1.0#1"]));
    }
    world
}

fn check(mut world: World, expected: &Expect) {
    world.note_balances();
    expected.assert_eq(&world.log);
}

fn ends(outcome: Outcome, run_s: u64) -> World {
    let mut world = running();
    world.log.clear();
    world.end(1, "1.0#1", outcome, run_s);
    world
}

#[test]
fn exit_0_is_charged_by_the_minutes_used() {
    let mut world = running();
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    check(
        world,
        &expect![[r#"
            hold:1: ada -> escrow 18
            1.0#1 -> worker-1
            job 1, 18 held
            pay:1.0:1: escrow -> bob 9
            refund:1.0: escrow -> ada 9
            1.0 succeeded; charged 9
            job 1 is over
            to session 1: stored 1.0#1
            ada 91, bob 109, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_failure_of_its_own_is_charged() {
    check(
        ends(Outcome::Failed(Failure::ExitCode(1)), 30),
        &expect![[r#"
            pay:1.0:1: escrow -> bob 8.5
            refund:1.0: escrow -> ada 9.5
            1.0 failed: ended with exit code 1; charged 8.5
            job 1 is over
            to session 1: stored 1.0#1
            ada 91.5, bob 108.5, eve 100, escrow 0
        "#]],
    );
    check(
        ends(Outcome::Failed(Failure::OutOfMemory { limit_mib: 1024 }), 30),
        &expect![[r#"
            pay:1.0:1: escrow -> bob 8.5
            refund:1.0: escrow -> ada 9.5
            1.0 failed: used more than its 1024 MiB of memory, the disk included that is held there; ask for more RAM; charged 8.5
            job 1 is over
            to session 1: stored 1.0#1
            ada 91.5, bob 108.5, eve 100, escrow 0
        "#]],
    );
    check(
        ends(Outcome::Failed(Failure::TimeLimit { limit_s: 600 }), 60),
        &expect![[r#"
            pay:1.0:1: escrow -> bob 9
            refund:1.0: escrow -> ada 9
            1.0 failed: ran longer than its limit of 600 s; ask for more time; charged 9
            job 1 is over
            to session 1: stored 1.0#1
            ada 91, bob 109, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_worker_is_paid_for_no_more_time_than_there_was() {
    check(
        ends(Outcome::Succeeded, 599),
        &expect![[r#"
            pay:1.0:1: escrow -> bob 9
            refund:1.0: escrow -> ada 9
            1.0 succeeded; charged 9
            job 1 is over
            to session 1: stored 1.0#1
            ada 91, bob 109, eve 100, escrow 0
        "#]],
    );
    check(
        ends(Outcome::Succeeded, u64::MAX / 1000),
        &expect![[r#"
            pay:1.0:1: escrow -> bob 9
            refund:1.0: escrow -> ada 9
            1.0 succeeded; charged 9
            job 1 is over
            to session 1: stored 1.0#1
            ada 91, bob 109, eve 100, escrow 0
        "#]],
    );
    let mut world = running();
    for _ in 0..20 {
        world.wait_s(60);
        world.heartbeat(1, attempts(&["1.0#1"]));
    }
    world.log.clear();
    world.end(1, "1.0#1", Outcome::Succeeded, 1200);
    check(
        world,
        &expect![[r#"
            pay:1.0:1: escrow -> bob 18
            1.0 succeeded; charged 18
            job 1 is over
            to session 1: stored 1.0#1
            ada 82, bob 118, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_cancelled_job_that_waits_is_refunded_whole() {
    let mut world = World::new();
    world.submit(&job(1, 1).tasks(5));
    world.cancel(ADA, 1);
    check(
        world,
        &expect![[r#"
            hold:1: ada -> escrow 90
            job 1, 90 held
            1.0-4 cancelled
            refund:1.0-4: escrow -> ada 90
            job 1 is over
            done
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_cancelled_task_that_runs_is_charged_so_far() {
    let mut world = running();
    world.log.clear();
    world.cancel(ADA, 1);
    world.note_balances();
    world.end(1, "1.0#1", Outcome::Cancelled, 60);
    check(
        world,
        &expect![[r#"
            1.0#1 is to stop
            to session 1: cancel 1.0#1
            done
            ada 82, bob 100, eve 100, escrow 18
            pay:1.0:1: escrow -> bob 9
            refund:1.0: escrow -> ada 9
            1.0 cancelled; charged 9
            job 1 is over
            to session 1: stored 1.0#1
            ada 91, bob 109, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_task_cancelled_before_its_clock_began_costs_nothing() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.wait_s(20);
    world.cancel(ADA, 1);
    world.end(1, "1.0#1", Outcome::Cancelled, 20);
    check(
        world,
        &expect![[r#"
            hold:1: ada -> escrow 18
            1.0#1 -> worker-1
            job 1, 18 held
            1.0#1 is to stop
            to session 1: cancel 1.0#1
            done
            refund:1.0: escrow -> ada 18
            1.0 cancelled; charged 0
            job 1 is over
            to session 1: stored 1.0#1
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn packages_that_do_not_exist_cost_nothing() {
    let message = "no such package".to_owned();
    check(
        ends(Outcome::Failed(Failure::Requirements { message }), 0),
        &expect![[r#"
            refund:1.0: escrow -> ada 18
            1.0 failed: its requirements cannot be installed: no such package; charged 0
            job 1 is over
            to session 1: stored 1.0#1
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_cancel_that_nobody_asked_for_is_the_workers_fault() {
    check(
        ends(Outcome::Cancelled, 60),
        &expect![[r#"
            1.0#1 waits again, 2 tries left: the worker's sandbox failed: it stopped the task though nobody had asked
            1.0#2 -> worker-1
            to session 1: stored 1.0#1
            ada 82, bob 100, eve 100, escrow 18
        "#]],
    );
}

#[test]
fn a_task_that_ends_before_it_hears_of_the_cancel_is_charged() {
    let mut world = running();
    world.log.clear();
    world.cancel(ADA, 1);
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    check(
        world,
        &expect![[r#"
            1.0#1 is to stop
            to session 1: cancel 1.0#1
            done
            pay:1.0:1: escrow -> bob 9
            refund:1.0: escrow -> ada 9
            1.0 succeeded; charged 9
            job 1 is over
            to session 1: stored 1.0#1
            ada 91, bob 109, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_cancelled_task_on_a_lost_worker_is_refunded() {
    let mut world = running();
    world.log.clear();
    world.cancel(ADA, 1);
    world.wait_s(100);
    check(
        world,
        &expect![[r#"
            1.0#1 is to stop
            to session 1: cancel 1.0#1
            done
            refund:1.0: escrow -> ada 18
            1.0 cancelled; charged 0
            job 1 is over
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_lost_worker_gets_nothing_and_the_hold_stays() {
    let mut world = running();
    world.log.clear();
    world.wait_s(89);
    world.note("a second later");
    world.wait_s(1);
    check(
        world,
        &expect![[r#"
            # a second later
            1.0#1 waits again, 2 tries left: the worker was out of touch for too long
            ada 82, bob 100, eve 100, escrow 18
        "#]],
    );
}

#[test]
fn an_owner_who_takes_the_laptop_back_costs_the_task_no_try() {
    check(
        ends(Outcome::Returned(WorkerFault::Leaving), 60),
        &expect![[r#"
            1.0#1 waits again, 3 tries left: the owner took the worker back
            to session 1: stored 1.0#1
            ada 82, bob 100, eve 100, escrow 18
        "#]],
    );
}

#[test]
fn tries_that_are_used_up_are_the_grids_fault() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    for attempt in ["1.0#1", "1.0#2", "1.0#3"] {
        world.start(1, attempt);
        let fault = WorkerFault::Sandbox { message: "no user namespaces".to_owned() };
        world.end(1, attempt, Outcome::Returned(fault), 60);
    }
    check(
        world,
        &expect![[r#"
            hold:1: ada -> escrow 18
            1.0#1 -> worker-1
            job 1, 18 held
            1.0#1 waits again, 2 tries left: the worker's sandbox failed: no user namespaces
            1.0#2 -> worker-1
            to session 1: stored 1.0#1
            1.0#2 waits again, 1 tries left: the worker's sandbox failed: no user namespaces
            1.0#3 -> worker-1
            to session 1: stored 1.0#2
            refund:1.0: escrow -> ada 18
            1.0 failed: given up by the grid and refunded: the worker's sandbox failed: no user namespaces; charged 0
            job 1 is over
            to session 1: stored 1.0#3
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_stale_result_is_confirmed_and_unpaid() {
    let mut world = running();
    world.wait_s(100);
    world.heartbeat(1, attempts(&["1.0#1"]));
    world.log.clear();
    world.note("of the attempt before");
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    world.note("of one to come, of other tasks and jobs");
    for text in ["1.0#3", "1.0#0", "1.1#1", "9.0#1", "18446744073709551615.4294967295#4294967295"] {
        world.end(1, text, Outcome::Succeeded, 60);
        world.start(1, text);
    }
    world.note("twice");
    world.end(1, "1.0#2", Outcome::Succeeded, 0);
    world.end(1, "1.0#2", Outcome::Succeeded, 0);
    check(
        world,
        &expect![[r#"
            # of the attempt before
            to session 1: stored 1.0#1
            # of one to come, of other tasks and jobs
            to session 1: stored 1.0#3
            to session 1: stored 1.0#0
            to session 1: stored 1.1#1
            to session 1: stored 9.0#1
            to session 1: stored 18446744073709551615.4294967295#4294967295
            # twice
            pay:1.0:2: escrow -> bob 8
            refund:1.0: escrow -> ada 10
            1.0 succeeded; charged 8
            job 1 is over
            to session 1: stored 1.0#2
            to session 1: stored 1.0#2
            ada 92, bob 108, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn nobody_is_paid_for_another_machines_attempt() {
    let mut world = running();
    world.own(2, &worker(1, 1).of(crate::tests::world::EVE));
    world.log.clear();
    world.end(2, "1.0#1", Outcome::Succeeded, 60);
    world.start(2, "1.0#1");
    world.end(77, "1.0#1", Outcome::Succeeded, 60);
    check(
        world,
        &expect![[r#"
            to session 2: stored 1.0#1
            ada 82, bob 100, eve 100, escrow 18
        "#]],
    );
}

#[test]
fn own_jobs_on_own_machines_cost_nothing() {
    let mut world = World::new();
    world.own(1, &worker(1, 1).of(ADA));
    world.submit(&job(1, 1));
    world.start(1, "1.0#1");
    world.wait_s(60);
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    check(
        world,
        &expect![[r#"
            hold:1: ada -> escrow 18
            1.0#1 -> worker-1
            job 1, 18 held
            refund:1.0: escrow -> ada 18
            1.0 succeeded; charged 0
            job 1 is over
            to session 1: stored 1.0#1
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn under_quoted_billing_the_quote_is_charged() {
    let mut world = running_under(Policy { billing: Billing::Quoted, ..policy() }, &job(1, 1));
    world.log.clear();
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    check(
        world,
        &expect![[r#"
            pay:1.0:1: escrow -> bob 18
            1.0 succeeded; charged 18
            job 1 is over
            to session 1: stored 1.0#1
            ada 82, bob 118, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn the_fee_comes_out_of_the_charge() {
    for (fee_permille, expected) in [
        (
            1,
            expect![[r#"
                pay:1.0:1: escrow -> bob 8.008651
                fee:1.0:1: escrow -> fee 0.008016
                refund:1.0: escrow -> ada 9.983333
                1.0 succeeded; charged 8.016667
                job 1 is over
                to session 1: stored 1.0#1
                ada 91.983333, bob 108.008651, eve 100, escrow 0, fee 0.008016
            "#]],
        ),
        (
            100,
            expect![[r#"
                pay:1.0:1: escrow -> bob 7.215001
                fee:1.0:1: escrow -> fee 0.801666
                refund:1.0: escrow -> ada 9.983333
                1.0 succeeded; charged 8.016667
                job 1 is over
                to session 1: stored 1.0#1
                ada 91.983333, bob 107.215001, eve 100, escrow 0, fee 0.801666
            "#]],
        ),
        (
            1000,
            expect![[r#"
                fee:1.0:1: escrow -> fee 8.016667
                refund:1.0: escrow -> ada 9.983333
                1.0 succeeded; charged 8.016667
                job 1 is over
                to session 1: stored 1.0#1
                ada 91.983333, bob 100, eve 100, escrow 0, fee 8.016667
            "#]],
        ),
    ] {
        let mut world = running_under(Policy { fee_permille, ..policy() }, &job(1, 1));
        world.log.clear();
        world.end(1, "1.0#1", Outcome::Succeeded, 1);
        check(world, &expected);
    }
}

/// Nothing moves, and nothing may come to be in memory that is not on disk.
#[test]
fn a_free_grid_keeps_no_books() {
    let mut free = policy();
    (free.rate_permille, free.starting_credits) = (0, Micros::ZERO);
    let mut world = running_under(free, &job(1, 1));
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    check(
        world,
        &expect![[r#"
            1.0#1 -> worker-1
            job 1, 0 held
            1.0 succeeded; charged 0
            job 1 is over
            to session 1: stored 1.0#1
            ada 0, bob 0, eve 0, escrow 0
        "#]],
    );
}

#[test]
fn a_removed_machine_gives_back_what_it_ran() {
    let mut world = running();
    world.log.clear();
    world.ask(Request::RemoveWorker { user: BOB, worker: WorkerId(1) });
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    check(
        world,
        &expect![[r#"
            1.0#1 waits again, 3 tries left: the owner took the worker back
            worker-1 is removed
            to session 1: drop 1.0#1
            done
            session 1 ends for good: this worker was removed on the dashboard
            ada 82, bob 100, eve 100, escrow 18
        "#]],
    );
}

#[test]
fn every_task_of_an_array_is_settled_by_itself() {
    let mut world = World::new();
    world.own(1, &worker(3, 3));
    world.submit(&job(1, 1).limit_s(60).tasks(6));
    for task in ["1.0#1", "1.1#1", "1.2#1"] {
        world.start(1, task);
    }
    world.wait_s(30);
    world.end(1, "1.1#1", Outcome::Failed(Failure::Signal(9)), 30);
    world.end(1, "1.0#1", Outcome::Returned(WorkerFault::LeaseOver), 30);
    world.end(1, "1.2#1", Outcome::Succeeded, 30);
    world.note_balances();
    world.note("cancel: 0, 3 and 4 run, 5 was never started");
    world.cancel(ADA, 1);
    world.end(1, "1.0#2", Outcome::Cancelled, 1);
    world.end(1, "1.3#1", Outcome::Returned(WorkerFault::Restarted), 0);
    world.end(1, "1.4#1", Outcome::Succeeded, 0);
    check(
        world,
        &expect![[r#"
            hold:1: ada -> escrow 54
            1.0#1 -> worker-1
            1.1#1 -> worker-1
            1.2#1 -> worker-1
            job 1, 54 held
            pay:1.1:1: escrow -> bob 8.5
            refund:1.1: escrow -> ada 0.5
            1.1 failed: was ended by signal 9: it was killed; charged 8.5
            1.3#1 -> worker-1
            to session 1: stored 1.1#1
            1.0#1 waits again, 2 tries left: the worker stopped it, since it was out of touch with the manager
            1.0#2 -> worker-1
            to session 1: stored 1.0#1
            pay:1.2:1: escrow -> bob 8.5
            refund:1.2: escrow -> ada 0.5
            1.2 succeeded; charged 8.5
            1.4#1 -> worker-1
            to session 1: stored 1.2#1
            ada 47, bob 117, eve 100, escrow 36
            # cancel: 0, 3 and 4 run, 5 was never started
            1.0#2 is to stop
            1.3#1 is to stop
            1.4#1 is to stop
            1.5 cancelled
            refund:1.5-5: escrow -> ada 9
            to session 1: cancel 1.0#2
            to session 1: cancel 1.3#1
            to session 1: cancel 1.4#1
            done
            refund:1.0: escrow -> ada 9
            1.0 cancelled; charged 0
            to session 1: stored 1.0#2
            refund:1.3: escrow -> ada 9
            1.3 cancelled; charged 0
            to session 1: stored 1.3#1
            pay:1.4:1: escrow -> bob 8
            refund:1.4: escrow -> ada 1
            1.4 succeeded; charged 8
            job 1 is over
            to session 1: stored 1.4#1
            ada 75, bob 125, eve 100, escrow 0
        "#]],
    );
}
