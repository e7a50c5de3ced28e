//! A bid as it is told, and what a submitter wants to know of its machine: whether it is there, how reliable
//! it has been, when it could start.

use campusgrid_core::snapshot::{Shape, Snapshot, WorkerView};
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::rest::market::{Bid, BidMachine, BidState};

use crate::store::read_market::{self, StoredBid};
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::workers::{record_of, silent_ms};

/// What bids are for.
pub(super) struct Wanted {
    /// Absent where bids on many jobs are listed.
    pub(super) shape: Option<Shape>,
    pub(super) limit_ms: u64,
    /// Whether the job takes bids.
    pub(super) open: bool,
}

/// A bid, with its machine as it stands now.
pub(super) fn describe(
    site: &Site,
    snapshot: &Snapshot,
    login: &Login,
    bid: StoredBid,
    wanted: &Wanted,
) -> Bid {
    let state = state_of(bid.state);
    let view = snapshot.workers.iter().find(|view| view.id == bid.worker);
    let machine = view.map(|view| {
        let start = wanted.shape.as_ref().filter(|_| wanted.open && state == BidState::Open);
        let wait_ms = start.and_then(|shape| wait_ms(snapshot, view, shape));
        machine_of(site, view, wait_ms, wanted.limit_ms)
    });
    Bid {
        job: bid.job.0,
        job_name: bid.job_name,
        round: bid.round,
        worker: bid.worker.0,
        worker_name: bid.worker_name,
        owner: bid.owner_name,
        own: bid.owner == login.id(),
        price_micros: bid.price.map(|price| price.0),
        agreed_micros: bid.agreed.map(|price| price.0),
        start_within_s: bid.start_within_s,
        automatic: bid.automatic,
        at_ms: bid.at.0,
        state,
        machine,
    }
}

fn machine_of(site: &Site, view: &WorkerView, wait_ms: Option<u64>, limit_ms: u64) -> BidMachine {
    let link = view.link.as_ref();
    let start_at = wait_ms.map(|wait_ms| site.clock.now().plus_ms(wait_ms));
    let ms = |at: Timestamp| at.0;
    BidMachine {
        online: link.is_some_and(|link| silent_ms(site, link).is_none()),
        cpu_millis: link.map_or(0, |link| link.whole.cpu_millis),
        speed: link.and_then(|link| link.speed),
        score_permille: view.score_permille,
        record: record_of(&view.record),
        start_at_ms: start_at.map(ms),
        end_at_ms: start_at.map(|at| at.plus_ms(limit_ms)).map(ms),
    }
}

/// In how many milliseconds a machine has room at the latest, when what runs there has ended. None if
/// nobody can tell: it is not connected, or not shared right now.
fn wait_ms(snapshot: &Snapshot, view: &WorkerView, shape: &Shape) -> Option<u64> {
    let link = view.link.as_ref()?;
    if !link.is_open || link.silent || view.set_aside.is_some() {
        return None;
    }
    if link.free.fits(&shape.needs) {
        return Some(0);
    }
    let rooms = snapshot.rooms.get(&view.id)?;
    rooms.iter().find(|(_, free)| free.fits(&shape.needs)).map(|(ms, _)| *ms)
}

fn state_of(state: read_market::BidState) -> BidState {
    match state {
        read_market::BidState::Open => BidState::Open,
        read_market::BidState::Accepted => BidState::Accepted,
        read_market::BidState::Refused => BidState::Refused,
        read_market::BidState::Withdrawn => BidState::Withdrawn,
        read_market::BidState::Failed => BidState::Failed,
        read_market::BidState::Over => BidState::Over,
    }
}
