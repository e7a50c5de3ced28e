//! What an attempt may leave on our disk: as much as its result and its checkpoints may refer to, and no
//! more. A worker could otherwise fill it with files that belong to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use campusgrid_protocol::id::{AttemptId, BlobHash, WorkerId};
use campusgrid_protocol::message::OUTPUTS_MAX;
use campusgrid_protocol::task::BlobRef;
use tokio::time::Instant;

use super::check::LOG_MAX_BYTES;
use super::checkpoint::FILES_MAX;
use crate::live::LiveLogs;

/// Files that a result may refer to: outputs and both logs; and those of the checkpoint that is here and
/// of the one that comes, each with the list of them.
const BLOBS_MAX: usize = OUTPUTS_MAX + 2 + 2 * (FILES_MAX + 1);

/// Scratch space that what an attempt has left may have taken, times: its outputs, the checkpoint that is
/// here, and the one that comes.
const TIMES: u64 = 3;

/// Each checkpoint costs a write of the books.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

/// Attempts are swept when so many more than after the last time are known.
const SWEEP_EVERY: usize = 1024;

/// What the attempts that are under way have left so far. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    live: LiveLogs,
    accounts: Arc<Mutex<Accounts>>,
}

#[derive(Debug, Default)]
struct Accounts {
    attempts: BTreeMap<AttemptId, Account>,
    swept_at: usize,
}

#[derive(Debug)]
struct Account {
    worker: WorkerId,
    bytes_max: u64,
    bytes: u64,
    blobs: usize,
    /// What has come.
    kept: BTreeMap<BlobHash, Kept>,
    /// Of the last checkpoint that was taken.
    checkpoint: BTreeSet<BlobHash>,
    /// Of the one before that, as far as the last one has no use for it.
    former: BTreeSet<BlobHash>,
    checked_at: Option<Instant>,
    /// What it may have of our files.
    manifests: [Option<BlobRef>; 2],
}

/// A blob that has come.
#[derive(Debug, Clone, Copy)]
struct Kept {
    bytes: u64,
    /// Not if only the last checkpoint but one is made of it: its worker may believe it to be here, so it
    /// is not forgotten yet.
    counts: bool,
}

/// What an attempt's job has asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    /// Scratch space, which its outputs come from.
    pub(super) disk_mib: u32,
    /// The manifest of the files that it brings.
    pub(super) inputs: Option<BlobRef>,
    /// The manifest of the checkpoint that the attempt goes on from.
    pub(super) checkpoint: Option<BlobRef>,
}

/// An attempt has left too much already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an attempt leaves at most {BLOBS_MAX} files, and this one {bytes_max} bytes")]
pub(super) struct OverBudget {
    bytes_max: u64,
}

impl Budgets {
    /// For the attempts that have live logs: others are over.
    pub(super) fn new(live: LiveLogs) -> Self {
        Self { live, accounts: Arc::default() }
    }

    /// An attempt begins.
    pub(super) fn grant(&self, worker: WorkerId, attempt: AttemptId, grant: Grant) {
        let mut accounts = self.lock();
        if accounts.attempts.len() >= accounts.swept_at + SWEEP_EVERY {
            accounts
                .attempts
                .retain(|&attempt, account| self.live.is_open(account.worker, attempt));
            accounts.swept_at = accounts.attempts.len();
        }
        accounts.attempts.entry(attempt).or_insert_with(|| Account {
            worker,
            bytes_max: TIMES * (u64::from(grant.disk_mib) << 20) + 2 * LOG_MAX_BYTES,
            bytes: 0,
            blobs: 0,
            kept: BTreeMap::new(),
            checkpoint: BTreeSet::new(),
            former: BTreeSet::new(),
            checked_at: None,
            manifests: [grant.inputs, grant.checkpoint],
        });
    }

    /// Whether an attempt has been granted something.
    pub(super) fn knows(&self, attempt: AttemptId) -> bool {
        self.lock().attempts.contains_key(&attempt)
    }

    /// The manifests of the files that an attempt's job brings and of what it goes on from.
    pub(super) fn manifests(&self, attempt: AttemptId) -> [Option<BlobRef>; 2] {
        self.lock().attempts.get(&attempt).map_or([None; 2], |account| account.manifests)
    }

    /// Whether a checkpoint of a running attempt may be looked at now; then the next one not so soon.
    pub(super) fn may_check(&self, attempt: AttemptId, now: Instant) -> bool {
        let mut accounts = self.lock();
        let Some(account) = accounts.attempts.get_mut(&attempt) else { return false };
        let is_due = account.checked_at.is_none_or(|last| now >= last + CHECKPOINT_EVERY);
        if is_due {
            account.checked_at = Some(now);
        }
        is_due
    }

