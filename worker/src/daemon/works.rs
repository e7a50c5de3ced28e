//! What runs here, for the machine's owner to read.

use std::collections::BTreeMap;

use campusgrid_protocol::id::AttemptId;
use tokio::sync::watch;

use crate::agent::effect::{Order, Progress};
use crate::clock::unix_ms;
use crate::run::words::RunHandle;
use crate::senses::Work;

/// A run, and what is told of it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) handle: RunHandle,
    work: Work,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preparing,
    Running,
    Ending,
}

impl Run {
    pub(super) fn new(attempt: AttemptId, order: &Order, handle: RunHandle) -> Self {
        let needs = &order.spec.needs;
        let work = Work {
            attempt: attempt.to_string(),
            whose: order.whose.clone(),
            name: order.name.clone(),
            since_ms: unix_ms(),
            cpu_millis: needs.cpu_millis,
            ram_mib: needs.ram_mib,
            gpus: needs.gpus,
            limit_ms: u64::from(order.spec.time_limit_s) * 1000,
            state: String::new(),
        };
        Self { handle, work, state: State::Preparing }
    }

    pub(super) fn note(&mut self, progress: &Progress) {
        if *progress == Progress::Started && self.state == State::Preparing {
            self.state = State::Running;
        }
    }

    /// What tells whether it stands still; none of a run that does not run its task.
    pub(super) fn stillness(&self) -> Option<watch::Receiver<bool>> {
        (self.state == State::Running).then(|| self.handle.still.clone())
    }

    pub(super) fn end(&mut self) {
        self.state = State::Ending;
    }
}

/// All runs as they are told.
pub(super) fn works(runs: &BTreeMap<AttemptId, Run>, is_frozen: bool) -> Vec<Work> {
    let told = |run: &Run| {
        let state = match (run.state, is_frozen) {
            (State::Ending, _) => "ending",
            (State::Preparing | State::Running, true) => "frozen",
            (State::Preparing, false) => "preparing",
            (State::Running, false) => "running",
        };
        Work { state: state.to_owned(), ..run.work.clone() }
    };
    runs.values().map(told).collect()
}
