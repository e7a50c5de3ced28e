//! A campus of 10,000 machines and 100,000 waiting tasks: an event there is as small as anywhere.

use std::sync::Arc;

use campusgrid_protocol::id::{SessionId, UserId};
use campusgrid_protocol::task::Outcome;

use crate::durable::Durable;
use crate::effect::{Change, Effects};
use crate::grid::Grid;
use crate::input::{Enrolment, Input, Registration, Request, Submission, Ticket, WorkerEvent};
use crate::money::Micros;
use crate::policy::Policy;
use crate::tests::world::{attempt, end, enrolment, job, join, policy, worker};
use crate::time::Timestamp;

const MACHINES: u64 = 10_000;
const USERS: u64 = 20;

/// A quadratic step anywhere makes this take minutes instead of seconds.
#[test]
fn a_finish_on_a_full_campus_places_one_task() {
    let mut grid = full_campus();
    let ended = end(attempt("1.77#1"), Outcome::Succeeded, 1);
    let session = SessionId(78); // Equal machines are filled in order.
    let effects = one(&mut grid, Input::FromWorker { session, event: ended });
    let leased = |change: &&Change| matches!(change, Change::TaskLeased { .. });
    assert_eq!(effects.changes.iter().filter(leased).count(), 1);
    assert_eq!(effects.sends.len(), 2, "a start and a confirmation");
    let snapshot = grid.snapshot();
    assert_eq!((snapshot.tasks_running, snapshot.tasks_queued), (MACHINES, 99_999));
    assert_eq!(snapshot.waiting.len() as u64, USERS * 10);
}

fn full_campus() -> Grid {
    let rich = Policy {
        starting_credits: Micros::from_credits(100_000_000),
        active_jobs_max: u32::MAX,
        ..policy()
    };
    let mut grid = Grid::recover(Arc::new(rich), Durable::empty(), Timestamp(1));
    for number in 0..USERS {
        let (name, password_hash) = (format!("user-{number}"), String::new());
        let invitation = None;
        let new = Registration { name, email: None, password_hash, local: false, invitation };
        ask(&mut grid, Request::Register(new));
    }
    for number in 0..MACHINES {
        let machine = worker(1, 1).offers(&["R", "image:docker.io/*", "python3.12"]);
        let mut joined = join(0, &machine, Vec::new());
        joined.key_hash[..8].copy_from_slice(&number.to_le_bytes());
        let session = SessionId(number + 1);
        let enrolment = Enrolment { session, key_hash: joined.key_hash, ..enrolment(0, None) };
        ask(&mut grid, Request::Enrol(enrolment));
        let code = "CODE-0".to_owned();
        ask(&mut grid, Request::ApproveWorker { user: UserId(1 + number % USERS), code });
        one(&mut grid, Input::FromWorker { session, event: WorkerEvent::Joined(Box::new(joined)) });
    }
    submit(&mut grid, UserId(1), 1024, 10_000);
    for number in 0..10_000 {
        let ram_mib = 1015 + u32::try_from(number % 10).unwrap();
        submit(&mut grid, UserId(1 + number / 10 % USERS), ram_mib, 10);
    }
    grid
}

fn submit(grid: &mut Grid, user: UserId, ram_mib: u32, tasks: u32) {
    let labels: &[&str] = if ram_mib.is_multiple_of(2) { &["R", "python3.12"] } else { &[] };
    let mut spec = job(1, 1).tasks(tasks).requires(labels).spec;
    spec.needs.ram_mib = ram_mib;
    ask(grid, Request::Submit(Submission { user, key: None, name: "job".to_owned(), spec }));
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
