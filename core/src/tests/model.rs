//! Naive twins of what the grid does cleverly: its disk, its books and its scheduler.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId, VoucherId, WorkerId};

use crate::durable::{Durable, SubmitKey};
use crate::effect::{Change, Verdict};
use crate::grid::Grid;
use crate::input::Intake;
use crate::job::{EndedTasks, Job, Lease, Task, TaskState};
use crate::ledger::{Account, AccountId, Ledger, Transfer, TransferKey, chain};
use crate::losses::Losses;
use crate::money::Micros;
use crate::snapshot::{Shape, admits};
use crate::voucher::Voucher;
use crate::worker::{Grant, Link, Worker};

/// What is on disk, by nothing but the changes; and the books, by nothing but the transfers.
#[derive(Default)]
pub(super) struct Disk {
    users: BTreeMap<UserId, crate::user::User>,
    workers: BTreeMap<WorkerId, Worker>,
    jobs: BTreeMap<JobId, Job>,
    submit_keys: BTreeMap<(UserId, String), SubmitKey>,
    accounts: BTreeMap<AccountId, Account>,
    transfers: Vec<Transfer>,
    keys: BTreeSet<String>,
    owners: BTreeMap<JobId, UserId>,
    last_worker: u64,
    vouchers: BTreeMap<VoucherId, Voucher>,
    last_voucher: u64,
    /// What left escrow for a task, until that ends.
    released: BTreeMap<TaskId, Micros>,
}

impl Disk {
    pub(super) fn write(&mut self, changes: &[Change]) {
        for change in changes {
            self.write_one(change.clone());
        }
    }

