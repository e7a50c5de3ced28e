//! What must hold whatever happens on the market: bids, asks, checkpoints, checked results and owners who
//! come and go, in any order and with restarts between.
//!
//! [`World::happen`] checks after every input that the books balance, that no job has two winners and
//! that nobody pays above what is held; here is only the storm.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_protocol::id::{AttemptId, BlobHash, JobId, SessionId, UserId, WorkerId};
use campusgrid_protocol::rules::{Phase, Shares};
use campusgrid_protocol::task::{BlobRef, Failure, Outcome, Saved, WorkerFault};
use campusgrid_protocol::terms::Sale;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::ask::Ask;
use crate::input::{Input, Intake, Request, Shut, WorkerEvent};
use crate::market::OWN_BIDS_MAX;
use crate::money::Micros;
use crate::policy::{Billing, Policy};
use crate::pricing::Prices;
use crate::tests::market::per_core_minute;
use crate::tests::properties::{calm, running, storms};
use crate::tests::world::{Machine, Wish, World, end, job, join, open_shares, policy, worker};

/// Machines on the campus, from 1; the first of Ada, the next of Bob, and so on.
const MACHINES: u8 = 5;

#[derive(Debug, Clone)]
enum Act {
    Submit(Box<Wish>),
    Cancel {
        job: u64,
    },
    Bid {
        job: u64,
        worker: u64,
        credits: u32,
        start_within_s: u32,
    },
    Withdraw {
        job: u64,
        worker: u64,
    },
    /// One of the bids that stand, as it stands.
    Accept {
        bid: Index,
    },
    Ask {
        worker: u64,
        ask: Ask,
    },
    Join {
        number: u8,
        kept: bool,
    },
    Gone {
        number: u8,
    },
    Shares {
        number: u8,
        phase: Phase,
    },
    Remove {
        number: u8,
    },
    Verify {
        user: u64,
        letter: u8,
    },
    Start {
        attempt: Index,
    },
    /// So many seconds into its running time.
    Save {
        attempt: Index,
        content: u8,
        run_s: u64,
    },
    End {
        attempt: Index,
        outcome: Outcome,
        run_s: u64,
    },
    Say {
        attempt: Index,
        printed: &'static str,
        run_s: u64,
    },
    /// With everybody heard of.
    Pass {
        seconds: u64,
    },
    Wait {
        seconds: u64,
    },
    Intake {
        open: bool,
    },
    Paused,
    Restart,
}

fn sales() -> impl Strategy<Value = Sale> {
    prop_oneof![
        3 => Just(Sale::Formula),
        3 => Just(Sale::Hand),
        3 => (0..30_u32, 5..100_u32).prop_map(|(credits, close_after_s)| {
            let max_price_micros = Micros::from_credits(credits).0;
            Sale::Rule { max_price_micros, close_after_s }
        }),
    ]
}

fn wishes() -> impl Strategy<Value = Wish> {
    let checked = prop::sample::select(vec![None, None, Some(false), Some(true)]);
    let deadline = prop::option::weighted(0.1, 0..900_u64);
    let retries = prop::sample::select(vec![0, 0, 2]);
    let sizes = (1..3_u32, 1..3_u32, 1..400_u32);
    (1..4_u64, sizes, sales(), checked, retries, deadline).prop_map(
        |(owner, (cores, tasks, limit_s), sale, checked, retries, deadline)| {
            let wish = job(cores, 1).limit_s(limit_s).by(UserId(owner));
            let wish = deadline.into_iter().fold(wish, Wish::deadline_s);
            match (sale, checked) {
                (Sale::Formula, None) => wish.tasks(tasks).retries(retries, 5),
                (Sale::Formula, Some(verify)) => wish.tasks(tasks).deterministic(verify),
                (sale, _) => wish.sold(sale),
            }
        },
    )
}

fn asks() -> impl Strategy<Value = Ask> {
    let prices = prop_oneof![
        1 => Just(None),
        2 => (1..4_u32).prop_map(|credits| Some(per_core_minute(credits))),
        1 => Just(Some(Prices { minimum: Micros(7), ..Prices::default() })),
    ];
    (prices, any::<bool>()).prop_map(|(prices, automatic)| Ask { prices, automatic })
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        2 => Just(Outcome::Succeeded),
        2 => Just(Outcome::Failed(Failure::ExitCode(1))),
        1 => Just(Outcome::Failed(Failure::Image { message: "?".to_owned() })),
        1 => Just(Outcome::Cancelled),
        4 => Just(Outcome::Returned(WorkerFault::Leaving)),
        1 => Just(Outcome::Returned(WorkerFault::Restarted)),
        1 => Just(Outcome::Returned(WorkerFault::Disk { message: "?".to_owned() })),
    ]
}

