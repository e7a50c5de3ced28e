//! Files that jobs bring: attached by their hash, uploaded whole or in pieces.

use serde::{Deserialize, Serialize};

/// An input file of a job, or of a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JobFile {
    pub path: String,
    pub size_bytes: u64,
    pub blake3: String,
    pub executable: bool,
}

/// `GET jobs/{id}/files`: a page of them in the order of their paths; `next` goes into `?after=` for the
/// page that follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JobFiles {
    pub items: Vec<JobFile>,
    pub next: Option<String>,
}

/// `POST jobs/{id}/files`: a file whose content the manager has from this user already.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Attach {
    pub path: String,
    pub blake3: String,
    pub size_bytes: u64,
    #[serde(default)]
    pub executable: bool,
}

/// How far an upload in pieces has come: answers `GET jobs/{id}/uploads/{path}` and every piece but the
/// last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Upload {
    pub path: String,
    /// Where the next piece begins.
    pub offset_bytes: u64,
    pub size_bytes: u64,
}

/// Answers `POST jobs/{id}/files?…unpack=true` and every upload that is over: what has become a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Uploaded {
    /// One, or all that an archive held.
    pub files: Vec<JobFile>,
}

/// `GET limits`: what this manager takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Limits {
    /// Of one file.
    pub file_max_bytes: u64,
    /// Of one piece of an upload.
    pub piece_max_bytes: u64,
    /// Of one job.
    pub files_max: u32,
    /// Of one user: files that jobs bring and leave, as long as they are kept.
    pub storage_max_bytes: u64,
    pub storage_used_bytes: u64,
    pub tasks_max: u32,
    /// How long the files and logs of a job are kept after its end.
    pub keep_days: u32,
}
