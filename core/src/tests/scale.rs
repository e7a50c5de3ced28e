//! A campus of 10,000 machines and 100,000 waiting tasks: an event there is as small as anywhere.

use std::sync::Arc;

use campusgrid_protocol::id::{JobId, SessionId, UserId, WorkerId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::task::{Failure, Outcome};
use campusgrid_protocol::terms::When;

use crate::durable::Durable;
use crate::effect::{Change, Effects};
use crate::grid::Grid;
use crate::input::{Enrolment, Input, Registration, Request, Ticket, WorkerEvent};
use crate::job::After;
use crate::money::Micros;
use crate::policy::Policy;
use crate::tests::world::{
    Machine, attempt, end, enrolment, job, join, policy, submission, worker,
};
use crate::time::Timestamp;

const MACHINES: u64 = 10_000;
const USERS: u64 = 20;
/// As many as one job may have.
const TASKS: u32 = campusgrid_protocol::array::TASKS_MAX;
const GAPS: u32 = 100_000;

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

fn full_campus() -> Grid {
    let rich = Policy {
        starting_credits: Micros::from_credits(100_000_000),
        active_jobs_max: u32::MAX,
        ..policy()
    };
    let mut grid = Grid::recover(Arc::new(rich), Durable::empty(), Timestamp(1));
    for number in 0..USERS {
        register(&mut grid, number);
    }
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
    let mut joined = join(0, machine, Vec::new());
    joined.key_hash[..8].copy_from_slice(&number.to_le_bytes());
    let session = SessionId(number + 1);
    let enrolment = Enrolment { session, key_hash: joined.key_hash, ..enrolment(0, None) };
    ask(grid, Request::Enrol(enrolment));
    ask(grid, Request::ApproveWorker { user: machine.owner, code: "CODE-0".to_owned() });
    one(grid, Input::FromWorker { session, event: WorkerEvent::Joined(Box::new(joined)) });
}

fn submit(grid: &mut Grid, user: UserId, ram_mib: u32, tasks: u32) {
    let labels: &[&str] = if ram_mib.is_multiple_of(2) { &["R", "python3.12"] } else { &[] };
    let mut wish = job(1, 1).tasks(tasks).requires(labels).by(user);
    wish.spec.needs.ram_mib = ram_mib;
    ask(grid, Request::Submit(Box::new(submission(wish))));
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