    fn write_one(&mut self, change: Change) {
        match change {
            Change::UserRegistered { user, .. } => {
                assert!(self.users.insert(user.id, user).is_none());
            }
            Change::LoginOpened { .. }
            | Change::LoginClosed { .. }
            | Change::LoginRevoked { .. }
            | Change::LoginsRevoked { .. }
            | Change::LoginsOver { .. }
            | Change::PasswordChanged { .. }
            | Change::PasswordRehashed { .. }
            | Change::ApiTokenOpened { .. }
            | Change::ApiTokenRevoked { .. }
            | Change::Used { .. } => {}
            Change::RoleSet { user, role, .. } => {
                let old = std::mem::replace(&mut self.users.get_mut(&user).unwrap().role, role);
                assert_ne!(old, role);
            }
            Change::VoucherMade(voucher) => {
                assert_eq!(voucher.id.0, self.last_voucher + 1);
                self.last_voucher = voucher.id.0;
                self.vouchers.insert(voucher.id, voucher);
            }
            Change::VoucherUsed { voucher, uses_left } => {
                let voucher = self.vouchers.get_mut(&voucher).unwrap();
                assert_eq!(voucher.uses_left, uses_left + 1);
                voucher.uses_left = uses_left;
            }
            Change::VoucherOver { voucher, .. } => {
                assert!(self.vouchers.remove(&voucher).is_some());
            }
            Change::Account { id, account } => {
                self.accounts.insert(id, account);
            }
            Change::Transferred(transfer) => self.transfer(transfer),
            Change::SubmitKeyKept { user, key, kept } => {
                self.submit_keys.insert((user, key), kept);
            }
            Change::SubmitKeyForgotten { user, key } => {
                assert!(self.submit_keys.remove(&(user, key)).is_some());
            }
            Change::WorkerApproved { worker, .. } => {
                assert_eq!(worker.id.0, self.last_worker + 1);
                self.last_worker = worker.id.0;
                assert!(self.workers.insert(worker.id, worker).is_none());
            }
            Change::WorkerRenamed { worker, name } => {
                self.workers.get_mut(&worker).unwrap().name = name;
            }
            Change::WorkerRemoved { worker, .. } => {
                assert!(self.workers.remove(&worker).is_some());
                let leases = self.jobs.values().flat_map(Job::leases);
                assert!(leases.into_iter().all(|(_, lease)| lease.worker != worker));
            }
            Change::WorkerSetAside { worker, reason, .. } => {
                let set_aside = &mut self.workers.get_mut(&worker).unwrap().set_aside;
                assert_ne!(set_aside.is_some(), reason.is_some());
                *set_aside = reason;
            }
            of_job @ (Change::JobSubmitted(_)
            | Change::TaskLeased { .. }
            | Change::JobLocked { .. }
            | Change::AttemptStarted { .. }
            | Change::TaskCancelling { .. }
            | Change::TaskRequeued { .. }
            | Change::TaskEnded(_)
            | Change::UntouchedCancelled { .. }
            | Change::JobCancelling { .. }
            | Change::JobEnded { .. }) => self.write_job(of_job),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "write_one() has sorted out the others")]
    fn write_job(&mut self, change: Change) {
        match change {
            Change::JobSubmitted(new) => {
                self.owners.insert(new.id, new.owner);
                let job = Job {
                    id: new.id,
                    owner: new.owner,
                    name: new.name,
                    spec: new.spec,
                    quote: new.quote,
                    submitted_at: new.at,
                    untouched_from: 0,
                    tasks: BTreeMap::new(),
                    requeued: BTreeSet::new(),
                    ended: EndedTasks::default(),
                    lock: None,
                    cancelling: false,
                };
                assert!(self.jobs.insert(new.id, job).is_none());
            }
            Change::TaskLeased { attempt, worker, gpus, tries_left, at } => {
                let AttemptId { task: TaskId { job, index }, number } = attempt;
                let job = self.jobs.get_mut(&job).unwrap();
                if !job.requeued.remove(&index) {
                    assert_eq!((job.untouched_from, number), (index, 1));
                    job.untouched_from += 1;
                }
                let before = job.tasks.get(&index);
                let (attempts, losses) =
                    before.map_or((0, Losses::None), |task| (task.attempts, task.losses));
                assert_eq!(number, attempts + 1, "attempts are counted without gaps");
                let lease =
                    Lease { worker, leased_at: at, started_at: None, cancelling: false, gpus };
                let state = TaskState::Leased(lease);
                job.tasks.insert(index, Task { attempts: number, tries_left, losses, state });
            }
            Change::JobLocked { job, lock, at: _ } => {
                assert!(self.jobs.get_mut(&job).unwrap().lock.replace(lock).is_none());
            }
            Change::AttemptStarted { attempt, at } => self.lease(attempt).started_at = Some(at),
            Change::TaskCancelling { attempt } => self.lease(attempt).cancelling = true,
            Change::TaskRequeued { attempt, tries_left, losses, .. } => {
                self.lease(attempt);
                let job = self.jobs.get_mut(&attempt.task.job).unwrap();
                assert!(job.requeued.insert(attempt.task.index));
                let task = job.tasks.get_mut(&attempt.task.index).unwrap();
                (task.tries_left, task.state) = (tries_left, TaskState::Queued);
                task.losses = losses;
            }
            Change::TaskEnded(end) => {
                let job = self.jobs.get_mut(&end.task.job).unwrap();
                assert!(job.tasks.remove(&end.task.index).is_some(), "a task ends once");
                job.requeued.remove(&end.task.index);
                match end.verdict {
                    Verdict::Succeeded => job.ended.succeeded += 1,
                    Verdict::Failed { .. } => job.ended.failed += 1,
                    Verdict::Cancelled => job.ended.cancelled += 1,
                }
                let released = self.released.remove(&end.task).unwrap_or_default();
                assert_eq!(released, job.quote, "pay + fee + refund = hold of {}", end.task);
            }
            Change::UntouchedCancelled { job, from, to, .. } => {
                let job = self.jobs.get_mut(&job).unwrap();
                assert_eq!((job.untouched_from, job.spec.tasks), (from, to));
                job.untouched_from = to;
                job.ended.cancelled += to - from;
            }
            Change::JobCancelling { job, .. } => {
                let job = self.jobs.get_mut(&job).unwrap();
                assert!(!std::mem::replace(&mut job.cancelling, true));
            }
            Change::JobEnded { job, ended, .. } => {
                let job = self.jobs.remove(&job).unwrap();
                assert_eq!((job.ended, job.open_tasks()), (ended, 0));
            }
            other => unreachable!("not of a job: {other:?}"),
        }
    }

    fn lease(&mut self, attempt: AttemptId) -> &mut Lease {
        self.jobs.get_mut(&attempt.task.job).unwrap().lease_mut(attempt).expect("a current lease")
    }

