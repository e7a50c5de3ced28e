//! The grid in figures, and what machines ask to see whether the manager is well.

use serde::{Deserialize, Serialize};

/// `GET /health`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`, or `degraded` for the reasons given.
    pub status: String,
    /// Whether the data directory can be written.
    pub jobs_dir: bool,
    pub version: String,
    /// What is wrong, in words; empty if nothing is.
    pub reasons: Vec<String>,
}

/// `GET /jobs/count`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JobsCount {
    pub num_jobs: u64,
}

/// `GET stats`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Stats {
    pub workers_online: u32,
    pub cpu_millis: u32,
    pub cpu_free_millis: u32,
    pub gpus: u32,
    pub gpus_free: u32,
    pub tasks_queued: u64,
    pub tasks_running: u64,
    pub tasks_ended: u64,
    pub users: u64,
}
