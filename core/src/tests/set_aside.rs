//! Machines that give everything back before it begins.

use campusgrid_protocol::id::{UserId, WorkerId};
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::task::{Outcome, WorkerFault};
use expect_test::expect;

use crate::input::{Request, WorkerEvent};
use crate::tests::world::{ADA, BOB, EVE, Machine, World, job, worker};
use crate::user::LOCAL;

fn fails(world: &mut World, session: u64, attempt: &str) {
    let fault = WorkerFault::Sandbox { message: "no namespaces".to_owned() };
    world.end(session, attempt, Outcome::Returned(fault), 0);
}

fn is_aside(world: &World, worker: u64) -> bool {
    world.grid.workers[&WorkerId(worker)].set_aside.is_some()
}

fn release(world: &mut World, user: UserId) {
    world.ask(Request::ReleaseWorker { user, worker: WorkerId(1) });
}

/// Jobs 1, 2 and 3 of these people come back from worker 1, which is Bob's and alone.
fn three_come_back(users: [UserId; 3]) -> World {
    three_come_back_beside(&[], users)
}

/// As [`three_come_back`], with further machines, numbered from 2, that the jobs fit less tightly.
fn three_come_back_beside(others: &[Machine], users: [UserId; 3]) -> World {
    let mut world = World::new();
    world.own(1, &worker(3, 3));
    for (number, machine) in (2..).zip(others) {
        world.own(number, machine);
    }
    for user in users {
        world.submit(&job(1, 1).limit_s(60).by(user));
    }
    world.log.clear();
    for attempt in ["1.0#1", "2.0#1", "3.0#1"] {
        fails(&mut world, 1, attempt);
    }
    world
}

