//! The rows of the event table: what viewers are told of a change, and what an operator can look up
//! later.

use campusgrid_core::effect::{Change, Verdict};
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::LOCAL;
use campusgrid_core::voucher::Purpose;
use campusgrid_protocol::id::JobId;

use super::write::role;

/// What viewers are told of a change.
pub(super) struct Event {
    pub(super) at: Timestamp,
    pub(super) job: Option<u64>,
    pub(super) kind: &'static str,
    pub(super) message: String,
}

impl Event {
    pub(super) fn of(change: &Change) -> Option<Self> {
        let about = |at: Timestamp, job: JobId, kind, message| {
            Some(Self { at, job: Some(job.0), kind, message })
        };
        let general = |at: Timestamp, kind, message| Some(Self { at, job: None, kind, message });
        match change {
            Change::JobSubmitted(job) => about(
                job.at,
                job.id,
                "job.submitted",
                format!("{} tasks submitted", job.spec.tasks),
            ),
            Change::TaskLeased { attempt, worker, at, .. } => {
                let message = format!("task {} given to worker {worker}", attempt.task.index);
                about(*at, attempt.task.job, "task.leased", message)
            }
            Change::JobLocked { job, lock, at } => {
                let packages = lock.lines().filter(|line| line.contains("==")).count();
                about(*at, *job, "job.locked", format!("its packages came to {packages} in all"))
            }
            Change::AttemptStarted { attempt, at } => {
                let message = format!("task {} started", attempt.task.index);
                about(*at, attempt.task.job, "attempt.started", message)
            }
            Change::TaskRequeued { attempt, reason, at, .. } => {
                let message = format!("task {} waits again: {reason}", attempt.task.index);
                about(*at, attempt.task.job, "task.requeued", message)
            }
            Change::TaskEnded(end) => {
                let words = match &end.verdict {
                    Verdict::Succeeded => "succeeded",
                    Verdict::Failed { reason } => reason,
                    Verdict::Cancelled => "cancelled",
                };
                let message = format!("task {}: {words}", end.task.index);
                about(end.at, end.task.job, "task.ended", message)
            }
            Change::UntouchedCancelled { job, from, to, at } => {
                let message = format!("{} waiting tasks cancelled", to - from);
                about(*at, *job, "tasks.cancelled", message)
            }
            Change::JobEnded { job, at, .. } => {
                about(*at, *job, "job.ended", "all tasks have ended".to_owned())
            }
            Change::WorkerApproved { worker, at } => {
                let words = format!("worker {} joined as user {}'s", worker.name, worker.owner);
                general(*at, "worker.approved", words)
            }
            Change::WorkerRemoved { worker, at } => {
                general(*at, "worker.removed", format!("worker {worker} removed"))
            }
            Change::UserRegistered { user, at, .. } => {
                general(*at, "user.registered", format!("{} registered", user.name))
            }
            Change::JobCancelling { job, at } => {
                about(*at, *job, "job.cancelling", "what waits is to be cancelled".to_owned())
            }
            Change::WorkerSetAside { worker, reason: Some(reason), at } => {
                general(*at, "worker.set_aside", format!("worker {worker} set aside: {reason}"))
            }
            Change::WorkerSetAside { worker, reason: None, at } => {
                general(*at, "worker.released", format!("worker {worker} takes tasks again"))
            }
            Change::RoleSet { by, user, role: to, at } => {
                let by = match *by {
                    LOCAL => "at the manager's own machine".to_owned(),
                    by => format!("by user {by}"),
                };
                let words = format!("user {user} is {} now, {by}", role(*to));
                general(*at, "user.role", words)
            }
            Change::PasswordChanged { user, at, .. } => {
                general(*at, "user.password", format!("user {user} has a new password"))
            }
            Change::VoucherMade(voucher) => {
                let (id, uses) = (voucher.id, voucher.uses_left);
                let words = match voucher.purpose {
                    Purpose::Join { owner } => {
                        format!("token {id} lets {uses} machines join as user {owner}'s")
                    }
                    Purpose::Invitation { by } => {
                        format!("invitation {id} of user {by} lets {uses} people register")
                    }
                };
                general(voucher.made_at, "voucher.made", words)
            }
            Change::VoucherOver { voucher, at } => {
                general(*at, "voucher.over", format!("token or invitation {voucher} is over"))
            }
            Change::LoginOpened { .. }
            | Change::LoginClosed { .. }
            | Change::LoginRevoked { .. }
            | Change::LoginsRevoked { .. }
            | Change::LoginsOver { .. }
            | Change::PasswordRehashed { .. }
            | Change::ApiTokenOpened { .. }
            | Change::ApiTokenRevoked { .. }
            | Change::Used { .. }
            | Change::VoucherUsed { .. }
            | Change::Account { .. }
            | Change::Transferred(_)
            | Change::SubmitKeyKept { .. }
            | Change::SubmitKeyForgotten { .. }
            | Change::TaskCancelling { .. }
            | Change::WorkerRenamed { .. } => None,
        }
    }
}
