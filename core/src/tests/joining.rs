//! Machines that come, are approved, return, are lost and removed.

use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::task::Outcome;
use expect_test::expect;

use crate::input::{Joined, Request, WorkerEvent};
use crate::tests::world::{ADA, BOB, EVE, World, attempts, job, join, worker};

fn newcomer(number: u8, claimed_owner: Option<&str>) -> Joined {
    let claimed_owner = claimed_owner.map(str::to_owned);
    Joined { claimed_owner, ..join(number, &worker(1, 1), Vec::new()) }
}

fn approve(world: &mut World, user: campusgrid_protocol::id::UserId, code: &str) {
    world.ask(Request::ApproveWorker { user, code: code.to_owned() });
}

fn remove(world: &mut World, user: campusgrid_protocol::id::UserId, worker: u64) {
    world.ask(Request::RemoveWorker { user, worker: WorkerId(worker) });
}

#[test]
fn a_newcomer_works_once_its_owner_has_entered_its_code() {
    let mut world = World::new();
    world.submit(&job(1, 1));
    world.join(1, newcomer(1, Some("Bob")));
    world.heartbeat(1, attempts(&["1.0#1"]));
    world.note("the wrong code, the wrong person, nobody");
    approve(&mut world, BOB, "CODE-2");
    approve(&mut world, BOB, "");
    approve(&mut world, EVE, "CODE-1");
    approve(&mut world, campusgrid_protocol::id::UserId(99), "CODE-1");
    world.note("the right one, once");
    approve(&mut world, BOB, "CODE-1");
    approve(&mut world, BOB, "CODE-1");
    expect![[r#"
        hold:1: ada -> escrow 18
        job 1, 18 held
        to session 1: welcome, worker-1; show CODE-1
        # the wrong code, the wrong person, nobody
        refused: no machine of yours shows this code right now
        refused: no machine of yours shows this code right now
        refused: no machine of yours shows this code right now
        refused: there is no such thing, or it is not yours
        # the right one, once
        worker-1 "laptop-1" belongs to bob
        1.0#1 -> worker-1
        to session 1: approved by bob
        worker-1 approved
        refused: no machine of yours shows this code right now
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn whoever_sees_the_code_may_approve_a_machine_that_claims_no_owner() {
    let mut world = World::new();
    world.join(1, newcomer(1, None));
    approve(&mut world, EVE, "CODE-1");
    expect![[r#"
          to session 1: welcome, worker-1; show CODE-1
          worker-1 "laptop-1" belongs to eve
          to session 1: approved by eve
          worker-1 approved
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_code_ends_with_its_connection() {
    let mut world = World::new();
    world.join(1, newcomer(1, None));
    world.hear(1, WorkerEvent::Gone);
    approve(&mut world, EVE, "CODE-1");
    world.note("and with a newer one of the same machine");
    world.join(2, newcomer(1, None));
    world.join(3, Joined { code: "FRESH".to_owned(), ..newcomer(1, None) });
    approve(&mut world, EVE, "CODE-1");
    approve(&mut world, EVE, "FRESH");
    expect![[r#"
        to session 1: welcome, worker-1; show CODE-1
        refused: no machine of yours shows this code right now
        # and with a newer one of the same machine
        to session 2: welcome, worker-2; show CODE-1
        to session 3: welcome, worker-3; show FRESH
        session 2 ends: a newer connection of this worker has taken over
        refused: no machine of yours shows this code right now
        worker-3 "laptop-1" belongs to eve
        to session 3: approved by eve
        worker-3 approved
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_newcomer_is_told_to_drop_what_it_brings() {
    let mut world = World::new();
    world.join(1, Joined { attempts: attempts(&["5.0#1", "6.1#2"]), ..newcomer(1, None) });
    world.note("its results are of no interest");
    world.end(1, "5.0#1", Outcome::Succeeded, 1);
    expect![[r#"
        to session 1: welcome, worker-1; show CODE-1
        to session 1: drop 5.0#1
        to session 1: drop 6.1#2
        # its results are of no interest
    "#]]
    .assert_eq(&world.log);
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
        session 1 ends: a newer connection of this worker has taken over
        # the older one no longer counts
        # the newer does
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 8
        job 1 is over: 1 succeeded, 0 failed, 0 cancelled
        to session 2: stored 1.0#1
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
        session 1 ends: a newer connection of this worker has taken over
        # its machine is not disturbed
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 8
        job 1 is over: 1 succeeded, 0 failed, 0 cancelled
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
    world.note("as a newcomer, and once more");
    world.join(5, newcomer(5, None));
    world.join(5, join(2, &worker(1, 1), Vec::new()));
    approve(&mut world, EVE, "CODE-5");
    world.note("the machines themselves are well");
    world.join(6, join(1, &worker(1, 1), Vec::new()));
    remove(&mut world, BOB, 2);
    world.submit(&job(1, 1));
    expect![[r#"
        # as a machine that it is not
        session 1 ends: a session joins once
        # as a newcomer, and once more
        to session 5: welcome, worker-3; show CODE-5
        session 5 ends: a session joins once
        refused: no machine of yours shows this code right now
        # the machines themselves are well
        to session 6: welcome, worker-1 of bob
        worker-2 is removed
        done
        session 2 ends: this worker was removed on the dashboard
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
        job 1 is over: 0 succeeded, 0 failed, 3 cancelled
        2.0#1 waits again, 2 tries left: the worker was out of touch for too long
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
        1.1#1 waits again, 2 tries left: the worker was out of touch for too long
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
        1.1#1 waits again, 2 tries left: the worker was out of touch for too long
        1.2#1 waits again, 2 tries left: the worker was out of touch for too long
    "#]]
    .assert_eq(&world.log);
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
        session 1 ends: this worker was removed on the dashboard
        refused: there is no such thing, or it is not yours
        # it comes back as a stranger
        to session 2: welcome, worker-2; show CODE-1
        to session 2: drop 1.0#1
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
          session 1 ends: a newer connection of this worker has taken over
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
