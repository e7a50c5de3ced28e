//! Room on the disk for what has been let in and is not on disk yet.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use campusgrid_protocol::id::{UserId, WorkerId};

use super::BlobError;
use crate::disk::Space;

/// What others have announced counts for one part in so many of the room at most.
const SHARE_OF_OTHERS: u64 = 2;

/// Several blobs of one party take one part in so many of the room at most. A single one may be as large
/// as there is room.
const SHARE_OF_ONE: u64 = 4;

/// Who blobs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    Worker(WorkerId),
    User(UserId),
    Ourselves,
}

/// What is still to come of all that is being written. Bytes, by whom it comes from.
#[derive(Debug, Default)]
pub(super) struct Announced {
    pub(super) all: u64,
    pub(super) of: BTreeMap<Party, u64>,
}

/// Takes room for so many bytes of somebody, beside the reserve of a directory's disk.
///
/// # Errors
///
/// `DiskFull`, `TooMuchAtOnce`; `Write` if the system does not say how much is free.
pub(super) fn announce(
    announced: &Arc<Mutex<Announced>>,
    root: &Path,
    reserve_bytes: u64,
    (bytes, of): (u64, Party),
) -> Result<Room, BlobError> {
    let space = Space::of(root).map_err(|source| BlobError::Write { source })?;
    let mut counted = lock(announced);
    let own = counted.of.get(&of).copied().unwrap_or(0);
    let free = space.free_bytes.saturating_sub(reserve_bytes);
    let others = (counted.all - own).min(free / SHARE_OF_OTHERS);
    let wanted = reserve_bytes.saturating_add(others).saturating_add(own);
    if !space.has(wanted.saturating_add(bytes)) {
        return Err(BlobError::DiskFull { bytes });
    }
    if own > 0 && own.saturating_add(bytes) > free / SHARE_OF_ONE {
        return Err(BlobError::TooMuchAtOnce { bytes });
    }
    counted.all += bytes;
    *counted.of.entry(of).or_default() += bytes;
    Ok(Room { of, left_bytes: bytes, announced: Arc::clone(announced) })
}

/// What a blob that is being written still needs; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    of: Party,
    left_bytes: u64,
    announced: Arc<Mutex<Announced>>,
}

impl Room {
    pub(super) fn written(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left_bytes);
        self.left_bytes -= bytes;
        let mut announced = lock(&self.announced);
        announced.all -= bytes;
        let Some(own) = announced.of.get_mut(&self.of) else { return }; // Nothing was announced.
        *own -= bytes;
        if *own == 0 {
            announced.of.remove(&self.of);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.written(self.left_bytes);
    }
}

fn lock(announced: &Mutex<Announced>) -> MutexGuard<'_, Announced> {
    announced.lock().expect("nothing panics while it counts what was announced")
}
