//! A watch over the disk while something large is written to it: what a stranger asks for must not
//! fill the owner's laptop.

use std::path::Path;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::disk::{free_bytes, is_used_up};

/// How often to look.
const PERIOD: Duration = Duration::from_secs(1);

/// Always left to the owner. Bytes.
const RESERVE_BYTES: u64 = 1 << 30;

/// What others may write meanwhile. Bytes.
const OTHERS_BYTES: u64 = 256 << 20;

/// Why writing has to stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DiskError {
    #[error("the disk of the worker has less than {} MiB left", RESERVE_BYTES >> 20)]
    Full,
    #[error("its packages take up more than the {max_mib} MiB that the worker has for them")]
    TooMuch { max_mib: u64 },
}

/// Returns when too much has been written to the file system of `path` since the call, by whomever,
/// or hardly anything is left of it.
pub(super) async fn until_too_full(path: &Path, max_bytes: u64) -> DiskError {
    let Ok(before) = free_bytes(path) else { return std::future::pending().await };
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Ok(free) = free_bytes(path) else { continue };
        if let Some(error) = judge(before, free, max_bytes) {
            return error;
        }
    }
}

/// Whether hardly anything is left of the file system of `path`, a directory of the worker's own, or of
/// this user's share of it; one that cannot be asked is not full. Blocks on the disk.
pub(super) fn is_full(path: &Path) -> bool {
    free_bytes(path).is_ok_and(|free| free < RESERVE_BYTES) || is_used_up(path)
}

fn judge(before: u64, free: u64, max_bytes: u64) -> Option<DiskError> {
    if free < RESERVE_BYTES {
        return Some(DiskError::Full);
    }
    let written = before.saturating_sub(free);
    (written > max_bytes.saturating_add(OTHERS_BYTES))
        .then_some(DiskError::TooMuch { max_mib: max_bytes >> 20 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_was_written_and_what_is_left_are_both_limited() {
        assert_eq!(judge(20 * GIB, 12 * GIB, 8 * GIB), None);
        assert_eq!(judge(20 * GIB, 30 * GIB, 0), None);
        let too_much = DiskError::TooMuch { max_mib: 8 << 10 };
        assert_eq!(judge(20 * GIB, 11 * GIB, 8 * GIB), Some(too_much));
        assert_eq!(judge(GIB, GIB - 1, 8 * GIB), Some(DiskError::Full));
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_stays_as_it_is_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let watch = until_too_full(dir.path(), u64::MAX);
        let waited = tokio::time::timeout(PERIOD * 3, watch).await;
        assert!(!matches!(waited, Ok(DiskError::TooMuch { .. })), "{waited:?}");
    }
}