fn acts() -> impl Strategy<Value = Act> {
    let jobs = || 1..12_u64;
    let workers = || 1..u64::from(MACHINES) + 1;
    let numbers = || 1..MACHINES + 1;
    let phases = prop::sample::select(vec![Phase::Open, Phase::Open, Phase::Frozen, Phase::Closed]);
    prop_oneof![
        5 => wishes().prop_map(|wish| Act::Submit(Box::new(wish))),
        1 => jobs().prop_map(|job| Act::Cancel { job }),
        8 => (jobs(), workers(), 0..30_u32, 30..400_u32).prop_map(
            |(job, worker, credits, start_within_s)| Act::Bid {
                job,
                worker,
                credits,
                start_within_s
            }
        ),
        1 => (jobs(), workers()).prop_map(|(job, worker)| Act::Withdraw { job, worker }),
        5 => any::<Index>().prop_map(|bid| Act::Accept { bid }),
        3 => (workers(), asks()).prop_map(|(worker, ask)| Act::Ask { worker, ask }),
        3 => (numbers(), any::<bool>()).prop_map(|(number, kept)| Act::Join { number, kept }),
        1 => numbers().prop_map(|number| Act::Gone { number }),
        2 => (numbers(), phases).prop_map(|(number, phase)| Act::Shares { number, phase }),
        1 => numbers().prop_map(|number| Act::Remove { number }),
        1 => (1..4_u64, 0..3_u8).prop_map(|(user, letter)| Act::Verify { user, letter }),
        8 => any::<Index>().prop_map(|attempt| Act::Start { attempt }),
        4 => (any::<Index>(), any::<u8>(), 0..300_u64)
            .prop_map(|(attempt, content, run_s)| Act::Save { attempt, content, run_s }),
        4 => (any::<Index>(), outcomes(), 0..300_u64)
            .prop_map(|(attempt, outcome, run_s)| Act::End { attempt, outcome, run_s }),
        6 => (any::<Index>(), prop::sample::select(vec!["1", "1", "1", "2", "3"]), 0..300_u64)
            .prop_map(|(attempt, printed, run_s)| Act::Say { attempt, printed, run_s }),
        4 => (0..60_u64).prop_map(|seconds| Act::Pass { seconds }),
        2 => (0..100_u64).prop_map(|seconds| Act::Wait { seconds }),
        1 => prop::bool::weighted(0.7).prop_map(|open| Act::Intake { open }),
        1 => Just(Act::Paused),
        1 => Just(Act::Restart),
    ]
}

fn owner_of(number: u64) -> UserId {
    UserId((number - 1) % 3 + 1)
}

fn machine(number: u8) -> Machine {
    worker(2, 4).of(owner_of(number.into()))
}

/// The session of a machine, if it is connected.
fn session_of(world: &World, number: u8) -> Option<SessionId> {
    let worker = world.grid.worker_of_key.get(&[number; 32])?;
    Some(world.grid.links.get(worker)?.session)
}

/// A machine connects anew, on a session that nobody has had.
fn rejoin(world: &mut World, number: u8, kept: bool, session: &mut u64) {
    *session += 1;
    let Some(worker) = world.grid.worker_of_key.get(&[number; 32]).copied() else { return };
    let running = world.grid.occupancy.get(&worker).filter(|_| kept);
    let attempts = running.into_iter().flat_map(|running| running.keys().copied()).collect();
    world.join(*session, join(number, &machine(number), attempts));
}

