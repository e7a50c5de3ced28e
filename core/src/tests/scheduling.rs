//! Who gets which machine, and what those who wait are told.

use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::task::{Outcome, WorkerFault};
use expect_test::{Expect, expect};

use crate::tests::world::{BOB, EVE, Machine, Wish, World, attempts, job, policy, worker};

/// Jobs 1, 2, … come at once upon workers 1, 2, …; says who goes where and why the others wait.
fn check(workers: &[Machine], jobs: &[Wish], expected: &Expect) {
    let mut world = placed(workers, jobs);
    world.note_waiting();
    let lines = world.log.lines().filter(|line| line.contains("->") || line.contains("waits"));
    let lines = lines.filter(|line| !line.contains("hold:"));
    expected.assert_eq(&lines.map(|line| format!("{line}\n")).collect::<String>());
}

fn placed(workers: &[Machine], jobs: &[Wish]) -> World {
    let starting_credits = crate::money::Micros::from_credits(1_000_000);
    let mut world = World::with(crate::policy::Policy { starting_credits, ..policy() });
    for (number, machine) in (1..).zip(workers) {
        world.own(number, machine);
    }
    for wish in jobs {
        world.submit(wish);
    }
    world
}

#[test]
fn first_come_first_served() {
    check(
        &[worker(2, 2)],
        &[job(1, 1), job(1, 1).by(EVE), job(1, 1)],
        &expect![[r#"
        1.0#1 -> worker-1
        2.0#1 -> worker-1
        waits: 1 worker can run it, and it is busy; one has room in 10 min at the latest
    "#]],
    );
}

#[test]
fn a_task_goes_where_it_fits_most_tightly() {
    check(
        &[worker(8, 8), worker(2, 8), worker(2, 2), worker(4, 4)],
        &[job(1, 1), job(2, 2), job(4, 4), job(1, 1)],
        &expect![[r#"
            1.0#1 -> worker-3
            2.0#1 -> worker-2
            3.0#1 -> worker-4
            4.0#1 -> worker-3
        "#]],
    );
}

#[test]
fn a_machine_that_has_enough_of_one_thing_only_is_passed_over() {
    check(
        &[worker(2, 1), worker(3, 1), worker(4, 4), worker(8, 8)],
        &[job(1, 2), job(2, 2)],
        &expect![[r#"
            1.0#1 -> worker-3
            2.0#1 -> worker-3
        "#]],
    );
    check(
        &[
            worker(1, 8).gpu(8),
            worker(4, 1).gpu(8),
            worker(4, 4).gpu(8),
            worker(2, 2).gpu(8).gpu(8),
        ],
        &[job(2, 2), job(2, 2), job(2, 2)],
        &expect![[r#"
            1.0#1 -> worker-3
            2.0#1 -> worker-3
            3.0#1 -> worker-4
        "#]],
    );
}

#[test]
fn equal_machines_are_filled_in_a_fixed_order() {
    check(
        &[worker(1, 1), worker(1, 1), worker(1, 1)],
        &[job(1, 1).tasks(3)],
        &expect![[r#"
        1.0#1 -> worker-1
        1.1#1 -> worker-2
        1.2#1 -> worker-3
    "#]],
    );
}

#[test]
fn the_machine_that_has_been_up_longest_comes_first() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.own(2, &worker(1, 1));
    world.wait_s(1);
    world.join(3, crate::tests::world::join(1, &worker(1, 1), Vec::new()));
    world.log.clear();
    world.submit(&job(1, 1));
    expect![[r#"
          hold:1: ada -> escrow 18
          1.0#1 -> worker-2
          job 1, 18 held
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn machines_with_a_gpu_are_spared_for_those_who_need_one() {
    check(
        &[worker(1, 1).gpu(8), worker(8, 8)],
        &[job(1, 1), job(1, 1).gpus(1, 4), job(1, 1).tasks(8)],
        &expect![[r#"
            1.0#1 -> worker-2
            2.0#1 -> worker-1 with GPU 0
            3.0#1 -> worker-2
            3.1#1 -> worker-2
            3.2#1 -> worker-2
            3.3#1 -> worker-2
            3.4#1 -> worker-2
            3.5#1 -> worker-2
            3.6#1 -> worker-2
            waits: 2 workers can run it, and all are busy; one has room in 10 min at the latest
        "#]],
    );
}

#[test]
fn gpus_count_one_by_one_and_by_their_memory() {
    check(
        &[worker(8, 8).gpu(24).gpu(8), worker(8, 8).gpu(16)],
        &[
            job(1, 1).gpus(1, 4),
            job(1, 1).gpus(1, 20),
            job(1, 1).gpus(2, 4),
            job(1, 1).gpus(2, 20),
            job(1, 1).gpus(3, 1),
            job(1, 1).gpus(1, 4),
        ],
        &expect![[r#"
            1.0#1 -> worker-2 with GPU 0
            2.0#1 -> worker-1 with GPU 0
            6.0#1 -> worker-1 with GPU 1
            waits: 1 worker can run it, and it is busy; one has room in 10 min at the latest
            waits: no single worker has 1 core(s), 1024 MiB of RAM, 100 MiB of disk and 2 GPU(s) of 20480 MiB together
            waits: no worker has 3 GPUs; the most that one has is 2
        "#]],
    );
}

#[test]
fn a_blocked_shape_is_passed_over_by_others() {
    check(
        &[worker(4, 4)],
        &[job(3, 3), job(3, 3), job(1, 1), job(3, 3)],
        &expect![[r#"
        1.0#1 -> worker-1
        3.0#1 -> worker-1
        waits: 1 worker can run it, and it is busy; one has room in 10 min at the latest
    "#]],
    );
}

#[test]
fn every_reason_has_its_words() {
    let check_one = |workers: &[Machine], wish: Wish, expected: Expect| {
        check(workers, &[wish], &expected);
    };
    check_one(
        &[],
        job(1, 1),
        expect![[r#"
        waits: no worker is connected; it starts as soon as one comes
    "#]],
    );
    check_one(
        &[worker(2, 2), worker(4, 1)],
        job(8, 1),
        expect![[r#"
        waits: no worker has 8 cores; the largest has 4
    "#]],
    );
    check_one(
        &[worker(2, 2), worker(4, 1)],
        job(1, 3),
        expect![[r#"
        waits: no worker has 3072 MiB of RAM to share; the largest has 2048 MiB
    "#]],
    );
    check_one(
        &[worker(2, 2)],
        job(1, 1).disk(20_000),
        expect![[r#"
        waits: no worker has 20000 MiB of disk to share; the largest has 10000 MiB
    "#]],
    );
    check_one(
        &[worker(2, 2)],
        job(1, 1).gpus(1, 0),
        expect![[r#"
        waits: needs 1 GPU(s), and no connected worker has one
    "#]],
    );
    check_one(
        &[worker(2, 2).gpu(8)],
        job(1, 1).gpus(2, 0),
        expect![[r#"
        waits: no worker has 2 GPUs; the most that one has is 1
    "#]],
    );
    check_one(
        &[worker(2, 2).gpu(8)],
        job(1, 1).gpus(1, 16),
        expect![[r#"
        waits: no single worker has 1 core(s), 1024 MiB of RAM, 100 MiB of disk and 1 GPU(s) of 16384 MiB together
    "#]],
    );
    check_one(
        &[worker(2, 8), worker(8, 2)],
        job(4, 4),
        expect![[r#"
        waits: no single worker has 4 core(s), 4096 MiB of RAM, 100 MiB of disk together
    "#]],
    );
    let restricted = worker(2, 2).confined(Isolation::Restricted);
    check_one(
        &[restricted],
        job(1, 1),
        expect![[r#"
            waits: no worker that is large enough confines at level "full"; submit it with isolation "restricted" if that will do
        "#]],
    );
    let two = job(2, 1).tasks(2);
    check_one(
        &[worker(2, 2)],
        two.clone(),
        expect![[r#"
        1.0#1 -> worker-1
        waits: 1 worker can run it, and it is busy; one has room in 10 min at the latest
    "#]],
    );
    check_one(
        &[worker(2, 2)],
        two.clone().limit_s(30),
        expect![[r#"
        1.0#1 -> worker-1
        waits: 1 worker can run it, and it is busy; one has room in 30 s at the latest
    "#]],
    );
    check_one(
        &[worker(2, 2)],
        two.clone().limit_s(86_400),
        expect![[r#"
        1.0#1 -> worker-1
        waits: 1 worker can run it, and it is busy; one has room in 24 h at the latest
    "#]],
    );
    check_one(
        &[worker(2, 2), worker(2, 2)],
        two.clone().tasks(3),
        expect![[r#"
        1.0#1 -> worker-1
        1.1#1 -> worker-2
        waits: 2 workers can run it, and all are busy; one has room in 10 min at the latest
    "#]],
    );
}

#[test]
fn what_has_run_already_shortens_the_wait() {
    let mut world = placed(&[worker(2, 2)], &[job(2, 1).limit_s(60), job(2, 1).limit_s(60)]);
    world.log.clear();
    world.wait_s(20);
    world.start(1, "1.0#1");
    world.note_waiting();
    world.wait_s(10);
    world.note_waiting();
    expect![[r#"
        waits: 1 worker can run it, and it is busy; one has room in 60 s at the latest
        waits: 1 worker can run it, and it is busy; one has room in 50 s at the latest
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_machine_that_does_not_confine_runs_its_owners_jobs_only() {
    check(
        &[worker(1, 1).confined(Isolation::None).of(BOB)],
        &[
            job(1, 1).by(EVE).confined(Isolation::None),
            job(1, 1).by(BOB),
            job(1, 1).by(BOB).confined(Isolation::None),
        ],
        &expect![[r#"
            3.0#1 -> worker-1
            waits: no worker that is large enough confines at level "full"; submit it with isolation "none" if that will do
            waits: no worker that is large enough confines what it runs, so each runs its owner's jobs only; it starts as soon as another connects
        "#]],
    );
    check(
        &[worker(1, 1).confined(Isolation::Restricted)],
        &[job(1, 1).by(BOB), job(1, 1).by(EVE).confined(Isolation::Restricted)],
        &expect![[r#"
            2.0#1 -> worker-1
            waits: no worker that is large enough confines at level "full"; submit it with isolation "restricted" if that will do
        "#]],
    );
}

#[test]
fn room_that_comes_is_given_to_whoever_waits_longest() {
    let mut world = placed(
        &[worker(4, 4), worker(4, 4)],
        &[job(4, 1), job(4, 1), job(4, 1), job(2, 1).by(EVE), job(1, 1).by(BOB)],
    );
    world.log.clear();
    world.note("worker-2 has room");
    world.end(2, "2.0#1", Outcome::Succeeded, 0);
    world.note("worker-1 has room");
    world.end(1, "1.0#1", Outcome::Succeeded, 0);
    expect![[r#"
        # worker-2 has room
        pay:2.0:1: escrow -> bob 14
        refund:2.0: escrow -> ada 10
        2.0 succeeded; charged 14
        job 2 is over
        3.0#1 -> worker-2
        to session 2: stored 2.0#1
        # worker-1 has room
        pay:1.0:1: escrow -> bob 14
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 14
        job 1 is over
        4.0#1 -> worker-1
        5.0#1 -> worker-1
        to session 1: stored 1.0#1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_machine_that_joins_takes_what_waits() {
    let mut world = placed(&[worker(1, 1)], &[job(2, 2), job(1, 1).tasks(2)]);
    world.log.clear();
    world.own(2, &worker(4, 4));
    expect![[r#"
          1.0#1 -> worker-2
          2.1#1 -> worker-2
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_silent_machine_gets_nothing_until_it_speaks() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.wait_s(30);
    world.submit(&job(1, 1));
    world.end(1, "1.0#1", Outcome::Succeeded, 0);
    world.wait_s(1);
    world.submit(&job(1, 1));
    world.note_waiting();
    world.note("it speaks");
    world.heartbeat(1, Vec::new());
    expect![[r#"
        hold:1: ada -> escrow 18
        1.0#1 -> worker-1
        job 1, 18 held
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 8
        job 1 is over
        to session 1: stored 1.0#1
        hold:2: ada -> escrow 18
        job 2, 18 held
        waits: 1 worker can run it, and it is silent or about to leave; it starts when one is back
        # it speaks
        2.0#1 -> worker-1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_task_that_comes_back_takes_its_old_place() {
    let mut world = placed(&[worker(2, 2)], &[job(1, 1).tasks(4), job(1, 1)]);
    world.log.clear();
    let fault = WorkerFault::Sandbox { message: "the disk is full".to_owned() };
    world.start(1, "1.0#1");
    world.end(1, "1.0#1", Outcome::Returned(fault), 0);
    world.end(1, "1.1#1", Outcome::Succeeded, 60);
    world.end(1, "1.0#2", Outcome::Succeeded, 60);
    expect![[r#"
        1.0#1 waits again, 2 tries left: the worker's sandbox failed: the disk is full
        1.0#2 -> worker-1
        to session 1: stored 1.0#1
        pay:1.1:1: escrow -> bob 8
        refund:1.1: escrow -> ada 10
        1.1 succeeded; charged 8
        1.2#1 -> worker-1
        to session 1: stored 1.1#1
        pay:1.0:2: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 8
        1.3#1 -> worker-1
        to session 1: stored 1.0#2
    "#]]
    .assert_eq(&world.log);
}

/// Once the spool of the worker that left made the grid believe that the new one was leaving.
#[test]
fn a_machine_that_has_left_and_returned_gets_work_again() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.log.clear();
    world.wait_s(1);
    world.note("what it gave back comes with its next connection");
    world.join(2, crate::tests::world::join(1, &worker(1, 1), attempts(&["1.0#1"])));
    world.end(2, "1.0#1", Outcome::Returned(WorkerFault::Leaving), 5);
    expect![[r#"
        # what it gave back comes with its next connection
        to session 2: welcome, worker-1 of bob
        session 1 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
        1.0#1 waits again, 3 tries left: the owner took the worker back
        1.0#2 -> worker-1
        to session 2: stored 1.0#1
    "#]]
    .assert_eq(&world.log);
}

/// Else it would be sent the same task at once, and send it back, for as long as it takes to go.
#[test]
fn a_machine_that_is_leaving_gets_nothing_more() {
    let mut world = World::new();
    // One of an older version, which says nothing of its sharing.
    let old = Machine { shares: None, ..worker(2, 2) };
    world.own(1, &old);
    world.submit(&job(1, 1));
    world.submit(&job(1, 1));
    world.log.clear();
    world.end(1, "1.0#1", Outcome::Returned(WorkerFault::Leaving), 5);
    world.heartbeat(1, attempts(&["2.0#1"]));
    world.note_waiting();
    world.note("another comes");
    world.own(2, &worker(1, 1));
    world.note("it changes its mind");
    world.submit(&job(1, 1));
    world.join(7, crate::tests::world::join(1, &old, attempts(&["2.0#1"])));
    expect![[r#"
        1.0#1 waits again, 3 tries left: the owner took the worker back
        to session 1: stored 1.0#1
        waits: 1 worker can run it, and it is silent or about to leave; it starts when one is back
        # another comes
        1.0#2 -> worker-2
        # it changes its mind
        hold:3: ada -> escrow 18
        job 3, 18 held
        3.0#1 -> worker-1
        to session 7: welcome, worker-1 of bob
        session 1 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_machine_that_left_and_returned_gets_work_again() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.wait_s(5);
    world.log.clear();
    world.join(2, crate::tests::world::join(1, &worker(1, 1), attempts(&["1.0#1"])));
    world.note("what it gave back while it left comes out of its spool");
    world.end(2, "1.0#1", Outcome::Returned(WorkerFault::Leaving), 5);
    expect![[r#"
        to session 2: welcome, worker-1 of bob
        session 1 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
        # what it gave back while it left comes out of its spool
        1.0#1 waits again, 3 tries left: the owner took the worker back
        1.0#2 -> worker-1
        to session 2: stored 1.0#1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_machine_that_comes_back_smaller_is_not_overfilled() {
    let mut world = placed(&[worker(4, 4)], &[job(1, 1).tasks(4), job(1, 1)]);
    world.log.clear();
    let still = attempts(&["1.0#1", "1.1#1", "1.2#1", "1.3#1"]);
    world.join(9, crate::tests::world::join(1, &worker(2, 2), still));
    for task in ["1.0#1", "1.1#1", "1.2#1"] {
        world.end(9, task, Outcome::Succeeded, 60);
    }
    expect![[r#"
        to session 9: welcome, worker-1 of bob
        session 1 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 8
        to session 9: stored 1.0#1
        pay:1.1:1: escrow -> bob 8
        refund:1.1: escrow -> ada 10
        1.1 succeeded; charged 8
        to session 9: stored 1.1#1
        pay:1.2:1: escrow -> bob 8
        refund:1.2: escrow -> ada 10
        1.2 succeeded; charged 8
        2.0#1 -> worker-1
        to session 9: stored 1.2#1
    "#]]
    .assert_eq(&world.log);
}
