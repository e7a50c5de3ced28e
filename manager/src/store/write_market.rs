//! Writes what changed about bids, and about what machines are shared for: rules, asks, and records.

use campusgrid_core::ask::Ask;
use campusgrid_core::effect::Change;
use campusgrid_core::market::{Award, Bid, BidFate, Market, Stage};
use campusgrid_core::money::Micros;
use campusgrid_core::record::Record;
use campusgrid_core::time::Timestamp;
use campusgrid_core::worker::Worker;
use campusgrid_protocol::id::{JobId, WorkerId};
use campusgrid_protocol::rules::Rules;
use campusgrid_protocol::terms::Sale;
use rusqlite::params;

use super::write::Writer;
use super::{prices, statements};

statements! {
    WORKER_NEW = "INSERT INTO worker (id, key_hash, name, owner, approved_at, rules, ask, bids_by_itself)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    WORKER_RULES = "UPDATE worker SET rules = ?2 WHERE id = ?1";
    WORKER_ASK = "UPDATE worker SET ask = ?2, bids_by_itself = ?3 WHERE id = ?1";
    WORKER_RECORD = "UPDATE worker SET delivered = ?2, handed_back = ?3, lost = ?4, bids_failed = ?5,
            valid = ?6, invalid = ?7, valid_in_row = ?8, earned = ?9
        WHERE id = ?1";
    MARKET_NEW = "INSERT INTO market (job, sale, round, stage, closes_at) VALUES (?1, ?2, ?3, 'open', ?4)";
    MARKET_OPEN = "UPDATE market SET round = ?2, stage = 'open', closes_at = ?3, worker = NULL,
            price = NULL, start_within_s = NULL, automatic = NULL, start_by = NULL
        WHERE job = ?1";
    MARKET_AWARD = "UPDATE market SET stage = 'awarded', closes_at = NULL, worker = ?2, price = ?3,
            start_within_s = ?4, automatic = ?5, start_by = ?6
        WHERE job = ?1";
    MARKET_OVER = "UPDATE market SET stage = 'over', closes_at = NULL WHERE job = ?1 AND stage = 'open'";
    BID_NEW = "INSERT OR REPLACE INTO bid (job, round, worker, owner, price, start_within_s, automatic, at,
            state)
        SELECT market.job, market.round, worker.id, worker.owner, ?3, ?4, ?5, ?6, 'open'
        FROM market JOIN worker ON worker.id = ?2 WHERE market.job = ?1";
    BID_OVER = "UPDATE bid SET state = ?3, over_at = ?4
        WHERE job = ?1 AND worker = ?2 AND state = 'open'";
    BID_FAILED = "UPDATE bid SET state = 'failed', over_at = ?3
        WHERE job = ?1 AND worker = ?2 AND state = 'accepted'";
    BID_AGREED = "UPDATE bid SET agreed = ?3
        WHERE job = ?1 AND worker = ?2 AND round = (SELECT round FROM market WHERE job = ?1)";
    JOB_QUOTE = "UPDATE job SET quote = ?2 WHERE id = ?1";
    JOB_REOPEN = "UPDATE job SET quote = ?2, paid = 0, charged_before = charged WHERE id = ?1";
    TASKS_UNPAID = "UPDATE task SET paid = 0 WHERE job = ?1 AND ended_at IS NULL";
}

