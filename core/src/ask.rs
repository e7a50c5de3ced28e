//! What an owner asks for, and what was agreed for one run.

use crate::money::Micros;
use crate::pricing::Prices;

/// An owner's standing price for one machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ask {
    /// The grid's formula, if absent.
    pub prices: Option<Prices>,
    /// Whether the grid bids with it on open jobs that the machine could run.
    pub automatic: bool,
}

/// What one attempt is charged by; fixed when it is leased, whatever its owner asks for later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deal {
    /// For the whole time limit. At most the job's quote.
    pub price: Micros,
    /// How the price grows with time: that of a shorter run is `price · these(run) / these(limit)`. The
    /// grid's formula, if absent.
    pub prices: Option<Prices>,
}
