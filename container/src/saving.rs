//! Takes in what a task goes on from, as the helper sends it while the task stands still.

use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_sandbox::plan::{Collected, Limits, Plan};
use tokio::time::Instant;

use crate::unpack::{Part, Unpacker};

/// The saving of one task's checkpoints, as the worker follows it.
pub(crate) struct Saving {
    results: PathBuf,
    limits: Limits,
    /// None: only when the task has been handed back.
    every: Option<Duration>,
    /// When to ask next, by the task's own clock; none while there is no step, or no answer yet.
    next: Option<Instant>,
    receiving: Option<Receiving>,
    /// Names the directories.
    number: u32,
    /// Of a task that has been handed back.
    pub(crate) last: Vec<Collected>,
}

struct Receiving {
    directory: PathBuf,
    unpacker: Unpacker,
}

impl Saving {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            results: plan.results.clone(),
            limits: plan.limits,
            every: plan.checkpoints.as_ref().and_then(|checkpoints| checkpoints.every),
            next: None,
            receiving: None,
            number: 0,
            last: Vec::new(),
        }
    }

    /// When the helper is to be asked.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.next
    }

    /// It has been asked: it answers before it is asked again.
    pub(crate) fn asked(&mut self) {
        self.next = None;
    }

    /// A step of the task's begins, or goes on, whose checkpoints are to be saved.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.next = self.every.map(|every| now + every);
    }

    pub(crate) fn end(&mut self) {
        self.next = None;
    }

    /// The task's clock stood still for so long.
    pub(crate) fn shift(&mut self, by: Duration) {
        self.next = self.next.map(|next| next + by);
    }

    pub(crate) fn is_receiving(&self) -> bool {
        self.receiving.is_some()
    }

    /// Files follow: of a task that runs, or what it has left last.
    pub(crate) fn receive(&mut self, is_last: bool) {
        self.number += 1;
        let name = match is_last {
            true => "checkpoint".to_owned(),
            false => format!("checkpoint-{}", self.number),
        };
        let directory = self.results.join(name);
        let unpacker = Unpacker::start(directory.clone(), &self.limits);
        self.receiving = Some(Receiving { directory, unpacker });
    }

    /// A part of what is received.
    pub(crate) async fn take(&self, part: Part) {
        if let Some(receiving) = &self.receiving {
            receiving.unpacker.take(part).await;
        }
    }

    /// All has come: where it is, if it could be kept.
    pub(crate) async fn received(&mut self) -> Option<(PathBuf, Vec<Collected>)> {
        let Receiving { directory, unpacker } = self.receiving.take()?;
        match unpacker.finish().await {
            Ok(outputs) => Some((directory, outputs.files)),
            Err(error) => {
                tracing::warn!("a task's checkpoint could not be saved: {error}");
                remove(&directory);
                None
            }
        }
    }
}

fn remove(directory: &Path) {
    // It may never have been made.
    let _nothing = std::fs::remove_dir_all(directory);
}