impl Writer<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "change() has sorted out the others")]
    pub(super) fn market_change(&mut self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::WorkerApproved { worker, at } => self.worker(worker, *at),
            Change::WorkerRulesSet { worker, rules, at: _ } => {
                self.run(WORKER_RULES, params![worker.0, rules_text(rules)])
            }
            Change::WorkerAskSet { worker, ask, at: _ } => {
                let Ask { prices, automatic } = ask;
                let values = params![worker.0, prices.as_ref().map(prices::text), automatic];
                self.run(WORKER_ASK, values)
            }
            Change::WorkerRecord { worker, record } => self.record(*worker, record),
            Change::BidPlaced { job, worker, bid } => {
                let Bid { price, start_within_s, automatic, at } = bid;
                self.run(
                    BID_NEW,
                    params![job.0, worker.0, price.0, start_within_s, automatic, at.0],
                )
            }
            Change::BidOver { job, worker, fate, at } => match state(*fate) {
                Some(state) => self.run(BID_OVER, params![job.0, worker.0, state, at.0]),
                None => self.run(BID_FAILED, params![job.0, worker.0, at.0]),
            },
            Change::JobAwarded { job, award, quote, at: _ } => self.award(*job, award, *quote),
            Change::JobReopened { job, market, quote, reason: _, at: _ } => {
                // All that was charged by now belongs to the round that is over.
                self.batch.write_job(self.connection, self.numberings, *job)?;
                self.run(MARKET_OPEN, params![job.0, market.round, closes_at(market)])?;
                self.run(TASKS_UNPAID, params![job.0])?;
                self.run(JOB_REOPEN, params![job.0, quote.0])
            }
            other => unreachable!("not about the market: {other:?}"),
        }
    }

    /// Opens a new job for bids.
    pub(super) fn market(&self, job: JobId, sale: Sale, market: &Market) -> rusqlite::Result<()> {
        let sale = match sale {
            Sale::Formula => unreachable!("a job that is sold by the formula has no market"),
            Sale::Hand => "hand",
            Sale::Rule { .. } => "rule",
        };
        self.run(MARKET_NEW, params![job.0, sale, market.round, closes_at(market)])
    }

    /// Nobody bids on a job that has ended.
    pub(super) fn market_over(&self, job: JobId) -> rusqlite::Result<()> {
        self.run(MARKET_OVER, params![job.0])
    }

    fn worker(&self, worker: &Worker, at: Timestamp) -> rusqlite::Result<()> {
        let Worker { id, key_hash, name, owner, set_aside: _, rules, ask, record } = worker;
        let (rules, ask_text) = (rules_text(rules), ask.prices.as_ref().map(prices::text));
        let automatic = ask.automatic;
        let row = params![id.0, key_hash, name, owner.0, at.0, rules, ask_text, automatic];
        self.run(WORKER_NEW, row)?;
        self.record(*id, record)
    }

    fn record(&self, worker: WorkerId, record: &Record) -> rusqlite::Result<()> {
        let Record {
            delivered, handed_back, lost, bids_failed, valid, invalid, valid_in_row, ..
        } = record;
        let earned = record.earned_micros;
        let counts = params![
            worker.0,
            delivered,
            handed_back,
            lost,
            bids_failed,
            valid,
            invalid,
            valid_in_row,
            earned
        ];
        self.run(WORKER_RECORD, counts)
    }

    fn award(&mut self, job: JobId, award: &Award, quote: Micros) -> rusqlite::Result<()> {
        let Award { worker, price, start_within_s, automatic, start_by } = award;
        let start_by = start_by.map(|at| at.0);
        let values = params![job.0, worker.0, price.0, start_within_s, automatic, start_by];
        self.run(MARKET_AWARD, values)?;
        self.run(BID_AGREED, params![job.0, worker.0, price.0])?;
        // What is still to be counted of it was counted at the quote of then.
        self.batch.write_job(self.connection, self.numberings, job)?;
        self.run(JOB_QUOTE, params![job.0, quote.0])
    }
}

fn rules_text(rules: &Rules) -> String {
    serde_json::to_string(rules).expect("rules have no maps and no odd numbers")
}

fn closes_at(market: &Market) -> Option<u64> {
    match market.stage {
        Stage::Open { closes_at } => closes_at.map(|at| at.0),
        Stage::Awarded(_) => None,
    }
}

/// Of a bid that stood; None for one that had been accepted.
fn state(fate: BidFate) -> Option<&'static str> {
    match fate {
        BidFate::Accepted => Some("accepted"),
        BidFate::Refused => Some("refused"),
        BidFate::Withdrawn => Some("withdrawn"),
        BidFate::Over => Some("over"),
        BidFate::Failed => None,
    }
}
