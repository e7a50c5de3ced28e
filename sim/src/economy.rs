//! The market as an economy: owners with private costs sell runs by sealed bids, through the real core.
//!
//! What is measured: how many jobs are served, at which price against which cost, and what an owner gains
//! who bids something else than a run costs.

mod campus;
mod lies;
mod season;
mod table;

pub use campus::Scale;
pub use season::Season;

use crate::economy::campus::Campus;
use crate::economy::lies::Lies;

/// What one season has come to.
#[derive(Debug)]
pub struct Economy {
    scale: Scale,
    season: Season,
    lies: Lies,
}

impl Economy {
    /// Plays a season of this size; the same seed leads to the same season.
    pub fn play(scale: Scale, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let campus = Campus::new(scale, &mut rng);
        let season = Season::play(&campus, &mut rng);
        let mut lies = Lies::default();
        for auction in &season.auctions {
            lies.look_at(auction);
        }
        Self { scale, season, lies }
    }

    pub fn season(&self) -> &Season {
        &self.season
    }

    /// The most that anybody gained by a lie, in micro-credits, in auctions of so many owners.
    pub fn most_gained(&self, owners: usize) -> i64 {
        self.lies.most_gained(owners)
    }
}

#[cfg(test)]
mod tests;
