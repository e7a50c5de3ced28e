//! What a machine has done so far: what its reliability is made of.

use campusgrid_protocol::id::{UserId, WorkerId};

use crate::effect::{Change, Effects};
use crate::grid::Grid;

/// Counts of one machine. A job of its owner's own counts nowhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// Attempts that it brought to an end.
    pub delivered: u32,
    /// Attempts that its owner took back, frozen for too long.
    pub handed_back: u32,
    /// Attempts with which it was lost, or that it could not run.
    pub lost: u32,
    /// Accepted bids on which it has not started in time.
    pub bids_failed: u32,
    /// Results on which another owner's machine agreed.
    pub valid: u32,
    /// Results that two other machines contradicted.
    pub invalid: u32,
    /// Of `valid`, those since the last of `invalid`.
    pub valid_in_row: u32,
    /// Paid to its owner for it, ever. Micro-credits.
    pub earned_micros: i64,
}

/// Attempts that are remembered one by one before all counts are halved: what a machine did long ago
/// then weighs less than what it does now.
const REMEMBERED_MAX: u32 = 400;

impl Record {
    /// How far a machine is to be relied on, from 0 to 1000: `1000 · good / (good + bad)`, where `good`
    /// is 8 for each attempt that it delivered, for four that every machine begins with, and for each
    /// result that another machine confirmed; and `bad` is 8 for each attempt that was lost with it, 1
    /// for each that its owner took back, 16 for each accepted bid that it did not keep, 80 for each
    /// result that was proved wrong, and 8 to begin with.
    ///
    /// A new machine thus has 800, and one that has delivered a hundred attempts and lost none 990.
    pub fn score_permille(&self) -> u32 {
        let Self { delivered, handed_back, lost, bids_failed, valid, invalid, .. } = *self;
        let [delivered, handed_back, lost] = [delivered, handed_back, lost].map(u64::from);
        let [bids_failed, valid, invalid] = [bids_failed, valid, invalid].map(u64::from);
        let good = 8 * (delivered + 4) + 8 * valid;
        let bad = 8 * lost + handed_back + 16 * bids_failed + 80 * invalid + 8;
        u32::try_from(1000 * good / (good + bad)).expect("a share of 1000")
    }

    /// Halves the counts when they have become many; not what was earned, nor the row of confirmed
    /// results.
    fn forget(&mut self) {
        let Self { delivered, handed_back, lost, bids_failed, valid, invalid, .. } = self;
        let attempts = delivered.saturating_add(*handed_back).saturating_add(*lost);
        if attempts > REMEMBERED_MAX {
            for count in [delivered, handed_back, lost, bids_failed, valid, invalid] {
                *count /= 2;
            }
        }
    }
}

impl Grid {
    /// Counts something about a machine, unless it was with a job of its owner's own or the machine is
    /// gone.
    pub(crate) fn tally(
        &mut self,
        worker: WorkerId,
        submitter: UserId,
        count: impl FnOnce(&mut Record),
        effects: &mut Effects,
    ) {
        let Some(machine) = self.workers.get_mut(&worker) else { return };
        if machine.owner == submitter {
            return;
        }
        count(&mut machine.record);
        machine.record.forget();
        effects.changes.push(Change::WorkerRecord { worker, record: machine.record });
    }
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn a_score_is_made_of_what_a_machine_did() {
        let new = Record::default();
        for (record, score) in [
            (new, 800),
            (Record { delivered: 100, ..new }, 990),
            (Record { delivered: 10, valid: 10, ..new }, 960),
            (Record { lost: 4, ..new }, 444),
            (Record { handed_back: 8, ..new }, 666),
            (Record { bids_failed: 2, ..new }, 444),
            (Record { delivered: 100, invalid: 1, ..new }, 904),
            (Record { delivered: u32::MAX, lost: u32::MAX, ..new }, 500),
        ] {
            assert_eq!(record.score_permille(), score, "{record:?}");
        }
    }

    #[test]
    fn long_ago_weighs_less() {
        let mut record = Record { delivered: 399, lost: 2, earned_micros: 7, ..Record::default() };
        record.forget();
        assert_eq!((record.delivered, record.lost, record.earned_micros), (199, 1, 7));
        record.forget();
        assert_eq!(record.delivered, 199);
    }
}