fn act(world: &mut World, act: Act, session: &mut u64) {
    match act {
        Act::Submit(wish) => {
            world.submit(&wish);
        }
        Act::Cancel { job } => {
            let owner = world.grid.jobs.get(&JobId(job)).map(|job| job.owner);
            world.cancel(owner.unwrap_or(UserId(1)), job);
        }
        Act::Bid { job, worker, credits, start_within_s } => {
            let price = Micros::from_credits(credits);
            let (user, job, worker) = (owner_of(worker), JobId(job), WorkerId(worker));
            world.ask(Request::Bid { user, job, worker, price, start_within_s });
        }
        Act::Withdraw { job, worker } => {
            world.withdraw_bid(owner_of(worker), job, worker);
        }
        Act::Accept { bid } => accept(world, bid),
        Act::Ask { worker, ask } => {
            world.set_ask(owner_of(worker), worker, ask);
        }
        Act::Join { number, kept } => rejoin(world, number, kept, session),
        Act::Gone { number } => {
            if let Some(session) = session_of(world, number) {
                world.hear(session.0, WorkerEvent::Gone);
            }
        }
        Act::Shares { number, phase } => {
            if let Some(session) = session_of(world, number) {
                let shares = Shares { phase, ..open_shares() };
                world.hear(session.0, WorkerEvent::Shares(Box::new(shares)));
            }
        }
        Act::Remove { number } => {
            if let Some(&worker) = world.grid.worker_of_key.get(&[number; 32]) {
                let user = world.grid.workers[&worker].owner;
                world.ask(Request::RemoveWorker { user, worker });
            }
        }
        Act::Verify { user, letter } => {
            let (user, identity) = (UserId(user), [letter; 32]);
            world.ask(Request::Verify { user, identity });
        }
        Act::Start { attempt } => {
            if let Some((attempt, session)) = running(world, attempt) {
                world.hear(session.0, WorkerEvent::Started { attempt });
            }
        }
        Act::Save { attempt, content, run_s } => {
            if let Some((attempt, session)) = running(world, attempt) {
                world.hear(session.0, save(attempt, content, run_s));
            }
        }
        Act::End { attempt, outcome, run_s } => {
            if let Some((attempt, session)) = running(world, attempt) {
                world.hear(session.0, end(attempt, outcome, run_s));
            }
        }
        Act::Say { attempt, printed, run_s } => {
            if let Some((attempt, session)) = running(world, attempt) {
                world.say(session.0, &attempt.to_string(), printed, run_s);
            }
        }
        Act::Pass { seconds } => world.pass_s(seconds),
        Act::Wait { seconds } => world.wait_s(seconds),
        Act::Intake { open } => {
            let intake = if open { Intake::Open } else { Intake::Shut(Shut::DiskFull) };
            world.happen(Input::Intake(intake));
        }
        Act::Paused => {
            world.happen(Input::Paused);
        }
        Act::Restart => world.restart(),
    }
}

fn accept(world: &mut World, pick: Index) {
    let of_job = |job: &crate::job::Job| {
        let bids = job.market.iter().flat_map(|market| &market.bids);
        bids.map(|(&worker, bid)| (job.owner, job.id, worker, bid.price)).collect::<Vec<_>>()
    };
    let bids: Vec<_> = world.grid.jobs.values().flat_map(of_job).collect();
    if let Some(&(user, job, worker, price)) = bids.get(pick.index(bids.len().max(1))) {
        world.ask(Request::Accept { user, job, worker, price });
    }
}

fn save(attempt: AttemptId, content: u8, run_s: u64) -> WorkerEvent {
    let manifest = BlobRef { hash: BlobHash([content; 32]), size_bytes: 1 };
    let saved = Saved { manifest, run_ms: run_s * 1000 };
    WorkerEvent::Checkpoint { attempt, saved, files: Vec::new() }
}

/// What the grid keeps so as not to look at all jobs is what looking at all of them gives, and no owner
/// has more bids than may stand.
fn check_derived(world: &World) {
    let grid = &world.grid;
    let mut bids = BTreeSet::new();
    for job in grid.jobs.values() {
        let mut by_owner = BTreeMap::<UserId, (usize, usize)>::new();
        for (&worker, bid) in job.market.iter().flat_map(|market| &market.bids) {
            let owner = grid.workers[&worker].owner;
            bids.insert((job.id, owner, worker));
            let (all, automatic) = by_owner.entry(owner).or_default();
            *all += 1;
            *automatic += usize::from(bid.automatic);
        }
        let most = if job.terms.sale == Sale::Hand { OWN_BIDS_MAX } else { 1 };
        let is_few = |(all, automatic): &(usize, usize)| *all <= most && *automatic <= 1;
        assert!(by_owner.values().all(is_few), "{by_owner:?} on job {}", job.id);
    }
    assert_eq!(grid.markets.bids(), bids);
    for worker in grid.workers.keys() {
        let awarded = grid.markets.awarded.iter().filter(|(_, of)| *of == worker);
        assert!(grid.markets.awarded_of(*worker).eq(awarded.map(|(id, _)| *id)), "{worker}");
    }
}

proptest! {
    #![proptest_config(storms())]

    #[test]
    fn the_market_keeps_its_promises_in_any_storm(
        fee_permille in prop::sample::select(vec![0, 500, 1000]),
        quoted in any::<bool>(),
        premium in any::<bool>(),
        verified_grants in prop::bool::weighted(0.2),
        acts in prop::collection::vec(acts(), 1..150),
    ) {
        let billing = if quoted { Billing::Quoted } else { Billing::Actual };
        let starting_credits = Micros::from_credits(500);
        let rules = Policy {
            fee_permille, billing, premium, verified_grants, starting_credits, ..policy()
        };
        let mut world = World::with(rules);
        let mut session = 100;
        for number in 1..=MACHINES {
            world.own(number, &machine(number));
        }
        for one in acts {
            act(&mut world, one, &mut session);
            check_derived(&world);
        }
        calm(&mut world);
    }
}
