//! What a submitter asks of the grid for a job, beyond what its tasks are: no worker hears of it.

use serde::{Deserialize, Serialize};

use crate::array::Indices;

/// The terms of a job. Priority and hold, which may change, are not among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub indices: Indices,
    /// Tasks that may run at once, at least 1.
    pub at_once: Option<u32>,
    /// Runs beyond the first that a task gets when it fails by its own doing.
    pub retries: u8,
    /// Before the first of them; twice as long before each that follows. Seconds.
    pub backoff_s: u32,
    /// What waits then is cancelled. Milliseconds since the Unix epoch.
    pub deadline_at_ms: Option<u64>,
    pub notify: Notify,
    pub sale: Sale,
    /// Whether every run of a task on any machine leaves the same, which makes it possible to check.
    pub deterministic: bool,
    /// Whether no result counts before the machines of two owners have agreed on it.
    pub verify: bool,
}

/// How the price of a job comes about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sale {
    /// By the grid's formula; machines that ask for more do not get it.
    #[default]
    Formula,
    /// Owners bid, and its submitter accepts one of their bids.
    Hand,
    /// Owners bid under seal, and the grid accepts the best bid when the time is over.
    Rule {
        /// At most, for the whole time limit.
        max_price_micros: i64,
        close_after_s: u32,
    },
}

/// Runs at most, the first included, that retries lead to.
pub const RUNS_MAX: u8 = 11;
/// Runs of a task that is checked: two owners' machines, and a third's if they disagree.
pub const VERIFY_RUNS: u8 = 3;
/// How long bids may be waited for at least and at most. Seconds.
pub const CLOSE_AFTER_MIN_S: u32 = 5;
pub const CLOSE_AFTER_MAX_S: u32 = 7 * 24 * 3600;
/// The longest pause before a retry. Seconds.
pub const BACKOFF_MAX_S: u32 = 24 * 3600;
/// The highest priority among one's own jobs; the lowest is as far below 0.
pub const PRIORITY_MAX: i8 = 100;
/// Most jobs that a job waits for.
pub const AFTER_MAX: usize = 50;

impl Terms {
    /// Those of a job that asks for nothing special.
    pub fn plain(tasks: u32) -> Self {
        Self {
            indices: Indices::counted(tasks),
            at_once: None,
            retries: 0,
            backoff_s: 0,
            deadline_at_ms: None,
            notify: Notify::default(),
            sale: Sale::Formula,
            deterministic: false,
            verify: false,
        }
    }

    /// Runs that each task may have, the first included, and that are held for: its retries, or those
    /// that it takes to check it.
    pub fn runs(&self) -> u8 {
        if self.verify { VERIFY_RUNS } else { self.retries.saturating_add(1).min(RUNS_MAX) }
    }
}

/// When something else has come so far that a job, or a task of it, may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// It has started, or is over without.
    Started,
    /// It has succeeded: all of it, if it is a job.
    Ok,
    /// It is over.
    Any,
    /// It is over and has not succeeded: failed or cancelled, all of it or a part.
    Failed,
}

/// Of what somebody wants to hear, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// When its first task starts.
    pub start: bool,
    /// When all of it is over.
    pub end: bool,
    /// When its first task has failed for good.
    pub failure: bool,
    /// To the address of the submitter's account.
    pub mail: bool,
    /// An address that takes signed `POST`s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
}

impl Notify {
    /// Whether anybody is to hear of anything.
    pub fn is_wanted(&self) -> bool {
        (self.start || self.end || self.failure) && (self.mail || self.webhook.is_some())
    }
}
