//! Judges what machines are told: only what is on disk, no GPU to two, one lock to all tasks of a job,
//! and nothing that they do not offer.

use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::ToWorker;

use super::{Believer, Oracle, Oracles};

impl Oracles {
    /// A message is let out to a machine, if that is still connected.
    pub(crate) fn told(&mut self, message: &ToWorker, machine: Option<(usize, KeyHash)>) {
        match message {
            ToWorker::Stored { attempt } | ToWorker::Drop { attempt } => {
                if !self.record.is_settled(*attempt) {
                    let words = format!("{message:?}, of which the manager's disk knows nothing");
                    self.find(Oracle::ToldIsOnDisk, words);
                }
            }
            ToWorker::Start { attempt, index, spec, gpus, lock, .. } => {
                self.index_is_true(*attempt, *index);
                if let Some((machine, key_hash)) = machine {
                    self.is_in(*attempt, key_hash);
                    let believer = Believer { machine, attempt: *attempt };
                    self.labels_are_respected(believer, &spec.labels);
                    self.gpus_are_not_shared(believer, gpus);
                }
                if let Some(lock) = lock {
                    self.count("start with a lock");
                    self.lock_is_on_disk(*attempt, lock);
                }
            }
            ToWorker::Locked { attempt, lock } => self.lock_is_on_disk(*attempt, lock),
            ToWorker::Welcome { worker, .. } => {
                if let Some((_, key_hash)) = machine {
                    self.is_worker(*worker, key_hash);
                }
            }
            ToWorker::Cancel { .. }
            | ToWorker::Rules(_)
            | ToWorker::Earned { .. }
            | ToWorker::Renewed { .. }
            | ToWorker::Certificate { .. }
            | ToWorker::Closing { .. } => {}
        }
    }

    fn index_is_true(&mut self, attempt: AttemptId, index: u32) {
        let Some(job) = self.record.jobs.get(&attempt.task.job) else { return };
        let wanted = job.wanted.terms.indices.index(attempt.task.index);
        if wanted != Some(index) {
            let words = format!("{attempt} is told the index {index}, not {wanted:?}");
            self.find(Oracle::IndexIsTrue, words);
        }
    }

    fn labels_are_respected(&mut self, believer: Believer, required: &[String]) {
        let offered = &self.labels[believer.machine];
        let is_offered = |label: &&String| {
            offered.iter().any(|own| match own.strip_suffix('*') {
                Some(beginning) => label.starts_with(beginning),
                None => own == *label,
            })
        };
        if let Some(missing) = required.iter().find(|label| !is_offered(label)) {
            let words = format!("{believer} requires {missing}, which is not offered there");
            self.find(Oracle::LabelsRespected, words);
        }
        if !required.is_empty() {
            self.count("label required");
        }
    }

    fn gpus_are_not_shared(&mut self, believer: Believer, gpus: &[u16]) {
        if gpus.is_empty() {
            return;
        }
        self.count("gpu granted");
        let record = &self.record;
        self.granted.retain(|&attempt, _| !record.is_settled(attempt));
        let shares = |(machine, others): &(usize, Vec<u16>)| {
            *machine == believer.machine && gpus.iter().any(|gpu| others.contains(gpu))
        };
        let other = self.granted.iter().find(|(_, granted)| shares(granted)).map(|(&id, _)| id);
        if let Some(other) = other {
            let words = format!("{believer} is granted GPUs {gpus:?}, and {other} has of them");
            self.find(Oracle::GpusNeverShared, words);
        }
        self.granted.insert(believer.attempt, (believer.machine, gpus.to_vec()));
    }

    fn lock_is_on_disk(&mut self, attempt: AttemptId, lock: &str) {
        let known = self.record.jobs.get(&attempt.task.job).and_then(|job| job.lock.as_deref());
        let words = match known {
            Some(known) if known == lock => return,
            Some(known) => format!("{attempt} is told the lock {lock}, its job's is {known}"),
            None => format!("{attempt} is told the lock {lock}, and its job has none"),
        };
        self.find(Oracle::OneLock, words);
    }

    /// A machine installs what a lock says.
    pub(crate) fn installs(&mut self, believer: Believer, lock: &str) {
        let job = believer.attempt.task.job;
        let first = self.installed.entry(job).or_insert_with(|| lock.to_owned());
        if first != lock {
            let words = format!("{believer} installs {lock}, another task of its job {first}");
            self.find(Oracle::OneLock, words);
        }
    }
}
