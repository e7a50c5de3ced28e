//! Tell: lets out what a batch led to, once it is on disk.

use std::collections::BTreeMap;

use campusgrid_core::effect::{Change, Effects, Reply};
use campusgrid_core::input::Ticket;
use campusgrid_protocol::id::SessionId;
use campusgrid_protocol::message::ToWorker;
use tokio::sync::{mpsc, oneshot, watch};

use super::batch::Committed;
use crate::live::LiveLogs;

/// Where replies, messages and event numbers go.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) waiting: BTreeMap<Ticket, oneshot::Sender<Reply>>,
    pub(super) outboxes: BTreeMap<SessionId, mpsc::Sender<ToWorker>>,
    pub(super) events: watch::Sender<u64>,
    pub(super) live: LiveLogs,
}

impl Delivery {
    pub(super) fn deliver(&mut self, committed: Committed) {
        let Committed { effects, newest_event, wrote_for: _ } = committed;
        let Effects { changes, sends, replies, closes } = effects;
        for change in &changes {
            if let Change::TaskLeased { attempt, worker, .. } = change {
                self.live.open(*worker, *attempt); // Before the worker can speak of it.
            }
        }
        for (ticket, reply) in replies {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // Whoever asked may have hung up; what they asked for is done all the same.
                drop(waiting.send(reply));
            }
        }
        for (session, message) in sends {
            self.send(session, message);
        }
        for (session, reason, comeback) in closes {
            self.send(session, ToWorker::Closing { reason, comeback });
            self.outboxes.remove(&session);
        }
        if let Some(number) = newest_event {
            self.events.send_replace(number);
        }
        for change in &changes {
            self.forget_live_log(change);
        }
    }

    /// Never waits: a session that does not keep up is closed, and its worker will return.
    fn send(&mut self, session: SessionId, message: ToWorker) {
        let Some(outbox) = self.outboxes.get(&session) else { return };
        if outbox.try_send(message).is_err() {
            tracing::warn!(session = session.0, "the worker does not keep up, closing its session");
            self.outboxes.remove(&session);
        }
    }

    /// After the event is out: viewers that wake then find the kept log.
    fn forget_live_log(&self, change: &Change) {
        match change {
            Change::TaskRequeued { attempt, .. } => self.live.forget(*attempt),
            Change::TaskPausing(pause) => self.live.forget(pause.attempt),
            Change::TaskChecking(check) => self.live.forget(check.attempt),
            Change::TaskEnded(end) => {
                if let Some(result) = &end.attempt {
                    self.live.forget(result.attempt);
                }
            }
            Change::UserRegistered { .. }
            | Change::LoginOpened { .. }
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
            | Change::Account { .. }
            | Change::Transferred(_)
            | Change::JobSubmitted(_)
            | Change::SubmitKeyKept { .. }
            | Change::SubmitKeyForgotten { .. }
            | Change::TaskLeased { .. }
            | Change::JobLocked { .. }
            | Change::AttemptStarted { .. }
            | Change::TaskCancelling { .. }
            | Change::JobCancelling { .. }
            | Change::UntouchedCancelled { .. }
            | Change::TaskRoused { .. }
            | Change::AfterMet { .. }
            | Change::JobHoldSet { .. }
            | Change::JobPrioritySet { .. }
            | Change::Drafted { .. }
            | Change::DraftChanged { .. }
            | Change::DraftDiscarded { .. }
            | Change::JobEmptied { .. }
            | Change::NoticeDue { .. }
            | Change::NoticeTried { .. }
            | Change::WebhookSecretSet { .. }
            | Change::JobEnded { .. }
            | Change::WorkerApproved { .. }
            | Change::WorkerRenamed { .. }
            | Change::WorkerRemoved { .. }
            | Change::WorkerSetAside { .. }
            | Change::WorkerRulesSet { .. }
            | Change::WorkerAskSet { .. }
            | Change::WorkerRecord { .. }
            | Change::AttemptPaid { .. }
            | Change::CheckpointSaved { .. }
            | Change::CheckpointDropped { .. }
            | Change::BidPlaced { .. }
            | Change::BidOver { .. }
            | Change::JobAwarded { .. }
            | Change::JobReopened { .. }
            | Change::UserVerified { .. } => {}
        }
    }
}
