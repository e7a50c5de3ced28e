//! Sits on the seams (core and store, manager and network, agent and spool) and, when told to,
//! plants one bug there, so that tests can show which oracle catches it.

mod kinds;
mod recovery;
mod submits;

use std::collections::BTreeMap;
use std::sync::Arc;

use campusgrid_core::durable::Durable;
use campusgrid_core::effect::{Change, Effects, Reply};
use campusgrid_core::input::{Enrolment, EnrolmentProof, Input, Request, Ticket, WorkerEvent};
use campusgrid_core::ledger::{Transfer, TransferKey};
use campusgrid_core::money::Micros;
use campusgrid_core::policy::{Billing, Policy};
use campusgrid_core::user::LOCAL;
use campusgrid_core::voucher::{Purpose, Shown, Voucher};
use campusgrid_core::worker::{KeyHash, Worker};
use campusgrid_protocol::id::{AttemptId, BlobHash, JobId, SessionId, WorkerId};
use campusgrid_protocol::message::{ToManager, ToWorker};
use campusgrid_protocol::rules::Phase;
use campusgrid_protocol::task::{BlobRef, Ended, Outcome, Saved, WorkerFault};

use self::kinds::kind;

/// A mistake to plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Changes of this kind never reach the store.
    ForgetsChange(&'static str),
    /// The charge of every task is written as nothing, for people to read.
    WritesNoCharge,
    /// Every task is charged its quote, whatever the policy says.
    ChargesTheQuote,
    /// A payment is written twice.
    PaysTwice,
    /// Messages to workers go out before the commit.
    SendsBeforeCommit,
    /// Replies to people go out before the commit.
    AnswersBeforeCommit,
    /// A result is confirmed and thrown away.
    ConfirmsUnstored,
    /// Heartbeats and joins renew all leases of their worker, listed or not.
    RenewsAll,
    /// Heartbeats list nothing.
    ListsNothing,
    /// The result of an old attempt counts for the one that runs now.
    FencingOff,
    /// People are told that their jobs are cancelled, and nothing is.
    IgnoresCancels,
    /// The idempotency keys of submits are ignored.
    IgnoresSubmitKeys,
    /// A repeated submit finds its job only while the manager lives.
    RecoveryForgetsSubmitKeys,
    /// After recovery every task that waits or runs has all of its tries again.
    RecoveryForgetsTries,
    /// After recovery tasks that run are queued.
    RecoveryForgetsLeases,
    /// After recovery nobody has cancelled anything.
    RecoveryForgetsCancels,
    /// After recovery nobody knows which GPUs are granted.
    RecoveryForgetsGpus,
    /// After recovery no job's packages are known.
    RecoveryForgetsLocks,
    /// Attempts are told the GPUs from the first on, as many as they need.
    GrantsByCount,
    /// Every attempt is told a lock of its own.
    LocksEachForItself,
    /// Machines are believed to offer whatever is required.
    BelievesAllLabels,
    /// The worker deletes a result when it has sent it.
    DeletesUnconfirmed,
    /// The worker reports an end that is not synced yet.
    ReportsUnsynced,
    /// The worker's clock stands still while it is suspended.
    SleepsThroughLeases,
    /// The worker says that a stopped attempt has finished while its processes still die.
    FreesRoomEarly,
    /// A token that is no good lets in all the same, as another one.
    AcceptsAnyToken,
    /// A machine whose key is unknown is taken for another.
    AdmitsRemoved,
    /// Machines that are set aside get tasks again though nobody has asked.
    ReleasesByItself,
    /// The grid is never told that its intake is shut.
    IgnoresIntake,
    /// The grid is never told that it stood still.
    ForgetsPauses,
    /// After recovery nobody knows on which machines a task was lost.
    RecoveryForgetsLosses,
    /// After recovery no machine is set aside.
    RecoveryForgetsSetAside,
    /// After recovery every voucher has one more use.
    RecoveryForgetsUses,
    /// The worker takes an end that is torn for a whole one.
    TakesTornEnds,
    /// Jobs wait for nothing.
    IgnoresChains,
    /// As many tasks run at once as there is room for.
    IgnoresAtOnce,
    /// No job has a deadline.
    IgnoresDeadlines,
    /// What has failed is run again at once.
    IgnoresBackoff,
    /// What has failed is run once more than its submitter asked for.
    RetriesOnceMore,
    /// People are told that their jobs are on hold, and they are not.
    IgnoresHolds,
    /// Programs are told the position of their task for its index.
    TellsPositions,
    /// After recovery nothing pauses any more.
    RecoveryForgetsPauses,
    /// After recovery every task that has started has one more run.
    RecoveryForgetsRuns,
    /// After recovery no job waits for another.
    RecoveryForgetsChains,
    /// After recovery no job is on hold.
    RecoveryForgetsHolds,
    /// After recovery there are no drafts.
    RecoveryForgetsDrafts,
    /// After recovery the numbers of drafts that are over are given out again.
    RecoveryForgetsNumbers,
    /// After recovery no task has anything to go on from.
    RecoveryForgetsCheckpoints,
    /// After recovery nobody knows what was paid of a run that goes on.
    RecoveryForgetsPaid,
    /// After recovery no bid stands.
    RecoveryForgetsBids,
    /// After recovery no bid has been accepted.
    RecoveryForgetsAwards,
    /// After recovery no attempt has a price of its own.
    RecoveryForgetsDeals,
    /// After recovery there are no results that wait for others.
    RecoveryForgetsVotes,
    /// After recovery no owner has any rules.
    RecoveryForgetsRules,
    /// After recovery nobody asks for anything but the formula.
    RecoveryForgetsAsks,
    /// After recovery all machines are new.
    RecoveryForgetsRecords,
    /// Another bid is accepted than the submitter asked for.
    AcceptsAnother,
    /// What is given back has saved something, whether it has or not.
    InventsCheckpoints,
    /// The rest of a hold is given back twice.
    RefundsTwice,
    /// More is paid than is held.
    PaysAboveTheHold,
    /// A worker whose owner is back lets its tasks go on.
    LosesFreezes,
    /// The grid is never told that a machine is not shared.
    IgnoresShares,
    /// Owners are told that their rules hold, and they do not.
    IgnoresRules,
}

