//! One's own bids and what has become of them.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::rest::market::{Bid, BidState};
use serde::Deserialize;

use super::PAGE;
use crate::web::Site;
use crate::web::extract::Params;
use crate::web::jobs::Part;
use crate::web::market::bids::read_own_bids;
use crate::web::pages::{Frame, PageError, Visitor};
use crate::web::words::{self, Moment};

/// A bid of a machine of the visitor's.
struct BidRow {
    job: u64,
    job_name: String,
    worker: u64,
    machine: String,
    state: &'static str,
    /// How that looks.
    look: &'static str,
    is_open: bool,
    automatic: bool,
    price: String,
    at: Moment,
}

#[derive(Template, WebTemplate)]
#[template(path = "market/bids.html")]
pub(in crate::web) struct BidsPage {
    frame: Frame,
    bids: Vec<BidRow>,
    next: Option<u64>,
    notice: &'static str,
    address: String,
}

/// Which bids, and what was done just before.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Wanted {
    before: Option<u64>,
    done: String,
}

/// `GET /market/bids`.
pub(in crate::web) async fn bids(
    State(site): State<Site>,
    visitor: Visitor,
    Params(wanted): Params<Wanted>,
) -> Result<BidsPage, PageError> {
    let frame = visitor.frame.clone().following_grid(&site); // Before reading.
    let part = Part { before: wanted.before, limit: Some(PAGE) };
    let page = read_own_bids(&site, &visitor.login, part).await?;
    let now = site.clock.now();
    let before = wanted.before.map(|before| format!("?before={before}")).unwrap_or_default();
    Ok(BidsPage {
        frame,
        bids: page.items.iter().map(|bid| BidRow::new(bid, now)).collect(),
        next: page.next,
        notice: if wanted.done == "withdrawn" { "Your bid is withdrawn." } else { "" },
        address: format!("/market/bids{before}"),
    })
}

impl BidRow {
    fn new(bid: &Bid, now: Timestamp) -> Self {
        let (state, look) = state(bid.state);
        Self {
            job: bid.job,
            job_name: words::visible(&bid.job_name),
            worker: bid.worker,
            machine: words::visible(&bid.worker_name),
            state,
            look,
            is_open: bid.state == BidState::Open,
            automatic: bid.automatic,
            price: price(bid),
            at: Moment::new(bid.at_ms, now),
        }
    }
}

/// What was bid, and what was agreed if that is something else.
fn price(bid: &Bid) -> String {
    let bid_micros = bid.price_micros.map_or("–".to_owned(), words::exact_credits);
    match bid.agreed_micros.filter(|agreed| Some(*agreed) != bid.price_micros) {
        None => bid_micros,
        Some(agreed) => format!("{bid_micros}, gets {}", words::exact_credits(agreed)),
    }
}

/// What has become of a bid, in words, and how that looks.
pub(in crate::web::pages) fn state(state: BidState) -> (&'static str, &'static str) {
    match state {
        BidState::Open => ("stands", "running"),
        BidState::Accepted => ("accepted", "succeeded"),
        BidState::Refused => ("another was accepted", "queued"),
        BidState::Withdrawn => ("withdrawn", "queued"),
        BidState::Failed => ("not started in time", "failed"),
        BidState::Over => ("the job is over", "queued"),
    }
}
