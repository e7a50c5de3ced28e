//! Machines with an owner that connect, return, are lost and removed.

use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::task::Outcome;
use expect_test::expect;

use crate::input::{Input, Joined, Request, WorkerEvent};
use crate::tests::world::{ADA, BOB, EVE, World, attempts, enrolment, job, join, worker};

fn remove(world: &mut World, user: campusgrid_protocol::id::UserId, worker: u64) {
    world.ask(Request::RemoveWorker { user, worker: WorkerId(worker) });
}

#[test]
fn the_newer_session_of_a_machine_wins() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.log.clear();
    world.join(2, join(1, &worker(1, 1), attempts(&["1.0#1"])));
    world.note("the older one no longer counts");
    world.heartbeat(1, attempts(&["1.0#1"]));
    world.end(1, "1.0#1", Outcome::Succeeded, 1);
    world.hear(1, WorkerEvent::Gone);
    world.note("the newer does");
    world.end(2, "1.0#1", Outcome::Succeeded, 1);
    expect![[r#"
        to session 2: welcome, worker-1 of bob
        session 1 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
        # the older one no longer counts
        # the newer does
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 8
        job 1 is over
        to session 2: stored 1.0#1
    "#]]
    .assert_eq(&world.log);
}

/// As the one below, but the newer connection is cut before the old join comes in.
#[test]
fn a_join_that_a_newer_one_had_overtaken_changes_nothing_either() {
    let mut world = World::new();
    world.own(2, &worker(1, 1));
    world.submit(&job(1, 1));
    world.own(3, &worker(1, 1));
    world.log.clear();
    world.hear(2, WorkerEvent::Gone);
    world.join(1, join(2, &worker(1, 1), Vec::new()));
    world.note("its machine comes back with what it runs");
    world.join(4, join(2, &worker(1, 1), attempts(&["1.0#1"])));
    world.end(4, "1.0#1", Outcome::Succeeded, 1);
    expect![[r#"
        session 1 ends: a newer connection of this worker came in first
        # its machine comes back with what it runs
        to session 4: welcome, worker-1 of bob
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 8
        job 1 is over
        to session 4: stored 1.0#1
    "#]]
    .assert_eq(&world.log);
}

/// It lists what ran when it was sent: once, what was started since was started again elsewhere.
#[test]
fn a_join_that_a_newer_one_has_overtaken_changes_nothing() {
    let mut world = World::new();
    world.own(2, &worker(1, 1));
    world.submit(&job(1, 1));
    world.own(3, &worker(1, 1));
    world.log.clear();
    world.join(1, join(2, &worker(1, 1), Vec::new()));
    world.note("its machine is not disturbed");
    world.hear(1, WorkerEvent::Gone);
    world.end(2, "1.0#1", Outcome::Succeeded, 1);
    expect![[r#"
        session 1 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
        # its machine is not disturbed
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 8
        job 1 is over
        to session 2: stored 1.0#1
    "#]]
    .assert_eq(&world.log);
}

/// Each of these once left a link that nothing removed, and then a panic.
#[test]
fn a_session_joins_once() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.own(2, &worker(1, 1));
    world.note("as a machine that it is not");
    world.join(1, join(2, &worker(1, 1), Vec::new()));
    world.note("as one that waits for approval, and once more");
    world.enrol(5, &enrolment(5, None));
    world.join(5, join(2, &worker(1, 1), Vec::new()));
    world.note("the machines themselves are well");
    world.join(6, join(1, &worker(1, 1), Vec::new()));
    remove(&mut world, BOB, 2);
    world.submit(&job(1, 1));
    expect![[r#"
        # as a machine that it is not
        session 1 ends: a session joins once
        # as one that waits for approval, and once more
        refused: this machine no longer waits here: its connection is over, or it has a newer one
        session 5 ends: a session joins once
        # the machines themselves are well
        to session 6: welcome, worker-1 of bob
        worker-2 is removed
        done
        session 2 ends for good: this worker was removed on the dashboard
        hold:1: ada -> escrow 18
        1.0#1 -> worker-1
        job 1, 18 held
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_machine_that_returns_keeps_what_it_runs() {
    let mut world = World::new();
    world.own(1, &worker(3, 3));
    world.submit(&job(1, 1).limit_s(60).tasks(3));
    world.cancel(ADA, 1);
    world.submit(&job(1, 1));
    world.log.clear();
    world.hear(1, WorkerEvent::Gone);
    world.wait_s(60);
    world.note("it has lost one, keeps two that are cancelled, and one that is unknown");
    world.join(2, join(1, &worker(3, 3), attempts(&["1.1#1", "1.2#1", "7.0#1"])));
    world.wait_s(80);
    world.note("both leases run from its return");
    world.wait_s(10);
    expect![[r#"
        # it has lost one, keeps two that are cancelled, and one that is unknown
        refund:1.0: escrow -> ada 9
        1.0 cancelled; charged 0
        2.0#1 -> worker-1
        to session 2: welcome, worker-1 of bob
        to session 2: drop 7.0#1
        to session 2: cancel 1.1#1
        to session 2: cancel 1.2#1
        # both leases run from its return
        refund:1.1: escrow -> ada 9
        1.1 cancelled; charged 0
        refund:1.2: escrow -> ada 9
        1.2 cancelled; charged 0
        job 1 is over
        2.0#1 waits again, 3 tries left: the worker was lost before it said a word of it
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn only_leases_that_are_listed_are_renewed() {
    let mut world = World::new();
    world.own(1, &worker(2, 2));
    world.submit(&job(1, 1).tasks(2));
    world.log.clear();
    for _ in 0..9 {
        world.wait_s(10);
        world.heartbeat(1, attempts(&["1.0#1"]));
    }
    world.note("unknown ones are to be dropped");
    world.heartbeat(1, attempts(&["1.1#1", "1.0#2", "2.0#1", "1.0#1", "1.0#1"]));
    expect![[r#"
        1.1#1 waits again, 3 tries left: the worker was lost before it said a word of it
        1.1#2 -> worker-1
        # unknown ones are to be dropped
        to session 1: drop 1.1#1
        to session 1: drop 1.0#2
        to session 1: drop 2.0#1
    "#]]
    .assert_eq(&world.log);
}

/// Else a machine could keep a task, and its submitter's credits, by speaking of it for ever.
#[test]
fn a_lease_is_not_renewed_for_ever() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.start(1, "1.0#1");
    world.log.clear();
    for _ in 0..1450 {
        world.now = world.now.plus_ms(60_000);
        world.heartbeat(1, attempts(&["1.0#1"]));
    }
    world.note("a day and ten minutes later");
    world.heartbeat(1, attempts(&["1.0#1"]));
    world.now = world.now.plus_ms(60_000);
    world.heartbeat(1, attempts(&["1.0#1"]));
    world.wait_s(30);
    expect![[r#"
        # a day and ten minutes later
        to session 1: drop 1.0#1
        1.0#1 waits again, 2 tries left: the worker was out of touch for too long
        1.0#2 -> worker-1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_restarted_manager_gives_every_lease_its_full_time() {
    let mut world = World::new();
    world.own(1, &worker(2, 2));
    world.submit(&job(1, 1).tasks(3));
    world.wait_s(80);
    world.log.clear();
    world.restart();
    world.wait_s(89);
    world.note("it returns just in time");
    world.join(1, join(1, &worker(2, 2), attempts(&["1.0#1", "1.1#1"])));
    world.end(1, "1.0#1", Outcome::Succeeded, 30);
    world.note("another restart, and it stays away");
    world.restart();
    world.wait_s(90);
    expect![[r#"
        # it returns just in time
        to session 1: welcome, worker-1 of bob
        pay:1.0:1: escrow -> bob 8.5
        refund:1.0: escrow -> ada 9.5
        1.0 succeeded; charged 8.5
        1.2#1 -> worker-1
        to session 1: stored 1.0#1
        # another restart, and it stays away
        1.1#1 waits again, 3 tries left: lost over an outage of the manager: the worker was out of touch for too long
        1.2#1 waits again, 3 tries left: lost over an outage of the manager: the worker was out of touch for too long
    "#]]
    .assert_eq(&world.log);
}

/// A manager that begins with a clock of years ago and is set right has not waited for years.
#[test]
fn a_clock_that_leaps_between_two_runs_takes_nothing_from_anybody() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.start(1, "1.0#1");
    world.now = world.now.plus_ms(3 * 365 * 86_400_000);
    world.restart();
    world.log.clear();
    world.join(1, join(1, &worker(1, 1), attempts(&["1.0#1"])));
    world.heartbeat(1, attempts(&["1.0#1"]));
    assert_eq!(world.log, "to session 1: welcome, worker-1 of bob\n");
}

#[test]
fn a_machine_is_removed_by_its_owner_only() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.log.clear();
    remove(&mut world, EVE, 1);
    remove(&mut world, BOB, 2);
    world.note("with what it runs");
    remove(&mut world, BOB, 1);
    remove(&mut world, BOB, 1);
    world.note("it comes back as a stranger");
    world.join(2, join(1, &worker(1, 1), attempts(&["1.0#1"])));
    expect![[r#"
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        # with what it runs
        1.0#1 waits again, 3 tries left: the owner took the worker back
        worker-1 is removed
        to session 1: drop 1.0#1
        done
        session 1 ends for good: this worker was removed on the dashboard
        refused: there is no such thing, or it is not yours
        # it comes back as a stranger
        session 2 ends for good: this worker was removed, or never joined this grid; it has to join anew
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_machine_may_change_its_name() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.join(2, Joined { name: "desk".to_owned(), ..join(1, &worker(1, 1), Vec::new()) });
    expect![[r#"
          worker-1 is called "desk"
          to session 2: welcome, worker-1 of bob
          session 1 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn sessions_that_nobody_knows_change_nothing() {
    let mut world = World::new();
    world.heartbeat(8, attempts(&["1.0#1"]));
    world.start(8, "1.0#1");
    world.end(8, "1.0#1", Outcome::Succeeded, 1);
    world.hear(8, WorkerEvent::Gone);
    assert_eq!(world.log, "");
}

/// A manager that was stopped for an hour has heard of nobody, and nobody is to blame for that.
#[test]
fn a_manager_that_stood_still_gives_every_lease_its_full_time() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.submit(&job(1, 1));
    world.log.clear();
    world.now = world.now.plus_ms(3_600_000);
    world.happen(Input::Paused);
    world.wait_s(29);
    assert!(!world.grid.snapshot().workers[0].link.as_ref().unwrap().silent);
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    world.wait_s(90);
    expect![[r#"
        pay:1.0:1: escrow -> bob 9
        refund:1.0: escrow -> ada 9
        1.0 succeeded; charged 9
        job 1 is over
        2.0#1 -> worker-1
        to session 1: stored 1.0#1
        2.0#1 waits again, 3 tries left: the worker was lost before it said a word of it
    "#]]
    .assert_eq(&world.log);
}
