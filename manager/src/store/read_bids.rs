//! Reads bids, and what has moved in the ledger because of a job.

use campusgrid_core::ledger::AccountId;
use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use rusqlite::{Row, params};

use super::read::{Reader, Viewer, below, number, unread};
use super::read_market::{BidState, StoredBid, StoredReceiptLine};
use super::{StoreError, statements};

/// Bids with their machines; sealed is one that stands on a job which is sold by rule and takes bids.
macro_rules! bids {
    () => {
        "SELECT bid.id, bid.job, job.name, bid.worker, worker.name, bid.owner, user.name, bid.round,
            bid.price, bid.agreed, bid.start_within_s, bid.automatic, bid.at, bid.state, bid.over_at,
            market.sale = 'rule' AND market.stage = 'open' AND bid.round = market.round
        FROM bid JOIN market ON market.job = bid.job JOIN job ON job.id = bid.job
        JOIN worker ON worker.id = bid.worker JOIN user ON user.id = bid.owner "
    };
}

statements! {
    BIDS = concat!(bids!(), "WHERE bid.job = ?1 AND (bid.owner = ?2 OR job.owner = ?2 OR ?3)
        ORDER BY bid.id DESC LIMIT 1000");
    BIDS_OF = concat!(bids!(), "WHERE bid.owner = ?1 AND bid.id < ?2 ORDER BY bid.id DESC LIMIT ?3");
    RECEIPT = "SELECT transfer.id, transfer.key, transfer.debit, transfer.credit, transfer.amount,
            transfer.at, payer.name, payee.name
        FROM job JOIN transfer ON transfer.job = job.id
        LEFT JOIN user AS payer ON payer.id = transfer.debit - 1000
        LEFT JOIN user AS payee ON payee.id = transfer.credit - 1000
        WHERE job.id = ?1 AND (job.owner = ?2 OR ?3) ORDER BY transfer.id LIMIT 1000";
}

impl Reader {
    /// Bids on a job, the latest 1000 first: all of them for its submitter and operators, their own for
    /// everybody else. While they are sealed, nobody learns what others bid, nor who they are. None if
    /// the viewer has nothing to do with it: see [`Reader::market`].
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn bids(&self, viewer: Viewer, job: JobId) -> Result<Option<Vec<StoredBid>>, StoreError> {
        if self.market(viewer, job)?.is_none() {
            return Ok(None);
        }
        let values = params![number(job.0), viewer.user.0, viewer.operator];
        self.list("bids", BIDS, values, |row| bid(row, viewer.user)).map(Some)
    }

    /// Bids of a user's machines, newest first, those with an id below `before`.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn bids_of(
        &self,
        user: UserId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<StoredBid>, StoreError> {
        let values = params![user.0, below(before), limit];
        self.list("bids", BIDS_OF, values, |row| bid(row, user))
    }

    /// The first 1000 transfers about a job, oldest first; None if the viewer has no such job.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn receipt(
        &self,
        viewer: Viewer,
        job: JobId,
    ) -> Result<Option<Vec<StoredReceiptLine>>, StoreError> {
        if self.indices(viewer, job)?.is_none() {
            return Ok(None);
        }
        let values = params![number(job.0), viewer.user.0, viewer.operator];
        self.list("transfers", RECEIPT, values, receipt_line).map(Some)
    }
}

/// The columns of `bids!`.
fn bid(row: &Row<'_>, viewer: UserId) -> rusqlite::Result<StoredBid> {
    let (owner, sealed) = (UserId(row.get(5)?), row.get::<_, bool>(15)?);
    let bid = StoredBid {
        id: row.get(0)?,
        job: JobId(row.get(1)?),
        job_name: row.get(2)?,
        worker: WorkerId(row.get(3)?),
        worker_name: row.get(4)?,
        owner,
        owner_name: row.get(6)?,
        round: row.get(7)?,
        price: Some(Micros(row.get(8)?)),
        agreed: row.get::<_, Option<i64>>(9)?.map(Micros),
        start_within_s: row.get(10)?,
        automatic: row.get(11)?,
        at: Timestamp(row.get(12)?),
        state: state(row, 13)?,
        over_at: row.get::<_, Option<u64>>(14)?.map(Timestamp),
    };
    if !sealed || owner == viewer {
        return Ok(bid);
    }
    let (worker_name, owner_name) = (String::new(), String::new());
    let (worker, owner) = (WorkerId(0), UserId(0));
    Ok(StoredBid { worker, worker_name, owner, owner_name, price: None, ..bid })
}

/// A word that no version of this program writes.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no state of a bid")]
struct NoState(String);

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<BidState> {
    let text: String = row.get(column)?;
    match text.as_str() {
        "open" => Ok(BidState::Open),
        "accepted" => Ok(BidState::Accepted),
        "refused" => Ok(BidState::Refused),
        "withdrawn" => Ok(BidState::Withdrawn),
        "failed" => Ok(BidState::Failed),
        "over" => Ok(BidState::Over),
        _ => Err(unread(column, NoState(text))),
    }
}

fn receipt_line(row: &Row<'_>) -> rusqlite::Result<StoredReceiptLine> {
    let (debit, credit): (i64, i64) = (row.get(2)?, row.get(3)?);
    let amount = Micros(row.get(4)?);
    let name = |code, person: Option<String>| match AccountId::from_code(code) {
        Some(AccountId::Mint) => "mint".to_owned(),
        Some(AccountId::Escrow) => "escrow".to_owned(),
        Some(AccountId::Fee) => "fee".to_owned(),
        Some(AccountId::User(_)) | None => person.unwrap_or_default(),
    };
    Ok(StoredReceiptLine {
        transfer: row.get(0)?,
        key: row.get(1)?,
        amount: if credit == AccountId::Escrow.code() { amount } else { -amount },
        from: name(debit, row.get(6)?),
        to: name(credit, row.get(7)?),
        at: Timestamp(row.get(5)?),
    })
}
