//! The disk of a laptop: what is written survives the worker, what is synced survives the machine, and
//! what was being written when the power failed may be there, be torn, or not be there at all.

use std::collections::BTreeMap;

use campusgrid_protocol::frame;
use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::task::{Ended, Outcome};

use crate::saboteur::Bug;
use crate::world::Stage;

#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// As programs see it.
    seen: BTreeMap<AttemptId, File>,
    /// As it surely is after a loss of power.
    synced: BTreeMap<AttemptId, Ended>,
}

#[derive(Debug, Clone)]
enum File {
    Whole(Box<Ended>),
    /// Its beginning.
    Torn(Vec<u8>),
}

impl Disk {
    pub(crate) fn write(&mut self, ended: Ended) {
        self.seen.insert(ended.attempt, File::Whole(Box::new(ended)));
    }

    /// Makes an end durable, and with its directory all deletions before it.
    pub(crate) fn sync(&mut self, attempt: AttemptId) {
        self.synced.retain(|other, _| self.seen.contains_key(other));
        if let Some(File::Whole(ended)) = self.seen.get(&attempt) {
            self.synced.insert(attempt, Ended::clone(ended));
        }
    }

    /// Deletes without a sync: after a loss of power it may be back.
    pub(crate) fn remove(&mut self, attempt: AttemptId) {
        self.seen.remove(&attempt);
    }

    pub(crate) fn is_synced(&self, attempt: AttemptId) -> bool {
        self.synced.contains_key(&attempt)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Of what was not synced, each file and each deletion may have reached the disk or not.
    pub(crate) fn lose_power(&mut self, stage: &mut Stage<'_>) {
        let mut left: BTreeMap<AttemptId, File> = BTreeMap::new();
        for (&attempt, ended) in &self.synced {
            if self.seen.contains_key(&attempt) || stage.agenda.dice.bool() {
                left.insert(attempt, File::Whole(Box::new(ended.clone())));
            }
        }
        for (&attempt, file) in &self.seen {
            if self.synced.contains_key(&attempt) {
                continue;
            }
            stage.oracles.count("power lost while writing");
            match (file, stage.agenda.dice.u32(0..3)) {
                (_, 0) => {}
                (File::Whole(ended), 1) => {
                    let mut bytes = frame::encode(ended).expect("an end fits a message").to_vec();
                    bytes.truncate(stage.agenda.dice.usize(0..bytes.len()));
                    left.insert(attempt, File::Torn(bytes));
                }
                (file, _) => {
                    left.insert(attempt, file.clone());
                }
            }
        }
        self.seen = left;
    }

    /// What a worker that starts finds; what is torn it puts aside. A system that runs writes
    /// everything back in time.
    pub(crate) fn recover(&mut self, stage: &mut Stage<'_>) -> Vec<Ended> {
        let believes_all = stage.saboteur.has(Bug::TakesTornEnds);
        let mut found = BTreeMap::new();
        for (attempt, file) in std::mem::take(&mut self.seen) {
            let ended = match file {
                File::Whole(ended) => Some(*ended),
                File::Torn(bytes) => {
                    stage.oracles.count("torn end put aside");
                    read(&bytes).or_else(|| believes_all.then(|| padded(attempt)))
                }
            };
            found.extend(ended.map(|ended| (attempt, ended)));
        }
        let whole = |ended: &Ended| File::Whole(Box::new(ended.clone()));
        self.seen = found.iter().map(|(&attempt, ended)| (attempt, whole(ended))).collect();
        self.synced = found.clone();
        found.into_values().collect()
    }
}

/// The spool's hash over the whole is left out here: the codec alone must tell what is torn.
fn read(bytes: &[u8]) -> Option<Ended> {
    frame::decode(bytes).ok()
}

/// A mistake to plant: what is missing is taken for zeros.
fn padded(attempt: AttemptId) -> Ended {
    Ended::empty(attempt, Outcome::Succeeded)
}
