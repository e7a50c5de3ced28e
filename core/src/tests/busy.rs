//! What must hold whatever happens to jobs: a few machines that are always busy, and chains, retries,
//! holds and cancels of what is under way.
//!
//! As in [`crate::tests::properties`], [`World::happen`] checks the promises after every input.

use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::task::{Failure, Outcome, WorkerFault};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::input::{Input, Intake, Request, Shut, WorkerEvent};
use crate::job::After;
use crate::money::Micros;
use crate::policy::Policy;
use crate::tests::properties::{afters, calm, running, storms};
use crate::tests::world::{ADA, BOB, Wish, World, end, job, join, policy, worker};

#[derive(Debug, Clone)]
enum Act {
    /// What it waits for is one of the last four jobs, by the number.
    Submit(Box<Wish>),
    /// Of an attempt that runs.
    Start(Index),
    End(Index, Outcome, u64),
    /// Of the job that is as many back; the tasks by position.
    Cancel(u64, Option<&'static str>),
    Hold(u64, bool),
    Prefer(u64, i8),
    Wait(u64),
    /// A machine's connection is gone and comes back, with all that it ran or with nothing.
    Return(u8, bool),
    Intake(Intake),
    Paused,
    Restart,
}

fn wishes() -> impl Strategy<Value = Wish> {
    let tasks = prop_oneof![3 => Just(4), 1 => 1..6_u32];
    let run = (0..3_u8, prop::sample::select(vec![0, 15]), prop::option::weighted(0.3, 1..3_u32));
    let deadline = prop::option::weighted(0.1, 0..300_u64);
    let after = prop::collection::vec(afters(), 0..3);
    let size = (1..3_u32, prop::bool::weighted(0.8), tasks);
    (size, run, deadline, after, -1..2_i8, prop::bool::weighted(0.1)).prop_map(
        |(size, run, deadline, after, priority, on_hold)| {
            let ((cores, is_adas, tasks), (retries, backoff_s, at_once)) = (size, run);
            let wish = job(cores, 1).tasks(tasks).limit_s(120).by(if is_adas { ADA } else { BOB });
            let mut wish = wish.retries(retries, backoff_s).priority(priority);
            wish = deadline.into_iter().fold(wish, Wish::deadline_s);
            wish.terms.at_once = at_once;
            Wish { after, on_hold, ..wish }
        },
    )
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        5 => Just(Outcome::Succeeded),
        3 => Just(Outcome::Failed(Failure::ExitCode(1))),
        1 => Just(Outcome::Failed(Failure::CompileError { code: 1 })),
        1 => Just(Outcome::Cancelled),
        1 => Just(Outcome::Returned(WorkerFault::Sandbox { message: "?".to_owned() })),
    ]
}

fn acts() -> impl Strategy<Value = Act> {
    let tasks = prop::option::of(prop::sample::select(vec!["0", "1-2", "0,3", "2-9"]));
    prop_oneof![
        6 => wishes().prop_map(|wish| Act::Submit(Box::new(wish))),
        3 => any::<Index>().prop_map(Act::Start),
        16 => (any::<Index>(), outcomes(), 0..100_u64)
            .prop_map(|(attempt, outcome, run_s)| Act::End(attempt, outcome, run_s)),
        1 => (0..6_u64, tasks).prop_map(|(back, tasks)| Act::Cancel(back, tasks)),
        1 => (0..6_u64, any::<bool>()).prop_map(|(back, on_hold)| Act::Hold(back, on_hold)),
        1 => (0..6_u64, -1..2_i8).prop_map(|(back, priority)| Act::Prefer(back, priority)),
        2 => (0..40_u64).prop_map(Act::Wait),
        1 => (1..3_u8, any::<bool>()).prop_map(|(machine, has_all)| Act::Return(machine, has_all)),
        1 => prop::sample::select(vec![
            Intake::Open, Intake::Open, Intake::Shut(Shut::DiskFull),
        ]).prop_map(Act::Intake),
        1 => Just(Act::Paused),
        1 => Just(Act::Restart),
    ]
}

/// The job that is as many back, and who may decide about it.
fn back(world: &World, jobs: u64) -> (UserId, JobId) {
    let id = JobId(world.grid.last_job.0.saturating_sub(jobs));
    (world.grid.jobs.get(&id).map_or(ADA, |job| job.owner), id)
}

fn act(world: &mut World, act: Act) {
    match act {
        Act::Submit(mut wish) => {
            for After { job, .. } in &mut wish.after {
                job.0 = (world.grid.last_job.0 + 1).saturating_sub(1 + job.0 % 4);
            }
            world.submit(&wish);
        }
        Act::Start(pick) => {
            if let Some((attempt, session)) = running(world, pick) {
                world.hear(session.0, WorkerEvent::Started { attempt });
            }
        }
        Act::End(pick, outcome, run_s) => {
            if let Some((attempt, session)) = running(world, pick) {
                world.hear(session.0, end(attempt, outcome, run_s));
            }
        }
        Act::Cancel(jobs, tasks) => {
            let (user, job) = back(world, jobs);
            let tasks = tasks.map(|tasks| tasks.parse().unwrap());
            world.ask(Request::Cancel { user, job, tasks });
        }
        Act::Hold(jobs, on_hold) => {
            let (user, job) = back(world, jobs);
            world.ask(Request::SetHold { user, job, on_hold });
        }
        Act::Prefer(jobs, priority) => {
            let (user, job) = back(world, jobs);
            world.ask(Request::SetPriority { user, job, priority });
        }
        Act::Wait(seconds) => {
            world.wait_s(seconds);
            beat(world);
        }
        Act::Return(number, has_all) => rejoin(world, number, has_all),
        Act::Intake(intake) => {
            world.happen(Input::Intake(intake));
        }
        Act::Paused => {
            world.happen(Input::Paused);
        }
        Act::Restart => {
            world.restart();
            rejoin(world, 1, true);
            rejoin(world, 2, false);
        }
    }
}

/// Every machine says what it runs.
fn beat(world: &mut World) {
    for (session, worker) in world.grid.worker_of_session.clone() {
        let running = world.grid.occupancy.get(&worker).cloned().unwrap_or_default();
        world.heartbeat(session.0, running.into_keys().collect());
    }
}

fn machine(number: u8) -> crate::tests::world::Machine {
    if number == 1 { worker(4, 8) } else { worker(2, 4).of(ADA) }
}

fn rejoin(world: &mut World, number: u8, has_all: bool) {
    let worker = world.grid.worker_of_key[&[number; 32]];
    let running = world.grid.occupancy.get(&worker).cloned().unwrap_or_default();
    let attempts = if has_all { running.into_keys().collect() } else { Vec::new() };
    let last = world.grid.worker_of_session.last_key_value().map_or(0, |(session, _)| session.0);
    world.join(last.max(100) + 1, join(number, &machine(number), attempts));
}

proptest! {
    #![proptest_config(storms())]

    #[test]
    fn jobs_keep_their_promises_in_any_order(
        fee_permille in prop::sample::select(vec![0, 33]),
        tries in 1..4_u32,
        acts in prop::collection::vec(acts(), 1..150),
    ) {
        let starting_credits = Micros::from_credits(100_000);
        let rules = Policy { fee_permille, tries, starting_credits, ..policy() };
        let mut world = World::with(rules);
        for number in [1, 2] {
            world.own(number, &machine(number));
        }
        for one in acts {
            act(&mut world, one);
        }
        calm(&mut world);
    }
}
