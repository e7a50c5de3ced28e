//! Double entry: who has how much, and a chain of transfers that can only grow.

use std::collections::BTreeMap;
use std::fmt;

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId};

use crate::effect::Change;
use crate::money::Micros;
use crate::time::Timestamp;

/// A place that credits can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccountId {
    /// Where credits come from; the only one that may owe.
    Mint,
    /// What is held for tasks that have not ended.
    Escrow,
    Fee,
    User(UserId),
}

impl AccountId {
    /// The number under which the account is stored and hashed.
    pub fn code(self) -> i64 {
        match self {
            Self::Mint => 1,
            Self::Escrow => 2,
            Self::Fee => 3,
            Self::User(UserId(user)) => {
                1000 + i64::try_from(user).expect("users are counted from 1")
            }
        }
    }

    /// The account of this number, if there can be one.
    pub fn from_code(code: i64) -> Option<Self> {
        match code {
            1 => Some(Self::Mint),
            2 => Some(Self::Escrow),
            3 => Some(Self::Fee),
            user => user
                .checked_sub(1000)
                .and_then(|id| u64::try_from(id).ok())
                .filter(|&id| id > 0)
                .map(|id| Self::User(UserId(id))),
        }
    }
}

/// What an account holds, and for people what it has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    pub balance: Micros,
    /// Received for sharing, ever.
    pub earned: Micros,
    /// Charged for own jobs, ever.
    pub spent: Micros,
}

/// What a transfer is for. Unique: the same thing cannot be paid twice, whatever the code does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferKey {
    Grant(UserId),
    /// All tasks of a job at once; the hold of a task is its equal share.
    Hold(JobId),
    Pay(AttemptId),
    Fee(AttemptId),
    Refund(TaskId),
    /// Of a job that was opened for bids again so often, since accepted ones failed; the first is
    /// [`TransferKey::Hold`].
    HoldRound {
        job: JobId,
        round: u32,
    },
    /// All that was held in the round in which the accepted bid failed.
    RefundRound {
        job: JobId,
        round: u32,
    },
    /// Of the fee account, to have a task's result checked.
    HoldAudit(TaskId),
    /// What is left of that, to the fee account.
    RefundAudit(TaskId),
    /// What is left of one run's hold, of a task that is to be run again.
    RefundRun(AttemptId),
    /// Of tasks that never started: the lowest and the highest of their positions, which may have
    /// gaps between them. No later one begins with the same.
    RefundUntouched {
        job: JobId,
        first: u32,
        last: u32,
    },
}

impl fmt::Display for TransferKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(user) => write!(f, "grant:{user}"),
            Self::Hold(job) => write!(f, "hold:{job}"),
            Self::Pay(attempt) => write!(f, "pay:{}:{}", attempt.task, attempt.number),
            Self::Fee(attempt) => write!(f, "fee:{}:{}", attempt.task, attempt.number),
            Self::Refund(task) => write!(f, "refund:{task}"),
            Self::RefundRun(attempt) => write!(f, "refund:{}:{}", attempt.task, attempt.number),
            Self::RefundUntouched { job, first, last } => {
                write!(f, "refund:{job}.{first}-{last}")
            }
            Self::HoldRound { job, round } => write!(f, "hold:{job}:round{round}"),
            Self::RefundRound { job, round } => write!(f, "refund:{job}:round{round}"),
            Self::HoldAudit(task) => write!(f, "hold:audit:{task}"),
            Self::RefundAudit(task) => write!(f, "refund:audit:{task}"),
        }
    }
}

impl TransferKey {
    /// The job that the transfer belongs to.
    pub fn job(&self) -> Option<JobId> {
        match *self {
            Self::Grant(_) => None,
            Self::Hold(job)
            | Self::HoldRound { job, .. }
            | Self::RefundRound { job, .. }
            | Self::RefundUntouched { job, .. } => Some(job),
            Self::Pay(attempt) | Self::Fee(attempt) | Self::RefundRun(attempt) => {
                Some(attempt.task.job)
            }
            Self::Refund(task) | Self::HoldAudit(task) | Self::RefundAudit(task) => Some(task.job),
        }
    }
}

