//! Many tasks at once: what they look like together, and what is done to some of them.

use serde::{Deserialize, Serialize};

/// `POST jobs/{id}/cancel`; without a body, all of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Indices such as `3,10-20`; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<String>,
}

/// Answers `POST jobs/cancel`, which cancels all jobs of a user that have not ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Cancelled {
    pub jobs: u32,
}

/// `PATCH jobs/{id}`: what may change while it has not ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeJob {
    /// Keeps what waits of it from starting, or no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
    /// Among one's own jobs, -100 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i8>,
}

/// `POST jobs/{id}/retry`: which tasks of an ended job, or of the ended ones of a job, to run again as
/// a new job with the same files and indices.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Also those that were cancelled, not only those that failed.
    #[serde(default)]
    pub cancelled: bool,
}

/// `GET jobs/{id}/map`: the tasks of a job in at most as many cells as asked for, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TaskMap {
    pub cells: Vec<Cell>,
}

/// Neighbouring tasks of a job: how many of them are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Cell {
    pub first_index: u32,
    pub last_index: u32,
    pub queued: u32,
    pub running: u32,
    pub succeeded: u32,
    pub failed: u32,
    pub cancelled: u32,
}
