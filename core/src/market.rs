//! Jobs whose price is found by bids.

use std::collections::BTreeMap;

use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::terms::{Sale, Terms};

use crate::money::Micros;
use crate::time::Timestamp;

/// Bids that stand on one job at most.
pub const BIDS_MAX: usize = 100;

/// Of these, those of one owner's machines on a job that is sold by hand. Under seal one stands, since
/// only an owner's best counts.
pub const OWN_BIDS_MAX: usize = 5;

/// How far a job has come that is sold by bids ([`campusgrid_protocol::terms::Sale`]). It has one task
/// and one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Market {
    /// How often it has been opened again, since an accepted bid failed.
    pub round: u32,
    pub stage: Stage,
    /// By machine; those that stand. None once one is accepted.
    pub bids: BTreeMap<WorkerId, Bid>,
}

/// Where a job on the market stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It takes bids. What is sold by hand has nothing held: its quote is zero.
    Open {
        /// When the best bid is accepted; never by itself, if absent.
        closes_at: Option<Timestamp>,
    },
    /// It runs on one machine, or waits for that.
    Awarded(Award),
}

/// A price for a whole job, on one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bid {
    /// For the whole time limit.
    pub price: Micros,
    /// How long after it is accepted the task's clock runs at the latest.
    pub start_within_s: u32,
    /// By the owner's ask, and not by hand.
    pub automatic: bool,
    pub at: Timestamp,
}

/// A bid that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Award {
    pub worker: WorkerId,
    /// What is paid for the whole time limit: what was bid, or what the second best would have had.
    pub price: Micros,
    pub start_within_s: u32,
    /// Whether it was the machine's standing ask.
    pub automatic: bool,
    /// By when the task's clock has to run; again after each time that the machine has given it back.
    /// Absent while it runs.
    pub start_by: Option<Timestamp>,
}

/// What became of a bid that stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BidFate {
    Accepted,
    /// Another one was.
    Refused,
    /// By its owner, or with its machine.
    Withdrawn,
    /// It was accepted, and the machine has not started in time.
    Failed,
    /// Its job was cancelled, or has ended otherwise.
    Over,
}

impl Market {
    /// Of a job that begins now, if it is sold by bids.
    pub(crate) fn of(terms: &Terms, now: Timestamp) -> Option<Self> {
        let stage = Stage::opened(&terms.sale, now)?;
        Some(Self { round: 0, stage, bids: BTreeMap::new() })
    }
}

impl Market {
    /// Whether bids still count: the announced end of its round has not come. It may close later, once
    /// machines have had time to come back.
    pub(crate) fn takes_bids(&self, now: Timestamp) -> bool {
        match self.stage {
            Stage::Open { closes_at } => closes_at.is_none_or(|end| now < end),
            Stage::Awarded(_) => false,
        }
    }
}

impl Stage {
    /// Of a job that is opened now; none, if it is not sold by bids.
    pub(crate) fn opened(sale: &Sale, now: Timestamp) -> Option<Self> {
        let closes_at = match *sale {
            Sale::Formula => return None,
            Sale::Hand => None,
            Sale::Rule { close_after_s, .. } => Some(now.plus_ms(u64::from(close_after_s) * 1000)),
        };
        Some(Self::Open { closes_at })
    }
}