/// A row of the ledger: `amount` leaves `from` and reaches `to`. Never changed, never deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// From 1, without gaps.
    pub id: u64,
    pub key: TransferKey,
    pub from: AccountId,
    pub to: AccountId,
    pub amount: Micros,
    pub at: Timestamp,
    /// BLAKE3 over the previous row's hash and this row, see [`chain`].
    pub hash: ChainHash,
}

/// The hash of a row and of all before it.
pub type ChainHash = [u8; 32];

/// Extends the audit chain by one row: `hash_n = BLAKE3(hash_{n−1} ‖ row)`, integers little-endian,
/// the key behind its length. The chain starts from zeros.
pub fn chain(
    previous: &ChainHash,
    id: u64,
    key: &str,
    [from, to, amount]: [i64; 3],
    at: Timestamp,
) -> ChainHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(previous);
    hasher.update(&id.to_le_bytes());
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key.as_bytes());
    for number in [from, to, amount] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(&at.0.to_le_bytes());
    *hasher.finalize().as_bytes()
}

/// A hold that an account cannot cover; nothing is then reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("costs {amount} credits, the balance is {balance}")]
pub struct Insufficient {
    pub amount: Micros,
    pub balance: Micros,
}

/// All accounts and the end of the chain of transfers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    accounts: BTreeMap<AccountId, Account>,
    transfers: u64,
    head: ChainHash,
}

impl Ledger {
    /// The books as they were left: every account, the number of transfers, the last one's hash.
    pub fn from_books(
        accounts: BTreeMap<AccountId, Account>,
        transfers: u64,
        head: ChainHash,
    ) -> Self {
        Self { accounts, transfers, head }
    }

    /// An account as it stands; one that never moved is empty.
    pub fn account(&self, id: AccountId) -> Account {
        self.accounts.get(&id).copied().unwrap_or_default()
    }

    /// The hash of the newest transfer and of all before it.
    pub fn head(&self) -> &ChainHash {
        &self.head
    }

    /// Every account that ever moved.
    pub fn accounts(&self) -> impl Iterator<Item = (AccountId, Account)> {
        self.accounts.iter().map(|(&id, &account)| (id, account))
    }

    /// Whether the user has been given credits that were not earned, while so much is held for their
    /// jobs: what they have now, have spent and have held must have come from somewhere.
    pub(crate) fn was_granted(&self, user: UserId, held: Micros) -> bool {
        let Account { balance, earned, spent } = self.account(AccountId::User(user));
        balance + spent + held > earned
    }

    /// Gives a user the starting credits.
    pub(crate) fn grant(
        &mut self,
        user: UserId,
        amount: Micros,
        at: Timestamp,
        changes: &mut Vec<Change>,
    ) {
        let (from, to) = (AccountId::Mint, AccountId::User(user));
        self.book(Entry { key: TransferKey::Grant(user), from, to, amount }, at, changes);
    }

