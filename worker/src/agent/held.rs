//! An attempt in the worker's hands, from its start to the confirmation of its end.

use campusgrid_protocol::task::{Content, Ended};

use super::effect::Order;
use super::room::Grant;
use super::session::Session;

/// The states of an attempt. Times are milliseconds of the agent's clock.
#[derive(Debug)]
pub(super) enum Held {
    /// Until what still runs or dies has made room.
    Waiting { order: Order, lease_until_ms: u64, arrival: u64 },
    Running {
        grant: Grant,
        lease_until_ms: u64,
        phase: Phase,
        /// What its packages came to, until the manager has answered what the job's lock is.
        resolved: Option<String>,
    },
    /// Being ended; its end will be reported.
    Stopping { grant: Grant },
    /// Dropped by the manager; not dead yet, or its end is just being written.
    Forgotten { grant: Option<Grant> },
    /// Never ran; its end is being written.
    Spooling,
    /// Its end is on disk until the manager has confirmed it.
    Spooled { ended: Box<Ended>, delivery: Delivery },
}

/// What was last reported of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    New,
    Preparing { step: String },
    Started,
}

/// How far an end has come towards the manager, in this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Due,
    Uploading,
    RetryAt { ms: u64 },
    Sent,
}

impl Held {
    pub(super) fn spooled(ended: Ended) -> Self {
        Self::Spooled { ended: Box::new(ended), delivery: Delivery::Due }
    }

    /// What it takes up of the machine.
    pub(super) fn room(&self) -> Option<&Grant> {
        match self {
            Self::Running { grant, .. } | Self::Stopping { grant } => Some(grant),
            Self::Forgotten { grant } => grant.as_ref(),
            Self::Waiting { .. } | Self::Spooling | Self::Spooled { .. } => None,
        }
    }

    /// Whether the manager is told of it in heartbeats.
    pub(super) fn is_listed(&self) -> bool {
        match self {
            Self::Waiting { .. }
            | Self::Running { .. }
            | Self::Stopping { .. }
            | Self::Spooling
            | Self::Spooled { .. } => true,
            Self::Forgotten { .. } => false,
        }
    }

    /// Until when it may go on. What is over has no lease: the manager decides about late results.
    pub(super) fn lease_until_ms(&self) -> Option<u64> {
        match self {
            Self::Waiting { lease_until_ms, .. } | Self::Running { lease_until_ms, .. } => {
                Some(*lease_until_ms)
            }
            Self::Stopping { .. }
            | Self::Forgotten { .. }
            | Self::Spooling
            | Self::Spooled { .. } => None,
        }
    }

    pub(super) fn renew(&mut self, until_ms: u64) {
        match self {
            Self::Waiting { lease_until_ms, .. } | Self::Running { lease_until_ms, .. } => {
                *lease_until_ms = until_ms.max(*lease_until_ms);
            }
            Self::Stopping { .. }
            | Self::Forgotten { .. }
            | Self::Spooling
            | Self::Spooled { .. } => {}
        }
    }

    /// Its place among those that wait.
    pub(super) fn arrival(&self) -> Option<u64> {
        match self {
            Self::Waiting { arrival, .. } => Some(*arrival),
            Self::Running { .. }
            | Self::Stopping { .. }
            | Self::Forgotten { .. }
            | Self::Spooling
            | Self::Spooled { .. } => None,
        }
    }

    pub(super) fn begin_stopping(&mut self) {
        if let Self::Running { grant, .. } = self {
            *self = Self::Stopping { grant: grant.clone() };
        }
    }

    /// A new session hears of this end again, and is asked again for its blobs: it may have lost
    /// both, and a blob that it has costs one message.
    pub(super) fn forget_delivery(&mut self) {
        if let Self::Spooled { delivery, .. } = self {
            *delivery = Delivery::Due;
        }
    }

    pub(super) fn deadline(&self, session: &Session) -> Option<u64> {
        match self {
            Self::Waiting { lease_until_ms, .. } | Self::Running { lease_until_ms, .. } => {
                Some(*lease_until_ms)
            }
            Self::Spooled { delivery: Delivery::RetryAt { ms }, .. } if session.is_welcomed() => {
                Some(*ms)
            }
            Self::Spooled { .. }
            | Self::Stopping { .. }
            | Self::Forgotten { .. }
            | Self::Spooling => None,
        }
    }
}

/// Whether an end names blobs, which must be with the manager before it is told of the end.
pub(super) fn needs_upload(ended: &Ended) -> bool {
    let is_blob = |content: &Content| match content {
        Content::Blob(_) => true,
        Content::Inline(_) => false,
    };
    is_blob(&ended.stdout.content) || is_blob(&ended.stderr.content) || !ended.outputs.is_empty()
}
