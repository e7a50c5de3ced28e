//! Leases over real processes: what a restart, a cut line and a worker that was stopped for a while do to
//! a task that runs.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests: helpers are not seen as such, and what they print is shown on failure"
)]

use std::path::Path;
use std::time::Duration;

use campusgrid_chaos::api::Api;
use campusgrid_chaos::error::ChaosError;
use campusgrid_chaos::grid::{Grid, Programs};
use campusgrid_chaos::plan::{Link, Target, WORKERS};
use campusgrid_chaos::proxy::Strike;
use campusgrid_chaos::work::{Kind, Work};
use campusgrid_protocol::rest::{Task, TaskState};

/// Longer than anything here takes, even on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(60);

/// Longer than a process is gone here, even on such a machine. Milliseconds.
const LASTING_MS: u32 = 30_000;

/// So short that a test can outlast it, and so long that nothing else does, on such a machine.
/// Milliseconds.
const SHORT_MS: u32 = 6_000;

/// Runs for four seconds, in which something is done to its processes.
const LONG: Work = Work { kind: Kind::Long, input: 1499, tasks: 1 };

/// A grid on which one long task runs.
struct Running {
    grid: Grid,
    job: u64,
    /// The worker that has the task.
    worker: u8,
}

impl Running {
    /// None where no sandbox works.
    fn start(name: &str, lease_ms: u32) -> Option<Self> {
        let own = Path::new(env!("CARGO_BIN_EXE_campusgrid-chaos"));
        let programs = Programs::of(own.parent().unwrap(), own.to_owned());
        assert!(programs.worker.exists(), "{:?} is missing: cargo build --bins", programs.worker);
        let folder = format!("campusgrid-leases-{name}-{}", std::process::id());
        let mut grid = match Grid::start(&std::env::temp_dir().join(folder), programs, 1, lease_ms)
        {
            Err(error @ ChaosError::NoSandbox) => {
                println!("skipped: {error}");
                return None;
            }
            started => started.unwrap(),
        };
        assert!(grid.slot(Target::Manager).is_some());
        let api = grid.api().logged_in(&grid.users[0].token);
        let job = api.submit(&LONG).unwrap();
        let is_running = |task: &Task| task.state == TaskState::Running;
        let task = api.wait_for_task(job, LIMIT, is_running).unwrap();
        let number = task.attempts[0].worker_name.rsplit('-').next().unwrap();
        Some(Self { grid, job, worker: number.parse::<u8>().unwrap() - 1 })
    }

    /// Anew after every restart: the manager's port is another one then.
    fn api(&self) -> Api {
        self.grid.api().logged_in(&self.grid.users[0].token)
    }

    /// Waits for the task's end; checks its result, that it was paid once and that the books balance.
    fn end(mut self) -> Task {
        let is_over = |task: &Task| task.state == TaskState::Succeeded;
        let task = self.api().wait_for_task(self.job, LIMIT, is_over).unwrap();
        let text = self.api().get(&format!("jobs/{}/outputs/0/result", self.job)).unwrap();
        assert_eq!(text.good().unwrap(), LONG.expected(0).outputs["result"]);
        let paid = self.grid.owner_api().transfers().unwrap();
        let paid = paid.iter().filter(|transfer| transfer.key.starts_with("pay:"));
        assert_eq!(paid.count(), 1);
        self.grid.wait_for_workers(u32::from(WORKERS)).unwrap();
        let manager = self.grid.slot(Target::Manager).take().unwrap();
        assert!(manager.stop(LIMIT).unwrap().success());
        assert_eq!(self.grid.check_books().unwrap(), Vec::<String>::new());
        let folder = self.grid.folder.clone();
        drop(self.grid);
        std::fs::remove_dir_all(folder).unwrap();
        task
    }
}

#[test]
fn a_task_that_runs_while_the_manager_is_killed_is_adopted() {
    let Some(mut running) = Running::start("manager", LASTING_MS) else { return };
    running.grid.slot(Target::Manager).take().unwrap().kill().unwrap();
    running.grid.start_process(Target::Manager).unwrap();
    assert_eq!(running.end().attempts.len(), 1);
}

#[test]
fn a_task_never_notices_that_its_workers_connection_was_cut() {
    let Some(running) = Running::start("cut", LASTING_MS) else { return };
    let proxy = running.grid.proxy(Link::Worker(running.worker));
    assert!(proxy.strike(Strike::Cut) >= 1);
    assert_eq!(running.end().attempts.len(), 1);
}

#[test]
fn a_worker_that_is_stopped_for_a_moment_keeps_its_task() {
    let Some(mut running) = Running::start("moment", LASTING_MS) else { return };
    let worker = Target::Worker(running.worker);
    running.grid.slot(worker).as_mut().unwrap().freeze().unwrap();
    // The dashboard answers some times meanwhile; no lease ends by that.
    for _ in 0..3 {
        running.api().tasks(running.job).unwrap();
    }
    running.grid.slot(worker).as_mut().unwrap().thaw().unwrap();
    assert_eq!(running.end().attempts.len(), 1);
}

#[test]
fn a_worker_that_is_stopped_beyond_its_lease_loses_its_task_and_is_not_paid() {
    let Some(mut running) = Running::start("lease", SHORT_MS) else { return };
    let worker = Target::Worker(running.worker);
    running.grid.slot(worker).as_mut().unwrap().freeze().unwrap();
    let again = |task: &Task| task.attempts.len() > 1;
    let task = running.api().wait_for_task(running.job, LIMIT, again).unwrap();
    assert_ne!(task.attempts[1].worker_name, worker.to_string());
    running.grid.slot(worker).as_mut().unwrap().thaw().unwrap();
    let task = running.end();
    assert_eq!((task.attempts.len(), task.attempts[0].charged_micros), (2, 0));
}
