//! The end of a round of bids under seal: when it comes, and who has won.

use std::num::NonZeroU32;
use std::sync::Arc;

use campusgrid_protocol::id::JobId;
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::terms::Sale;

use crate::asking::START_WITHIN_S;
use crate::auction::{SealedBid, Sold, close};
use crate::effect::{Change, Effects};
use crate::grid::Grid;
use crate::job::Job;
use crate::market::{Bid, Market, Stage};
use crate::money::Micros;
use crate::snapshot::Shape;
use crate::time::Timestamp;

/// How often the end of a round is put off by a lease because none of those who would have won could
/// begin: their owners may be at their machines.
const PUT_OFFS_MAX: u32 = 10;

impl Grid {
    /// Until when the end of a round waits because the grid stood still in it: machines have to come back
    /// first.
    pub(crate) fn put_off(&self, job: &Job) -> Option<Timestamp> {
        let (end, within_ms, rest_ms) = match (job.market.as_ref()?.stage, job.terms.sale) {
            (Stage::Open { closes_at }, Sale::Rule { close_after_s, .. }) => {
                (closes_at?, u64::from(close_after_s) * 1000, self.policy.lease_ms.into())
            }
            (Stage::Open { .. }, Sale::Hand | Sale::Formula) => return None,
            (Stage::Awarded(award), _) => {
                let within_ms = u64::from(award.start_within_s) * 1000;
                (award.start_by?, within_ms, within_ms)
            }
        };
        self.markets.later(job.id, (end, within_ms), rest_ms)
    }

    /// Accepts the best bid of a machine that can begin. Cancels the job if no bid is low enough, or if
    /// for long none of such machines could.
    pub(crate) fn close_auction(&mut self, id: JobId, effects: &mut Effects) {
        let job = &self.jobs[&id];
        let (Sale::Rule { max_price_micros, .. }, Some(market)) =
            (&job.terms.sale, job.open_market())
        else {
            return; // What is sold by hand has no time.
        };
        // Of what was held in an earlier round a part may be paid.
        let price_max = Micros(*max_price_micros).min(job.quote);
        let mut bids = self.sealed_bids(job, market, price_max);
        let standing = market.bids.len();
        if bids.is_empty() {
            let reason = format!("none of {standing} bids was at most {price_max} credits");
            return self.cancel_unsold(id, reason.into(), effects);
        }
        let mut shape = self.lineups[&id].shape().clone();
        bids.retain(|bid| {
            shape.only = Some(bid.worker);
            self.can_begin(bid.worker, &shape)
        });
        let Some(Sold { worker, price }) = close(&bids, price_max) else {
            let later = self.now.plus_ms(self.policy.lease_ms.into());
            if !self.markets.put_off(id, later, PUT_OFFS_MAX) {
                let reason = format!(
                    "none of {standing} bids was at most {price_max} credits and of a machine that could \
                     begin, however often it was waited for one"
                );
                self.cancel_unsold(id, reason.into(), effects);
            }
            return;
        };
        let bid = market.bids.get(&worker).copied().unwrap_or_else(|| {
            let own = bids.iter().find(|bid| bid.worker == worker);
            let price = own.expect("the winner is one of them").price;
            Bid { price, start_within_s: START_WITHIN_S, automatic: true, at: self.now }
        });
        if !market.bids.contains_key(&worker) {
            effects.changes.push(Change::BidPlaced { job: id, worker, bid });
        }
        self.award(id, (worker, bid), price, effects);
    }

    /// The bids of at most this price: those that stand, and what the asks of other machines come to.
    fn sealed_bids(&self, job: &Job, market: &Market, price_max: Micros) -> Vec<SealedBid> {
        let shape: &Shape = self.lineups[&job.id].shape();
        let by_hand = market.bids.iter().map(|(&worker, bid)| (worker, bid.price, bid.at));
        let asked = self.links.keys().filter(|worker| !market.bids.contains_key(worker));
        let by_ask = asked.filter_map(|&worker| {
            let price = self.price_asked(worker, job).filter(|price| *price <= price_max)?;
            self.could_run(worker, shape).ok()?;
            Some((worker, price, self.now))
        });
        let all = by_hand.chain(by_ask).filter(|(_, price, _)| *price <= price_max);
        all.map(|(worker, price, at)| {
            let machine = &self.workers[&worker];
            let score = machine.record.score_permille();
            let score_permille = NonZeroU32::new(score).unwrap_or(NonZeroU32::MIN);
            SealedBid { owner: machine.owner, worker, price, score_permille, at }
        })
        .collect()
    }

    fn cancel_unsold(&mut self, id: JobId, reason: Arc<str>, effects: &mut Effects) {
        self.cancel_waiting(id, &Ranges::below(1), Some(reason), effects);
        self.close_if_over(id, effects);
    }
}
