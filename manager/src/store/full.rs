//! Tells a full disk from all other troubles of the database.

use rusqlite::{Error, ErrorCode, ffi};

use super::StoreError;

/// What SQLite says where a file could not grow, but not that it was for want of room.
const MAYBE_FULL: [i32; 4] = [
    ffi::SQLITE_IOERR_WRITE,
    ffi::SQLITE_IOERR_SHMSIZE,
    ffi::SQLITE_IOERR_SHMOPEN,
    ffi::SQLITE_IOERR_SHMMAP,
];

/// Whether an error is for want of room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fullness {
    /// SQLite says so.
    Full,
    /// So it is if the disk has no room now.
    Perhaps,
    Other,
}

impl StoreError {
    /// Whether a commit has failed for want of room; nothing of it is then on disk, and it can be tried
    /// again as it is.
    pub fn fullness(&self) -> Fullness {
        match self {
            Self::Commit { source: Error::SqliteFailure(failure, _), .. } => {
                if failure.code == ErrorCode::DiskFull {
                    Fullness::Full
                } else if MAYBE_FULL.contains(&failure.extended_code) {
                    Fullness::Perhaps
                } else {
                    Fullness::Other
                }
            }
            Self::Commit { .. }
            | Self::Open { .. }
            | Self::TooNew { .. }
            | Self::TooOld { .. }
            | Self::Copy { .. }
            | Self::Migrate { .. }
            | Self::Damaged { .. }
            | Self::Load { .. }
            | Self::Nonsense { .. }
            | Self::Read { .. }
            | Self::Stopped => Fullness::Other,
        }
    }
}
