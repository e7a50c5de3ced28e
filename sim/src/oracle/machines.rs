//! Judges what goes on in machines: what runs there, and what becomes of the ends that they spool.

use std::collections::BTreeMap;

use campusgrid_protocol::id::{AttemptId, TaskId};
use campusgrid_protocol::task::Ended;

use super::{Believer, Oracle, Oracles};

impl Oracles {
    /// A machine starts a process, and has in words too much of something, or nothing.
    pub(crate) fn ran(&mut self, believer: Believer, too_much: Option<String>) {
        if let Some(words) = too_much {
            self.find(Oracle::NeverOverfilled, words);
        }
        if !self.ran.insert(believer.attempt) {
            let words = format!("{believer} runs for the second time");
            self.find(Oracle::NeverTwice, words);
        }
    }

    /// All that runs on machines that believe in their leases. One that its owner has removed from
    /// the grid has not heard of it yet, and is not the grid's any more.
    pub(crate) fn never_twice(&mut self, believers: &[Believer]) {
        let mut by_task: BTreeMap<TaskId, Believer> = BTreeMap::new();
        for &believer in believers {
            let worker = self.record.attempt(believer.attempt).map(|attempt| attempt.worker);
            let known = worker.and_then(|worker| self.record.workers.get(&worker));
            if known.is_some_and(|worker| worker.removed) {
                continue;
            }
            if let Some(other) = by_task.insert(believer.attempt.task, believer) {
                let words = format!("{other} and {believer} run at once");
                self.find(Oracle::NeverTwice, words);
            }
        }
    }

    /// An end is on a machine's disk and its agent is told.
    pub(crate) fn finished(&mut self, ended: &Ended) {
        self.truths.entry(ended.attempt).or_default().push(ended.clone());
    }

    /// A machine that starts finds an end in its spool.
    pub(crate) fn recovered(&mut self, ended: &Ended) {
        if !self.written.get(&ended.attempt).is_some_and(|written| written.contains(ended)) {
            let words = format!("the end of {} is not what was written", ended.attempt);
            self.find(Oracle::SpoolIsTrue, words);
        }
        self.finished(ended);
    }

    /// An end is being written to a machine's spool.
    pub(crate) fn spooled(&mut self, ended: &Ended) {
        self.written.entry(ended.attempt).or_default().push(ended.clone());
    }

    /// A machine sends an end.
    pub(crate) fn reported(&mut self, attempt: AttemptId, synced: bool) {
        if !synced {
            let words = format!("the end of {attempt} is sent and would not survive the machine");
            self.find(Oracle::ReportedIsSynced, words);
        }
    }

    /// An end leaves a machine's disk.
    pub(crate) fn unspooled(&mut self, attempt: AttemptId) {
        if !self.record.is_settled(attempt) {
            let words = format!("the end of {attempt} is deleted and the manager does not have it");
            self.find(Oracle::ResultsSurvive, words);
        }
    }
}
