//! The bids on a job that is sold by them, as its submitter sees them.

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::rest::market::{
    Award, Bid, BidMachine, BidState, JobBids, JobMarket, SoldBy,
};

use crate::web::pages::form::credits;
use crate::web::pages::machine::record::{in_short, score};
use crate::web::pages::machine::state::speed;
use crate::web::pages::market::bids::state;
use crate::web::pages::market::row;
use crate::web::words::{self, Moment};

/// Starts within so long count as at once. Milliseconds.
const AT_ONCE_MS: u64 = 5000;

/// The bids on a job.
pub(super) struct BidsView {
    /// What happens next.
    pub(super) words: String,
    pub(super) award: Option<AwardView>,
    pub(super) rows: Vec<BidRow>,
}

/// The bid that was accepted.
pub(super) struct AwardView {
    pub(super) machine: String,
    pub(super) owner: String,
    pub(super) price: String,
    pub(super) automatic: bool,
    /// By when it has to start; absent once it has.
    pub(super) start_by: Option<Moment>,
}

/// A bid.
pub(super) struct BidRow {
    pub(super) worker: u64,
    pub(super) round: u32,
    pub(super) machine: String,
    pub(super) owner: String,
    pub(super) automatic: bool,
    pub(super) price: String,
    /// As a form sends it.
    pub(super) price_typed: String,
    /// With the formula’s; empty if nothing can be said.
    pub(super) compared: String,
    /// When it would start and end.
    pub(super) times: String,
    pub(super) score: String,
    /// What that is made of.
    pub(super) record: String,
    pub(super) speed: String,
    pub(super) can_accept: bool,
    pub(super) state: &'static str,
    /// How that looks.
    pub(super) look: &'static str,
}

impl BidsView {
    /// `formula_micros` is what the job would cost by the formula.
    pub(super) fn new(bids: &JobBids, formula_micros: i64, now: Timestamp) -> Self {
        let market = &bids.market;
        let can_accept = bids.own && market.open && market.sold_by == SoldBy::Hand;
        // What a bid costs and whose it is, nobody is shown while it is sealed.
        let shown = bids.bids.iter().filter(|bid| bid.price_micros.is_some());
        let row = |bid: &Bid| BidRow::new(bid, can_accept, formula_micros, now);
        Self {
            words: next(market, now),
            award: market.award.as_ref().map(|award| AwardView::new(award, now)),
            rows: shown.map(row).collect(),
        }
    }
}

