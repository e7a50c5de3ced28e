//! Tasks that are run again after they failed, and what that costs.

use campusgrid_protocol::task::{Failure, Outcome, WorkerFault};
use expect_test::expect;

use crate::effect::Reply;
use crate::input::{Input, Intake, Shut};
use crate::tests::world::{ADA, World, attempts, job, worker};

const FAILED: Outcome = Outcome::Failed(Failure::ExitCode(1));

/// A machine for one task, and a job of one that has started.
fn running(retries: u8, backoff_s: u32) -> World {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1).limit_s(60).retries(retries, backoff_s));
    world.start(1, "1.0#1");
    world.log.clear();
    world
}

/// A minute in which a machine runs this and says so.
fn minute(world: &mut World, attempt: &str) {
    for _ in 0..3 {
        world.wait_s(20);
        world.heartbeat(1, attempts(&[attempt]));
    }
}

#[test]
fn every_run_is_held_up_front_and_paid_by_itself() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1).limit_s(60).retries(2, 0));
    for number in 1..=3 {
        world.start(1, &format!("1.0#{number}"));
        minute(&mut world, &format!("1.0#{number}"));
        world.end(1, &format!("1.0#{number}"), FAILED, 30);
        world.note_balances();
    }
    expect![[r#"
        hold:1: ada -> escrow 27
        1.0#1 -> worker-1
        job 1, 27 held
        pay:1.0:1: escrow -> bob 8.5
        refund:1.0:1: escrow -> ada 0.5
        1.0#1 failed: ended with exit code 1; charged 8.5; 2 runs left, the next in 0 s
        1.0 waits again
        1.0#2 -> worker-1
        to session 1: stored 1.0#1
        ada 73.5, bob 108.5, eve 100, escrow 18
        pay:1.0:2: escrow -> bob 8.5
        refund:1.0:2: escrow -> ada 0.5
        1.0#2 failed: ended with exit code 1; charged 8.5; 1 runs left, the next in 0 s
        1.0 waits again
        1.0#3 -> worker-1
        to session 1: stored 1.0#2
        ada 74, bob 117, eve 100, escrow 9
        pay:1.0:3: escrow -> bob 8.5
        refund:1.0: escrow -> ada 0.5
        1.0 failed: ended with exit code 1; charged 8.5
        job 1 is over
        to session 1: stored 1.0#3
        ada 74.5, bob 125.5, eve 100, escrow 0
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_run_that_succeeds_gives_the_others_back() {
    let mut world = running(10, 0);
    minute(&mut world, "1.0#1");
    world.end(1, "1.0#1", FAILED, 30);
    world.end(1, "1.0#2", Outcome::Succeeded, 0);
    world.note_balances();
    expect![[r#"
        pay:1.0:1: escrow -> bob 8.5
        refund:1.0:1: escrow -> ada 0.5
        1.0#1 failed: ended with exit code 1; charged 8.5; 10 runs left, the next in 0 s
        1.0 waits again
        1.0#2 -> worker-1
        to session 1: stored 1.0#1
        pay:1.0:2: escrow -> bob 8
        refund:1.0: escrow -> ada 82
        1.0 succeeded; charged 8
        job 1 is over
        to session 1: stored 1.0#2
        ada 83.5, bob 116.5, eve 100, escrow 0
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn pauses_double_and_are_words() {
    let mut world = running(10, 3 * 3600);
    for number in 1..=6_u32 {
        world.end(1, &format!("1.0#{number}"), FAILED, 0);
        world.log.clear();
        world.note_waiting();
        let until = world.grid.next_deadline().unwrap();
        let hours = until.since_ms(world.now) / 3_600_000;
        assert_eq!(hours, [3, 6, 12, 24, 24, 24][number as usize - 1]);
        world.now = until.plus_ms(0);
        world.heartbeat(1, Vec::new());
        assert!(world.log.contains(&format!("1.0#{} -> worker-1", number + 1)), "{}", world.log);
    }
    expect![[r#"
        job 1 a task has failed and is run again in 24 h
        1.0 waits again
        1.0#7 -> worker-1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn what_would_fail_again_is_not_retried() {
    let message = "?".to_owned();
    for failure in [
        Failure::CompileError { code: 1 },
        Failure::Requirements { message: message.clone() },
        Failure::Image { message: message.clone() },
        Failure::Inputs { message },
    ] {
        let mut world = running(3, 0);
        world.end(1, "1.0#1", Outcome::Failed(failure), 0);
        assert!(world.grid.jobs.is_empty(), "{}", world.log);
        assert_eq!(world.grid.ledger.account(crate::ledger::AccountId::Escrow).balance.0, 0);
    }
}

#[test]
fn what_nobody_wants_any_more_is_not_retried() {
    let mut world = running(3, 0);
    world.cancel(ADA, 1);
    world.end(1, "1.0#1", FAILED, 10);
    expect![[r#"
        1.0#1 is to stop
        to session 1: cancel 1.0#1
        done
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 28
        1.0 failed: ended with exit code 1; charged 8
        job 1 is over
        to session 1: stored 1.0#1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_task_that_pauses_is_cancelled_and_refunded() {
    let mut world = running(3, 60);
    world.end(1, "1.0#1", FAILED, 0);
    world.log.clear();
    world.note_waiting();
    world.cancel(ADA, 1);
    world.note_balances();
    assert_eq!(world.grid.next_deadline(), None);
    expect![[r#"
        job 1 a task has failed and is run again in 60 s
        refund:1.0: escrow -> ada 27
        1.0 cancelled; charged 0
        job 1 is over
        done
        ada 92, bob 108, eve 100, escrow 0
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn the_grids_own_faults_cost_no_run() {
    let mut world = running(1, 0);
    let fault = || Outcome::Returned(WorkerFault::Sandbox { message: "?".to_owned() });
    for (number, outcome) in
        [fault(), fault(), FAILED, fault(), fault(), fault()].iter().enumerate()
    {
        let attempt = format!("1.0#{}", number + 1);
        world.start(1, &attempt);
        world.end(1, &attempt, outcome.clone(), 0);
    }
    world.note_balances();
    expect![[r#"
        1.0#1 waits again, 2 tries left: the worker's sandbox failed: ?
        1.0#2 -> worker-1
        to session 1: stored 1.0#1
        1.0#2 waits again, 1 tries left: the worker's sandbox failed: ?
        1.0#3 -> worker-1
        to session 1: stored 1.0#2
        pay:1.0:3: escrow -> bob 8
        refund:1.0:3: escrow -> ada 1
        1.0#3 failed: ended with exit code 1; charged 8; 1 runs left, the next in 0 s
        1.0 waits again
        1.0#4 -> worker-1
        to session 1: stored 1.0#3
        1.0#4 waits again, 2 tries left: the worker's sandbox failed: ?
        1.0#5 -> worker-1
        to session 1: stored 1.0#4
        1.0#5 waits again, 1 tries left: the worker's sandbox failed: ?
        1.0#6 -> worker-1
        to session 1: stored 1.0#5
        refund:1.0: escrow -> ada 9
        1.0 failed: given up by the grid and refunded: the worker's sandbox failed: ?; charged 0
        job 1 is over
        to session 1: stored 1.0#6
        ada 92, bob 108, eve 100, escrow 0
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_pause_lasts_over_a_restart_and_while_nothing_is_settled() {
    let mut world = running(1, 60);
    world.end(1, "1.0#1", FAILED, 0);
    world.restart();
    world.own_again(1, &worker(1, 1));
    world.log.clear();
    world.happen(Input::Intake(Intake::Shut(Shut::DiskFull)));
    world.wait_s(3600);
    world.note("open again");
    world.happen(Input::Intake(Intake::Open));
    world.heartbeat(2, attempts(&["1.0#2"]));
    expect![[r#"
        # open again
        1.0 waits again
        1.0#2 -> worker-1
        to session 2: drop 1.0#2
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn what_every_run_may_cost_has_to_be_there() {
    let mut world = World::new();
    let reply = world.submit(&job(1, 1).limit_s(60).retries(10, 0).tasks(2));
    assert!(matches!(reply, Reply::Refused(_)));
    world.submit(&job(1, 1).limit_s(60).retries(10, 0));
    expect![[r#"
        refused: costs 198 credits, the balance is 100
        hold:1: ada -> escrow 99
        job 1, 99 held
    "#]]
    .assert_eq(&world.log);
}