/// Does nothing unless there is a bug to plant.
#[derive(Debug)]
pub(crate) struct Saboteur {
    bug: Option<Bug>,
}

/// Inputs as the grid gets them, and effects that it did not ask for.
pub(crate) struct Tampered {
    pub(crate) inputs: Vec<Input>,
    pub(crate) effects: Effects,
}

impl Saboteur {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        Self { bug }
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Between the core and the store.
    pub(crate) fn changes(&self, mut changes: Vec<Change>) -> Vec<Change> {
        if let Some(Bug::ForgetsChange(forgotten)) = self.bug {
            changes.retain(|change| kind(change) != forgotten);
        }
        for change in &mut changes {
            if !self.has(Bug::WritesNoCharge) {
                break;
            }
            if let Change::AttemptPaid { charged, .. } = change {
                *charged = Micros::ZERO;
            }
        }
        if self.has(Bug::PaysTwice) {
            again(&mut changes, |key| matches!(key, TransferKey::Pay(_)));
        }
        if self.has(Bug::RefundsTwice) {
            again(&mut changes, |key| {
                matches!(key, TransferKey::Refund(_) | TransferKey::RefundRound { .. })
            });
        }
        for change in &mut changes {
            if let Change::Transferred(transfer) = change
                && matches!(transfer.key, TransferKey::Pay(_))
                && self.has(Bug::PaysAboveTheHold)
            {
                transfer.amount += Micros::from_credits(1000);
            }
        }
        changes
    }

    /// Between the operator and the core.
    pub(crate) fn policy(&self, policy: &Arc<Policy>) -> Arc<Policy> {
        if self.has(Bug::ChargesTheQuote) {
            return Arc::new(Policy { billing: Billing::Quoted, ..Policy::clone(policy) });
        }
        Arc::clone(policy)
    }