    /// An attempt has a checkpoint of these blobs now. What only the last one was made of counts no
    /// longer, and is forgotten when the next one comes: until then its worker may believe it to be here.
    /// Yields what is forgotten.
    pub(super) fn replace_checkpoint(
        &self,
        attempt: AttemptId,
        new: BTreeSet<BlobHash>,
    ) -> Vec<BlobHash> {
        let mut accounts = self.lock();
        let Some(account) = accounts.attempts.get_mut(&attempt) else { return Vec::new() };
        if account.checkpoint == new {
            return Vec::new();
        }
        // Sent anew meanwhile, it may be for the result.
        let is_idle = |hash: &&BlobHash| account.kept.get(hash).is_some_and(|kept| !kept.counts);
        let idle: Vec<_> = account.former.difference(&new).filter(is_idle).copied().collect();
        for hash in &idle {
            account.kept.remove(hash);
        }
        account.former = account.checkpoint.difference(&new).copied().collect();
        for hash in &new {
            let Some(kept) = account.kept.get_mut(hash) else { continue };
            if !std::mem::replace(&mut kept.counts, true) {
                account.bytes = account.bytes.saturating_add(kept.bytes);
                account.blobs += 1;
            }
        }
        for hash in &account.former {
            let Some(kept) = account.kept.get_mut(hash) else { continue };
            if std::mem::take(&mut kept.counts) {
                account.bytes = account.bytes.saturating_sub(kept.bytes);
                account.blobs = account.blobs.saturating_sub(1);
            }
        }
        account.checkpoint = new;
        idle
    }

    /// Whether a blob came from this attempt: that it is here for another one is not for it to know.
    pub(super) fn has(&self, attempt: AttemptId, blob: &BlobRef) -> bool {
        self.lock().attempts.get(&attempt).is_some_and(|it| it.kept.contains_key(&blob.hash))
    }

    /// Takes the room for one more blob, to be given back unless it is kept.
    ///
    /// # Errors
    ///
    /// [`OverBudget`].
    pub(super) fn take(&self, attempt: AttemptId, blob: BlobRef) -> Result<Taken, OverBudget> {
        let mut accounts = self.lock();
        let account = accounts.attempts.get_mut(&attempt).ok_or(OverBudget { bytes_max: 0 })?;
        let all = account.bytes.saturating_add(blob.size_bytes);
        if all > account.bytes_max || account.blobs >= BLOBS_MAX {
            return Err(OverBudget { bytes_max: account.bytes_max });
        }
        account.bytes = all;
        account.blobs += 1;
        Ok(Taken { budgets: self.clone(), attempt, blob, is_kept: false })
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().expect("nothing panics while it holds the budgets")
    }
}

/// Room for a blob that is on its way.
#[derive(Debug)]
pub(super) struct Taken {
    budgets: Budgets,
    attempt: AttemptId,
    blob: BlobRef,
    is_kept: bool,
}

