//! The rules that the operator sets; every decision of the grid reads them, none changes them.

use crate::money::Micros;
use crate::pricing::Prices;

/// What a task is charged when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billing {
    /// The minutes it used.
    Actual,
    /// The minutes it asked for, as the CampusGrid seed does.
    Quoted,
}

/// Who may register. Whoever is first to do so on the manager's own machine may in any case, or a new
/// grid would have no operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Open,
    /// Whoever shows an invitation.
    Invitation,
    Closed,
}

/// The operator's rules.
#[derive(Debug, Clone)]
pub struct Policy {
    pub admission: Admission,
    pub starting_credits: Micros,
    /// The formula: what a machine costs whose owner asks for nothing else.
    pub prices: Prices,
    /// Factor on the formula, in thousandths.
    pub rate_permille: u32,
    /// Whether the factor rises, up to twofold, while more tasks wait than there are machines.
    pub premium: bool,
    /// Whether starting credits are given only to those who have shown that an address is theirs, once
    /// for each address.
    pub verified_grants: bool,
    pub billing: Billing,
    /// Share of each charge that goes to the fee account, in thousandths.
    pub fee_permille: u32,
    /// How often a task is started before the grid gives up and refunds it.
    pub tries: u32,
    /// How long an attempt may go unheard of.
    pub lease_ms: u32,
    /// How often workers are to report.
    pub heartbeat_ms: u32,
    /// Jobs that one user may have under way.
    pub active_jobs_max: u32,
    /// How long a draft is kept that nobody touches.
    pub draft_ms: u64,
    /// How long a client may repeat a submit under its idempotency key.
    pub submit_key_ms: u64,
}

/// A machine that has missed this many reports gets nothing new.
const HEARTBEATS_MISSED: u64 = 3;

impl Policy {
    /// A machine that was not heard of for longer gets nothing new. Milliseconds.
    pub fn silence_max_ms(&self) -> u64 {
        u64::from(self.heartbeat_ms) * HEARTBEATS_MISSED
    }
}
