//! What follows the last fault: everything comes to its end, the grid is asked what came of it, and what
//! is left on the machine is looked for.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::Storm;
use crate::check::{ClientTruth, Finding, JobTruth, OwnerTruth, Rule};
use crate::clock::Stopwatch;
use crate::error::ChaosError;
use crate::grid::STARTING_CREDITS;
use crate::history::{self, Known};
use crate::plan::{CLIENTS, Target, WORKERS};
use crate::remains;

/// For what takes no more than a moment.
const MOMENT: Duration = Duration::from_secs(20);

/// How often it is looked whether something has come about that nobody tells of.
const LOOK: Duration = Duration::from_millis(20);

impl Storm {
    /// Ends all faults and waits until clients have seen all that they began come to its end, and no
    /// worker guards a result any more.
    pub(super) fn settle(&mut self, patience: Duration) -> Result<(), ChaosError> {
        for (_, undo) in std::mem::take(&mut self.undoes) {
            self.undo(undo)?;
        }
        let settling = Stopwatch::start();
        for number in 0..CLIENTS {
            let target = Target::Client(number);
            self.ensure_started(target)?;
            let Some(client) = self.grid.slot(target) else { continue };
            client.close_stdin();
        }
        self.is_finishing = true;
        while settling.elapsed() < patience && self.has_clients() {
            self.mind_all()?;
        }
        // What one that is still there has not settled is in its journal, and is found there.
        for number in 0..CLIENTS {
            *self.grid.slot(Target::Client(number)) = None;
        }
        for number in 0..WORKERS {
            let dir = self.grid.worker_dir(number);
            let look = || remains::spooled(&dir).map_err(|source| ChaosError::Processes { source });
            while settling.elapsed() < patience && !look()?.is_empty() {
                self.mind_all()?;
            }
            let spooled = look()?;
            if !spooled.is_empty() {
                self.remains(format!("{} still guards {spooled:?}", Target::Worker(number)));
            }
        }
        Ok(())
    }

    fn has_clients(&mut self) -> bool {
        (0..CLIENTS).any(|number| self.grid.slot(Target::Client(number)).is_some())
    }

    /// A moment in which what has ended is seen, and started again where it should run.
    fn mind_all(&mut self) -> Result<(), ChaosError> {
        self.undo_what_is_due()?;
        self.look_after_all()?;
        thread::sleep(LOOK);
        Ok(())
    }

    /// Asks the grid for all that clients know of, over a good network.
    pub(super) fn truth(&self) -> Result<(Vec<(Known, ClientTruth)>, OwnerTruth), ChaosError> {
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let known = Known::of(&history::read(&self.grid.journal(number))?);
            let user = &self.grid.users[usize::from(number)];
            let api = self.grid.api().logged_in(&user.token);
            let mut jobs = Vec::new();
            for job in api.jobs()? {
                let tasks = api.tasks(job.job)?;
                let mut files = BTreeMap::new();
                for task in &tasks {
                    files.extend(api.files(job.job, task)?);
                }
                jobs.push(JobTruth { job, tasks, files });
            }
            let starting_micros = STARTING_CREDITS * 1_000_000;
            let (credits, transfers) = (api.credits()?, api.transfers()?);
            clients.push((known, ClientTruth { starting_micros, jobs, credits, transfers }));
        }
        let api = self.grid.owner_api();
        let owner = OwnerTruth { credits: api.credits()?, transfers: api.transfers()? };
        Ok((clients, owner))
    }

    /// Stops all that runs and looks for what is left.
    pub(super) fn clear_away(&mut self) -> Result<(), ChaosError> {
        let workers = (0..WORKERS).map(Target::Worker);
        for target in workers.chain([Target::Manager]) {
            let Some(process) = self.grid.slot(target).take() else { continue };
            match process.stop(MOMENT) {
                Ok(status) if status.success() => {}
                Ok(status) => self.remains(format!("{target} was asked to end: {status}")),
                Err(ChaosError::Patience { found, .. }) => self.remains(found),
                Err(error) => return Err(error),
            }
        }
        let waiting = Stopwatch::start();
        loop {
            let children =
                remains::children().map_err(|source| ChaosError::Processes { source })?;
            if children.is_empty() {
                break;
            }
            if waiting.elapsed() > MOMENT {
                for (pid, line) in children {
                    self.remains(format!("process {pid} still runs: {line}"));
                }
                break;
            }
            thread::sleep(LOOK);
        }
        for group in remains::groups_of(&self.grid.worker_pids) {
            self.remains(format!("the group {} is still there", group.display()));
        }
        Ok(())
    }

    fn remains(&mut self, words: String) {
        self.findings.push(Finding { rule: Rule::Remains, words });
    }
}
