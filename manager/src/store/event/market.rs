//! What viewers are told of bids, and of what owners share.

use campusgrid_core::effect::Change;
use campusgrid_core::market::{Award, Bid, BidFate};
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rules::{ByHand, Rules, Wish};

use super::{Event, Told};

/// Whoever watches an open job is told that something has changed, and not what anybody bids: of one that
/// is sold by rule nobody may know before it closes.
#[expect(clippy::wildcard_enum_match_arm, reason = "Told::of() has sorted out the others")]
pub(super) fn of(change: &Change) -> Told {
    let event = |at: &Timestamp, job: &JobId, kind, message| {
        Told::Event(Event { at: *at, job: Some(job.0), kind, message, newest_only: false })
    };
    // One user's bids are rows of another user's job: of these only the newest is kept.
    let newest = |at: &Timestamp, job: &JobId, kind, message| {
        let Told::Event(event) = event(at, job, kind, message) else { return Told::Nothing };
        Told::Event(Event { newest_only: true, ..event })
    };
    match change {
        // One ask may bid on every job that is open.
        Change::BidPlaced { bid: Bid { automatic: true, .. }, .. } => Told::Nothing,
        Change::BidPlaced { job, bid, .. } => {
            event(&bid.at, job, "bid.placed", "somebody bids on it".to_owned())
        }
        Change::BidOver { job, worker, fate, at } => match fate {
            BidFate::Withdrawn => newest(at, job, "bid.withdrawn", "a bid is withdrawn".to_owned()),
            BidFate::Failed => {
                let words = format!("worker {worker} has not started it in time");
                event(at, job, "bid.failed", words)
            }
            // That it is awarded, or has ended, says the same of all of them.
            BidFate::Accepted | BidFate::Refused | BidFate::Over => Told::Nothing,
        },
        Change::JobAwarded { job, award, at, .. } => {
            let Award { worker, price, start_by, .. } = award;
            match start_by {
                Some(_) => {
                    let words = format!("worker {worker} is to run it for {price} credits");
                    event(at, job, "job.awarded", words)
                }
                // It has started, which says it.
                None => Told::Nothing,
            }
        }
        Change::JobReopened { job, reason, at, .. } => {
            event(at, job, "job.reopened", format!("takes bids again: {reason}"))
        }
        other => unreachable!("not about the market: {other:?}"),
    }
}

/// What an owner has said of a machine, in a few words.
pub(super) fn shared(rules: &Rules) -> &'static str {
    match rules.by_hand {
        Some(ByHand { wish: Wish::Pause, until_ms: None }) => "is paused by its owner",
        Some(ByHand { wish: Wish::Pause, until_ms: Some(_) }) => {
            "is paused by its owner for a while"
        }
        Some(ByHand { wish: Wish::Share, .. }) => "is shared by its owner, whatever its rules say",
        None if rules.when.enabled => "is shared by its rules",
        None => "is not shared, by its rules",
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_core::effect::Change;
    use campusgrid_core::market::{Bid, BidFate};
    use campusgrid_core::money::Micros;
    use campusgrid_core::time::Timestamp;
    use campusgrid_protocol::id::{JobId, WorkerId};

    use super::{Told, of};

    /// What one user does to all open jobs does not pile up.
    #[test]
    fn bids_by_asks_leave_no_rows_and_withdrawn_ones_one_for_each_job() {
        let (job, worker, at) = (JobId(1), WorkerId(1), Timestamp(1));
        let placed = |automatic| {
            let bid = Bid { price: Micros(1), start_within_s: 300, automatic, at };
            of(&Change::BidPlaced { job, worker, bid })
        };
        assert!(matches!(placed(true), Told::Nothing));
        assert!(matches!(placed(false), Told::Event(event) if !event.newest_only));
        let withdrawn = of(&Change::BidOver { job, worker, fate: BidFate::Withdrawn, at });
        assert!(matches!(withdrawn, Told::Event(event) if event.newest_only));
    }
}
