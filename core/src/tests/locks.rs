//! What a job's packages came to: the first answer counts, for all its tasks and for ever.

use campusgrid_protocol::id::SessionId;
use campusgrid_protocol::message::{LOCK_MAX_BYTES, ToWorker};
use campusgrid_protocol::rules::{Limits, Phase};
use campusgrid_protocol::task::{Failure, Outcome, Packages, Program, Work, WorkerFault};
use expect_test::expect;

use crate::input::{Input, WorkerEvent};
use crate::tests::sharing::shares;
use crate::tests::world::{World, attempts, end, job, join, lock_of, worker};

/// Two machines that run a job of three tasks, of which one waits.
fn resolving() -> World {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.own(2, &worker(1, 1));
    world.submit(&job(1, 1).tasks(3).python());
    world.log.clear();
    world
}

#[test]
fn the_first_lock_is_everybodys() {
    let mut world = resolving();
    world.locked(2, "1.1#1", "numpy==2.1");
    world.locked(1, "1.0#1", "numpy==2.0");
    world.locked(2, "1.1#1", "numpy==1.0");
    expect![[r#"
        job 1 is locked to numpy==2.1
        to session 2: lock of 1.1#1 is numpy==2.1
        to session 1: lock of 1.0#1 is numpy==2.1
        to session 2: lock of 1.1#1 is numpy==2.1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_later_start_carries_it_and_a_restart_keeps_it() {
    let mut world = resolving();
    world.locked(2, "1.1#1", "numpy==2.1");
    world.restart();
    world.join(7, join(1, &worker(1, 1), attempts(&["1.0#1"])));
    let event = end("1.0#1".parse().unwrap(), Outcome::Succeeded, 0);
    let effects = world.happen(Input::FromWorker { session: SessionId(7), event });
    let locks = effects.sends.iter().filter_map(|(_, message)| {
        let ToWorker::Start { lock, .. } = message else { return None };
        lock.clone()
    });
    assert_eq!(locks.collect::<Vec<_>>(), [lock_of("numpy==2.1").into()]);
}

#[test]
fn a_lock_of_an_attempt_that_is_not_current_counts_for_nothing() {
    let mut world = resolving();
    world.note("of the other machine's attempt");
    world.locked(1, "1.1#1", "evil==1");
    world.note("of an attempt before it began, and of no job at all");
    world.locked(1, "1.0#2", "evil==1");
    world.locked(1, "9.0#1", "evil==1");
    world.note("of a session that nobody knows");
    world.locked(9, "1.0#1", "evil==1");
    world.note("of an attempt that has come back");
    let fault = WorkerFault::Sandbox { message: "?".to_owned() };
    world.start(1, "1.0#1");
    world.end(1, "1.0#1", Outcome::Returned(fault), 0);
    world.locked(1, "1.0#1", "evil==1");
    world.note("of a job that has ended");
    world.cancel(crate::tests::world::ADA, 1);
    for (session, attempt) in [(1, "1.0#2"), (2, "1.1#1")] {
        world.end(session, attempt, Outcome::Cancelled, 0);
    }
    world.locked(2, "1.1#1", "evil==1");
    expect![[r#"
        # of the other machine's attempt
        to session 1: drop 1.1#1
        # of an attempt before it began, and of no job at all
        to session 1: drop 1.0#2
        to session 1: drop 9.0#1
        # of a session that nobody knows
        # of an attempt that has come back
        1.0#1 waits again, 2 tries left: the worker's sandbox failed: ?
        1.0#2 -> worker-1
        to session 1: stored 1.0#1
        to session 1: drop 1.0#1
        # of a job that has ended
        1.0#2 is to stop
        1.1#1 is to stop
        1.2 cancelled
        refund:1.2-2: escrow -> ada 18
        to session 1: cancel 1.0#2
        to session 2: cancel 1.1#1
        done
        refund:1.0: escrow -> ada 18
        1.0 cancelled; charged 0
        to session 1: stored 1.0#2
        refund:1.1: escrow -> ada 18
        1.1 cancelled; charged 0
        job 1 is over
        to session 2: stored 1.1#1
        to session 2: drop 1.1#1
    "#]]
    .assert_eq(&world.log);
}

/// What the first worker says of a job with these packages, and what comes of it.
fn first_lock(packages: Packages, lock: &str) -> String {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    let mut wish = job(1, 1);
    wish.spec.work = Work::Python { program: Program::Source("pass".to_owned()), packages };
    world.submit(&wish);
    world.log.clear();
    let event = WorkerEvent::Locked { attempt: "1.0#1".parse().unwrap(), lock: lock.to_owned() };
    world.hear(1, event);
    world.log
}

#[test]
fn a_lock_that_cannot_be_that_of_the_job_is_the_workers_fault() {
    let names = |names: &[&str]| Packages::Names {
        requirements: names.iter().copied().map(str::to_owned).collect(),
        requires_python: None,
    };
    let numpy = || names(&["numpy>=2"]);
    let text = String::new;
    let mut words = String::new();
    for (packages, lock) in [
        (numpy(), lock_of("NumPy==2.1 evil==1")),
        (names(&["tzdata; sys_platform == 'win32'"]), String::new()),
        (names(&["A.b_c[d]<2"]), lock_of("a-b-c==1")),
        (numpy(), String::new()),
        (numpy(), "# nothing\n".to_owned()),
        (numpy(), lock_of("scipy==1.1")),
        (names(&["numpy", "scipy"]), lock_of("numpy==2.1")),
        (numpy(), "numpy==2.1".to_owned()),
        (numpy(), lock_of("numpy==2.1") + "--index-url https://evil.example"),
        (numpy(), "\u{1b}[2J".to_owned()),
        (numpy(), "#".repeat(LOCK_MAX_BYTES + 1)),
        (Packages::None, lock_of("numpy==2.1")),
        (Packages::Hashed { text: text() }, lock_of("numpy==2.1")),
        (Packages::UvLock { text: text() }, lock_of("numpy==2.1")),
    ] {
        words.push_str(&first_lock(packages, &lock));
    }
    expect![[r#"
        job 1 is locked to NumPy==2.1 evil==1
        to session 1: lock of 1.0#1 is NumPy==2.1 evil==1
        job 1 is locked to nothing
        to session 1: lock of 1.0#1 is nothing
        job 1 is locked to a-b-c==1
        to session 1: lock of 1.0#1 is a-b-c==1
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: it lacks numpy>=2
        to session 1: drop 1.0#1
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: it lacks numpy>=2
        to session 1: drop 1.0#1
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: it lacks numpy>=2
        to session 1: drop 1.0#1
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: it lacks scipy
        to session 1: drop 1.0#1
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: line 1, 'numpy==2.1', is not 'name==version' with an optional marker and at least one --hash=sha256:…; options, addresses and paths are not taken
        to session 1: drop 1.0#1
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: line 2, '--index-url https://evil.example', is not 'name==version' with an optional marker and at least one --hash=sha256:…; options, addresses and paths are not taken
        to session 1: drop 1.0#1
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: line 1, '[2J', is not 'name==version' with an optional marker and at least one --hash=sha256:…; options, addresses and paths are not taken
        to session 1: drop 1.0#1
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: it has more than 327680 bytes
        to session 1: drop 1.0#1
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: the job asks for none that have to be found
        to session 1: drop 1.0#1
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: the job asks for none that have to be found
        to session 1: drop 1.0#1
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: the job asks for none that have to be found
        to session 1: drop 1.0#1
    "#]].assert_eq(&words);
}

#[test]
fn a_job_without_packages_is_locked_to_nothing() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.log.clear();
    world.locked(1, "1.0#1", "numpy==2.1");
    expect![[r#"
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: the job asks for none that have to be found
        to session 1: drop 1.0#1
    "#]].assert_eq(&world.log);
}

/// Whoever lies about packages is not asked again at once, so that another worker is.
#[test]
fn a_liar_does_not_use_up_the_tries_of_a_job() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1).python());
    world.log.clear();
    world.locked(1, "1.0#1", "");
    world.note_waiting();
    world.own(2, &worker(1, 1));
    world.locked(2, "1.0#2", "numpy==2.1");
    expect![[r#"
        1.0#1 waits again, 2 tries left: the worker could not build the environment: its list of packages was refused: it lacks numpy
        to session 1: drop 1.0#1
        waits: a worker has just given it back; it may have it again in 30 s
        1.0#2 -> worker-2
        job 1 is locked to numpy==2.1
        to session 2: lock of 1.0#2 is numpy==2.1
    "#]].assert_eq(&world.log);
}

#[test]
fn packages_and_images_that_do_not_exist_cost_nothing() {
    let message = || "there is no such thing".to_owned();
    for failure in
        [Failure::Requirements { message: message() }, Failure::Image { message: message() }]
    {
        let mut world = resolving();
        world.start(1, "1.0#1");
        world.wait_s(20);
        world.end(1, "1.0#1", Outcome::Failed(failure), 20);
        assert!(world.log.contains("1.0 failed") && world.log.contains("charged 0"));
    }
}

/// Gives a job back as often as the only machine gets it, and yields how often that was.
fn given_back_for(fault: WorkerFault) -> u32 {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    let mut attempt = 0;
    while !world.grid.jobs.is_empty() {
        attempt += 1;
        if attempt > 1 {
            world.wait_s(29);
            world.heartbeat(1, Vec::new());
            assert!(world.grid.occupancy.is_empty(), "it gets nothing for half a minute");
            world.wait_s(1);
        }
        let outcome = Outcome::Returned(fault.clone());
        let event = end(format!("1.0#{attempt}").parse().unwrap(), outcome, 0);
        world.hear(1, event);
    }
    assert!(world.log.contains("1.0 failed: given up by the grid and refunded"), "{}", world.log);
    attempt
}

/// A machine that lacks something hands tasks back for nothing, and must not do so for ever.
#[test]
fn what_a_machine_lacks_costs_no_try_until_it_has_for_long() {
    let message = || "it is down".to_owned();
    let tries = 3;
    assert_eq!(given_back_for(WorkerFault::Engine { message: message() }), 20 + tries);
    assert_eq!(given_back_for(WorkerFault::Gpu { message: message() }), 20 + tries);
    assert_eq!(given_back_for(WorkerFault::Environment { message: message() }), tries);
}

/// Whoever takes a laptop back does so as often as they like.
#[test]
fn an_owner_who_takes_the_laptop_back_never_costs_a_try() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    for number in 1..40 {
        world.hear(number, shares(Phase::Closed, "in use", Limits::default()));
        let event = end(
            format!("1.0#{number}").parse().unwrap(),
            Outcome::Returned(WorkerFault::Leaving),
            0,
        );
        world.hear(number, event);
        world.hear(number, WorkerEvent::Gone);
        world.wait_s(1);
        world.join(number + 1, join(1, &worker(1, 1), Vec::new()));
    }
    assert!(world.log.contains("1.0#39 waits again, 3 tries left"), "{}", world.log);
}
