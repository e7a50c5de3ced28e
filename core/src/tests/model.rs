//! Naive twins of what the grid does cleverly: its disk and its books.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId, VoucherId, WorkerId};
use campusgrid_protocol::ranges::Ranges;

use crate::draft::Draft;
use crate::durable::{Durable, SubmitKey};
use crate::effect::{Change, Verdict};
use crate::input::FilesOf;
use crate::job::{EndedTasks, Job, Lease, Task, TaskState};
use crate::ledger::{Account, AccountId, Ledger, Transfer, TransferKey, chain};
use crate::losses::Losses;
use crate::market::{BidFate, Market, Stage};
use crate::money::Micros;
use crate::votes::Votes;
use crate::voucher::Voucher;
use crate::worker::Worker;

/// What is on disk, by nothing but the changes; and the books, by nothing but the transfers.
#[derive(Default)]
pub(super) struct Disk {
    users: BTreeMap<UserId, crate::user::User>,
    workers: BTreeMap<WorkerId, Worker>,
    jobs: BTreeMap<JobId, Job>,
    drafts: BTreeMap<JobId, Draft>,
    /// The highest number that a job or a draft ever had.
    last_job: u64,
    submit_keys: BTreeMap<(UserId, String), SubmitKey>,
    accounts: BTreeMap<AccountId, Account>,
    transfers: Vec<Transfer>,
    keys: BTreeSet<String>,
    owners: BTreeMap<JobId, UserId>,
    last_worker: u64,
    vouchers: BTreeMap<VoucherId, Voucher>,
    last_voucher: u64,
    identities: BTreeSet<[u8; 32]>,
    /// What left escrow for a task, until that ends or its run does, or its round of bids.
    released: BTreeMap<TaskId, Micros>,
    /// What was paid for each attempt: by the transfers, and by what the grid says of it.
    paid: BTreeMap<AttemptId, Micros>,
    pub(super) told: BTreeMap<AttemptId, Paid>,
    /// Jobs of which a bid is accepted, with the round.
    winners: BTreeMap<(JobId, u32), WorkerId>,
    /// What is to leave escrow for tasks that never started and have just been cancelled.
    due: BTreeMap<String, Micros>,
    /// How jobs that are over ended.
    pub(super) over: BTreeMap<JobId, EndedTasks>,
    /// Which tasks of which job ever started.
    pub(super) started: BTreeMap<JobId, Ranges>,
}