    /// Between the network and the core; `keys` are those of the machines in session.
    pub(crate) fn inputs(
        &self,
        inputs: Vec<Input>,
        disk: &Durable,
        keys: &BTreeMap<SessionId, KeyHash>,
    ) -> Tampered {
        let mut tampered = Tampered { inputs: Vec::new(), effects: Effects::default() };
        for mut input in inputs {
            match &mut input {
                Input::Request { ticket, request: Request::Cancel { .. } }
                    if self.has(Bug::IgnoresCancels) =>
                {
                    tampered.effects.replies.push((*ticket, Reply::Done));
                    continue;
                }
                Input::Request { ticket, request: Request::CancelAll { .. } }
                    if self.has(Bug::IgnoresCancels) =>
                {
                    tampered.effects.replies.push((*ticket, Reply::Cancelled { jobs: 0 }));
                    continue;
                }
                Input::Request { ticket, request: Request::SetHold { on_hold: true, .. } }
                    if self.has(Bug::IgnoresHolds) =>
                {
                    tampered.effects.replies.push((*ticket, Reply::Done));
                    continue;
                }
                Input::Request { request: Request::Submit(submission), .. } => {
                    self.submits(submission);
                }
                Input::Request { ticket, request: Request::SetRules { .. } }
                    if self.has(Bug::IgnoresRules) =>
                {
                    tampered.effects.replies.push((*ticket, Reply::Done));
                    continue;
                }
                Input::Request { request: Request::Accept { job, worker, price, .. }, .. } => {
                    if let Some((other, bid)) = self.another_bid(*job, *worker, disk) {
                        (*worker, *price) = (other, bid);
                    }
                }
                Input::Request { request: Request::Enrol(enrolment), .. } => {
                    self.accept(enrolment, disk);
                }
                Input::Tick => {
                    tampered.inputs.extend(self.releases(disk));
                }
                Input::FromWorker { session, event } => {
                    if let Some(attempt) = self.confirms(event) {
                        tampered.effects.sends.push((*session, ToWorker::Stored { attempt }));
                        continue;
                    }
                    if let WorkerEvent::Joined(joined) = event
                        && self.has(Bug::BelievesAllLabels)
                    {
                        let all = ["R", "image:*", "octave", "python3.11"];
                        joined.labels = all.map(str::to_owned).to_vec();
                    }
                    if let WorkerEvent::Shares(shares) = event
                        && self.has(Bug::IgnoresShares)
                    {
                        shares.phase = Phase::Open;
                    }
                    if let WorkerEvent::Ended(ended) = event {
                        tampered.inputs.extend(self.invents(*session, ended));
                    }
                    self.admit(event, disk);
                    self.renew_all(*session, event, disk, keys);
                    self.restamp(session, event, disk, keys);
                }
                Input::Request { .. } | Input::Paused | Input::Intake(_) => {}
            }
            tampered.inputs.push(input);
        }
        tampered
    }

    /// Between the core and the network.
    pub(crate) fn tells(&self, mut message: ToWorker) -> ToWorker {
        if let ToWorker::Start { gpus, .. } = &mut message
            && self.has(Bug::GrantsByCount)
        {
            *gpus = (0..).take(gpus.len()).collect();
        }
        if let ToWorker::Start { attempt, index, .. } = &mut message
            && self.has(Bug::TellsPositions)
        {
            *index = attempt.task.index;
        }
        if let ToWorker::Locked { attempt, lock } = &mut message
            && self.has(Bug::LocksEachForItself)
        {
            *lock = format!("numpy=={}", attempt.number).into();
        }
        message
    }

    /// Between the agent and the network.
    pub(crate) fn sends(&self, mut message: ToManager) -> ToManager {
        if let ToManager::Heartbeat { attempts, .. } = &mut message
            && self.has(Bug::ListsNothing)
        {
            attempts.clear();
        }
        message
    }

    fn accept(&self, enrolment: &mut Enrolment, disk: &Durable) {
        if let EnrolmentProof::Token(shown) = &mut enrolment.proof
            && self.has(Bug::AcceptsAnyToken)
            && !disk.vouchers.contains_key(&shown.id)
        {
            let is_for_machines = |voucher: &&Voucher| match voucher.purpose {
                Purpose::Join { .. } => true,
                Purpose::Invitation { .. } => false,
            };
            if let Some(other) = disk.vouchers.values().find(is_for_machines) {
                *shown = Shown { id: other.id, secret_hash: other.secret_hash };
            }
        }
    }

    fn releases(&self, disk: &Durable) -> Vec<Input> {
        if !self.has(Bug::ReleasesByItself) {
            return Vec::new();
        }
        let set_aside = disk.workers.values().filter(|worker| worker.set_aside.is_some());
        let release = |worker: &Worker| Input::Request {
            ticket: Ticket(0),
            request: Request::ReleaseWorker { user: LOCAL, worker: worker.id },
        };
        set_aside.map(release).collect()
    }