#[test]
fn three_jobs_of_three_people_set_it_aside_until_it_is_released() {
    let mut world = three_come_back([ADA, BOB, EVE]);
    world.note_waiting();
    world.note("after a restart, too");
    world.restart();
    world.join(2, crate::tests::world::join(1, &worker(3, 3), Vec::new()));
    let shown = world.grid.snapshot().workers[0].set_aside.clone();
    assert!(shown.unwrap().starts_with("three different jobs came back"));
    world.note("strangers may not release it, its owner may, once");
    release(&mut world, EVE);
    release(&mut world, BOB);
    release(&mut world, BOB);
    world.note("and one more does not set it aside again");
    fails(&mut world, 2, "3.0#2");
    expect![[r#"
        1.0#1 waits again, 2 tries left: the worker's sandbox failed: no namespaces
        to session 1: stored 1.0#1
        2.0#1 waits again, 2 tries left: the worker's sandbox failed: no namespaces
        to session 1: stored 2.0#1
        worker-1 is set aside: three different jobs came back from it before they began; the last said: the worker's sandbox failed: no namespaces
        3.0#1 waits again, 2 tries left: the worker's sandbox failed: no namespaces
        to session 1: stored 3.0#1
        waits: 1 worker can run it, and it is set aside; it starts when its owner or an operator releases it
        waits: 1 worker can run it, and it is set aside; it starts when its owner or an operator releases it
        waits: 1 worker can run it, and it is set aside; it starts when its owner or an operator releases it
        # after a restart, too
        to session 2: welcome, worker-1 of bob
        # strangers may not release it, its owner may, once
        refused: there is no such thing, or it is not yours
        worker-1 is released
        1.0#2 -> worker-1
        2.0#2 -> worker-1
        3.0#2 -> worker-1
        done
        done
        # and one more does not set it aside again
        3.0#2 waits again, 1 tries left: the worker's sandbox failed: no namespaces
        to session 2: stored 3.0#2
    "#]].assert_eq(&world.log);
}

#[test]
fn whoever_was_released_begins_anew() {
    let mut world = three_come_back([ADA, BOB, EVE]);
    release(&mut world, BOB);
    world.wait_s(30);
    world.heartbeat(1, Vec::new());
    fails(&mut world, 1, "3.0#2");
    fails(&mut world, 1, "2.0#2");
    assert!(!is_aside(&world, 1));
    fails(&mut world, 1, "1.0#2");
    assert!(is_aside(&world, 1));
}

#[test]
fn its_owners_own_jobs_are_believed() {
    let mut world = three_come_back([BOB; 3]);
    assert!(is_aside(&world, 1));
    release(&mut world, LOCAL);
    assert!(!is_aside(&world, 1));
}

/// One submitter of jobs that fail everywhere would else have machine after machine set aside.
#[test]
fn jobs_of_one_stranger_are_believed_once_they_began_elsewhere() {
    let theirs_and_eves = [worker(4, 4).of(ADA), worker(8, 8).of(EVE)];
    let mut world = three_come_back_beside(&theirs_and_eves, [ADA; 3]);
    assert!(!is_aside(&world, 1));
    world.note("on the submitter's own machine they may say what they like");
    for attempt in ["1.0#2", "2.0#2", "3.0#2"] {
        world.start(2, attempt);
    }
    assert!(!is_aside(&world, 1));
    for attempt in ["1.0#2", "2.0#2", "3.0#2"] {
        world.end(2, attempt, Outcome::Returned(WorkerFault::Leaving), 0);
    }
    world.note("on a third they count");
    for attempt in ["1.0#3", "2.0#3"] {
        world.start(3, attempt);
    }
    expect![[r#"
        1.0#1 waits again, 2 tries left: the worker's sandbox failed: no namespaces
        1.0#2 -> worker-2
        to session 1: stored 1.0#1
        2.0#1 waits again, 2 tries left: the worker's sandbox failed: no namespaces
        2.0#2 -> worker-2
        to session 1: stored 2.0#1
        3.0#1 waits again, 2 tries left: the worker's sandbox failed: no namespaces
        3.0#2 -> worker-2
        to session 1: stored 3.0#1
        # on the submitter's own machine they may say what they like
        1.0#2 waits again, 2 tries left: the owner took the worker back
        1.0#3 -> worker-3
        to session 2: stored 1.0#2
        2.0#2 waits again, 2 tries left: the owner took the worker back
        2.0#3 -> worker-3
        to session 2: stored 2.0#2
        3.0#2 waits again, 2 tries left: the owner took the worker back
        3.0#3 -> worker-3
        to session 2: stored 3.0#2
        # on a third they count
        worker-1 is set aside: three different jobs came back from it before they began, and began elsewhere
    "#]].assert_eq(&world.log);
}

/// Nobody will ever bear the submitter out.
#[test]
fn where_no_other_machine_could_tell_a_stranger_is_believed() {
    for others in [
        vec![],
        vec![worker(4, 4).of(ADA)],
        vec![worker(0, 8).of(EVE)],
        vec![worker(8, 8).of(EVE).confined(Isolation::Docker)],
    ] {
        let world = three_come_back_beside(&others, [ADA; 3]);
        assert!(is_aside(&world, 1), "beside {others:?}");
    }
    let mut world = World::new();
    world.own(1, &worker(3, 3));
    world.own(2, &worker(8, 8).of(EVE));
    world.hear(2, WorkerEvent::Gone);
    for _ in 0..3 {
        world.submit(&job(1, 1));
    }
    for attempt in ["1.0#1", "2.0#1", "3.0#1"] {
        fails(&mut world, 1, attempt);
    }
    assert!(is_aside(&world, 1));
}

#[test]
fn two_black_holes_at_once_are_both_set_aside() {
    let mut world = three_come_back_beside(&[worker(4, 4), worker(8, 8).of(EVE)], [ADA; 3]);
    for attempt in ["1.0#2", "2.0#2", "3.0#2"] {
        fails(&mut world, 2, attempt);
    }
    world.log.clear();
    for attempt in ["1.0#3", "2.0#3", "3.0#3"] {
        world.start(3, attempt);
    }
    expect![[r#"
        worker-1 is set aside: three different jobs came back from it before they began, and began elsewhere
        worker-2 is set aside: three different jobs came back from it before they began, and began elsewhere
    "#]].assert_eq(&world.log);
}

#[test]
fn what_fails_everywhere_sets_nothing_aside() {
    let mut world = three_come_back_beside(&[worker(4, 4).of(EVE)], [ADA, BOB, ADA]);
    for attempt in ["1.0#2", "2.0#2", "3.0#2"] {
        fails(&mut world, 2, attempt);
    }
    world.submit(&job(1, 1).limit_s(60).by(EVE));
    let attempt = world.grid.occupancy.iter().find_map(|(&worker, occupancy)| {
        occupancy.keys().find(|attempt| attempt.task.job.0 == 4).map(|found| (worker, *found))
    });
    let (worker, attempt) = attempt.unwrap();
    fails(&mut world, worker.0, &attempt.to_string());
    assert!(world.grid.workers.values().all(|worker| worker.set_aside.is_none()), "{}", world.log);
}

#[test]
fn a_fault_after_the_start_is_another_matter() {
    let mut world = World::new();
    world.own(1, &worker(3, 3));
    for user in [ADA, BOB, EVE] {
        world.submit(&job(1, 1).by(user));
    }
    for attempt in ["1.0#1", "2.0#1", "3.0#1"] {
        world.start(1, attempt);
        fails(&mut world, 1, attempt);
    }
    assert!(!is_aside(&world, 1));
}