/// A payment as the grid tells of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paid {
    pub(super) worker: WorkerId,
    /// By the submitter, and not out of fees.
    pub(super) charged: Micros,
    pub(super) earned: Micros,
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
            | Change::Used { .. }
            | Change::NoticeTried { .. }
            | Change::WebhookSecretSet { .. } => {}
            Change::NoticeDue { job, .. } => {
                assert!(self.jobs.contains_key(&job) || self.over.contains_key(&job));
            }
            Change::JobEmptied { job, .. } => {
                assert!(job.0 <= self.last_job && !self.jobs.contains_key(&job));
                assert!(!self.drafts.contains_key(&job), "a draft is discarded, not emptied");
            }
            Change::Drafted { draft, submit: _ } => {
                assert_eq!((draft.id.0, draft.revision), (self.last_job + 1, 0));
                self.last_job = draft.id.0;
                self.drafts.insert(draft.id, draft);
            }
            Change::DraftChanged { job, put, removed, revision, at } => {
                let draft = self.drafts.get_mut(&job).unwrap();
                assert_eq!(revision, draft.revision + 1);
                (draft.revision, draft.touched_at) = (revision, at);
                for path in removed {
                    assert!(draft.files.remove(&path).is_some());
                }
                draft.files.extend(put.into_iter().map(|file| (file.path, file.blob.size_bytes)));
            }
            Change::DraftDiscarded { job, .. } => {
                assert!(self.drafts.remove(&job).is_some());
            }
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
            Change::WorkerRulesSet { worker, rules, .. } => {
                self.workers.get_mut(&worker).unwrap().rules = rules;
            }
            Change::WorkerAskSet { worker, ask, .. } => {
                let old = std::mem::replace(&mut self.workers.get_mut(&worker).unwrap().ask, ask);
                assert_ne!(old, ask);
            }
            Change::WorkerRecord { worker, record } => {
                self.workers.get_mut(&worker).unwrap().record = record;
            }
            Change::AttemptPaid { attempt, worker, charged, earned, .. } => {
                let paid = Paid { worker, charged, earned };
                assert!(self.told.insert(attempt, paid).is_none(), "{attempt} is paid twice");
            }
            Change::UserVerified { user, identity, .. } => {
                assert!(self.users.contains_key(&user));
                self.identities.insert(identity);
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
            | Change::TaskPausing(_)
            | Change::TaskChecking(_)
            | Change::CheckpointSaved { .. }
            | Change::CheckpointDropped { .. }
            | Change::TaskRoused { .. }
            | Change::TaskEnded(_)
            | Change::UntouchedCancelled { .. }
            | Change::AfterMet { .. }
            | Change::JobHoldSet { .. }
            | Change::JobPrioritySet { .. }
            | Change::JobCancelling { .. }
            | Change::JobEnded { .. }) => self.write_job(of_job),
            Change::BidPlaced { .. }
            | Change::BidOver { .. }
            | Change::JobAwarded { .. }
            | Change::JobReopened { .. } => self.write_market(change),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "write_one() has sorted out the others")]
    fn write_job(&mut self, change: Change) {
        match change {
            Change::JobSubmitted(new) => {
                match new.files {
                    FilesOf::Draft { job, revision } => {
                        let draft = self.drafts.remove(&job).unwrap();
                        assert_eq!((draft.id, draft.owner), (new.id, new.owner));
                        assert_eq!(draft.revision, revision);
                    }
                    FilesOf::None | FilesOf::Job(_) => {
                        assert_eq!(new.id.0, self.last_job + 1);
                        self.last_job = new.id.0;
                    }
                }
                assert!(new.after.iter().all(|after| self.jobs.contains_key(&after.job)));
                self.owners.insert(new.id, new.owner);
                let job = Job {
                    id: new.id,
                    owner: new.owner,
                    name: new.name,
                    untouched: Ranges::below(new.spec.tasks),
                    spec: new.spec,
                    terms: new.terms,
                    quote: new.quote,
                    rate_permille: new.rate_permille,
                    market: new.market,
                    submitted_at: new.at,
                    priority: new.priority,
                    on_hold: new.on_hold,
                    after: new.after,
                    tasks: BTreeMap::new(),
                    requeued: BTreeSet::new(),
                    ended: EndedTasks::default(),
                    lock: None,
                    cancelling: false,
                };
                assert!(self.jobs.insert(new.id, job).is_none());
            }
            Change::TaskLeased { attempt, worker, gpus, tries_left, deal, at } => {
                let AttemptId { task: TaskId { job, index }, number } = attempt;
                let job = self.jobs.get_mut(&job).unwrap();
                if !job.requeued.remove(&index) {
                    assert!(job.untouched.remove(index) && number == 1);
                    self.started.entry(job.id).or_default().insert(index);
                }
                let fresh = Task {
                    attempts: 0,
                    tries_left,
                    runs_left: job.terms.runs(),
                    losses: Losses::None,
                    state: TaskState::Queued,
                    checkpoint: None,
                    paid: Micros::ZERO,
                    paid_ms: 0,
                    votes: Votes::None,
                    audit: Micros::ZERO,
                };
                if let Some(award) = job.award() {
                    assert_eq!((award.worker, award.price), (worker, deal.price));
                } else {
                    assert!(job.market.is_none() && deal.price <= job.quote, "{deal:?}");
                }
                let task = job.tasks.entry(index).or_insert(fresh);
                assert_eq!(number, task.attempts + 1, "attempts are counted without gaps");
                let (leased_at, started_at, cancelling) = (at, None, false);
                let lease = Lease { worker, leased_at, started_at, cancelling, gpus, deal };
                (task.attempts, task.tries_left) = (number, tries_left);
                task.state = TaskState::Leased(lease);
            }
            Change::JobLocked { job, lock, at: _ } => {
                assert!(self.jobs.get_mut(&job).unwrap().lock.replace(lock).is_none());
            }
            Change::AttemptStarted { attempt, at } => self.lease(attempt).started_at = Some(at),
            Change::TaskCancelling { attempt } => self.lease(attempt).cancelling = true,
            Change::CheckpointSaved { attempt, saved, .. } => {
                self.lease(attempt);
                let task = self.task(attempt.task);
                assert!(saved.run_ms >= task.paid_ms, "{attempt} has come back in time");
                task.checkpoint = Some(saved);
            }
            Change::CheckpointDropped { task } => {
                let task = self.task(task);
                assert!(task.checkpoint.take().is_some());
                task.paid_ms = 0;
            }
            Change::TaskChecking(check) => {
                self.lease(check.attempt);
                let job = self.jobs.get_mut(&check.attempt.task.job).unwrap();
                assert!(job.requeued.insert(check.attempt.task.index));
                let owner = self.workers[&check.vote.worker].owner;
                assert!(owner == check.vote.owner && owner != job.owner);
                let task = job.tasks.get_mut(&check.attempt.task.index).unwrap();
                assert!(task.votes.iter().all(|vote| vote.owner != owner), "one owner, one vote");
                task.votes = match task.votes {
                    Votes::None => Votes::One(check.vote),
                    Votes::One(one) => Votes::Two(one, check.vote),
                    Votes::Two(..) => panic!("the third vote decides"),
                };
                task.state = TaskState::Queued;
                assert_eq!((task.checkpoint, task.runs_left), (None, check.runs_left));
                (task.paid_ms, task.audit) = (0, check.audit);
            }
            Change::TaskRequeued { attempt, tries_left, losses, paid, paid_ms, .. } => {
                self.lease(attempt);
                let job = self.jobs.get_mut(&attempt.task.job).unwrap();
                assert!(job.requeued.insert(attempt.task.index));
                let task = job.tasks.get_mut(&attempt.task.index).unwrap();
                (task.tries_left, task.state) = (tries_left, TaskState::Queued);
                task.losses = losses;
                let is_covered = task.checkpoint.is_some_and(|saved| saved.run_ms >= paid_ms);
                assert!(is_covered || (paid, paid_ms) == (task.paid, task.paid_ms));
                (task.paid, task.paid_ms) = (paid, paid_ms);
            }
            Change::TaskPausing(pause) => {
                self.lease(pause.attempt);
                let job = self.jobs.get_mut(&pause.attempt.task.job).unwrap();
                let task = job.tasks.get_mut(&pause.attempt.task.index).unwrap();
                assert!(pause.runs_left + 1 == task.runs_left && pause.runs_left > 0);
                task.state = TaskState::Pausing { until: pause.until };
                assert_eq!(task.checkpoint, None, "a run that follows another begins anew");
                (task.paid, task.paid_ms) = (Micros::ZERO, 0);
                (task.tries_left, task.runs_left) = (pause.tries_left, pause.runs_left);
                let released = self.released.remove(&pause.attempt.task).unwrap_or_default();
                assert_eq!(released, job.quote, "pay + fee + refund of the run {}", pause.attempt);
            }
            Change::TaskRoused { task: TaskId { job, index } } => {
                let job = self.jobs.get_mut(&job).unwrap();
                let task = job.tasks.get_mut(&index).unwrap();
                assert!(matches!(task.state, TaskState::Pausing { .. }));
                task.state = TaskState::Queued;
                assert!(job.requeued.insert(index));
            }
            Change::TaskEnded(end) => {
                let job = self.jobs.get_mut(&end.task.job).unwrap();
                let task = job.tasks.remove(&end.task.index).expect("a task ends once");
                job.requeued.remove(&end.task.index);
                let ended = match end.verdict {
                    Verdict::Succeeded => &mut job.ended.succeeded,
                    Verdict::Failed { .. } => &mut job.ended.failed,
                    Verdict::Cancelled => &mut job.ended.cancelled,
                };
                assert!(ended.insert(end.task.index));
                let released = self.released.remove(&end.task).unwrap_or_default();
                let held = job.quote.checked_times(task.runs_left.into()).unwrap() + task.audit;
                assert_eq!(released, held, "pay + fee + refund = hold of {}", end.task);
            }
            Change::UntouchedCancelled { job, tasks, .. } => {
                let job = self.jobs.get_mut(&job).unwrap();
                assert!(!tasks.is_empty() && job.untouched.common(&tasks) == tasks);
                job.untouched.remove_all(&tasks);
                job.ended.cancelled.insert_all(&tasks);
                let (first, last) = (tasks.first().unwrap(), tasks.last().unwrap());
                let key = TransferKey::RefundUntouched { job: job.id, first, last };
                let runs = tasks.len() * u32::from(job.terms.runs());
                self.due.insert(key.to_string(), job.quote.checked_times(runs).unwrap());
            }
            Change::AfterMet { job, after } => {
                let waits = &mut self.jobs.get_mut(&job).unwrap().after;
                let before = waits.len();
                waits.retain(|other| *other != after);
                assert_eq!(waits.len() + 1, before);
            }
            Change::JobHoldSet { job, on_hold, .. } => {
                let job = self.jobs.get_mut(&job).unwrap();
                assert_ne!(std::mem::replace(&mut job.on_hold, on_hold), on_hold);
            }
            Change::JobPrioritySet { job, priority, .. } => {
                let job = self.jobs.get_mut(&job).unwrap();
                assert_ne!(std::mem::replace(&mut job.priority, priority), priority);
            }
            Change::JobCancelling { job, .. } => {
                let job = self.jobs.get_mut(&job).unwrap();
                assert!(!std::mem::replace(&mut job.cancelling, true));
            }
            Change::JobEnded { job, .. } => {
                let job = self.jobs.remove(&job).unwrap();
                assert_eq!((job.ended.len(), job.open_tasks()), (job.spec.tasks, 0));
                assert!(self.due.values().all(|due| *due == Micros::ZERO), "{:?}", self.due);
                assert!(job.open_market().is_none_or(|market| market.bids.is_empty()));
                self.over.insert(job.id, job.ended);
            }
            other => unreachable!("not of a job: {other:?}"),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "write_one() has sorted out the others")]
    fn write_market(&mut self, change: Change) {
        match change {
            Change::BidPlaced { job, worker, bid } => {
                let owner = self.workers[&worker].owner;
                assert_ne!(owner, self.jobs[&job].owner, "a bid on an own job");
                self.open_market(job).bids.insert(worker, bid);
            }
            Change::BidOver { job, worker, fate: BidFate::Failed, .. } => {
                let award = *self.jobs[&job].award().expect("only what was accepted fails");
                assert_eq!(award.worker, worker);
            }
            Change::BidOver { job, worker, .. } => {
                assert!(self.open_market(job).bids.remove(&worker).is_some());
            }
            Change::JobAwarded { job, award, quote, .. } => {
                let job = self.jobs.get_mut(&job).unwrap();
                let market = job.market.as_mut().unwrap();
                let winner = self.winners.insert((job.id, market.round), award.worker);
                assert!(winner.is_none_or(|winner| winner == award.worker), "two winners");
                assert!(market.bids.is_empty());
                market.stage = Stage::Awarded(award);
                job.quote = quote;
            }
            Change::JobReopened { job, market, quote, .. } => {
                let job = self.jobs.get_mut(&job).unwrap();
                let before = job.market.replace(market).unwrap();
                let Stage::Awarded(_) = before.stage else { panic!("{} was open", job.id) };
                assert_eq!(before.round + 1, job.market.as_ref().unwrap().round);
                let task = TaskId { job: job.id, index: 0 };
                let released = self.released.remove(&task).unwrap_or_default();
                assert_eq!(released, job.quote - quote, "pay + fee + refund of a round");
                job.quote = quote;
                for task in job.tasks.values_mut() {
                    task.paid = Micros::ZERO;
                }
            }
            other => unreachable!("not of the market: {other:?}"),
        }
    }

    fn open_market(&mut self, job: JobId) -> &mut Market {
        let market = self.jobs.get_mut(&job).unwrap().market.as_mut().unwrap();
        assert!(matches!(market.stage, Stage::Open { .. }), "job {job} takes no bids");
        market
    }

    fn task(&mut self, id: TaskId) -> &mut Task {
        self.jobs.get_mut(&id.job).unwrap().tasks.get_mut(&id.index).unwrap()
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
                *self.paid.entry(attempt).or_default() += transfer.amount;
            }
            TransferKey::Refund(task) | TransferKey::RefundAudit(task) => {
                *self.released.entry(task).or_default() += transfer.amount;
            }
            TransferKey::RefundRound { job, .. } => {
                let task = TaskId { job, index: 0 };
                *self.released.entry(task).or_default() += transfer.amount;
            }
            TransferKey::RefundRun(attempt) => {
                *self.released.entry(attempt.task).or_default() += transfer.amount;
            }
            TransferKey::RefundUntouched { .. } => {
                let due = self.due.remove(&transfer.key.to_string());
                assert_eq!(due, Some(transfer.amount), "{}", transfer.key);
            }
            TransferKey::Grant(_)
            | TransferKey::Hold(_)
            | TransferKey::HoldRound { .. }
            | TransferKey::HoldAudit(_) => {}
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
            drafts: self.drafts.clone(),
            submit_keys: self.submit_keys.clone(),
            vouchers: self.vouchers.clone(),
            identities: self.identities.clone(),
            ledger: Ledger::from_books(self.accounts.clone(), transfers, head),
            last_job: JobId(self.last_job),
            last_worker: WorkerId(self.last_worker),
            last_voucher: VoucherId(self.last_voucher),
        }
    }

    /// Every account, recomputed from the transfers, whose chain is verified on the way.
    pub(super) fn recomputed_accounts(&self) -> BTreeMap<AccountId, Account> {
        let mut accounts = BTreeMap::<AccountId, Account>::new();
        assert!(self.paid.keys().eq(self.told.keys()), "every payment is told of");
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
                | TransferKey::HoldRound { .. }
                | TransferKey::HoldAudit(_)
                | TransferKey::Fee(_)
                | TransferKey::Refund(_)
                | TransferKey::RefundRound { .. }
                | TransferKey::RefundAudit(_)
                | TransferKey::RefundRun(_)
                | TransferKey::RefundUntouched { .. } => {}
            }
        }
        for (attempt, Paid { charged, earned, .. }) in &self.told {
            assert!(*charged == Micros::ZERO || *charged == self.paid[attempt], "{attempt}");
            assert!(*earned <= self.paid[attempt], "{attempt}");
            let submitter = AccountId::User(self.owners[&attempt.task.job]);
            accounts.get_mut(&submitter).unwrap().spent += *charged;
        }
        accounts
    }
}
