//! What comes of rules, senses and the time.

use campusgrid_protocol::rules::Shares;

/// Whether the machine is shared, why not, by which limits, and how it hands back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// As the manager is told.
    pub shares: Shares,
    /// How long a task that is handed back has to write what it wants to go on from. Seconds.
    pub checkpoint_s: u32,
}
