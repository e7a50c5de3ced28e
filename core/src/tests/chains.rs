//! Jobs that wait for jobs, and tasks for tasks.

use campusgrid_protocol::id::JobId;
use campusgrid_protocol::task::{Failure, Outcome};
use campusgrid_protocol::terms::When;
use expect_test::{Expect, expect};

use crate::effect::{Refusal, Reply};
use crate::input::Request;
use crate::policy::Policy;
use crate::tests::world::{ADA, BOB, EVE, Wish, World, job, policy, submission, worker};

const FAILED: Outcome = Outcome::Failed(Failure::ExitCode(1));

fn rich() -> World {
    let starting_credits = crate::money::Micros::from_credits(100_000);
    World::with(Policy { starting_credits, ..policy() })
}

/// A world with a machine for one task of one core, and no more.
fn narrow() -> World {
    let mut world = rich();
    world.own(1, &worker(1, 1));
    world
}

/// Submits a job of one task and one that is to follow it, lets the first end, and tells of all that
/// came of the second.
fn check(follower: Wish, outcome: Outcome, expected: Expect) {
    let mut world = narrow();
    world.submit(&job(1, 1));
    world.submit(&follower);
    world.log.clear();
    world.note_waiting();
    world.end(1, "1.0#1", outcome, 60);
    let of_second = |line: &&str| {
        ["job 2", "2.0", "refund:2", "waits"].iter().any(|words| line.starts_with(words))
    };
    let lines: Vec<&str> = world.log.lines().filter(of_second).collect();
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn a_job_follows_one_that_has_come_far_enough() {
    check(
        job(1, 1).after(1, When::Ok),
        Outcome::Succeeded,
        expect![[r#"
        job 2 waits for job 1 to succeed
        job 2 waits no more for job 1 (Ok)
        2.0#1 -> worker-1
    "#]],
    );
    check(
        job(1, 1).after(1, When::Any),
        FAILED,
        expect![[r#"
        job 2 waits for job 1 to end
        job 2 waits no more for job 1 (Any)
        2.0#1 -> worker-1
    "#]],
    );
    check(
        job(1, 1).after(1, When::Failed),
        FAILED,
        expect![[r#"
        job 2 waits for job 1 to fail
        job 2 waits no more for job 1 (Failed)
        2.0#1 -> worker-1
    "#]],
    );
    check(
        job(1, 1).each_after(1, When::Ok),
        Outcome::Succeeded,
        expect![[r#"
        job 2 each task waits for its own of job 1 to succeed
        job 2 waits no more for the tasks of job 1 (Ok)
        2.0#1 -> worker-1
    "#]],
    );
}

#[test]
fn what_can_never_start_is_cancelled_with_words_and_refunded() {
    check(
        job(1, 1).after(1, When::Ok),
        FAILED,
        expect![[r#"
        job 2 waits for job 1 to succeed
        2.0 cancelled, job 1, which it was to follow, has not succeeded, so it can never start
        refund:2.0-0: escrow -> ada 18
        job 2 is over
    "#]],
    );
    check(
        job(1, 1).after(1, When::Failed),
        Outcome::Succeeded,
        expect![[r#"
        job 2 waits for job 1 to fail
        2.0 cancelled, job 1, which it was to follow, has not failed, so it can never start
        refund:2.0-0: escrow -> ada 18
        job 2 is over
    "#]],
    );
    check(
        job(1, 1).each_after(1, When::Ok),
        FAILED,
        expect![[r#"
        job 2 each task waits for its own of job 1 to succeed
        2.0 cancelled, the task of job 1 that it was to follow has not succeeded, so it can never start
        refund:2.0-0: escrow -> ada 18
        job 2 is over
    "#]],
    );
    check(
        job(1, 1).each_after(1, When::Failed),
        Outcome::Succeeded,
        expect![[r#"
        job 2 each task waits for its own of job 1 to fail
        2.0 cancelled, the task of job 1 that it was to follow has not failed, so it can never start
        refund:2.0-0: escrow -> ada 18
        job 2 is over
    "#]],
    );
}

#[test]
fn what_may_start_with_another_does_so_in_the_same_moment() {
    let mut world = rich();
    world.submit(&job(1, 1).tasks(2));
    world.submit(&job(1, 1).after(1, When::Started));
    world.submit(&job(1, 1).tasks(2).each_after(1, When::Started));
    world.log.clear();
    world.own(1, &worker(4, 4));
    expect![[r#"
        1.0#1 -> worker-1
        job 2 waits no more for job 1 (Started)
        1.1#1 -> worker-1
        2.0#1 -> worker-1
        3.0#1 -> worker-1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn one_failed_task_breaks_the_chain_before_the_rest_is_over() {
    let mut world = narrow();
    world.submit(&job(1, 1).tasks(1000));
    world.submit(&job(1, 1).after(1, When::Ok));
    world.submit(&job(1, 1).after(1, When::Failed));
    world.log.clear();
    world.end(1, "1.0#1", FAILED, 60);
    world.note_waiting();
    expect![[r#"
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 failed: ended with exit code 1; charged 8
        2.0 cancelled, job 1, which it was to follow, has not succeeded, so it can never start
        refund:2.0-0: escrow -> ada 18
        job 2 is over
        1.1#1 -> worker-1
        to session 1: stored 1.0#1
        waits: 1 worker can run it, and it is busy; one has room in 10 min at the latest
        job 3 waits for job 1 to fail
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn each_task_follows_its_own() {
    let mut world = narrow();
    world.submit(&job(1, 1).tasks(4));
    world.submit(&job(1, 1).array("10-40:10").each_after(1, When::Ok).priority(1));
    world.log.clear();
    world.note_waiting();
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    world.end(1, "2.0#1", Outcome::Succeeded, 60);
    world.end(1, "1.1#1", FAILED, 60);
    world.cancel_tasks(ADA, 1, "2-3");
    world.end(1, "1.2#1", Outcome::Cancelled, 60);
    expect![[r#"
        waits: 1 worker can run it, and it is busy; one has room in 10 min at the latest
        job 2 each task waits for its own of job 1 to succeed
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 8
        2.0#1 -> worker-1
        to session 1: stored 1.0#1
        pay:2.0:1: escrow -> bob 8
        refund:2.0: escrow -> ada 10
        2.0 succeeded; charged 8
        1.1#1 -> worker-1
        to session 1: stored 2.0#1
        pay:1.1:1: escrow -> bob 8
        refund:1.1: escrow -> ada 10
        1.1 failed: ended with exit code 1; charged 8
        2.1 cancelled, the task of job 1 that it was to follow has not succeeded, so it can never start
        refund:2.1-1: escrow -> ada 18
        1.2#1 -> worker-1
        to session 1: stored 1.1#1
        1.2#1 is to stop
        1.3 cancelled
        refund:1.3-3: escrow -> ada 18
        2.3 cancelled, the task of job 1 that it was to follow has not succeeded, so it can never start
        refund:2.3-3: escrow -> ada 18
        to session 1: cancel 1.2#1
        done
        refund:1.2: escrow -> ada 18
        1.2 cancelled; charged 0
        job 1 is over
        2.2 cancelled, the task of job 1 that it was to follow has not succeeded, so it can never start
        refund:2.2-2: escrow -> ada 18
        job 2 is over
        to session 1: stored 1.2#1
    "#]].assert_eq(&world.log);
}

#[test]
fn a_task_that_follows_two_waits_for_both() {
    let mut world = narrow();
    world.submit(&job(1, 1).tasks(2));
    world.submit(&job(1, 1).tasks(2));
    world.submit(&job(2, 1).tasks(2).each_after(1, When::Ok).each_after(2, When::Any));
    world.log.clear();
    world.note_waiting();
    for attempt in ["1.0#1", "1.1#1", "2.0#1"] {
        world.end(1, attempt, Outcome::Succeeded, 60);
    }
    world.note("one of the two may start");
    world.note_waiting();
    world.end(1, "2.1#1", FAILED, 60);
    expect![[r#"
        waits: 1 worker can run it, and it is busy; one has room in 10 min at the latest
        job 3 each task waits for its own of job 1 to succeed, and for 1 more
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 8
        1.1#1 -> worker-1
        to session 1: stored 1.0#1
        pay:1.1:1: escrow -> bob 8
        refund:1.1: escrow -> ada 10
        1.1 succeeded; charged 8
        job 1 is over
        job 3 waits no more for the tasks of job 1 (Ok)
        2.0#1 -> worker-1
        to session 1: stored 1.1#1
        pay:2.0:1: escrow -> bob 8
        refund:2.0: escrow -> ada 10
        2.0 succeeded; charged 8
        2.1#1 -> worker-1
        to session 1: stored 2.0#1
        # one of the two may start
        waits: no worker has 2 cores; the largest has 1
        pay:2.1:1: escrow -> bob 8
        refund:2.1: escrow -> ada 10
        2.1 failed: ended with exit code 1; charged 8
        job 2 is over
        job 3 waits no more for the tasks of job 2 (Any)
        to session 1: stored 2.1#1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn chains_of_chains_break_all_at_once() {
    const LINKS: u32 = 200;
    let starting_credits = crate::money::Micros::from_credits(100_000);
    let mut world = World::with(Policy { starting_credits, active_jobs_max: LINKS, ..policy() });
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    for before in 1..u64::from(LINKS) {
        world.submit(&job(1, 1).after(before, When::Ok));
    }
    world.log.clear();
    let effects = world.end_with_effects(1, "1.0#1", FAILED, 60);
    assert!(world.grid.jobs.is_empty());
    let over =
        |change: &&crate::effect::Change| matches!(change, crate::effect::Change::JobEnded { .. });
    assert_eq!(effects.changes.iter().filter(over).count(), LINKS as usize);
    assert_eq!(world.grid.ledger.account(crate::ledger::AccountId::Escrow).balance.0, 0);
}

#[test]
fn what_is_over_is_settled_when_it_is_named() {
    let mut world = narrow();
    world.submit(&job(1, 1).tasks(2));
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    world.end(1, "1.1#1", FAILED, 60);
    world.log.clear();
    world.note("job 1 is over: its first task has succeeded, its second has failed");
    world.submit(&job(1, 1).after(1, When::Ok));
    world.submit(&job(1, 1).after(1, When::Failed));
    world.submit(&job(1, 1).after(1, When::Any));
    world.submit(&job(1, 1).tasks(2).each_after(1, When::Ok));
    world.submit(&job(1, 1).tasks(3).each_after(1, When::Ok));
    world.submit(&job(1, 1).tasks(2).each_after(1, When::Ok).each_after(1, When::Failed));
    expect![[r#"
        # job 1 is over: its first task has succeeded, its second has failed
        refused: job 1 is over and cannot come to that any more, so this one would never start
        hold:2: ada -> escrow 18
        2.0#1 -> worker-1
        job 2, 18 held
        hold:3: ada -> escrow 18
        job 3, 18 held
        hold:4: ada -> escrow 36
        4.1 cancelled, the task of job 1 that it was to follow has not succeeded, so it can never start
        refund:4.1-1: escrow -> ada 18
        job 4, 36 held
        refused: job 1 has 2 tasks, and each can wait for its own only if both have as many
        refused: job 1 is over and cannot come to that any more, so this one would never start
    "#]].assert_eq(&world.log);
}

#[test]
fn what_is_partly_over_is_settled_as_far_as_it_is() {
    let mut world = narrow();
    world.submit(&job(1, 1).tasks(4));
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    world.end(1, "1.1#1", FAILED, 60);
    world.log.clear();
    world.submit(&job(1, 1).after(1, When::Ok));
    world.submit(&job(1, 1).after(1, When::Started));
    world.submit(&job(1, 1).tasks(4).each_after(1, When::Ok).priority(1));
    world.submit(&job(1, 1).tasks(4).each_after(1, When::Failed).priority(2));
    world.cancel(ADA, 1);
    world.note_waiting();
    world.end(1, "1.2#1", Outcome::Cancelled, 60);
    expect![[r#"
        refused: job 1 is over and cannot come to that any more, so this one would never start
        hold:2: ada -> escrow 18
        job 2, 18 held
        hold:3: ada -> escrow 72
        3.1 cancelled, the task of job 1 that it was to follow has not succeeded, so it can never start
        refund:3.1-1: escrow -> ada 18
        job 3, 72 held
        hold:4: ada -> escrow 72
        4.0 cancelled, the task of job 1 that it was to follow has not failed, so it can never start
        refund:4.0-0: escrow -> ada 18
        job 4, 72 held
        1.2#1 is to stop
        1.3 cancelled
        refund:1.3-3: escrow -> ada 18
        3.3 cancelled, the task of job 1 that it was to follow has not succeeded, so it can never start
        refund:3.3-3: escrow -> ada 18
        to session 1: cancel 1.2#1
        done
        waits: 1 worker can run it, and it is busy; one has room in 10 min at the latest
        refund:1.2: escrow -> ada 18
        1.2 cancelled; charged 0
        job 1 is over
        3.2 cancelled, the task of job 1 that it was to follow has not succeeded, so it can never start
        refund:3.2-2: escrow -> ada 18
        job 3 waits no more for the tasks of job 1 (Ok)
        job 4 waits no more for the tasks of job 1 (Failed)
        4.1#1 -> worker-1
        to session 1: stored 1.2#1
    "#]].assert_eq(&world.log);
}

#[test]
fn one_follows_only_what_there_is_and_what_is_ones_own() {
    let mut world = narrow();
    world.submit(&job(1, 1).by(BOB));
    world.draft(ADA, None);
    let mut refusal = |wish: Wish| {
        let reply = world.submit(&wish);
        let Reply::Refused(refusal) = reply else { panic!("{reply:?}") };
        refusal
    };
    let unknown = |job| Refusal::AfterUnknown { job: JobId(job) };
    assert_eq!(refusal(job(1, 1).after(0, When::Any)), unknown(0));
    assert_eq!(refusal(job(1, 1).after(1, When::Any)), unknown(1), "it is bob's");
    assert_eq!(refusal(job(1, 1).after(2, When::Any)), unknown(2), "it is a draft");
    assert_eq!(refusal(job(1, 1).after(3, When::Any)), unknown(3));
    assert_eq!(refusal(job(1, 1).after(u64::MAX, When::Any)), unknown(u64::MAX));
}

#[test]
fn what_has_ended_since_it_was_looked_up_is_looked_up_again() {
    let mut world = narrow();
    world.submit(&job(1, 1));
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    let new = submission(job(1, 1).after(1, When::Ok));
    let reply = world.ask(Request::Submit(Box::new(new)));
    assert!(matches!(reply, Reply::Refused(Refusal::Moved)), "{reply:?}");
}

#[test]
fn what_is_open_is_believed_before_what_was_read() {
    let mut world = narrow();
    world.submit(&job(1, 1));
    let mut new = submission(job(1, 1).after(1, When::Ok));
    let mut read = crate::job::EndedTasks::default();
    read.failed.insert(0);
    new.ended.insert(JobId(1), read);
    let reply = world.ask(Request::Submit(Box::new(new)));
    assert!(matches!(reply, Reply::Submitted { .. }), "{reply:?}");
    world.cancel(EVE, 2);
    world.cancel(ADA, 2);
}

#[test]
fn nothing_of_a_chain_is_settled_while_nothing_is() {
    let mut world = narrow();
    world.submit(&job(1, 1).tasks(2));
    world.submit(&job(1, 1).after(1, When::Ok));
    world.happen(crate::input::Input::Intake(crate::input::Intake::Shut(
        crate::input::Shut::DiskFull,
    )));
    world.log.clear();
    world.cancel(ADA, 1);
    world.cancel_tasks(ADA, 2, "0");
    world.note_waiting();
    world.note("open again");
    world.happen(crate::input::Input::Intake(crate::input::Intake::Open));
    expect![[r#"
        1.0#1 is to stop
        what waits of job 1 is to be cancelled
        to session 1: cancel 1.0#1
        done
        refused: the manager's disk is full, so nothing new is taken in; what runs goes on
        waits: the manager's disk is full; nothing new starts until it has room again
        job 2 waits for job 1 to succeed
        # open again
        1.1 cancelled
        refund:1.1-1: escrow -> ada 18
        2.0 cancelled, job 1, which it was to follow, has not succeeded, so it can never start
        refund:2.0-0: escrow -> ada 18
        job 2 is over
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_chain_goes_on_after_a_restart() {
    let mut world = narrow();
    world.submit(&job(1, 1).tasks(3));
    world.submit(&job(1, 1).tasks(3).each_after(1, When::Any));
    world.submit(&job(1, 1).after(2, When::Ok));
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    world.log.clear();
    world.restart();
    world.note_waiting();
    world.cancel(ADA, 1);
    world.note("the machine does not come back");
    world.wait_s(91);
    world.note_waiting();
    expect![[r#"
        waits: no worker is connected; it starts as soon as one comes
        job 3 waits for job 2 to succeed
        1.1#1 is to stop
        1.2 cancelled
        refund:1.2-2: escrow -> ada 18
        done
        # the machine does not come back
        refund:1.1: escrow -> ada 18
        1.1 cancelled; charged 0
        job 1 is over
        job 2 waits no more for the tasks of job 1 (Any)
        waits: no worker is connected; it starts as soon as one comes
        job 3 waits for job 2 to succeed
    "#]]
    .assert_eq(&world.log);
}