    fn transfer(&mut self, transfer: Transfer) {
        assert!(transfer.amount > Micros::ZERO, "{transfer:?}");
        assert_eq!(transfer.id, self.transfers.len() as u64 + 1);
        assert!(self.keys.insert(transfer.key.to_string()), "paid twice: {}", transfer.key);
        match transfer.key {
            TransferKey::Pay(attempt) | TransferKey::Fee(attempt) => {
                *self.released.entry(attempt.task).or_default() += transfer.amount;
            }
            TransferKey::Refund(task) => {
                *self.released.entry(task).or_default() += transfer.amount;
            }
            TransferKey::Grant(_) | TransferKey::Hold(_) | TransferKey::RefundUntouched { .. } => {}
        }
        self.transfers.push(transfer);
    }

    /// As the store would load it.
    pub(super) fn load(&self) -> Durable {
        let head = self.transfers.last().map_or([0; 32], |transfer| transfer.hash);
        let transfers = self.transfers.len() as u64;
        Durable {
            users: self.users.clone(),
            workers: self.workers.clone(),
            jobs: self.jobs.clone(),
            submit_keys: self.submit_keys.clone(),
            vouchers: self.vouchers.clone(),
            ledger: Ledger::from_books(self.accounts.clone(), transfers, head),
            last_job: self.owners.last_key_value().map_or(JobId(0), |(&job, _)| job),
            last_worker: WorkerId(self.last_worker),
            last_voucher: VoucherId(self.last_voucher),
        }
    }

    /// Every account, recomputed from the transfers, whose chain is verified on the way.
    pub(super) fn recomputed_accounts(&self) -> BTreeMap<AccountId, Account> {
        let mut accounts = BTreeMap::<AccountId, Account>::new();
        let mut head = [0; 32];
        for transfer in &self.transfers {
            let Transfer { id, key, from, to, amount, at, hash } = transfer;
            head = chain(&head, *id, &key.to_string(), [from.code(), to.code(), amount.0], *at);
            assert_eq!(head, *hash, "the chain breaks at {id}");
            accounts.entry(*from).or_default().balance -= *amount;
            accounts.entry(*to).or_default().balance += *amount;
            match key {
                TransferKey::Pay(_) => accounts.get_mut(to).unwrap().earned += *amount,
                TransferKey::Grant(_)
                | TransferKey::Hold(_)
                | TransferKey::Fee(_)
                | TransferKey::Refund(_)
                | TransferKey::RefundUntouched { .. } => {}
            }
            match key {
                TransferKey::Pay(attempt) | TransferKey::Fee(attempt) => {
                    let submitter = AccountId::User(self.owners[&attempt.task.job]);
                    accounts.get_mut(&submitter).unwrap().spent += *amount;
                }
                TransferKey::Grant(_)
                | TransferKey::Hold(_)
                | TransferKey::Refund(_)
                | TransferKey::RefundUntouched { .. } => {}
            }
        }
        accounts
    }
}

/// What dispatch has to do, found the slow way: every waiting task in order of job and index, each
/// on the machine that it fits most tightly, if it fits any.
pub(super) fn placements(grid: &Grid) -> Vec<(TaskId, WorkerId)> {
    let mut links = grid.links.clone();
    let mut placed = Vec::new();
    for job in grid.jobs.values() {
        let shape = Shape::of(job.owner, &job.spec);
        let untouched = job.untouched_from..job.spec.tasks;
        let waiting: BTreeSet<u32> = job.requeued.iter().copied().chain(untouched).collect();
        for index in waiting {
            let takes = |(id, link): &(&WorkerId, &mut Link)| is_room(grid, **id, link, &shape);
            let tightness = |(id, link): &(&WorkerId, &mut Link)| {
                let free = &link.free;
                let room = (free.gpus.len(), free.cpu_millis, free.ram_mib);
                (room, link.connected_at, **id)
            };
            let best = links.iter_mut().filter(takes).min_by_key(tightness);
            let Some((&worker, link)) = best else { break };
            let (needs, gpus) = (shape.needs, link.free.choose(&shape.needs));
            link.free.take(&Grant::new(needs, gpus));
            placed.push((TaskId { job: job.id, index }, worker));
        }
    }
    placed
}

pub(super) fn is_room(grid: &Grid, id: WorkerId, link: &Link, shape: &Shape) -> bool {
    let silence_ms = grid.now.since_ms(link.heard_at);
    silence_ms <= 3 * u64::from(grid.policy.heartbeat_ms)
        && !link.leaving
        && grid.intake == Intake::Open
        && grid.workers[&id].set_aside.is_none()
        && admits((link.isolation, &link.offer), grid.workers[&id].owner, shape)
        && link.free.fits(&shape.needs)
        && grid.pauses.end(&(id, shape.clone())).is_none()
}
