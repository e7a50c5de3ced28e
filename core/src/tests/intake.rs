//! While the disk is full or the books do not balance: nothing new, nothing settled, nothing lost.

use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::task::Outcome;
use expect_test::expect;

use crate::effect::Effects;
use crate::input::{Input, Intake, Request, Shut};
use crate::tests::world::{ADA, BOB, World, attempts, job, join, worker};

fn shut(world: &mut World, why: Shut) -> Effects {
    world.happen(Input::Intake(Intake::Shut(why)))
}

fn open(world: &mut World) {
    world.note("open again");
    world.happen(Input::Intake(Intake::Open));
}

fn broken() -> Shut {
    Shut::BooksBroken { findings: vec!["escrow has 1".to_owned()] }
}

#[test]
fn what_runs_goes_on_and_its_result_is_taken_later() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1).tasks(2));
    world.log.clear();
    shut(&mut world, Shut::DiskFull);
    world.start(1, "1.0#1");
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    for _ in 0..20 {
        world.wait_s(30);
        world.heartbeat(1, attempts(&["1.0#1"]));
    }
    world.note_waiting();
    open(&mut world);
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    expect![[r#"
        waits: the manager's disk is full; nothing new starts until it has room again
        # open again
        pay:1.0:1: escrow -> bob 9
        refund:1.0: escrow -> ada 9
        1.0 succeeded; charged 9
        1.1#1 -> worker-1
        to session 1: stored 1.0#1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn nothing_is_taken_in() {
    let mut world = World::new();
    world.submit(&job(1, 1).key("k"));
    world.log.clear();
    for why in [Shut::DiskFull, broken()] {
        shut(&mut world, why);
        world.submit(&job(1, 1));
        world.register("zoe");
        world.note("but what was taken in is known");
        world.submit(&job(1, 1).key("k"));
    }
    expect![[r#"
        refused: the manager's disk is full, so nothing new is taken in; what runs goes on
        refused: the manager's disk is full, so nothing new is taken in; what runs goes on
        # but what was taken in is known
        job 1, 18 held
        refused: the manager's books do not balance, so nothing is taken in until an operator has looked; what runs goes on
        refused: the manager's books do not balance, so nothing is taken in until an operator has looked; what runs goes on
        # but what was taken in is known
        job 1, 18 held
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn machines_that_come_are_let_in_and_get_their_tasks_later() {
    let mut world = World::new();
    shut(&mut world, broken());
    world.let_in(1, BOB);
    world.join(1, join(1, &worker(1, 1), Vec::new()));
    open(&mut world);
    world.submit(&job(1, 1));
    shut(&mut world, broken());
    world.let_in(2, BOB);
    world.join(2, join(2, &worker(1, 1), Vec::new()));
    world.submit(&job(1, 1));
    assert_eq!(world.grid.snapshot().intake, Intake::Shut(broken()));
    open(&mut world);
    assert_eq!(world.grid.snapshot().intake, Intake::Open);
    expect![[r#"
        worker-1 "laptop-1" belongs to bob
        enrolled as worker-1 of bob
        worker-1 approved
        to session 1: welcome, worker-1 of bob
        # open again
        hold:1: ada -> escrow 18
        1.0#1 -> worker-1
        job 1, 18 held
        worker-2 "laptop-2" belongs to bob
        enrolled as worker-2 of bob
        worker-2 approved
        to session 2: welcome, worker-2 of bob
        refused: the manager's books do not balance, so nothing is taken in until an operator has looked; what runs goes on
        # open again
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_lease_that_is_over_ends_when_it_may() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.log.clear();
    shut(&mut world, broken());
    world.hear(1, crate::input::WorkerEvent::Gone);
    world.wait_s(600);
    assert_eq!(world.grid.next_deadline(), None, "or the driver would never sleep");
    world.note("nor is it taken from a machine that never got it, which costs no try then either");
    world.join(2, join(1, &worker(1, 1), Vec::new()));
    open(&mut world);
    world.wait_s(0);
    expect![[r#"
        # nor is it taken from a machine that never got it, which costs no try then either
        to session 2: welcome, worker-1 of bob
        # open again
        1.0#1 waits again, 3 tries left: the worker was lost before it said a word of it
        1.0#2 -> worker-1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_cancel_is_noted_and_carried_out_later() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1).tasks(3));
    world.log.clear();
    shut(&mut world, broken());
    world.cancel(ADA, 1);
    world.cancel(ADA, 1);
    world.note("even after a restart");
    world.restart();
    expect![[r#"
        1.0#1 is to stop
        what waits of job 1 is to be cancelled
        to session 1: cancel 1.0#1
        done
        done
        # even after a restart
        1.1-2 cancelled
        refund:1.1-2: escrow -> ada 36
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_cancelled_job_that_waits_starts_no_more() {
    let mut world = World::new();
    world.submit(&job(1, 1));
    shut(&mut world, Shut::DiskFull);
    world.own(1, &worker(1, 1));
    world.log.clear();
    world.cancel(ADA, 1);
    open(&mut world);
    expect![[r#"
        what waits of job 1 is to be cancelled
        done
        # open again
        1.0 cancelled
        refund:1.0-0: escrow -> ada 18
        job 1 is over
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn only_an_idle_machine_is_removed() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.own(2, &worker(1, 1));
    world.submit(&job(1, 1));
    world.log.clear();
    shut(&mut world, Shut::DiskFull);
    for worker in [1, 2] {
        world.ask(Request::RemoveWorker { user: BOB, worker: WorkerId(worker) });
    }
    expect![[r#"
        refused: the manager's disk is full, so nothing new is taken in; what runs goes on
        worker-2 is removed
        done
        session 2 ends for good: this worker was removed on the dashboard
    "#]]
    .assert_eq(&world.log);
}
