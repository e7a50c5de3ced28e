//! What recovery reads of bids, prices and results that wait: the columns that `load` joins, as values.

use campusgrid_core::ask::{Ask, Deal};
use campusgrid_core::market::{Award, Bid, Market, Stage};
use campusgrid_core::money::Micros;
use campusgrid_core::record::Record;
use campusgrid_core::time::Timestamp;
use campusgrid_core::votes::{Vote, Votes};
use campusgrid_protocol::id::{BlobHash, UserId, WorkerId};
use campusgrid_protocol::task::{BlobRef, Saved};
use rusqlite::Row;

use super::{StoreError, prices};

/// What a row is, or the column of it that makes no sense.
pub(super) type Parsed<T> = rusqlite::Result<Result<T, StoreError>>;

pub(super) fn nonsense<T>(table: &'static str, column: &'static str, value: String) -> Parsed<T> {
    Ok(Err(StoreError::Nonsense { table, column, value }))
}

/// Round, stage, closes_at, worker, price, start_within_s, automatic and start_by of a job that is sold by
/// bids, from this column on; without its bids. None for another.
pub(super) fn market(row: &Row<'_>, from: usize) -> Parsed<Option<Market>> {
    let Some(round) = row.get::<_, Option<u32>>(from)? else { return Ok(Ok(None)) };
    let text: String = row.get(from + 1)?;
    let at = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<u64>>(column)?.map(Timestamp));
    let stage = match text.as_str() {
        "open" => Stage::Open { closes_at: at(from + 2)? },
        "awarded" => Stage::Awarded(Award {
            worker: WorkerId(row.get(from + 3)?),
            price: Micros(row.get(from + 4)?),
            start_within_s: row.get(from + 5)?,
            automatic: row.get(from + 6)?,
            start_by: at(from + 7)?,
        }),
        _ => return nonsense("market", "stage", text),
    };
    Ok(Ok(Some(Market { round, stage, bids: Default::default() })))
}

/// Worker, price, start_within_s, automatic and at, from this column on.
pub(super) fn bid(row: &Row<'_>, from: usize) -> rusqlite::Result<(WorkerId, Bid)> {
    let bid = Bid {
        price: Micros(row.get(from + 1)?),
        start_within_s: row.get(from + 2)?,
        automatic: row.get(from + 3)?,
        at: Timestamp(row.get(from + 4)?),
    };
    Ok((WorkerId(row.get(from)?), bid))
}

/// Price and prices of an attempt, from this column on.
pub(super) fn deal(row: &Row<'_>, from: usize) -> Parsed<Deal> {
    let price = Micros(row.get(from)?);
    let Some(text) = row.get::<_, Option<String>>(from + 1)? else {
        return Ok(Ok(Deal { price, prices: None }));
    };
    match prices::parse(&text) {
        Some(prices) => Ok(Ok(Deal { price, prices: Some(prices) })),
        None => nonsense("attempt", "prices", text),
    }
}

/// Ask and bids_by_itself of a machine, from this column on.
pub(super) fn ask(row: &Row<'_>, from: usize) -> Parsed<Ask> {
    let automatic = row.get(from + 1)?;
    let Some(text) = row.get::<_, Option<String>>(from)? else {
        return Ok(Ok(Ask { prices: None, automatic }));
    };
    match prices::parse(&text) {
        Some(prices) => Ok(Ok(Ask { prices: Some(prices), automatic })),
        None => nonsense("worker", "ask", text),
    }
}

/// The counts of a machine, from this column on.
pub(super) fn record(row: &Row<'_>, from: usize) -> rusqlite::Result<Record> {
    Ok(Record {
        delivered: row.get(from)?,
        handed_back: row.get(from + 1)?,
        lost: row.get(from + 2)?,
        bids_failed: row.get(from + 3)?,
        valid: row.get(from + 4)?,
        invalid: row.get(from + 5)?,
        valid_in_row: row.get(from + 6)?,
        earned_micros: row.get(from + 7)?,
    })
}

/// Checkpoint, checkpoint_size and checkpoint_ms of a task, from this column on.
pub(super) fn saved(row: &Row<'_>, from: usize) -> rusqlite::Result<Option<Saved>> {
    let Some(hash) = row.get::<_, Option<[u8; 32]>>(from)? else { return Ok(None) };
    let manifest = BlobRef { hash: BlobHash(hash), size_bytes: row.get(from + 1)? };
    Ok(Some(Saved { manifest, run_ms: row.get(from + 2)? }))
}

/// Attempt, worker, owner, digest, charge and run_ms, from this column on.
pub(super) fn vote(row: &Row<'_>, from: usize) -> rusqlite::Result<Vote> {
    Ok(Vote {
        attempt: row.get(from)?,
        worker: WorkerId(row.get(from + 1)?),
        owner: UserId(row.get(from + 2)?),
        digest: row.get(from + 3)?,
        charge: Micros(row.get(from + 4)?),
        run_ms: row.get(from + 5)?,
    })
}

/// With one more; None beyond two.
pub(super) fn with(votes: Votes, vote: Vote) -> Option<Votes> {
    match votes {
        Votes::None => Some(Votes::One(vote)),
        Votes::One(first) => Some(Votes::Two(first, vote)),
        Votes::Two(..) => None,
    }
}
