//! Who gets a job that is sold by rule, and at which price: a sealed auction, as a pure function.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use campusgrid_protocol::id::{UserId, WorkerId};

use crate::money::Micros;
use crate::time::Timestamp;

/// Owners that must have bid before the winner is paid what the second best would have had: between
/// two, one could raise the other's price.
const OWNERS_MIN: usize = 3;

/// A sealed bid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedBid {
    pub owner: UserId,
    pub worker: WorkerId,
    pub price: Micros,
    /// The machine's reliability, in thousandths.
    pub score_permille: NonZeroU32,
    pub at: Timestamp,
}

/// Who has won, and what is paid for the whole time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sold {
    pub worker: WorkerId,
    pub price: Micros,
}

impl SealedBid {
    /// Lower is better: the price over the reliability, then who bid first. Exact.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let (mine, others) = (self.times(other.score_permille), other.times(self.score_permille));
        mine.cmp(&others).then((self.at, self.worker).cmp(&(other.at, other.worker)))
    }

    fn times(&self, score: NonZeroU32) -> i128 {
        i128::from(self.price.0) * i128::from(score.get())
    }
}

/// Accepts the best of these bids that is not above `price_max`, if there is one.
///
/// Of each owner only the best counts. It is the one with the lowest `price / score`. If at least three
/// owners have bid, the winner is paid the highest price with which it would still have won, so that to
/// bid what a run is worth to oneself is the best that one can do (Vickrey 1961); if fewer have, its own
/// price. Never less than its own price, and never above `price_max`.
pub fn close(bids: &[SealedBid], price_max: Micros) -> Option<Sold> {
    let mut best_of = BTreeMap::<UserId, SealedBid>::new();
    for bid in bids.iter().filter(|bid| bid.price <= price_max) {
        let best = best_of.entry(bid.owner).or_insert(*bid);
        if bid.cmp(best).is_lt() {
            *best = *bid;
        }
    }
    let mut ranked: Vec<SealedBid> = best_of.into_values().collect();
    ranked.sort_unstable_by(SealedBid::cmp);
    let winner = ranked.first()?;
    let worth = match ranked.get(1) {
        Some(second) if ranked.len() >= OWNERS_MIN => {
            let price =
                second.times(winner.score_permille) / i128::from(second.score_permille.get());
            Micros(i64::try_from(price).unwrap_or(i64::MAX))
        }
        Some(_) | None => winner.price,
    };
    Some(Sold { worker: winner.worker, price: worth.min(price_max) })
}

#[cfg(test)]
mod tests;
