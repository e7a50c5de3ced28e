//! Judges who is let in, who gets tasks, and what is done while nothing may be: vouchers, removed
//! machines and those set aside, a closed intake, a manager that stood still.

use campusgrid_core::effect::Change;
use campusgrid_core::market::Award;
use campusgrid_core::time::Timestamp;
use campusgrid_core::voucher::{Purpose, Shown};
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::{AttemptId, UserId, VoucherId, WorkerId};
use campusgrid_protocol::task::{Outcome, WorkerFault};

use super::{Batch, Oracle, Oracles};
use crate::record::LetIn;

/// A batch that begins so long after the one before comes from a manager that stood still. The engine
/// turns every quarter of a lease.
const STOOD_STILL_MS: u64 = 90_000 / 2;

impl Oracles {
    /// A machine is told that it belongs to a grid, on what it has shown.
    pub(crate) fn let_in(&mut self, worker: WorkerId, shown: Option<Shown>, at: Timestamp) {
        let Some(shown) = shown else { return };
        self.count("machine let in by token");
        let Some(worker) = self.record.workers.get(&worker) else {
            let words = format!("machine {worker} is let in and nobody knows it");
            return self.find(Oracle::VouchersHold, words);
        };
        let (key, owner) = (worker.key_hash, worker.owner);
        let wrong = |purpose: Purpose| purpose != Purpose::Join { owner };
        self.use_voucher(shown, LetIn::Machine(key), wrong, at);
    }

    /// A person is told that they have an account, on what they have shown.
    pub(crate) fn invited(&mut self, user: UserId, shown: Option<Shown>) {
        let Some(shown) = shown else { return };
        self.count("person let in by invitation");
        let wrong = |purpose: Purpose| !matches!(purpose, Purpose::Invitation { .. });
        // When they were let in, only the manager knows.
        self.use_voucher(shown, LetIn::Person(user), wrong, Timestamp(0));
    }

    fn use_voucher(
        &mut self,
        shown: Shown,
        who: LetIn,
        wrong: impl Fn(Purpose) -> bool,
        at: Timestamp,
    ) {
        let id = shown.id;
        let Some(known) = self.record.vouchers.get_mut(&id) else {
            return self.find(Oracle::VouchersHold, format!("voucher {id} was never made"));
        };
        // Whoever has come in by it may be told so again.
        if known.let_in.contains(&who) {
            return;
        }
        known.let_in.insert(who);
        let voucher = &known.voucher;
        let words = if voucher.secret_hash != shown.secret_hash || wrong(voucher.purpose) {
            format!("{who:?} came in by voucher {id}, which is another's")
        } else if known.let_in.len() > voucher.uses_left as usize {
            format!("{:?} came in by voucher {id} of {} uses", known.let_in, voucher.uses_left)
        } else if at >= voucher.until {
            format!("{who:?} came in by voucher {id} after its time")
        } else if self.revoked.contains(&id) {
            format!("{who:?} came in by voucher {id} after it was revoked")
        } else {
            return;
        };
        self.find(Oracle::VouchersHold, words);
    }

    /// A person has read that a voucher is revoked.
    pub(crate) fn revoked(&mut self, voucher: VoucherId) {
        self.count("voucher revoked");
        self.revoked.insert(voucher);
    }

    /// A person has asked that a machine gets tasks again.
    pub(crate) fn release_asked(&mut self, worker: WorkerId) {
        self.releases.insert(worker);
    }

    pub(super) fn released(&mut self, worker: WorkerId) {
        self.count("worker released");
        if !self.releases.contains(&worker) {
            let words = format!("worker {worker} gets tasks again, and nobody asked");
            self.find(Oracle::SetAsideRests, words);
        }
    }

    /// A machine gets a task.
    pub(super) fn may_have_tasks(&mut self, attempt: AttemptId, worker: WorkerId) {
        let Some(known) = self.record.workers.get(&worker) else { return };
        if known.removed {
            let words = format!("{attempt} goes to worker {worker}, which was removed");
            self.find(Oracle::RemovedStaysOut, words);
        } else if known.set_aside {
            let words = format!("{attempt} goes to worker {worker}, which is set aside");
            self.find(Oracle::SetAsideRests, words);
        }
    }