    /// Reserves credits of a user for a job.
    ///
    /// # Errors
    ///
    /// `Insufficient` if the user cannot cover it; nothing is then reserved.
    pub(crate) fn hold(
        &mut self,
        hold: Hold,
        at: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Result<(), Insufficient> {
        let Hold { key, user, amount } = hold;
        let balance = self.account(AccountId::User(user)).balance;
        if balance < amount {
            return Err(Insufficient { amount, balance });
        }
        let (from, to) = (AccountId::User(user), AccountId::Escrow);
        self.book(Entry { key, from, to, amount }, at, changes);
        Ok(())
    }

    /// Reserves fees to have a task's result checked, if there are so many.
    pub(crate) fn hold_fees(
        &mut self,
        task: TaskId,
        amount: Micros,
        at: Timestamp,
        changes: &mut Vec<Change>,
    ) -> bool {
        let (from, to) = (AccountId::Fee, AccountId::Escrow);
        let is_covered = self.account(from).balance >= amount;
        if is_covered {
            self.book(Entry { key: TransferKey::HoldAudit(task), from, to, amount }, at, changes);
        }
        is_covered
    }

    /// Returns what is left of the fees that were reserved to check a task's result.
    pub(crate) fn refund_fees(
        &mut self,
        task: TaskId,
        amount: Micros,
        at: Timestamp,
        changes: &mut Vec<Change>,
    ) {
        let (from, to) = (AccountId::Escrow, AccountId::Fee);
        self.book(Entry { key: TransferKey::RefundAudit(task), from, to, amount }, at, changes);
    }

    /// Pays an owner out of what is held for a task, less the fee, and counts it on both sides.
    pub(crate) fn pay(&mut self, payment: Payment, at: Timestamp, changes: &mut Vec<Change>) {
        let Payment { attempt, purse, owner, pay, fee } = payment;
        if pay + fee == Micros::ZERO {
            return; // Nothing moves, so no account may come to be.
        }
        if pay > Micros::ZERO {
            self.account_mut(AccountId::User(owner)).earned += pay;
        }
        match purse {
            Purse::Submitter(user) => {
                self.account_mut(AccountId::User(user)).spent += pay + fee;
            }
            Purse::Fees => {}
        }
        let (from, to) = (AccountId::Escrow, AccountId::User(owner));
        self.book(Entry { key: TransferKey::Pay(attempt), from, to, amount: pay }, at, changes);
        let to = AccountId::Fee;
        self.book(Entry { key: TransferKey::Fee(attempt), from, to, amount: fee }, at, changes);
        // Not left to `book`, which knows nothing of what was spent.
        match purse {
            Purse::Submitter(user) => changes.push(self.account_changed(AccountId::User(user))),
            Purse::Fees => {}
        }
    }

    /// Returns what is left of a hold.
    pub(crate) fn refund(&mut self, refund: Refund, at: Timestamp, changes: &mut Vec<Change>) {
        let Refund { key, user, amount } = refund;
        let (from, to) = (AccountId::Escrow, AccountId::User(user));
        self.book(Entry { key, from, to, amount }, at, changes);
    }

    /// The one place where credits move: both sides, the chain and the changes at once.
    fn book(&mut self, entry: Entry, at: Timestamp, changes: &mut Vec<Change>) {
        let Entry { key, from, to, amount } = entry;
        assert!(amount >= Micros::ZERO, "transfer {key} of a negative amount {amount}");
        if amount == Micros::ZERO {
            return; // A row that moves nothing says nothing.
        }
        self.account_mut(from).balance -= amount;
        self.account_mut(to).balance += amount;
        let left = self.account(from).balance;
        assert!(
            from == AccountId::Mint || left >= Micros::ZERO,
            "transfer {key} overdraws {from:?}"
        );
        self.transfers += 1;
        let numbers = [from.code(), to.code(), amount.0];
        self.head = chain(&self.head, self.transfers, &key.to_string(), numbers, at);
        let transfer = Transfer { id: self.transfers, key, from, to, amount, at, hash: self.head };
        changes.push(Change::Transferred(transfer));
        changes.push(self.account_changed(from));
        changes.push(self.account_changed(to));
    }

    fn account_mut(&mut self, id: AccountId) -> &mut Account {
        self.accounts.entry(id).or_default()
    }

    fn account_changed(&self, id: AccountId) -> Change {
        Change::Account { id, account: self.account(id) }
    }
}

/// Out of whose part of the escrow a payment comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purse {
    /// The job's submitter, who spends it.
    Submitter(UserId),
    /// The fees that are held to check the result.
    Fees,
}

/// What an owner gets for an attempt, and the grid for arranging it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payment {
    pub(crate) attempt: AttemptId,
    pub(crate) purse: Purse,
    pub(crate) owner: UserId,
    pub(crate) pay: Micros,
    pub(crate) fee: Micros,
}

/// What is reserved for a job, and of whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold {
    pub(crate) key: TransferKey,
    pub(crate) user: UserId,
    pub(crate) amount: Micros,
}

/// What a submitter gets back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refund {
    pub(crate) key: TransferKey,
    pub(crate) user: UserId,
    pub(crate) amount: Micros,
}

/// One movement before it is booked.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: TransferKey,
    from: AccountId,
    to: AccountId,
    amount: Micros,
}
