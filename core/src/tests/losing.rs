//! Attempts that never reached their machine, and tasks that take their machines down.

use campusgrid_protocol::id::JobId;
use campusgrid_protocol::task::{Outcome, WorkerFault};
use expect_test::expect;

use crate::input::{Input, WorkerEvent};
use crate::losses::Losses;
use crate::policy::Policy;
use crate::tests::world::{BOB, World, attempts, job, join, policy, worker};

/// Machine 1 comes back without what it was given.
fn comes_back_without(world: &mut World, session: u64) {
    world.join(session, join(1, &worker(1, 1), Vec::new()));
}

#[test]
fn a_start_that_never_arrived_costs_no_try() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.log.clear();
    comes_back_without(&mut world, 2);
    world.note("once it has spoken of it, in whatever way, it is its own loss");
    world.heartbeat(2, attempts(&["1.0#2"]));
    comes_back_without(&mut world, 3);
    world.join(4, join(1, &worker(1, 1), attempts(&["1.0#3"])));
    comes_back_without(&mut world, 5);
    expect![[r#"
        1.0#1 waits again, 3 tries left: its start never reached the worker
        1.0#2 -> worker-1
        to session 2: welcome, worker-1 of bob
        session 1 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
        # once it has spoken of it, in whatever way, it is its own loss
        1.0#2 waits again, 2 tries left: the worker was restarted
        1.0#3 -> worker-1
        to session 3: welcome, worker-1 of bob
        session 2 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
        to session 4: welcome, worker-1 of bob
        session 3 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
        1.0#3 waits again, 1 tries left: the worker was restarted
        1.0#4 -> worker-1
        to session 5: welcome, worker-1 of bob
        session 4 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
    "#]]
    .assert_eq(&world.log);
}

/// A machine that says so itself has had it.
#[test]
fn a_machine_that_gives_back_what_it_lost_has_had_it() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.log.clear();
    world.end(1, "1.0#1", Outcome::Returned(WorkerFault::Restarted), 0);
    expect![[r#"
        1.0#1 waits again, 2 tries left: the worker was restarted
        1.0#2 -> worker-1
        to session 1: stored 1.0#1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_machine_that_never_gets_its_starts_uses_up_the_tries_in_the_end() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    let mut session = 1;
    while !world.grid.jobs.is_empty() && session < 100 {
        session += 1;
        comes_back_without(&mut world, session);
    }
    assert_eq!(session - 1, 23, "twenty that are free, and three tries");
    assert!(world.log.contains("given up by the grid and refunded"), "{}", world.log);
}

#[test]
fn a_task_that_three_machines_were_lost_with_ends() {
    let mut world = World::with(Policy { tries: 10, ..policy() });
    world.submit(&job(1, 1));
    let mut run_and_lose = |number: u8, attempt: &str| {
        world.own(number, &worker(1, 1));
        world.start(number.into(), attempt);
        world.hear(number.into(), WorkerEvent::Gone);
        world.wait_s(90);
    };
    run_and_lose(1, "1.0#1");
    run_and_lose(1, "1.0#2");
    run_and_lose(2, "1.0#3");
    world.note("a restart does not forget, and what was never heard of does not count");
    world.restart();
    world.own(3, &worker(1, 1));
    world.hear(3, WorkerEvent::Gone);
    world.wait_s(90);
    world.note("a machine that restarts was lost as well");
    world.own(4, &worker(1, 1));
    world.start(4, "1.0#5");
    world.ask(crate::input::Request::RemoveWorker {
        user: BOB,
        worker: campusgrid_protocol::id::WorkerId(2),
    });
    world.join(44, join(4, &worker(1, 1), Vec::new()));
    world.note_balances();
    expect![[r#"
        hold:1: ada -> escrow 18
        job 1, 18 held
        1.0#1 -> worker-1
        1.0#1 waits again, 9 tries left: the worker was out of touch for too long
        1.0#2 -> worker-1
        1.0#2 waits again, 8 tries left: the worker was out of touch for too long
        1.0#3 -> worker-2
        1.0#3 waits again, 7 tries left: the worker was out of touch for too long
        # a restart does not forget, and what was never heard of does not count
        1.0#4 -> worker-3
        1.0#4 waits again, 7 tries left: the worker was lost before it said a word of it
        # a machine that restarts was lost as well
        1.0#5 -> worker-4
        worker-2 is removed
        done
        refund:1.0: escrow -> ada 18
        1.0 failed: given up by the grid and refunded: three different workers were lost while they ran it: worker 1 (laptop-1) in attempt 1, worker 2 (a removed one) in attempt 3 and worker 4 (laptop-4) in attempt 5; charged 0
        job 1 is over
        to session 44: welcome, worker-4 of bob
        session 4 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
        ada 100, bob 100, eve 100, escrow 0
    "#]].assert_eq(&world.log);
}

/// Its machine could not be told that its lease goes on.
#[test]
fn what_an_outage_of_the_grid_has_cost_counts_for_nothing() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.start(1, "1.0#1");
    world.log.clear();
    world.note("the lease ended on the machine while the manager was down");
    world.restart();
    world.join(2, join(1, &worker(1, 1), attempts(&["1.0#1"])));
    world.end(2, "1.0#1", Outcome::Returned(WorkerFault::LeaseOver), 60);
    world.note("or stood still");
    world.start(2, "1.0#2");
    world.happen(Input::Paused);
    world.end(2, "1.0#2", Outcome::Returned(WorkerFault::LeaseOver), 60);
    world.note("both went down, and the machine came up empty, or not in time");
    world.start(2, "1.0#3");
    world.restart();
    comes_back_without(&mut world, 3);
    world.start(3, "1.0#4");
    world.restart();
    world.wait_s(90);
    assert_eq!(world.grid.jobs[&JobId(1)].tasks[&0].losses, Losses::None);
    world.note("a machine that has been heard of since is lost for itself");
    comes_back_without(&mut world, 4);
    world.start(4, "1.0#5");
    world.happen(Input::Paused);
    world.heartbeat(4, attempts(&["1.0#5"]));
    world.wait_s(90);
    assert_eq!(world.grid.jobs[&JobId(1)].tasks[&0].losses.to_string(), "1#5");
    expect![[r#"
        # the lease ended on the machine while the manager was down
        to session 2: welcome, worker-1 of bob
        1.0#1 waits again, 3 tries left: lost over an outage of the manager: the worker was out of touch for too long
        1.0#2 -> worker-1
        to session 2: stored 1.0#1
        # or stood still
        1.0#2 waits again, 3 tries left: lost over an outage of the manager: the worker was out of touch for too long
        1.0#3 -> worker-1
        to session 2: stored 1.0#2
        # both went down, and the machine came up empty, or not in time
        1.0#3 waits again, 3 tries left: lost over an outage of the manager: the worker was restarted
        1.0#4 -> worker-1
        to session 3: welcome, worker-1 of bob
        1.0#4 waits again, 3 tries left: lost over an outage of the manager: the worker was out of touch for too long
        # a machine that has been heard of since is lost for itself
        1.0#5 -> worker-1
        to session 4: welcome, worker-1 of bob
        1.0#5 waits again, 2 tries left: the worker was out of touch for too long
    "#]].assert_eq(&world.log);
}

/// It is there, so the task has not taken it down.
#[test]
fn a_machine_that_tells_of_a_lease_that_was_over_is_no_loss() {
    let mut world = World::with(Policy { tries: 4, ..policy() });
    world.submit(&job(1, 1));
    world.log.clear();
    for (number, attempt) in [(1, "1.0#1"), (2, "1.0#3"), (3, "1.0#5")] {
        world.own(number, &worker(1, 1));
        world.start(number.into(), attempt);
        world.end(number.into(), attempt, Outcome::Returned(WorkerFault::LeaseOver), 60);
        world.hear(number.into(), WorkerEvent::Gone);
        world.wait_s(90);
    }
    assert_eq!(world.grid.jobs[&JobId(1)].tasks[&0].losses, Losses::None);
    expect![[r#"
        1.0#1 -> worker-1
        1.0#1 waits again, 3 tries left: the worker stopped it, since it was out of touch with the manager
        1.0#2 -> worker-1
        to session 1: stored 1.0#1
        1.0#2 waits again, 3 tries left: the worker was lost before it said a word of it
        1.0#3 -> worker-2
        1.0#3 waits again, 2 tries left: the worker stopped it, since it was out of touch with the manager
        1.0#4 -> worker-2
        to session 2: stored 1.0#3
        1.0#4 waits again, 2 tries left: the worker was lost before it said a word of it
        1.0#5 -> worker-3
        1.0#5 waits again, 1 tries left: the worker stopped it, since it was out of touch with the manager
        1.0#6 -> worker-3
        to session 3: stored 1.0#5
        1.0#6 waits again, 1 tries left: the worker was lost before it said a word of it
    "#]].assert_eq(&world.log);
}
