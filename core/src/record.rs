//! What a machine has done so far: what its reliability is made of.

use std::collections::BTreeMap;
use std::mem;

use campusgrid_protocol::id::{UserId, WorkerId};

use crate::effect::{Change, Effects};
use crate::grid::Grid;

/// Counts of one machine. A job of its owner's own counts nowhere, and none of one person's jobs many
/// times: of the same submitter's, at most ten of `delivered` and of `valid` are remembered and one of
/// `invalid`, or two people could make a name for a machine, or take it from one. What was counted by
/// whom is known since the manager's last start only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// Attempts that it brought to an end, but for those that were sold for next to nothing.
    pub delivered: u32,
    /// Attempts that it gave back because its owner wanted it: frozen for too long, paused by hand, shut
    /// down, its GPU in use. Nobody is to fear sharing, so these are shown and count for nothing.
    pub handed_back: u32,
    /// Attempts with which it was lost, or that it could not run.
    pub lost: u32,
    /// Accepted bids on which it has not started in time.
    pub bids_failed: u32,
    /// Results on which another owner's machine agreed.
    pub valid: u32,
    /// Results that two other machines contradicted.
    pub invalid: u32,
    /// Results on which another owner's machine agreed since two last contradicted it, whosever the jobs
    /// were.
    pub valid_in_row: u32,
    /// Paid to its owner for it, ever. Micro-credits.
    pub earned_micros: i64,
}

/// Attempts, but for those handed back, that are remembered one by one before all counts are halved: what a machine did long ago
/// then weighs less than what it does now.
const REMEMBERED_MAX: u32 = 400;

/// Attempts and confirmed results of one submitter's jobs that count, of those remembered.
const OF_ONE_MAX: u32 = 10;

/// What one submitter's jobs have made of a machine's record since the grid was recovered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Share {
    delivered: u32,
    valid: u32,
    /// Delivered beyond what counts. Ten of them make up for an attempt of the same submitter's that is
    /// lost, or who works for one person alone would only ever fall.
    spare: u32,
    contradicted: bool,
}

/// Of the machines of which something was counted.
pub(crate) type Shares = BTreeMap<WorkerId, BTreeMap<UserId, Share>>;

impl Share {
    /// Takes back what of a record's newest count is too much of one submitter's.
    fn limit(&mut self, before: &Record, record: &mut Record) {
        if record.delivered > before.delivered && !is_counted(&mut self.delivered) {
            record.delivered = before.delivered;
            self.spare = (self.spare + 1).min(REMEMBERED_MAX);
        }
        if record.valid > before.valid && !is_counted(&mut self.valid) {
            record.valid = before.valid;
        }
        if record.lost > before.lost && self.spare >= OF_ONE_MAX {
            record.lost = before.lost;
            self.spare -= OF_ONE_MAX;
        }
        if record.invalid > before.invalid && mem::replace(&mut self.contradicted, true) {
            record.invalid = before.invalid;
        }
    }

    fn forget(&mut self) {
        self.delivered /= 2;
        self.valid /= 2;
    }
}

/// Counts one more, unless there are as many as may be.
fn is_counted(count: &mut u32) -> bool {
    let counts = *count < OF_ONE_MAX;
    *count += u32::from(counts);
    counts
}

impl Record {
    /// How far a machine is to be relied on, from 0 to 1000: `1000 · good / (good + bad)`, where `good`
    /// is 8 for each attempt that it delivered, for four that every machine begins with, and for each
    /// result that another machine confirmed; and `bad` is 8 for each attempt that was lost with it, 16
    /// for each accepted bid that it did not keep, 80 for each result that was proved wrong, and 8 to
    /// begin with. What its owner took back is no part of it.
    ///
    /// A new machine thus has 800, and one that has delivered a hundred attempts and lost none 990.
    pub fn score_permille(&self) -> u32 {
        let Self { delivered, lost, bids_failed, valid, invalid, .. } = *self;
        let [delivered, lost] = [delivered, lost].map(u64::from);
        let [bids_failed, valid, invalid] = [bids_failed, valid, invalid].map(u64::from);
        let good = 8 * (delivered + 4) + 8 * valid;
        let bad = 8 * lost + 16 * bids_failed + 80 * invalid + 8;
        u32::try_from(1000 * good / (good + bad)).expect("a share of 1000")
    }

    /// Halves the counts when they have become many; not what was earned, nor the row of confirmed
    /// results. Yields whether it did.
    fn forget(&mut self) -> bool {
        let Self { delivered, handed_back, lost, bids_failed, valid, invalid, .. } = self;
        let is_much = delivered.saturating_add(*lost) > REMEMBERED_MAX;
        if is_much {
            for count in [delivered, handed_back, lost, bids_failed, valid, invalid] {
                *count /= 2;
            }
        }
        is_much
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
        let before = machine.record;
        count(&mut machine.record);
        let shares = self.shares.entry(worker).or_default();
        shares.entry(submitter).or_default().limit(&before, &mut machine.record);
        if machine.record.forget() {
            shares.values_mut().for_each(Share::forget);
        }
        effects.changes.push(Change::WorkerRecord { worker, record: machine.record });
    }
}

#[cfg(test)]
mod tests {
    use super::{Record, Share};

    #[test]
    fn a_score_is_made_of_what_a_machine_did() {
        let new = Record::default();
        for (record, score) in [
            (new, 800),
            (Record { delivered: 100, ..new }, 990),
            (Record { delivered: 10, valid: 10, ..new }, 960),
            (Record { lost: 4, ..new }, 444),
            (Record { handed_back: 8, ..new }, 800),
            (Record { bids_failed: 2, ..new }, 444),
            (Record { delivered: 100, invalid: 1, ..new }, 904),
            (Record { delivered: u32::MAX, lost: u32::MAX, ..new }, 500),
        ] {
            assert_eq!(record.score_permille(), score, "{record:?}");
        }
    }

    #[test]
    fn a_loss_is_made_up_for_by_ten_that_did_not_count() {
        let (mut share, mut record) = (Share::default(), Record::default());
        let mut count = |delivered, lost, record: &mut Record| {
            for (delivered, lost) in (0..delivered).map(|_| (1, 0)).chain((0..lost).map(|_| (0, 1)))
            {
                let before = *record;
                (record.delivered, record.lost) =
                    (record.delivered + delivered, record.lost + lost);
                share.limit(&before, record);
            }
            (record.delivered, record.lost)
        };
        assert_eq!(count(10, 1, &mut record), (10, 1));
        assert_eq!(count(19, 1, &mut record), (10, 1));
        assert_eq!(count(0, 1, &mut record), (10, 2), "nine are left");
    }

    #[test]
    fn long_ago_weighs_less() {
        let mut record = Record { delivered: 399, lost: 2, earned_micros: 7, ..Record::default() };
        record.forget();
        assert_eq!((record.delivered, record.lost, record.earned_micros), (199, 1, 7));
        record.forget();
        assert_eq!(record.delivered, 199);
        // Or what was proved wrong could be forgotten at no cost.
        let mut record = Record { handed_back: 1000, invalid: 2, ..Record::default() };
        record.forget();
        assert_eq!((record.handed_back, record.invalid), (1000, 2));
    }
}
