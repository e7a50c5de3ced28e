//! Jobs that are not launched yet: files come, and nothing is held for them.

use std::collections::BTreeMap;

use campusgrid_protocol::id::{JobId, UserId};

use crate::time::Timestamp;

/// Drafts that one user may have.
pub const DRAFTS_MAX: u32 = 100;

/// Files that all drafts of one user may have together: their paths are in memory.
pub const FILES_OF_USER_MAX: usize = 100_000;

/// A job that waits for files and to be launched. Its number is a job's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub id: JobId,
    pub owner: UserId,
    pub name: String,
    pub made_at: Timestamp,
    /// When something of it changed; it goes if that is long ago.
    pub touched_at: Timestamp,
    /// Rises with every change of its files.
    pub revision: u64,
    /// The size of each file, by path. Bytes.
    pub files: BTreeMap<String, u64>,
}
