//! The grid of a season before anything has happened, and what is asked of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use campusgrid_core::ask::Ask;
use campusgrid_core::durable::Durable;
use campusgrid_core::grid::Grid;
use campusgrid_core::input::{FilesOf, Submission};
use campusgrid_core::ledger::{Account, AccountId, Ledger};
use campusgrid_core::money::Micros;
use campusgrid_core::policy::{Admission, Billing, Policy};
use campusgrid_core::pricing::Prices;
use campusgrid_core::record::Record;
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::{Role, User};
use campusgrid_core::worker::{KeyHash, Worker};
use campusgrid_protocol::id::{UserId, WorkerId};
use campusgrid_protocol::resource::{Isolation, Needs};
use campusgrid_protocol::rules::Rules;
use campusgrid_protocol::task::{Program, TaskSpec, Work as Task};
use campusgrid_protocol::terms::{Sale, Terms};

use crate::economy::campus::{Campus, Work};

/// People who only submit.
const CLIENTS: usize = 50;

/// Each client's, at the beginning.
const PURSE: Micros = Micros::from_credits(1_000_000);

const DAY_MS: u32 = 24 * 3_600_000;

/// How long bids are waited for. Seconds.
const CLOSE_AFTER_S: u32 = 60;

/// The owner of a machine, and its number.
pub(super) fn ids(machine: usize) -> (UserId, WorkerId) {
    let number = machine as u64 + 1;
    (UserId(number), WorkerId(number))
}

/// Who submits a job.
pub(super) fn client(campus: &Campus, job: usize) -> UserId {
    UserId((campus.owners.len() + job % CLIENTS) as u64 + 1)
}

pub(super) fn key_hash(machine: usize) -> KeyHash {
    *blake3::hash(&machine.to_le_bytes()).as_bytes()
}

pub(super) fn grid(campus: &Campus, now: Timestamp) -> Grid {
    let people = campus.owners.len() + CLIENTS;
    let mut durable = Durable::empty();
    let mut accounts = BTreeMap::new();
    for id in (1..=people as u64).map(UserId) {
        let user = User { id, name: format!("user-{id}"), role: Role::Member };
        durable.users.insert(id, user);
    }
    for job in 0..CLIENTS {
        let account = Account { balance: PURSE, ..Account::default() };
        accounts.insert(AccountId::User(client(campus, job)), account);
    }
    let given = PURSE.checked_times(CLIENTS as u32).expect("it is little");
    accounts.insert(AccountId::Mint, Account { balance: -given, ..Account::default() });
    durable.ledger = Ledger::from_books(accounts, 0, [0; 32]);
    for machine in 0..campus.owners.len() {
        let (owner, id) = ids(machine);
        let worker = Worker {
            id,
            key_hash: key_hash(machine),
            name: format!("machine-{machine}"),
            owner,
            set_aside: None,
            rules: Arc::new(Rules::default()),
            ask: Ask::default(),
            record: Record::default(),
        };
        durable.workers.insert(id, worker);
        durable.last_worker = id;
    }
    Grid::recover(Arc::new(policy()), durable, now)
}

/// The seed's formula, by which a price grows with time; and machines that need not say that they live.
fn policy() -> Policy {
    Policy {
        admission: Admission::Closed,
        starting_credits: Micros::ZERO,
        prices: Prices {
            base: Micros::from_credits(5),
            core: Micros::from_credits(2),
            ram_gib: Micros::from_credits(1),
            gpu: Micros::from_credits(10),
            minute: Micros::from_credits(1),
            ..Prices::default()
        },
        rate_permille: 1000,
        premium: false,
        verified_grants: false,
        billing: Billing::Actual,
        fee_permille: 0,
        tries: 3,
        lease_ms: 30 * DAY_MS,
        heartbeat_ms: 15 * DAY_MS,
        active_jobs_max: 10_000,
        draft_ms: u64::from(DAY_MS),
        submit_key_ms: u64::from(DAY_MS),
    }
}

pub(super) fn submission(work: &Work, user: UserId) -> Submission {
    let sale = Sale::Rule { max_price_micros: work.worth.0, close_after_s: CLOSE_AFTER_S };
    let spec = TaskSpec {
        work: Task::Shell { program: Program::Source("true".to_owned()) },
        needs: Needs {
            cpu_millis: work.cores * 1000,
            ram_mib: work.cores * 1024,
            disk_mib: 1000,
            gpus: 0,
            gpu_memory_mib: 0,
        },
        time_limit_s: work.limit_min * 60,
        isolation: Isolation::Full,
        labels: Vec::new(),
        image: None,
        shared_tmp: false,
        tasks: 1,
        arguments: Vec::new(),
        inputs: None,
        lines: None,
        outputs: Vec::new(),
        warn_s: 0,
        checkpoint_s: 0,
    };
    Submission {
        user,
        key: None,
        name: "job".to_owned(),
        spec,
        terms: Terms { sale, ..Terms::plain(1) },
        priority: 0,
        on_hold: false,
        after: Vec::new(),
        ended: BTreeMap::new(),
        files: FilesOf::None,
    }
}
