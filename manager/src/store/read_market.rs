//! Reads jobs that are sold by bids: those that take bids, and how far one has come. The bids themselves are
//! in `read_bids`.

use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use campusgrid_protocol::resource::{Isolation, Needs};
use campusgrid_protocol::rest;
use campusgrid_protocol::rest::market::{JobMarket, SoldBy};
use campusgrid_protocol::task::{LABEL_4, TaskSpec, Work};
use campusgrid_protocol::terms::{Sale, Terms};
use rusqlite::{Row, params};

use super::read::{Reader, Viewer, below, number, unread};
use super::{StoreError, statements};

/// Jobs on the market with what whoever could run them needs to know.
macro_rules! on_market {
    () => {
        "SELECT market.job, job.name, user.name, job.owner, job_spec.spec, job_spec.terms,
            job.submitted_at, job.quote, job.rate_permille, market.round, market.closes_at,
            (SELECT count(*) FROM bid INDEXED BY bid_open
                WHERE bid.job = market.job AND bid.state = 'open')
        FROM market JOIN job ON job.id = market.job JOIN job_spec ON job_spec.job = market.job
        JOIN user ON user.id = job.owner "
    };
}

statements! {
    OPEN_JOBS = concat!(on_market!(), "WHERE market.stage = 'open' AND market.job < ?1
        ORDER BY market.job DESC LIMIT ?2");
    OPEN_JOB = concat!(on_market!(), "WHERE market.stage = 'open' AND market.job = ?1");
    OPEN_JOBS_OF = "SELECT count(*) FROM market INDEXED BY market_open
        JOIN job ON job.id = market.job
        WHERE market.stage = 'open' AND market.job > 0 AND job.owner = ?1";
    MARKET_JOB = concat!(on_market!(), "WHERE market.job = ?1");
    MARKET = "SELECT market.sale, json_extract(job_spec.terms, '$.sale.rule.max_price_micros'),
            json_extract(job_spec.terms, '$.sale.rule.close_after_s'), market.round, market.stage,
            market.closes_at, (SELECT count(*) FROM bid INDEXED BY bid_open
                WHERE bid.job = market.job AND bid.state = 'open'),
            market.worker, worker.name, user.name, market.price, market.start_within_s,
            market.automatic, market.start_by, job.owner = ?2 OR ?3,
            EXISTS (SELECT 1 FROM bid WHERE bid.job = market.job AND bid.owner = ?2), user.id
        FROM market JOIN job ON job.id = market.job JOIN job_spec ON job_spec.job = market.job
        LEFT JOIN worker ON worker.id = market.worker LEFT JOIN user ON user.id = worker.owner
        WHERE market.job = ?1";
}

/// A job on the market.
#[derive(Debug, Clone)]
pub struct StoredOpenJob {
    pub job: JobId,
    pub name: String,
    pub submitter: String,
    pub owner: UserId,
    /// Whether it belongs to whoever asks.
    pub own: bool,
    pub kind: rest::WorkKind,
    pub needs: Needs,
    pub time_limit_s: u32,
    pub isolation: Isolation,
    pub labels: Vec<String>,
    pub image: Option<String>,
    /// What it runs is not for bidders to see.
    pub spec: TaskSpec,
    pub sale: Sale,
    /// When the best bid is accepted, if that happens by itself.
    pub closes_at: Option<Timestamp>,
    pub round: u32,
    /// Those that stand.
    pub bids: u32,
    pub submitted_at: Timestamp,
    pub quote: Micros,
    pub rate_permille: u32,
}

/// What has become of a bid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BidState {
    /// It stands.
    Open,
    Accepted,
    /// Another one was accepted.
    Refused,
    Withdrawn,
    /// It was accepted, and its machine has not started in time.
    Failed,
    /// Its job has ended otherwise.
    Over,
}

/// A bid, as its viewer may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBid {
    /// The later a bid was placed, the higher.
    pub id: u64,
    pub job: JobId,
    pub job_name: String,
    /// 0 of one whose machine its viewer may not know, with empty names.
    pub worker: WorkerId,
    pub worker_name: String,
    pub owner: UserId,
    pub owner_name: String,
    pub round: u32,
    /// None while it is sealed from its viewer.
    pub price: Option<Micros>,
    /// What it gets, once it is accepted.
    pub agreed: Option<Micros>,
    pub start_within_s: u32,
    pub automatic: bool,
    pub at: Timestamp,
    pub state: BidState,
    /// When it stood no longer.
    pub over_at: Option<Timestamp>,
}

/// The bid that a job is awarded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAward {
    pub worker: WorkerId,
    pub worker_name: String,
    pub owner: UserId,
    pub owner_name: String,
    /// For the whole time limit.
    pub price: Micros,
    pub start_within_s: u32,
    pub automatic: bool,
    /// By when the task's clock has to run; None while it does.
    pub start_by: Option<Timestamp>,
    pub round: u32,
}

/// One transfer about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReceiptLine {
    pub transfer: u64,
    pub key: String,
    /// Held, if positive; what has left the hold otherwise.
    pub amount: Micros,
    /// A user's name, `escrow`, `fee` or `mint`.
    pub from: String,
    pub to: String,
    pub at: Timestamp,
}

