//! The part of the grid that is on disk, as one value: what recovery loads, and what the simulator
//! compares with the store after every batch.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_protocol::id::{JobId, UserId, VoucherId, WorkerId};

use crate::draft::Draft;
use crate::job::Job;
use crate::ledger::Ledger;
use crate::money::Micros;
use crate::time::Timestamp;
use crate::user::User;
use crate::voucher::Voucher;
use crate::worker::Worker;

/// Everything that must survive a restart and is needed in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    pub users: BTreeMap<UserId, User>,
    pub workers: BTreeMap<WorkerId, Worker>,
    /// Jobs with a task that has not ended.
    pub jobs: BTreeMap<JobId, Job>,
    pub drafts: BTreeMap<JobId, Draft>,
    pub submit_keys: BTreeMap<(UserId, String), SubmitKey>,
    pub vouchers: BTreeMap<VoucherId, Voucher>,
    /// Of those who were given starting credits for an address: [`crate::input::Request::Verify`].
    pub identities: BTreeSet<[u8; 32]>,
    pub ledger: Ledger,
    /// The highest numbers given out so far, 0 if none.
    pub last_job: JobId,
    pub last_worker: WorkerId,
    pub last_voucher: VoucherId,
}

/// What a client's key for a submit led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubmitKey {
    pub job: JobId,
    pub held: Micros,
    pub until: Timestamp,
    /// BLAKE3 of what was submitted, so that a key cannot stand for two things.
    pub body: [u8; 32],
}

impl Durable {
    /// A grid that nobody has used yet.
    pub fn empty() -> Self {
        Self {
            users: BTreeMap::new(),
            workers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            drafts: BTreeMap::new(),
            submit_keys: BTreeMap::new(),
            vouchers: BTreeMap::new(),
            identities: BTreeSet::new(),
            ledger: Ledger::from_books(BTreeMap::new(), 0, [0; 32]),
            last_job: JobId(0),
            last_worker: WorkerId(0),
            last_voucher: VoucherId(0),
        }
    }
}
