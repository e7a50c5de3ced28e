//! How what a task goes on from is saved while it runs: looked at, and copied while it stands still if
//! it has changed.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use crate::checkpoint::{Place, Print};
use crate::plan::{Collected, Plan};

/// The saving of one task's checkpoints.
#[derive(Debug)]
pub(crate) struct Saving {
    place: Place,
    results: PathBuf,
    every: Option<Duration>,
    state: State,
    /// When to look next, by the task's own clock; none while there is no step to look at.
    next: Option<Instant>,
    /// What was there when it was last saved.
    last: Print,
    /// Names the directories.
    number: u32,
}

#[derive(Debug)]
enum State {
    Idle,
    Looking(JoinHandle<io::Result<Print>>),
    /// Until nothing of the task runs.
    Stopping(Print),
    Copying {
        directory: PathBuf,
        copied: JoinHandle<io::Result<Vec<Collected>>>,
    },
}

/// What the task's follower is to do.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing has changed.
    Nothing,
    /// It is to stand still; then [`Saving::copy`].
    Stop,
    /// It may go on; this was copied, if it could be.
    Saved(Option<(PathBuf, Vec<Collected>)>),
}

impl Saving {
    pub(crate) fn new(plan: &Plan, place: Place) -> Self {
        Self {
            place,
            results: plan.results.clone(),
            every: plan.checkpoints.as_ref().and_then(|checkpoints| checkpoints.every),
            state: State::Idle,
            next: None,
            last: Print::default(),
            number: 0,
        }
    }

    /// When [`Self::look`] is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Idle => self.next,
            State::Looking(_) | State::Stopping(_) | State::Copying { .. } => None,
        }
    }

    /// A step of the task's has begun, whose checkpoints are to be saved.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.next = self.every.map(|every| now + every);
    }

    /// The step is over. A copy that is under way is of no use any more.
    pub(crate) fn end(&mut self) {
        self.next = None;
        if let State::Looking(_) | State::Stopping(_) = self.state {
            self.state = State::Idle;
        }
    }

    /// The task's clock stood still for so long.
    pub(crate) fn shift(&mut self, by: Duration) {
        self.next = self.next.map(|next| next + by);
    }

    pub(crate) fn look(&mut self) {
        let place = self.place.clone();
        self.state = State::Looking(spawn_blocking(move || place.look()));
    }

    /// The task stands still.
    pub(crate) fn copy(&mut self) {
        let State::Stopping(print) = &mut self.state else { return };
        self.last = std::mem::take(print);
        self.number += 1;
        let directory = self.results.join(format!("checkpoint-{}", self.number));
        let (place, target) = (self.place.clone(), directory.clone());
        let copied = spawn_blocking(move || place.copy(&target));
        self.state = State::Copying { directory, copied };
    }

    /// Whether the task stands still for a copy.
    pub(crate) fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping(_))
    }

    /// What comes next, once it is known; can be cancelled.
    pub(crate) async fn step(&mut self, is_still: bool) -> Step {
        let step = match &mut self.state {
            State::Idle | State::Stopping(_) => std::future::pending().await,
            State::Looking(looking) => match looking.await {
                // Somebody else stops it: it is looked at again when it goes on.
                Ok(Ok(_)) if is_still => Step::Nothing,
                Ok(Ok(print)) if !print.is_empty() && print != self.last => {
                    self.state = State::Stopping(print);
                    return Step::Stop;
                }
                Ok(Ok(_)) => Step::Nothing,
                Ok(Err(error)) => failed(&error),
                Err(error) => failed(&io::Error::other(error)),
            },
            State::Copying { directory, copied } => Step::Saved(match copied.await {
                Ok(Ok(files)) => Some((directory.clone(), files)),
                Ok(Err(error)) => {
                    let _told = failed(&error);
                    None
                }
                Err(error) => {
                    let _told = failed(&io::Error::other(error));
                    None
                }
            }),
        };
        self.state = State::Idle;
        step
    }

    /// Waits until nothing is written any more.
    pub(crate) async fn finish(self) {
        if let State::Copying { copied, .. } = self.state {
            let _unwanted = copied.await;
        }
    }
}

fn failed(error: &io::Error) -> Step {
    tracing::warn!("a task's checkpoint could not be saved: {error}");
    Step::Nothing
}
