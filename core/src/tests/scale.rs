//! A campus of 10,000 machines and 100,000 waiting tasks: an event there is as small as anywhere.

use std::sync::Arc;

use campusgrid_protocol::id::{JobId, SessionId, UserId, WorkerId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::resource::Load;
use campusgrid_protocol::rules::{Phase, Shares};
use campusgrid_protocol::task::{Failure, Outcome};
use campusgrid_protocol::terms::{Sale, When};

use crate::ask::Ask;
use crate::durable::Durable;
use crate::effect::{Change, Effects};
use crate::grid::Grid;
use crate::input::{
    Enrolment, Heartbeat, Input, Joined, Registration, Request, Ticket, WorkerEvent,
};
use crate::job::After;
use crate::market::BIDS_MAX;
use crate::money::Micros;
use crate::policy::Policy;
use crate::pricing::Prices;
use crate::tests::world::{
    Machine, Wish, attempt, end, enrolment, job, join, open_shares, policy, submission, worker,
};
use crate::time::Timestamp;

const MACHINES: u64 = 10_000;
const USERS: u64 = 20;
/// As many as one job may have.
const TASKS: u32 = campusgrid_protocol::array::TASKS_MAX;
const GAPS: u32 = 100_000;
const OPEN_JOBS: usize = 1000;

/// A quadratic step anywhere makes this take minutes instead of seconds.
#[test]
fn a_finish_on_a_full_campus_places_one_task() {
    let mut grid = full_campus();
    let ended = end(attempt("1.77#1"), Outcome::Succeeded, 1);
    let session = SessionId(78); // Equal machines are filled in order.
    let effects = one(&mut grid, Input::FromWorker { session, event: ended });
    let leased = |change: &&Change| matches!(change, Change::TaskLeased { .. });
    assert_eq!(effects.changes.iter().filter(leased).count(), 1);
    assert_eq!(effects.sends.len(), 3, "a start, a confirmation, and what was earned");
    let snapshot = grid.snapshot();
    assert_eq!((snapshot.tasks_running, snapshot.tasks_queued), (MACHINES, 99_999));
    assert_eq!(snapshot.waiting.len() as u64, USERS * 10);
}

/// What waits of an array takes room by its gaps, not by its tasks: a task's own would be 100 bytes
/// and more.
#[test]
fn a_hundred_million_tasks_wait_in_next_to_no_memory() {
    let mut grid = rich_grid();
    let before = resident_bytes();
    for _ in 0..100 {
        submit(&mut grid, UserId(1), 1024, TASKS);
    }
    assert_eq!(grid.snapshot().tasks_queued, 100 * u64::from(TASKS));
    let whole = resident_bytes().saturating_sub(before);
    assert!(whole < 100 * u64::from(TASKS), "{whole} bytes");

    // As many gaps as there can be: of the first tasks, every second is cancelled.
    let mut odd = Ranges::default();
    (0..GAPS).for_each(|gap| assert!(odd.insert(2 * gap + 1)));
    let before = resident_bytes();
    let request = Request::Cancel { user: UserId(1), job: JobId(1), tasks: Some(odd) };
    ask(&mut grid, request);
    let gaps = resident_bytes().saturating_sub(before);
    assert_eq!(grid.jobs[&JobId(1)].untouched.len(), TASKS - GAPS);
    assert!(gaps < 100 * u64::from(GAPS), "{gaps} bytes");
}

/// As [`a_finish_on_a_full_campus_places_one_task`]: a step that grows with the array, with the chain
/// or with what waits makes this take minutes.
#[test]
fn tasks_of_a_million_start_and_end_one_by_one() {
    let mut grid = rich_grid();
    enrol(&mut grid, 0, &worker(100, 1000));
    for array in 0..50 {
        submit(&mut grid, UserId(1), 1023, TASKS);
        let each = After { job: JobId(1 + 2 * array), when: When::Ok, each: true };
        let mut wish = job(1, 1).tasks(TASKS).by(UserId(1)).priority(1);
        wish.after.push(each);
        ask(&mut grid, Request::Submit(Box::new(submission(wish))));
    }
    for round in 0..20_000_u32 {
        let (&attempt, _) = grid.occupancy[&WorkerId(1)].iter().nth(50).unwrap();
        let outcome = match round % 10 {
            0 => Outcome::Failed(Failure::ExitCode(1)),
            _ => Outcome::Succeeded,
        };
        one(
            &mut grid,
            Input::FromWorker { session: SessionId(1), event: end(attempt, outcome, 1) },
        );
        assert_eq!(grid.occupancy[&WorkerId(1)].len(), 100);
    }
    let ended = |job: u64| &grid.jobs[&JobId(job)].ended;
    assert_eq!(ended(1).len() + ended(2).succeeded.len() + ended(2).failed.len(), 20_000);
    assert_eq!(ended(1).failed.len(), ended(2).cancelled.len());
    let undo = Request::CancelAll { user: UserId(1) };
    ask(&mut grid, undo);
    assert_eq!(grid.snapshot().tasks_queued, 0);
}

/// As [`a_finish_on_a_full_campus_places_one_task`]: a step that grows with the bids that stand, or with
/// machines times jobs where it need not, makes this take minutes.
#[test]
fn ten_thousand_machines_bid_on_a_thousand_jobs() {
    let mut grid = campus(200);
    for _ in 0..OPEN_JOBS {
        one(&mut grid, submit_of(job(1, 1).by(UserId(1)).sold(Sale::Hand)));
    }
    for number in 0..MACHINES {
        let user = UserId(2 + number % 199);
        enrol(&mut grid, number, &worker(1, 1).of(user));
        // Machines of one owner ask the same price, and those of two different ones.
        let core_minute = Micros(i64::try_from(1000 + number % 199).unwrap());
        let prices = Some(Prices { core_minute, ..Prices::default() });
        let automatic = Ask { prices, automatic: true };
        let request = Request::SetAsk { user, worker: WorkerId(1 + number), ask: automatic };
        let effects = one(&mut grid, Input::Request { ticket: Ticket(0), request });
        let expected = if number < BIDS_MAX as u64 { OPEN_JOBS } else { 0 };
        assert_eq!(bids(&effects), expected, "machine {number}");
    }
    // Of 199 owners the cheapest hundred bid, once each, when a job opens.
    for _ in 0..20 {
        let effects = one(&mut grid, submit_of(job(1, 1).by(UserId(1)).sold(Sale::Hand)));
        assert_eq!(bids(&effects), BIDS_MAX);
    }
    // Everybody comes back after a restart: what stands goes on to do so.
    let mut grid = Grid::recover(Arc::clone(&grid.policy), grid.durable(), Timestamp(1));
    for number in 0..MACHINES {
        let session = SessionId(MACHINES + number + 1);
        let effects = one(&mut grid, joins((number, &worker(1, 1)), session));
        assert!(effects.changes.is_empty(), "machine {number}");
    }
    // An owner is at the machine and gone again: no bids.
    for phase in [Phase::Frozen, Phase::Open] {
        let shares = Box::new(Shares { phase, ..open_shares() });
        let (session, event) = (SessionId(MACHINES + 1), WorkerEvent::Shares(shares));
        assert!(one(&mut grid, Input::FromWorker { session, event }).changes.is_empty());
    }
    let max_price_micros = Micros::from_credits(1).0;
    for _ in 0..20 {
        let sale = Sale::Rule { max_price_micros, close_after_s: 60 };
        one(&mut grid, submit_of(job(1, 1).by(UserId(1)).sold(sale)));
    }
    let won = |grid: &mut Grid, at_ms| {
        let mut effects = Effects::default();
        grid.handle(Timestamp(at_ms), Input::Tick, &mut effects);
        let is_won = |change: &&Change| matches!(change, Change::JobAwarded { .. });
        effects.changes.iter().filter(is_won).count()
    };
    assert_eq!(won(&mut grid, 95_000), 0, "all have been silent, and may be back");
    for number in 0..MACHINES {
        let (session, attempts) = (SessionId(MACHINES + number + 1), Vec::new());
        let heartbeat = Heartbeat { sequence: 1, attempts, load: Load::default() };
        let event = WorkerEvent::Heartbeat(heartbeat);
        let mut effects = Effects::default();
        grid.handle(Timestamp(180_000), Input::FromWorker { session, event }, &mut effects);
    }
    assert_eq!(won(&mut grid, 185_000), 20);
}

fn bids(effects: &Effects) -> usize {
    let is_bid = |change: &&Change| matches!(change, Change::BidPlaced { .. });
    effects.changes.iter().filter(is_bid).count()
}

/// What this process has in memory, as Linux says.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Two who can pay for all that there is.
fn rich_grid() -> Grid {
    let rich = Policy { starting_credits: Micros(i64::MAX / 4), ..policy() };
    let mut grid = Grid::recover(Arc::new(rich), Durable::empty(), Timestamp(1));
    register(&mut grid, 0);
    register(&mut grid, 1);
    grid
}

/// Users who can pay for a lot, and nothing else.
fn campus(users: u64) -> Grid {
    let rich = Policy {
        starting_credits: Micros::from_credits(100_000_000),
        active_jobs_max: u32::MAX,
        ..policy()
    };
    let mut grid = Grid::recover(Arc::new(rich), Durable::empty(), Timestamp(1));
    (0..users).for_each(|number| register(&mut grid, number));
    grid
}

fn full_campus() -> Grid {
    let mut grid = campus(USERS);
    for number in 0..MACHINES {
        let machine = worker(1, 1).offers(&["R", "image:docker.io/*", "python3.12"]);
        enrol(&mut grid, number, &machine.of(UserId(1 + number % USERS)));
    }
    submit(&mut grid, UserId(1), 1024, 10_000);
    for number in 0..10_000 {
        let ram_mib = 1015 + u32::try_from(number % 10).unwrap();
        submit(&mut grid, UserId(1 + number / 10 % USERS), ram_mib, 10);
    }
    grid
}

fn register(grid: &mut Grid, number: u64) {
    let (name, password_hash) = (format!("user-{number}"), String::new());
    let invitation = None;
    let new = Registration { name, email: None, password_hash, local: false, invitation };
    ask(grid, Request::Register(new));
}

fn enrol(grid: &mut Grid, number: u64, machine: &Machine) {
    let session = SessionId(number + 1);
    let enrolment = Enrolment { session, key_hash: key_of(number), ..enrolment(0, None) };
    ask(grid, Request::Enrol(enrolment));
    ask(grid, Request::ApproveWorker { user: machine.owner, code: "CODE-0".to_owned() });
    one(grid, joins((number, machine), session));
}

fn key_of(number: u64) -> [u8; 32] {
    let mut key_hash = [0; 32];
    key_hash[..8].copy_from_slice(&number.to_le_bytes());
    key_hash
}

fn joins((number, machine): (u64, &Machine), session: SessionId) -> Input {
    let joined = Joined { key_hash: key_of(number), ..join(0, machine, Vec::new()) };
    Input::FromWorker { session, event: WorkerEvent::Joined(Box::new(joined)) }
}

fn submit(grid: &mut Grid, user: UserId, ram_mib: u32, tasks: u32) {
    let labels: &[&str] = if ram_mib.is_multiple_of(2) { &["R", "python3.12"] } else { &[] };
    let mut wish = job(1, 1).tasks(tasks).requires(labels).by(user);
    wish.spec.needs.ram_mib = ram_mib;
    ask(grid, Request::Submit(Box::new(submission(wish))));
}

fn submit_of(wish: Wish) -> Input {
    let request = Request::Submit(Box::new(submission(wish)));
    Input::Request { ticket: Ticket(0), request }
}

fn ask(grid: &mut Grid, request: Request) {
    one(grid, Input::Request { ticket: Ticket(0), request });
}

fn one(grid: &mut Grid, input: Input) -> Effects {
    let mut effects = Effects::default();
    grid.handle(Timestamp(1), input, &mut effects);
    grid.dispatch(&mut effects);
    effects
}