impl Taken {
    /// The blob is here.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
        if let Some(account) = self.budgets.lock().attempts.get_mut(&self.attempt) {
            let kept = Kept { bytes: self.blob.size_bytes, counts: true };
            account.kept.insert(self.blob.hash, kept);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Some(account) = self.budgets.lock().attempts.get_mut(&self.attempt) {
            account.bytes = account.bytes.saturating_sub(self.blob.size_bytes);
            account.blobs = account.blobs.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::id::{AttemptId, BlobHash, JobId, TaskId, WorkerId};
    use campusgrid_protocol::task::BlobRef;
    use tokio::time::Instant;

    use super::{BLOBS_MAX, Budgets, CHECKPOINT_EVERY, Grant, SWEEP_EVERY, TIMES};
    use crate::fleet::check::LOG_MAX_BYTES;
    use crate::live::LiveLogs;

    fn attempt(index: u32) -> AttemptId {
        AttemptId { task: TaskId { job: JobId(1), index }, number: 1 }
    }

    fn blob(size_bytes: u64) -> BlobRef {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&size_bytes.to_le_bytes());
        BlobRef { hash: BlobHash(hash), size_bytes }
    }

    fn disk(disk_mib: u32) -> Grant {
        Grant { disk_mib, inputs: None, checkpoint: None }
    }

    #[test]
    fn what_is_left_counts_whatever_the_connection() {
        let budgets = Budgets::new(LiveLogs::default());
        let max = TIMES * (1 << 20) + 2 * LOG_MAX_BYTES;
        assert!(budgets.take(attempt(1), blob(1)).is_err(), "not begun");
        budgets.grant(WorkerId(1), attempt(1), disk(1));
        let half = budgets.take(attempt(1), blob(max / 2)).unwrap();
        assert!(budgets.take(attempt(1), blob(max / 2 + 1)).is_err());
        drop(half); // Broken off: nothing of it is left.
        budgets.take(attempt(1), blob(max)).unwrap().keep();
        budgets.grant(WorkerId(1), attempt(1), disk(1000)); // A repeated start.
        assert!(budgets.take(attempt(1), blob(1)).is_err());
        assert!(budgets.take(attempt(1), blob(0)).is_ok());
        assert!(budgets.take(attempt(1), blob(u64::MAX)).is_err());
    }

    #[test]
    fn files_without_content_are_files() {
        let budgets = Budgets::new(LiveLogs::default());
        budgets.grant(WorkerId(1), attempt(1), disk(1));
        for _ in 0..BLOBS_MAX {
            budgets.take(attempt(1), blob(0)).unwrap().keep();
        }
        let refused = budgets.take(attempt(1), blob(0)).unwrap_err().to_string();
        assert!(refused.starts_with("an attempt leaves at most 3004 files"), "{refused}");
    }

    #[test]
    fn what_one_attempt_has_left_another_has_not() {
        let budgets = Budgets::new(LiveLogs::default());
        budgets.grant(WorkerId(1), attempt(1), disk(1));
        budgets.grant(WorkerId(2), attempt(2), disk(1));
        let begun = budgets.take(attempt(1), blob(7)).unwrap();
        assert!(!budgets.has(attempt(1), &blob(7)), "not before it is here");
        begun.keep();
        assert!(budgets.has(attempt(1), &blob(7)) && !budgets.has(attempt(2), &blob(7)));
    }

    #[test]
    fn checkpoints_follow_each_other_for_ever() {
        let budgets = Budgets::new(LiveLogs::default());
        budgets.grant(WorkerId(1), attempt(1), disk(1));
        let send = |size: u64| {
            if !budgets.has(attempt(1), &blob(size)) {
                budgets.take(attempt(1), blob(size)).unwrap().keep();
            }
            blob(size).hash
        };
        for round in 0..10_000 {
            let files = [send(1 << 20), send((1 << 19) + round)];
            let forgotten = budgets.replace_checkpoint(attempt(1), files.into());
            assert_eq!(forgotten.len(), usize::from(round > 1), "{round}");
            assert!(budgets.has(attempt(1), &blob((1 << 19) + round.saturating_sub(1))));
        }
        let kept = |budgets: &Budgets| budgets.lock().attempts[&attempt(1)].kept.len();
        assert_eq!(kept(&budgets), 3, "of the last two");
        // Back to what the last one had dropped: it counts again.
        budgets.replace_checkpoint(attempt(1), [send((1 << 19) + 9_998)].into());
        assert_eq!(budgets.lock().attempts[&attempt(1)].bytes, (1 << 19) + 9_998);
        budgets.replace_checkpoint(attempt(1), [].into());
        budgets.replace_checkpoint(attempt(1), [send(5)].into());
        let max = TIMES * (1 << 20) + 2 * LOG_MAX_BYTES;
        assert!(budgets.take(attempt(1), blob(max - 5)).is_ok());
        assert!(budgets.take(attempt(1), blob(max - 4)).is_err());
    }

    #[test]
    fn checkpoints_come_at_a_decent_pace() {
        let budgets = Budgets::new(LiveLogs::default());
        let begin = Instant::now();
        assert!(!budgets.may_check(attempt(1), begin), "not begun");
        budgets.grant(WorkerId(1), attempt(1), disk(1));
        assert!(budgets.may_check(attempt(1), begin));
        assert!(!budgets.may_check(attempt(1), begin + CHECKPOINT_EVERY / 2));
        assert!(budgets.may_check(attempt(1), begin + CHECKPOINT_EVERY));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let live = LiveLogs::default();
        let budgets = Budgets::new(live.clone());
        live.open(WorkerId(1), attempt(0));
        let all = u32::try_from(3 * SWEEP_EVERY).unwrap();
        for index in 0..all {
            budgets.grant(WorkerId(1), attempt(index), disk(1));
        }
        assert!(budgets.lock().attempts.len() <= SWEEP_EVERY + 1);
        assert!(budgets.take(attempt(0), blob(1)).is_ok(), "still under way");
    }
}
