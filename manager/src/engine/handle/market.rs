//! What the engine is asked about machines' rules and asks, about bids, and about whose an address is.

use campusgrid_core::ask::Ask;
use campusgrid_core::input::Request;
use campusgrid_core::money::Micros;
use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use campusgrid_protocol::rules::Rules;

use super::{AskError, EngineHandle};

impl EngineHandle {
    /// Sets by which rules a machine of this user's is shared; they are checked already. The machine is
    /// told.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound` or `DiskFull`; `Busy`, `Stopping`.
    pub async fn set_rules(
        &self,
        user: UserId,
        worker: WorkerId,
        rules: Rules,
    ) -> Result<(), AskError> {
        let rules = Box::new(rules);
        self.ask(Request::SetRules { user, worker, rules }).await.map(drop)
    }

    /// Sets what a machine of this user's costs from now on.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound` or `DiskFull`; `Busy`, `Stopping`.
    pub async fn set_ask(&self, user: UserId, worker: WorkerId, ask: Ask) -> Result<(), AskError> {
        self.ask(Request::SetAsk { user, worker, ask }).await.map(drop)
    }

    /// Bids on a job for a machine of this user's, in place of its bid that stands; `price` is for the
    /// whole time limit.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound`, `NotOpen`, `OwnJob`, `CannotRun`, `TooManyBids`, `DiskFull` or
    /// `BooksBroken`; `Busy`, `Stopping`.
    #[expect(
        clippy::too_many_arguments,
        reason = "all of it is one bid, each part of a type of its own"
    )]
    pub async fn bid(
        &self,
        user: UserId,
        job: JobId,
        worker: WorkerId,
        price: Micros,
        start_within_s: u32,
    ) -> Result<(), AskError> {
        self.ask(Request::Bid { user, job, worker, price, start_within_s }).await.map(drop)
    }

    /// Takes a bid back.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound`, `NotOpen` or `BidGone`; `Busy`, `Stopping`.
    pub async fn withdraw_bid(
        &self,
        user: UserId,
        job: JobId,
        worker: WorkerId,
    ) -> Result<(), AskError> {
        self.ask(Request::WithdrawBid { user, job, worker }).await.map(drop)
    }

    /// Accepts the bid of a machine on a job of this user's: credits are held, the others are refused, and
    /// the machine gets the job at once.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound`, `NotOpen`, `BidGone` if its price is another by now, `MachineBusy`,
    /// `Insufficient`, `DiskFull` or `BooksBroken`; `Busy`, `Stopping`.
    pub async fn accept(
        &self,
        user: UserId,
        job: JobId,
        worker: WorkerId,
        price: Micros,
    ) -> Result<(), AskError> {
        self.ask(Request::Accept { user, job, worker, price }).await.map(drop)
    }

    /// Notes that an address is this user's; `identity` is BLAKE3 of its usual form. Whoever has none yet
    /// gets the starting credits by it, if nobody else did.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound`, `DiskFull` or `BooksBroken`; `Busy`, `Stopping`.
    pub async fn verify(&self, user: UserId, identity: [u8; 32]) -> Result<(), AskError> {
        self.ask(Request::Verify { user, identity }).await.map(drop)
    }
}