    /// A machine of this key is spoken to as this worker.
    pub(super) fn is_worker(&mut self, worker: WorkerId, key_hash: KeyHash) {
        if self.record.workers.get(&worker).is_none_or(|known| known.key_hash != key_hash) {
            let words = format!("a machine is welcomed as worker {worker}, which is another");
            self.find(Oracle::RemovedStaysOut, words);
        }
    }

    /// A machine of this key is told to run something.
    pub(super) fn is_in(&mut self, attempt: AttemptId, key_hash: KeyHash) {
        let holder = self.record.attempt(attempt).map(|attempt| attempt.worker);
        if self.record.worker_of(&key_hash).is_none_or(|worker| Some(worker) != holder) {
            let words = format!("{attempt} is told to a machine that is not of the grid");
            self.find(Oracle::RemovedStaysOut, words);
        }
    }

    /// While nothing is taken in, nothing begins, ends or moves.
    pub(super) fn shut_is_shut(&mut self, change: &Change, batch: Batch) {
        let moves = match change {
            Change::UserRegistered { .. }
            | Change::Account { .. }
            | Change::Transferred(_)
            | Change::JobSubmitted(_)
            | Change::TaskLeased { .. }
            | Change::TaskRequeued { .. }
            | Change::TaskPausing(_)
            | Change::TaskRoused { .. }
            | Change::AfterMet { .. }
            | Change::Drafted { .. }
            | Change::NoticeDue { .. }
            | Change::TaskEnded(_)
            | Change::UntouchedCancelled { .. }
            | Change::JobEnded { .. }
            | Change::JobLocked { .. }
            | Change::CheckpointSaved { .. }
            | Change::CheckpointDropped { .. }
            | Change::AttemptPaid { .. }
            | Change::TaskChecking(_)
            | Change::BidPlaced { .. }
            | Change::JobAwarded { award: Award { start_by: Some(_), .. }, .. }
            | Change::JobReopened { .. }
            | Change::SubmitKeyKept { .. } => true,
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
            | Change::RoleSet { .. }
            | Change::VoucherMade(_)
            | Change::VoucherUsed { .. }
            | Change::VoucherOver { .. }
            | Change::SubmitKeyForgotten { .. }
            | Change::AttemptStarted { .. }
            | Change::BidOver { .. }
            | Change::JobAwarded { award: Award { start_by: None, .. }, .. }
            | Change::WorkerRulesSet { .. }
            | Change::WorkerAskSet { .. }
            | Change::WorkerRecord { .. }
            | Change::UserVerified { .. }
            | Change::TaskCancelling { .. }
            | Change::JobCancelling { .. }
            | Change::JobHoldSet { .. }
            | Change::JobPrioritySet { .. }
            | Change::DraftChanged { .. }
            | Change::DraftDiscarded { .. }
            | Change::JobEmptied { .. }
            | Change::NoticeTried { .. }
            | Change::WebhookSecretSet { .. }
            | Change::WorkerApproved { .. }
            | Change::WorkerRenamed { .. }
            | Change::WorkerSetAside { .. }
            | Change::WorkerRemoved { .. } => false,
        };
        if moves && batch.is_shut {
            let words = format!("{change:?} though nothing is taken in");
            self.find(Oracle::ShutIsShut, words);
        }
    }

    /// The manager gives an attempt up for lost, or takes its machine's word for it.
    pub(super) fn nobody_was_lost(&mut self, attempt: AttemptId, reason: &str, batch: Batch) {
        let told = self.truths.get(&attempt).into_iter().flatten();
        let mut outcomes = told.map(|ended| &ended.outcome);
        let is_told = outcomes.any(|it| *it == Outcome::Returned(WorkerFault::LeaseOver));
        let is_over = reason.starts_with(&WorkerFault::LeaseOver.to_string());
        if is_over && !is_told && batch.after_ms > STOOD_STILL_MS {
            let words = format!(
                "{attempt} is lost since the manager stood still for {} ms",
                batch.after_ms
            );
            self.find(Oracle::StandstillIsForgiven, words);
        }
    }
}
