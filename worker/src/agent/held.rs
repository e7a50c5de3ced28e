//! An attempt in the worker's hands, from its start to the confirmation of its end.

use campusgrid_protocol::task::{Ended, Saved};

use super::effect::Order;
use super::pause::Pause;
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
        resolved: Option<Resolved>,
        /// The newest of what it can go on from that the manager has.
        saved: Option<Saved>,
    },
    /// Being ended; its end will be reported.
    Stopping { grant: Grant },
    /// Dropped by the manager; not dead yet, or its end is just being written.
    Forgotten { grant: Option<Grant> },
    /// Never ran; its end is being written.
    Spooling,
    /// Its end is on disk until the manager has confirmed it.
    Spooled { ended: Box<Ended>, delivery: Delivery, pause: Pause },
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
    /// Its blobs could not be brought to the manager.
    RetryAt {
        ms: u64,
    },
    /// The manager has not answered; it may be unable to, so it hears of it again.
    Sent {
        again_ms: u64,
    },
}

/// What the packages of a run came to, as its manager is to hear.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) lock: String,
    again_ms: u64,
    pause: Pause,
}

impl Resolved {
    /// To be told at once.
    pub(super) fn new(lock: String, now_ms: u64) -> Self {
        Self { lock, again_ms: now_ms, pause: Pause::new() }
    }

    /// Whether it is to be told now; the next time is then planned.
    pub(super) fn is_due(&mut self, now_ms: u64) -> bool {
        let is_due = self.again_ms <= now_ms;
        if is_due {
            self.again_ms = now_ms.saturating_add(self.pause.next_ms());
        }
        is_due
    }
}

impl Held {
    pub(super) fn spooled(ended: Ended) -> Self {
        Self::Spooled { ended: Box::new(ended), delivery: Delivery::Due, pause: Pause::new() }
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

    /// A new session hears again of an end and of what packages came to, and is offered blobs again:
    /// it may have lost all, and a blob that it has costs one message.
    pub(super) fn forget_delivery(&mut self) {
        match self {
            Self::Spooled { delivery, pause, .. } => {
                (*delivery, *pause) = (Delivery::Due, Pause::new());
            }
            Self::Running { resolved: Some(resolved), .. } => {
                (resolved.again_ms, resolved.pause) = (0, Pause::new());
            }
            Self::Running { resolved: None, .. }
            | Self::Waiting { .. }
            | Self::Stopping { .. }
            | Self::Forgotten { .. }
            | Self::Spooling => {}
        }
    }

    pub(super) fn deadline(&self, session: &Session) -> Option<u64> {
        let in_session = |ms: u64| session.is_welcomed().then_some(ms);
        match self {
            Self::Running { lease_until_ms, resolved: Some(resolved), .. } => {
                let again = in_session(resolved.again_ms);
                Some(again.map_or(*lease_until_ms, |again| again.min(*lease_until_ms)))
            }
            Self::Waiting { lease_until_ms, .. } | Self::Running { lease_until_ms, .. } => {
                Some(*lease_until_ms)
            }
            Self::Spooled {
                delivery: Delivery::RetryAt { ms } | Delivery::Sent { again_ms: ms },
                ..
            } => in_session(*ms),
            Self::Spooled { delivery: Delivery::Due | Delivery::Uploading, .. }
            | Self::Stopping { .. }
            | Self::Forgotten { .. }
            | Self::Spooling => None,
        }
    }
}