/// What happens next, in words.
fn next(market: &JobMarket, now: Timestamp) -> String {
    let again = match market.round {
        0 => "",
        _ => " It is open again, since an accepted bid has failed.",
    };
    let closes = market.closes_at_ms.map(|at| row::closes(at, now));
    let words = match (market.open, market.sold_by, market.bids) {
        (false, _, _) => "It takes no more bids.".to_owned(),
        (true, _, _) if market.closes_at_ms.is_some_and(|end| end <= now.0) => {
            "It takes no more bids; it closes when machines have had time to come back.".to_owned()
        }
        (true, SoldBy::Hand, 0) => {
            "Owners whose machines fit can bid. Nothing is held before you accept a bid.".to_owned()
        }
        (true, SoldBy::Hand, count) => {
            format!("{} so far: accept the one that suits you.", capital(&row::bids(count)))
        }
        (true, SoldBy::Rule, count) => {
            let closes = closes.unwrap_or_else(|| "closes soon".to_owned());
            format!("{}, under seal; it {closes}, and the best wins.", capital(&row::bids(count)))
        }
    };
    words + again
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

impl AwardView {
    fn new(award: &Award, now: Timestamp) -> Self {
        Self {
            machine: words::visible(&award.worker_name),
            owner: award.owner.clone(),
            price: words::exact_credits(award.price_micros),
            automatic: award.automatic,
            start_by: award.start_by_ms.map(|at| Moment::new(at, now)),
        }
    }
}

impl BidRow {
    fn new(bid: &Bid, can_accept: bool, formula_micros: i64, now: Timestamp) -> Self {
        let (state, look) = state(bid.state);
        let machine = bid.machine.as_ref();
        let is_online = machine.is_some_and(|machine| machine.online);
        let stands = bid.state == BidState::Open;
        Self {
            worker: bid.worker,
            round: bid.round,
            machine: words::visible(&bid.worker_name),
            owner: bid.owner.clone(),
            automatic: bid.automatic,
            price: price(bid),
            price_typed: credits::write(bid.price_micros),
            compared: compared(bid.price_micros, formula_micros),
            times: machine
                .filter(|_| stands)
                .map_or("–".to_owned(), |machine| times(machine, now)),
            score: machine.map_or("–".to_owned(), |machine| score(machine.score_permille)),
            record: machine.map(|machine| in_short(&machine.record)).unwrap_or_default(),
            speed: machine.and_then(|machine| machine.speed).map_or("–".to_owned(), speed),
            can_accept: can_accept && stands && is_online,
            state: if stands && !is_online { "its machine is offline" } else { state },
            look,
        }
    }
}

/// What was bid, and what it goes for if that is something else.
fn price(bid: &Bid) -> String {
    let bid_for = bid.price_micros.map_or("–".to_owned(), words::exact_credits);
    match bid.agreed_micros.filter(|agreed| Some(*agreed) != bid.price_micros) {
        Some(agreed) => format!("{bid_for}, goes for {}", words::exact_credits(agreed)),
        None => bid_for,
    }
}

/// When a job would start and end, in words.
fn times(machine: &BidMachine, now: Timestamp) -> String {
    let after = |at_ms: u64| at_ms.saturating_sub(now.0);
    let start = match machine.start_at_ms {
        None => return "nobody can tell".to_owned(),
        Some(at) if after(at) <= AT_ONCE_MS => "starts at once".to_owned(),
        Some(at) => format!("starts in {}", words::span(after(at))),
    };
    match machine.end_at_ms {
        None => start,
        Some(at) => format!("{start}, over in {} at most", words::span(after(at))),
    }
}

/// A price in parts of the formula's, in words.
fn compared(price: Option<i64>, formula: i64) -> String {
    let percent = |price: i64| (i128::from(price) * 100).checked_div(i128::from(formula));
    let percent = price.and_then(percent);
    percent.map(|percent| format!("({percent} % of the formula’s)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use campusgrid_core::time::Timestamp;
    use campusgrid_protocol::rest::market::{BidMachine, JobMarket, SoldBy};
    use campusgrid_protocol::rest::workers::Record;

    use super::{compared, next, times};

    #[test]
    fn what_happens_next_is_said() {
        let market = |sold_by, open, bids| JobMarket {
            sold_by,
            max_price_micros: None,
            close_after_s: None,
            round: 0,
            open,
            sealed: false,
            closes_at_ms: Some(61_000),
            bids,
            award: None,
        };
        let now = Timestamp(1000);
        for (by, open, bids, words) in [
            (SoldBy::Hand, true, 0, "Owners whose"),
            (SoldBy::Hand, true, 1, "1 bid so far"),
            (SoldBy::Rule, true, 0, "No bids yet, under seal; it closes in 1 min, and"),
            (SoldBy::Rule, false, 3, "It takes no more bids."),
        ] {
            let said = next(&market(by, open, bids), now);
            assert!(said.starts_with(words), "{said}");
        }
        let said = next(&market(SoldBy::Rule, true, 2), Timestamp(61_000));
        assert!(said.starts_with("It takes no more bids; it closes when"), "{said}");
    }

    #[test]
    fn prices_and_times_can_be_compared() {
        assert_eq!(compared(Some(15), 10), "(150 % of the formula’s)");
        assert_eq!(compared(Some(15), 0), "");
        let mut machine = BidMachine {
            online: true,
            cpu_millis: 1000,
            speed: None,
            score_permille: 1000,
            record: Record::default(),
            start_at_ms: Some(1000),
            end_at_ms: Some(601_000),
        };
        let now = Timestamp(1000);
        assert_eq!(times(&machine, now), "starts at once, over in 10 min at most");
        machine.start_at_ms = Some(121_000);
        machine.end_at_ms = None;
        assert_eq!(times(&machine, now), "starts in 2 min");
    }
}
