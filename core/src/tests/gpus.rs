//! GPUs by their numbers: who has which, and for how long.

use campusgrid_protocol::id::{AttemptId, JobId, SessionId, TaskId};
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::resource::{Capacity, Gpu, Needs};
use campusgrid_protocol::task::{Outcome, WorkerFault};
use expect_test::expect;
use proptest::prelude::*;

use crate::gpus::GpuSet;
use crate::input::{Input, WorkerEvent};
use crate::sharing::Cap;
use crate::tests::world::{World, attempts, job, join, worker};
use crate::worker::{Free, Grant, Occupancy};

#[test]
fn the_smallest_that_is_large_enough_is_granted_and_the_lowest_number_of_equals() {
    let mut world = World::new();
    world.own(1, &worker(8, 8).gpu(24).gpu(8).gpu(16).gpu(8));
    for (gpus, memory_gib) in [(1, 4), (1, 10), (2, 1)] {
        world.submit(&job(1, 1).gpus(gpus, memory_gib).limit_s(60));
    }
    world.note("the first ends, and its GPU is granted anew");
    world.end(1, "1.0#1", Outcome::Succeeded, 1);
    world.submit(&job(1, 1).gpus(1, 0).limit_s(60));
    expect![[r#"
        hold:1: ada -> escrow 19
        1.0#1 -> worker-1 with GPU 1
        job 1, 19 held
        hold:2: ada -> escrow 19
        2.0#1 -> worker-1 with GPU 2
        job 2, 19 held
        hold:3: ada -> escrow 29
        3.0#1 -> worker-1 with GPU 0,3
        job 3, 29 held
        # the first ends, and its GPU is granted anew
        pay:1.0:1: escrow -> bob 18
        refund:1.0: escrow -> ada 1
        1.0 succeeded; charged 18
        job 1 is over
        to session 1: stored 1.0#1
        hold:4: ada -> escrow 19
        4.0#1 -> worker-1 with GPU 1
        job 4, 19 held
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_start_says_which_gpus_are_granted() {
    let mut world = World::new();
    world.own(1, &worker(8, 8).gpu(8).gpu(8).gpu(8));
    world.submit(&job(1, 1).gpus(1, 0));
    world.submit(&job(1, 1).gpus(2, 0));
    world.submit(&job(1, 1).gpus(1, 0));
    let event = crate::tests::world::end("2.0#1".parse().unwrap(), Outcome::Succeeded, 0);
    let effects = world.happen(Input::FromWorker { session: SessionId(1), event });
    let starts = effects.sends.iter().filter_map(|(_, message)| {
        let ToWorker::Start { attempt, gpus, .. } = message else { return None };
        Some(format!("{attempt} has {gpus:?}"))
    });
    assert_eq!(starts.collect::<Vec<_>>(), ["3.0#1 has [1]"]);
}

#[test]
fn a_restarted_manager_knows_who_has_which() {
    let mut world = World::new();
    let machine = worker(8, 8).gpu(8).gpu(8);
    world.own(1, &machine);
    world.submit(&job(1, 1).gpus(1, 0));
    world.submit(&job(1, 1).gpus(1, 0));
    world.log.clear();
    world.end(1, "1.0#1", Outcome::Succeeded, 0);
    world.restart();
    world.join(2, join(1, &machine, attempts(&["2.0#1"])));
    world.submit(&job(1, 1).gpus(1, 0));
    expect![[r#"
        pay:1.0:1: escrow -> bob 18
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 18
        job 1 is over
        to session 1: stored 1.0#1
        to session 2: welcome, worker-1 of bob
        hold:3: ada -> escrow 28
        3.0#1 -> worker-1 with GPU 0
        job 3, 28 held
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_machine_that_comes_back_with_fewer_breaks_nothing() {
    let mut world = World::new();
    world.own(1, &worker(8, 8).gpu(8).gpu(8).gpu(8));
    let one = job(1, 1).gpus(1, 0).limit_s(60);
    for _ in 0..3 {
        world.submit(&one);
    }
    world.log.clear();
    world.note("with one of three, while all three are in use");
    let fewer = worker(8, 8).gpu(8);
    world.join(2, join(1, &fewer, attempts(&["1.0#1", "2.0#1", "3.0#1"])));
    world.submit(&one);
    world.end(2, "3.0#1", Outcome::Returned(WorkerFault::Restarted), 0);
    world.end(2, "1.0#1", Outcome::Succeeded, 0);
    world.note_waiting();
    world.note("with all of them again");
    world.join(3, join(1, &worker(8, 8).gpu(8).gpu(8).gpu(8), attempts(&["2.0#1", "3.0#2"])));
    expect![[r#"
        # with one of three, while all three are in use
        to session 2: welcome, worker-1 of bob
        session 1 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
        hold:4: ada -> escrow 19
        job 4, 19 held
        3.0#1 waits again, 2 tries left: the worker was restarted
        to session 2: stored 3.0#1
        pay:1.0:1: escrow -> bob 18
        refund:1.0: escrow -> ada 1
        1.0 succeeded; charged 18
        job 1 is over
        3.0#2 -> worker-1 with GPU 0
        to session 2: stored 1.0#1
        waits: 1 worker can run it, and it is busy; one has room in 60 s at the latest
        # with all of them again
        4.0#1 -> worker-1 with GPU 2
        to session 3: welcome, worker-1 of bob
        session 2 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_machine_with_more_than_can_be_numbered_grants_the_first_of_them() {
    let gpu = |memory_mib| Gpu { model: "T4".to_owned(), memory_mib, driver: String::new() };
    let gpus = (0..70).map(|number| gpu(1000 - number)).collect();
    let free = Free::whole(&Capacity { cpu_millis: 1, ram_mib: 1, disk_mib: 1, gpus });
    assert_eq!(free.gpus.len(), 64);
    assert_eq!(free.choose(&needs(2, 0)).to_string(), "62,63");
}

fn needs(gpus: u16, gpu_memory_mib: u32) -> Needs {
    Needs { cpu_millis: 0, ram_mib: 0, disk_mib: 0, gpus, gpu_memory_mib }
}

proptest! {
    /// Tasks come and go, and the machine comes back with other GPUs in between.
    #[test]
    fn no_gpu_is_granted_twice_at_a_time(
        sizes in prop::collection::vec(1..4_u32, 0..70),
        others in prop::collection::vec(1..4_u32, 0..70),
        steps in prop::collection::vec((0..4_u16, 0..4_u32, any::<prop::sample::Index>()), 1..60),
        returns_at in 0..60_usize,
    ) {
        let capacity = |sizes: &[u32]| Capacity {
            cpu_millis: 0,
            ram_mib: 0,
            disk_mib: 0,
            gpus: sizes
                .iter()
                .map(|&memory_mib| Gpu { model: String::new(), memory_mib, driver: String::new() })
                .collect(),
        };
        let mut sizes = sizes;
        let mut occupancy = Occupancy::new();
        for (number, (gpus, memory_mib, ends)) in (1..).zip(steps) {
            if number == returns_at {
                sizes.clone_from(&others);
            }
            let free = Free::beside(&capacity(&sizes), (&occupancy, GpuSet::NONE), &Cap::NONE);
            let needs = needs(gpus, memory_mib);
            if free.fits(&needs) {
                let gpus = free.choose(&needs);
                prop_assert_eq!(gpus.len(), u32::from(needs.gpus));
                for number in gpus.numbers() {
                    prop_assert!(sizes[usize::from(number)] >= memory_mib);
                    prop_assert!(occupancy.values().all(|grant| !grant.gpus.contains(number)));
                }
                let task = TaskId { job: JobId(number as u64), index: 0 };
                occupancy.insert(AttemptId { task, number: 1 }, Grant::new(needs, gpus));
            } else if let Some(&attempt) = occupancy.keys().nth(ends.index(occupancy.len().max(1))) {
                occupancy.remove(&attempt);
            }
            let granted: u32 = occupancy.values().map(|grant| grant.gpus.len()).sum();
            let all: GpuSet = occupancy.values().flat_map(|grant| grant.gpus.numbers()).collect();
            prop_assert_eq!(all.len(), granted);
        }
    }
}

#[test]
fn a_gpu_of_a_machine_that_went_is_free_when_its_lease_is_over() {
    let mut world = World::new();
    let machine = worker(8, 8).gpu(8);
    world.own(1, &machine);
    world.submit(&job(1, 1).gpus(1, 0));
    world.log.clear();
    world.hear(1, WorkerEvent::Gone);
    world.wait_s(91);
    world.join(2, join(1, &machine, Vec::new()));
    expect![[r#"
        1.0#1 waits again, 3 tries left: the worker was lost before it said a word of it
        1.0#2 -> worker-1 with GPU 0
        to session 2: welcome, worker-1 of bob
    "#]]
    .assert_eq(&world.log);
}

/// Whoever plays on his own laptop keeps its GPU from no other task, and costs none a try.
#[test]
fn a_gpu_that_its_owner_uses_is_passed_over_until_he_is_done() {
    let mut world = World::new();
    world.own(1, &worker(8, 8).gpu(8).gpu(16));
    let one = job(1, 1).gpus(1, 0).limit_s(60);
    world.note("he uses the smaller one");
    world.heartbeat_with_gpus(1, Vec::new(), &[1, 0]);
    world.submit(&one);
    world.submit(&one);
    world.note_waiting();
    world.note("what a task does on its own GPU is not his doing");
    world.heartbeat_with_gpus(1, attempts(&["1.0#1"]), &[1, 1]);
    world.end(1, "1.0#1", Outcome::Succeeded, 0);
    world.note("he takes the other as well, on which the next has just been started");
    let fault = WorkerFault::Gpu { message: "GPU 1 is busy".to_owned() };
    world.end(1, "2.0#1", Outcome::Returned(fault), 0);
    world.note_waiting();
    world.wait_s(20);
    world.heartbeat_with_gpus(1, Vec::new(), &[1, 2]);
    world.wait_s(10);
    world.note_waiting();
    world.note("he has done");
    world.heartbeat_with_gpus(1, Vec::new(), &[0, 2]);
    expect![[r#"
        # he uses the smaller one
        hold:1: ada -> escrow 19
        1.0#1 -> worker-1 with GPU 1
        job 1, 19 held
        hold:2: ada -> escrow 19
        job 2, 19 held
        waits: 1 worker can run it, and it is busy; one has room in 60 s at the latest
        # what a task does on its own GPU is not his doing
        pay:1.0:1: escrow -> bob 18
        refund:1.0: escrow -> ada 1
        1.0 succeeded; charged 18
        job 1 is over
        2.0#1 -> worker-1 with GPU 1
        to session 1: stored 1.0#1
        # he takes the other as well, on which the next has just been started
        2.0#1 waits again, 3 tries left: a GPU of the worker failed: GPU 1 is busy
        to session 1: stored 2.0#1
        waits: a worker has just given it back; it may have it again in 30 s
        waits: 1 worker can run it, and its GPU is in use by its owner; it starts when that is free
        # he has done
        2.0#2 -> worker-1 with GPU 0
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn owners_who_use_their_gpus_are_counted() {
    let mut world = World::new();
    for number in [1, 2] {
        world.own(number, &worker(8, 8).gpu(8));
        world.heartbeat_with_gpus(number.into(), Vec::new(), &[1]);
    }
    world.submit(&job(1, 1).gpus(1, 0));
    world.log.clear();
    world.note_waiting();
    world.note("more GPUs than the machine has said that it has are none");
    world.heartbeat_with_gpus(1, Vec::new(), &[1; 100]);
    world.note("nothing is known any more");
    world.heartbeat(1, Vec::new());
    expect![[r#"
        waits: 2 workers can run it, and their GPUs are in use by their owners; it starts when one is free
        # more GPUs than the machine has said that it has are none
        # nothing is known any more
        1.0#1 -> worker-1 with GPU 0
    "#]].assert_eq(&world.log);
}