impl Reader {
    /// Jobs that take bids, newest first, those with a number below `before`.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn open_jobs(
        &self,
        viewer: Viewer,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<StoredOpenJob>, StoreError> {
        let map = |row: &Row<'_>| open_job(row, viewer.user);
        self.list("open jobs", OPEN_JOBS, params![below(before), limit], map)
    }

    /// A job that takes bids; None if it does not.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn open_job(
        &self,
        viewer: Viewer,
        job: JobId,
    ) -> Result<Option<StoredOpenJob>, StoreError> {
        let map = |row: &Row<'_>| open_job(row, viewer.user);
        self.first("an open job", OPEN_JOB, params![number(job.0)], map)
    }

    /// How many jobs of a user take bids.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn open_jobs_of(&self, user: UserId) -> Result<u32, StoreError> {
        let jobs = self.first("open jobs", OPEN_JOBS_OF, params![user.0], |row| row.get(0))?;
        Ok(jobs.unwrap_or(0))
    }

    /// A job that takes bids or once did, `own` unset, for those who may see it: [`Reader::market`] says
    /// who may.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn market_job(&self, job: JobId) -> Result<Option<StoredOpenJob>, StoreError> {
        let map = |row: &Row<'_>| open_job(row, UserId(0));
        self.first("a job", MARKET_JOB, params![number(job.0)], map)
    }

    /// How far a job has come that is sold by bids; None if it is not, or not for the viewer: anybody may
    /// know while it takes bids, and after that its submitter, operators and those who have bid. What its
    /// submitter pays at most is for them and operators alone.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn market(&self, viewer: Viewer, job: JobId) -> Result<Option<JobMarket>, StoreError> {
        let values = params![number(job.0), viewer.user.0, viewer.operator];
        let found = self.first("a job on the market", MARKET, values, |row| {
            let (sale, stage): (String, String) = (row.get(0)?, row.get(4)?);
            let (open, is_rule) = (stage == "open", sale == "rule");
            let (may_see_all, has_bid): (bool, bool) = (row.get(14)?, row.get(15)?);
            let market = JobMarket {
                sold_by: if is_rule { SoldBy::Rule } else { SoldBy::Hand },
                max_price_micros: if may_see_all { row.get(1)? } else { None },
                close_after_s: row.get(2)?,
                round: row.get(3)?,
                open,
                sealed: open && is_rule,
                closes_at_ms: row.get(5)?,
                bids: row.get(6)?,
                award: award(row)?,
            };
            Ok((open || may_see_all || has_bid).then_some(market))
        });
        Ok(found?.flatten())
    }

    /// The accepted bid that a job runs by; None if there is none, or not for the viewer.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn award(&self, viewer: Viewer, job: JobId) -> Result<Option<StoredAward>, StoreError> {
        let values = params![number(job.0), viewer.user.0, viewer.operator];
        let found = self.first("an award", MARKET, values, |row| {
            let (may_see_all, has_bid): (bool, bool) = (row.get(14)?, row.get(15)?);
            let Some(award) = award(row)?.filter(|_| may_see_all || has_bid) else {
                return Ok(None);
            };
            Ok(Some(StoredAward {
                worker: WorkerId(award.worker),
                worker_name: award.worker_name,
                owner: UserId(row.get(16)?),
                owner_name: award.owner,
                price: Micros(award.price_micros),
                start_within_s: award.start_within_s,
                automatic: award.automatic,
                start_by: award.start_by_ms.map(Timestamp),
                round: row.get(3)?,
            }))
        });
        Ok(found?.flatten())
    }
}

/// The columns of `on_market!`.
fn open_job(row: &Row<'_>, viewer: UserId) -> rusqlite::Result<StoredOpenJob> {
    let spec: String = row.get(4)?;
    let spec: TaskSpec = serde_json::from_str(&spec).map_err(|error| unread(4, error))?;
    let terms: String = row.get(5)?;
    let terms: Terms = serde_json::from_str(&terms).map_err(|error| unread(5, error))?;
    let owner = UserId(row.get(3)?);
    Ok(StoredOpenJob {
        job: JobId(row.get(0)?),
        name: row.get(1)?,
        submitter: row.get(2)?,
        owner,
        own: owner == viewer,
        kind: match spec.work {
            Work::Python { .. } => rest::WorkKind::Python,
            Work::C { .. } => rest::WorkKind::C,
            Work::Shell { .. } => rest::WorkKind::Shell,
        },
        needs: spec.needs,
        time_limit_s: spec.time_limit_s,
        isolation: spec.isolation,
        labels: spec.labels.iter().filter(|label| *label != LABEL_4).cloned().collect(),
        image: spec.image.clone(),
        sale: terms.sale,
        closes_at: row.get::<_, Option<u64>>(10)?.map(Timestamp),
        round: row.get(9)?,
        bids: row.get(11)?,
        submitted_at: Timestamp(row.get(6)?),
        quote: Micros(row.get(7)?),
        rate_permille: row.get(8)?,
        spec,
    })
}

/// Of the columns of `MARKET`.
fn award(row: &Row<'_>) -> rusqlite::Result<Option<rest::market::Award>> {
    let Some(worker) = row.get(7)? else { return Ok(None) };
    Ok(Some(rest::market::Award {
        worker,
        worker_name: row.get(8)?,
        owner: row.get(9)?,
        price_micros: row.get(10)?,
        start_within_s: row.get(11)?,
        automatic: row.get(12)?,
        start_by_ms: row.get(13)?,
    }))
}
