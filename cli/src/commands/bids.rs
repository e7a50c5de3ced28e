//! Bids: placed, improved, withdrawn, accepted.

use campusgrid_protocol::rest::Page;
use campusgrid_protocol::rest::market::{Accept, Bid, BidState, JobBids, PlaceBid};
use serde_json::json;
use ureq::http::Method;

use super::jobs::word;
use super::show::until;
use super::workers::own_machine;
use crate::arguments::market;
use crate::error::CliError;
use crate::screen::{Cell, Tone};
use crate::session::Session;
use crate::units::{credits, moment, score, span};

/// Rows of one request.
const PAGE: u32 = 100;

pub(super) fn list(session: &Session, wanted: &market::Bids) -> Result<(), CliError> {
    match wanted.job {
        Some(job) => {
            let found: JobBids = session.client.get(format!("jobs/{job}/bids"))?;
            session.screen.object(&found);
            show(session, &found);
            Ok(())
        }
        None => own(session, wanted.limit),
    }
}

/// Those of one's own machines.
fn own(session: &Session, limit: u32) -> Result<(), CliError> {
    let (mut left, mut before) = (limit, String::new());
    let mut rows = Vec::new();
    while left > 0 {
        let path = format!("market/bids?limit={}{before}", left.min(PAGE));
        let page: Page<Bid> = session.client.get(path)?;
        for bid in &page.items {
            session.screen.object(bid);
            let mut row = vec![Cell::number(bid.job), bid.job_name.as_str().into()];
            row.extend([bid.worker_name.as_str().into(), price(bid), state(bid)]);
            row.push(moment(bid.at_ms).into());
            rows.push(row);
        }
        left = left.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
        let Some(next) = page.next else { break };
        before = format!("&before={next}");
    }
    if rows.is_empty() {
        session.screen.say("No bids: campusgrid market lists what to bid on.");
        return Ok(());
    }
    session.screen.table(&["JOB", "NAME", "MACHINE", "CREDITS", "STATE", "PLACED"], &rows);
    Ok(())
}

fn show(session: &Session, found: &JobBids) {
    let market = &found.market;
    let words = match (market.open, market.closes_at_ms, &market.award) {
        (true, Some(at), _) => until(at),
        (true, None, _) => "takes bids".to_owned(),
        (false, _, Some(award)) => format!(
            "went to {} of {} for {} credits",
            award.worker_name,
            award.owner,
            credits(award.price_micros)
        ),
        (false, _, None) => "takes no bids".to_owned(),
    };
    session.screen.say(format!("Job {} ({}) {words}.", found.job, found.name));
    if market.sealed {
        session.screen.say(format!("{} bids are sealed until it closes.", market.bids));
    }
    if found.bids.is_empty() {
        return;
    }
    let rows: Vec<Vec<Cell>> = found.bids.iter().map(row).collect();
    let head = ["MACHINE", "NAME", "OWNER", "CREDITS", "STATE", "STARTS", "ENDS BY", "SCORE"];
    session.screen.table(&head, &rows);
    let stands = found.bids.iter().any(|bid| bid.state == BidState::Open);
    if found.own && market.open && !market.sealed && stands {
        session.screen.say(format!("campusgrid accept {} MACHINE", found.job));
    }
}

fn row(bid: &Bid) -> Vec<Cell> {
    let machine = bid.machine.as_ref();
    let at = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), moment);
    vec![
        Cell::number(if bid.worker == 0 { String::new() } else { bid.worker.to_string() }),
        bid.worker_name.as_str().into(),
        bid.owner.as_str().into(),
        price(bid),
        state(bid),
        at(machine.and_then(|machine| machine.start_at_ms)).into(),
        at(machine.and_then(|machine| machine.end_at_ms)).into(),
        machine.map_or_else(|| "-".to_owned(), |machine| score(machine.score_permille)).into(),
    ]
}

fn price(bid: &Bid) -> Cell {
    let bid_for = bid.price_micros.map_or_else(|| "sealed".to_owned(), credits);
    Cell::number(match bid.agreed_micros.filter(|agreed| Some(*agreed) != bid.price_micros) {
        Some(agreed) => format!("{bid_for}, goes for {}", credits(agreed)),
        None => bid_for,
    })
}

fn state(bid: &Bid) -> Cell {
    let tone = match bid.state {
        BidState::Open => Tone::Plain,
        BidState::Accepted => Tone::Good,
        BidState::Refused | BidState::Withdrawn | BidState::Over => Tone::Faint,
        BidState::Failed => Tone::Bad,
    };
    Cell::toned(word(&bid.state), tone)
}

pub(super) fn place(session: &Session, wanted: &market::Bid) -> Result<(), CliError> {
    let machine = own_machine(session, &wanted.machine)?;
    let body = PlaceBid {
        worker: machine.worker,
        price_micros: wanted.price,
        start_within_s: wanted.start_within,
    };
    let path = format!("jobs/{}/bids", wanted.job);
    let found: JobBids = session.client.send(Method::POST, path, &body, None)?;
    session.screen.say(format!(
        "Machine {} ({}) bids {} credits on job {}, to start within {} of being accepted.",
        machine.worker,
        machine.name,
        credits(wanted.price),
        wanted.job,
        span(u64::from(wanted.start_within) * 1000),
    ));
    session.screen.object(&found);
    Ok(())
}

pub(super) fn withdraw(session: &Session, wanted: &market::Withdraw) -> Result<(), CliError> {
    let machine = own_machine(session, &wanted.machine)?;
    session.client.delete(format!("jobs/{}/bids/{}", wanted.job, machine.worker))?;
    let (job, worker) = (wanted.job, machine.worker);
    session.screen.say(format!("The bid of machine {worker} on job {job} is withdrawn."));
    session.screen.object(&json!({ "job": job, "worker": worker, "withdrawn": true }));
    Ok(())
}

pub(super) fn accept(session: &Session, wanted: &market::Accept) -> Result<(), CliError> {
    let job = wanted.job;
    let found: JobBids = session.client.get(format!("jobs/{job}/bids"))?;
    let number = wanted.machine.parse::<u64>().ok();
    if let Some(award) = &found.market.award {
        let name = &award.worker_name;
        return Err(CliError::Usage(format!("job {job} already went to {name}")));
    }
    let is_meant = |bid: &&Bid| {
        bid.state == BidState::Open
            && (Some(bid.worker) == number || bid.worker_name == wanted.machine)
    };
    let mut meant = found.bids.iter().filter(is_meant);
    let (Some(bid), None) = (meant.next(), meant.next()) else {
        return Err(CliError::Usage(format!(
            "{:?} is not the number or name of one machine that bids on job {job}: campusgrid bids {job} \
             lists them",
            wanted.machine
        )));
    };
    // What was looked at is what is accepted: a price that has changed since is refused.
    let price_micros = wanted.price.or(bid.price_micros).unwrap_or_default();
    let body = Accept { worker: bid.worker, price_micros };
    let found: JobBids =
        session.client.send(Method::POST, format!("jobs/{job}/accept"), &body, None)?;
    session.screen.say(format!(
        "Job {job} goes to {} of {} for at most {} credits.",
        bid.worker_name,
        bid.owner,
        credits(price_micros)
    ));
    session.screen.object(&found);
    Ok(())
}
