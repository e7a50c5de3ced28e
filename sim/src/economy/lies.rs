//! What an owner would have gained by bidding something else than a run costs, all others being honest.

use std::collections::BTreeMap;

use campusgrid_core::auction::{SealedBid, close};
use campusgrid_core::money::Micros;

/// The bids of one auction, each what the run costs its owner.
#[derive(Debug, Clone)]
pub(super) struct Auction {
    pub(super) bids: Vec<SealedBid>,
    pub(super) price_max: Micros,
}

/// What a lie asks for, in per cent of the cost.
pub(super) const FACTORS: [i64; 8] = [50, 80, 90, 110, 125, 150, 200, 300];

/// Sums over auctions of so many owners.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) auctions: u64,
    pub(super) bids: u64,
    /// Gained by honest bids. Micro-credits.
    pub(super) honest: i64,
    /// By each of the lies, if all bids had been that, one at a time.
    pub(super) lying: [i64; FACTORS.len()],
    /// Bids for which some lie gained more.
    pub(super) worth_a_lie: u64,
    /// The most that one lie gained beyond the truth.
    pub(super) most_gained: i64,
}

/// By how many owners bid no more than is paid at most.
#[derive(Debug, Default)]
pub(super) struct Lies {
    pub(super) by_owners: BTreeMap<usize, Tally>,
}

impl Lies {
    pub(super) fn look_at(&mut self, auction: &Auction) {
        let counts = |bid: &&SealedBid| bid.price <= auction.price_max;
        let honest: Vec<SealedBid> = auction.bids.iter().filter(counts).copied().collect();
        if honest.is_empty() {
            return;
        }
        let tally = self.by_owners.entry(honest.len()).or_default();
        tally.auctions += 1;
        for place in 0..honest.len() {
            tally.bids += 1;
            let truth = gain(&honest, place, 100, auction.price_max);
            tally.honest += truth;
            let gains = FACTORS.map(|factor| gain(&honest, place, factor, auction.price_max));
            for (sum, gain) in tally.lying.iter_mut().zip(gains) {
                *sum += gain;
            }
            let most = gains.into_iter().max().unwrap_or_default() - truth;
            tally.worth_a_lie += u64::from(most > 0);
            tally.most_gained = tally.most_gained.max(most);
        }
    }

    pub(super) fn most_gained(&self, owners: usize) -> i64 {
        self.by_owners.get(&owners).map_or(0, |tally| tally.most_gained)
    }
}

/// What the owner of one bid gains by asking for so many per cent of the cost.
fn gain(honest: &[SealedBid], place: usize, factor: i64, price_max: Micros) -> i64 {
    let mut bids = honest.to_vec();
    let cost = bids[place].price;
    bids[place].price = Micros(cost.0 * factor / 100);
    match close(&bids, price_max) {
        Some(sold) if sold.worker == bids[place].worker => (sold.price - cost).0,
        Some(_) | None => 0,
    }
}