    fn admit(&self, event: &mut WorkerEvent, disk: &Durable) {
        if let WorkerEvent::Joined(joined) = event
            && self.has(Bug::AdmitsRemoved)
            && worker_of(&joined.key_hash, disk).is_none()
            && let Some(other) = disk.workers.values().next()
        {
            joined.key_hash = other.key_hash;
        }
    }

    /// A bid that stands beside the one of this machine.
    fn another_bid(&self, job: JobId, but: WorkerId, disk: &Durable) -> Option<(WorkerId, Micros)> {
        let market = disk.jobs.get(&job).and_then(|job| job.market.as_ref());
        let bids = &market.filter(|_| self.has(Bug::AcceptsAnother))?.bids;
        bids.iter().find(|(worker, _)| **worker != but).map(|(worker, bid)| (*worker, bid.price))
    }

    fn invents(&self, session: SessionId, ended: &Ended) -> Option<Input> {
        let is_back = ended.outcome == Outcome::Returned(WorkerFault::Leaving);
        let is_it = self.has(Bug::InventsCheckpoints) && is_back;
        let manifest = BlobRef { hash: BlobHash([7; 32]), size_bytes: 1 };
        let saved = Saved { manifest, run_ms: u64::MAX };
        let (attempt, files) = (ended.attempt, Vec::new());
        let event = WorkerEvent::Checkpoint { attempt, saved, files };
        is_it.then_some(Input::FromWorker { session, event })
    }

    fn confirms(&self, event: &WorkerEvent) -> Option<AttemptId> {
        let WorkerEvent::Ended(ended) = event else { return None };
        self.has(Bug::ConfirmsUnstored).then_some(ended.attempt)
    }

    fn renew_all(
        &self,
        session: SessionId,
        event: &mut WorkerEvent,
        disk: &Durable,
        keys: &BTreeMap<SessionId, KeyHash>,
    ) {
        if !self.has(Bug::RenewsAll) {
            return;
        }
        let attempts = match event {
            WorkerEvent::Joined(joined) => &mut joined.attempts,
            WorkerEvent::Heartbeat(heartbeat) => &mut heartbeat.attempts,
            WorkerEvent::Started { .. }
            | WorkerEvent::Locked { .. }
            | WorkerEvent::Checkpoint { .. }
            | WorkerEvent::Shares(_)
            | WorkerEvent::Ended(_)
            | WorkerEvent::Gone => return,
        };
        let worker = keys.get(&session).and_then(|key| worker_of(key, disk));
        for (attempt, holder) in leases(disk) {
            if Some(holder) == worker && !attempts.contains(&attempt) {
                attempts.push(attempt);
            }
        }
    }

    fn restamp(
        &self,
        session: &mut SessionId,
        event: &mut WorkerEvent,
        disk: &Durable,
        keys: &BTreeMap<SessionId, KeyHash>,
    ) {
        let WorkerEvent::Ended(ended) = event else { return };
        if !self.has(Bug::FencingOff) {
            return;
        }
        let same_task = |(attempt, _): &(AttemptId, WorkerId)| attempt.task == ended.attempt.task;
        let Some((current, holder)) = leases(disk).find(same_task) else { return };
        let holds = |(_, key): &(&SessionId, &KeyHash)| worker_of(key, disk) == Some(holder);
        if let Some((&holder, _)) = keys.iter().rev().find(holds) {
            *session = holder;
            ended.attempt = current;
        }
    }
}

fn leases(disk: &Durable) -> impl Iterator<Item = (AttemptId, WorkerId)> {
    let of_jobs = disk.jobs.values().flat_map(|job| job.leases());
    of_jobs.map(|(attempt, lease)| (attempt, lease.worker))
}

fn worker_of(key: &KeyHash, disk: &Durable) -> Option<WorkerId> {
    disk.workers.values().find(|worker| worker.key_hash == *key).map(|worker| worker.id)
}

/// Repeats the last of these transfers of a batch as a row of its own.
fn again(changes: &mut Vec<Change>, is_it: impl Fn(&TransferKey) -> bool) {
    let mut transfers = changes.iter().rev().filter_map(|change| {
        if let Change::Transferred(transfer) = change { Some(transfer) } else { None }
    });
    let Some(last) = transfers.clone().next() else { return };
    let payment = transfers.find(|transfer| is_it(&transfer.key));
    if let Some(payment) = payment {
        let again = Transfer { id: last.id + 1, ..payment.clone() };
        changes.push(Change::Transferred(again));
    }
}
