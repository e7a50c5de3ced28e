//! The rows of the event table: what viewers are told of a change, and what an operator can look up
//! later. Tasks are named by their indices.

mod market;

use campusgrid_core::effect::{Change, Verdict};
use campusgrid_core::input::NoticeFate;
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::LOCAL;
use campusgrid_core::voucher::Purpose;
use campusgrid_protocol::id::{JobId, TaskId};
use campusgrid_protocol::ranges::Ranges;

use super::numbering::Numbering;
use super::write::role;

/// Jobs with more tasks than this are crowded: of what happens to their tasks only the newest is kept,
/// of each kind, and told of all tasks of a batch together. Every task would leave three rows else, and
/// what happened to it is in its attempts.
pub(super) const CROWD: u32 = 100;

/// Indices of a crowd that are named, in bytes, and tasks of which they are taken.
const NAMED_BYTES: usize = 80;
const NAMED_TASKS: usize = 1000;

/// What viewers are told of a change.
pub(super) struct Event {
    pub(super) at: Timestamp,
    pub(super) job: Option<u64>,
    pub(super) kind: &'static str,
    pub(super) message: String,
    /// Whether it takes the place of the one of its kind before, about the same job.
    pub(super) newest_only: bool,
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TaskKind {
    Leased,
    Started,
    Requeued,
    Pausing,
    Checking,
    Saved,
    Ended,
}

/// What happened to one task, known by its position.
pub(super) struct TaskEvent {
    pub(super) at: Timestamp,
    pub(super) task: TaskId,
    pub(super) kind: TaskKind,
    /// What follows the task's index in a sentence.
    words: String,
}

/// What is told of a change.
pub(super) enum Told {
    Nothing,
    Event(Event),
    Task(TaskEvent),
}

impl TaskKind {
    fn name(self) -> &'static str {
        match self {
            Self::Leased => "task.leased",
            Self::Started => "attempt.started",
            Self::Requeued => "task.requeued",
            Self::Pausing => "task.pausing",
            Self::Checking => "task.checking",
            Self::Saved => "task.saved",
            Self::Ended => "task.ended",
        }
    }

    /// What follows the indices of several tasks.
    fn words(self) -> &'static str {
        match self {
            Self::Leased => "given to workers",
            Self::Started => "started",
            Self::Requeued => "given back by workers",
            Self::Pausing => "failed, to be run again",
            Self::Checking => "to be compared with other machines' results",
            Self::Saved => "saved as far as they have come",
            Self::Ended => "ended",
        }
    }

    /// As it is told of tasks of a crowded job at these positions.
    pub(super) fn of_crowd(
        self,
        job: JobId,
        positions: &Ranges,
        at: Timestamp,
        numbering: &Numbering,
    ) -> Event {
        let mut indices = Ranges::default();
        for position in positions.numbers().take(NAMED_TASKS) {
            indices.insert(numbering.index(position));
        }
        let mut named = indices.to_string();
        if named.len() > NAMED_BYTES || positions.len() > indices.len() {
            named.truncate(named[..named.len().min(NAMED_BYTES)].rfind(',').unwrap_or(named.len()));
            named.push_str(&format!(" and others, {} in all,", positions.len()));
        }
        let noun = if positions.len() == 1 { "task" } else { "tasks" };
        let message = format!("{noun} {named} {}", self.words());
        Event { at, job: Some(job.0), kind: self.name(), message, newest_only: true }
    }
}

impl TaskEvent {
    /// As it is told of a task with this index.
    pub(super) fn alone(self, index: u32) -> Event {
        let Self { at, task, kind, words } = self;
        let message = format!("task {index}{words}");
        Event { at, job: Some(task.job.0), kind: kind.name(), message, newest_only: false }
    }
}

impl Told {
    pub(super) fn of(change: &Change) -> Self {
        match change {
            Change::TaskLeased { .. }
            | Change::AttemptStarted { .. }
            | Change::TaskRequeued { .. }
            | Change::TaskPausing(_)
            | Change::TaskChecking(_)
            | Change::CheckpointSaved { .. }
            | Change::TaskEnded(_) => of_task(change),
            Change::JobSubmitted(_)
            | Change::JobLocked { .. }
            | Change::UntouchedCancelled { .. }
            | Change::JobHoldSet { .. }
            | Change::JobPrioritySet { .. }
            | Change::JobCancelling { .. }
            | Change::JobEnded { .. }
            | Change::JobEmptied { .. }
            | Change::Drafted { .. }
            | Change::DraftChanged { .. } => of_job(change),
            Change::BidPlaced { .. }
            | Change::BidOver { .. }
            | Change::JobAwarded { .. }
            | Change::JobReopened { .. } => market::of(change),
            Change::WorkerApproved { .. }
            | Change::WorkerRemoved { .. }
            | Change::WorkerSetAside { .. }
            | Change::WorkerRulesSet { .. }
            | Change::WorkerAskSet { .. }
            | Change::UserVerified { .. }
            | Change::UserRegistered { .. }
            | Change::RoleSet { .. }
            | Change::PasswordChanged { .. }
            | Change::WebhookSecretSet { .. }
            | Change::VoucherMade(_)
            | Change::VoucherOver { .. }
            | Change::DraftDiscarded { .. }
            | Change::NoticeTried { .. } => of_grid(change),
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
            | Change::TaskRoused { .. }
            | Change::AfterMet { .. }
            | Change::NoticeDue { .. }
            | Change::CheckpointDropped { .. }
            | Change::AttemptPaid { .. }
            | Change::WorkerRecord { .. }
            | Change::WorkerRenamed { .. } => Self::Nothing,
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "Told::of() has sorted out the others")]
fn of_task(change: &Change) -> Told {
    let about =
        |at: &Timestamp, task, kind, words| Told::Task(TaskEvent { at: *at, task, kind, words });
    match change {
        Change::TaskLeased { attempt, worker, at, .. } => {
            about(at, attempt.task, TaskKind::Leased, format!(" given to worker {worker}"))
        }
        Change::AttemptStarted { attempt, at } => {
            about(at, attempt.task, TaskKind::Started, " started".to_owned())
        }
        Change::TaskRequeued { attempt, reason, at, .. } => {
            about(at, attempt.task, TaskKind::Requeued, format!(" waits again: {reason}"))
        }
        Change::TaskPausing(pause) => {
            let words = format!(" failed, and is to be run again: {}", pause.reason);
            about(&pause.at, pause.attempt.task, TaskKind::Pausing, words)
        }
        Change::TaskChecking(check) => {
            let words = " is to be compared with another machine's result".to_owned();
            about(&check.at, check.attempt.task, TaskKind::Checking, words)
        }
        Change::CheckpointSaved { attempt, saved, at, .. } => {
            let words = format!(" saved after {} s of running", saved.run_ms / 1000);
            about(at, attempt.task, TaskKind::Saved, words)
        }
        Change::TaskEnded(end) => {
            let words = match (&end.verdict, &end.reason) {
                (Verdict::Succeeded, _) => ": succeeded".to_owned(),
                (Verdict::Failed { reason }, _) => format!(": {reason}"),
                (Verdict::Cancelled, Some(reason)) => format!(": cancelled: {reason}"),
                (Verdict::Cancelled, None) => ": cancelled".to_owned(),
            };
            about(&end.at, end.task, TaskKind::Ended, words)
        }
        other => unreachable!("not about a task: {other:?}"),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "Told::of() has sorted out the others")]
fn of_job(change: &Change) -> Told {
    let event = |at: &Timestamp, job: &JobId, kind, message| Event {
        at: *at,
        job: Some(job.0),
        kind,
        message,
        newest_only: false,
    };
    Told::Event(match change {
        Change::JobSubmitted(job) => {
            let message = format!("{} tasks submitted", job.spec.tasks);
            event(&job.at, &job.id, "job.submitted", message)
        }
        Change::JobLocked { job, lock, at } => {
            let packages = lock.lines().filter(|line| line.contains("==")).count();
            event(at, job, "job.locked", format!("its packages came to {packages} in all"))
        }
        Change::UntouchedCancelled { job, tasks, reason, at } => {
            let because = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
            let message = format!("{} waiting tasks cancelled{because}", tasks.len());
            event(at, job, "tasks.cancelled", message)
        }
        Change::JobHoldSet { job, on_hold, at } => {
            let words = if *on_hold { "held back by its submitter" } else { "released" };
            event(at, job, "job.hold", words.to_owned())
        }
        Change::JobPrioritySet { job, priority, at } => {
            event(at, job, "job.priority", format!("has priority {priority} now"))
        }
        Change::JobCancelling { job, at } => {
            event(at, job, "job.cancelling", "what waits is to be cancelled".to_owned())
        }
        Change::JobEnded { job, at } => {
            event(at, job, "job.ended", "all tasks have ended".to_owned())
        }
        Change::JobEmptied { job, at } => {
            event(at, job, "job.emptied", "its files and logs are gone".to_owned())
        }
        Change::Drafted { draft, submit: _ } => {
            let message = "a draft that waits for files".to_owned();
            event(&draft.made_at, &draft.id, "job.drafted", message)
        }
        Change::DraftChanged { job, put, removed, at, .. } => {
            let message = format!("{} files came, {} went", put.len(), removed.len());
            let changed = event(at, job, "job.files", message);
            Event { newest_only: true, ..changed }
        }
        other => unreachable!("not about a job: {other:?}"),
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "Told::of() has sorted out the others")]
fn of_grid(change: &Change) -> Told {
    let event = |at: &Timestamp, kind, message| {
        Told::Event(Event { at: *at, job: None, kind, message, newest_only: false })
    };
    match change {
        Change::WorkerApproved { worker, at } => {
            let words = format!("worker {} joined as user {}'s", worker.name, worker.owner);
            event(at, "worker.approved", words)
        }
        Change::WorkerRemoved { worker, at } => {
            event(at, "worker.removed", format!("worker {worker} removed"))
        }
        Change::WorkerSetAside { worker, reason: Some(reason), at } => {
            event(at, "worker.set_aside", format!("worker {worker} set aside: {reason}"))
        }
        Change::WorkerSetAside { worker, reason: None, at } => {
            event(at, "worker.released", format!("worker {worker} takes tasks again"))
        }
        Change::WorkerRulesSet { worker, rules, at } => {
            event(at, "worker.rules", format!("worker {worker} {}", market::shared(rules)))
        }
        Change::WorkerAskSet { worker, ask, at } => {
            let price = if ask.prices.is_some() {
                "has a price of its own"
            } else {
                "has no price of its own"
            };
            let bids = if ask.automatic { "bids by itself" } else { "bids by hand only" };
            event(at, "worker.ask", format!("worker {worker} {price} and {bids} now"))
        }
        Change::UserVerified { user, at, .. } => event(
            at,
            "user.verified",
            format!("user {user} has shown that their address is theirs"),
        ),
        Change::UserRegistered { user, at, .. } => {
            event(at, "user.registered", format!("{} registered", user.name))
        }
        Change::RoleSet { by, user, role: to, at } => {
            let by = match *by {
                LOCAL => "at the manager's own machine".to_owned(),
                by => format!("by user {by}"),
            };
            event(at, "user.role", format!("user {user} is {} now, {by}", role(*to)))
        }
        Change::PasswordChanged { user, at, .. } => {
            event(at, "user.password", format!("user {user} has a new password"))
        }
        Change::WebhookSecretSet { user, at, .. } => {
            event(at, "user.webhook_secret", format!("user {user} has a new webhook secret"))
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
            event(&voucher.made_at, "voucher.made", words)
        }
        Change::VoucherOver { voucher, at } => {
            event(at, "voucher.over", format!("token or invitation {voucher} is over"))
        }
        Change::DraftDiscarded { job, at } => {
            event(at, "draft.discarded", format!("draft {job} discarded"))
        }
        Change::NoticeTried { notice, fate: NoticeFate::GivenUp { reason }, at } => event(
            at,
            "notice.given_up",
            format!("notice {notice} could not be delivered: {reason}"),
        ),
        Change::NoticeTried { .. } => Told::Nothing,
        other => unreachable!("not about the grid: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_core::time::Timestamp;
    use campusgrid_protocol::id::JobId;
    use campusgrid_protocol::ranges::Ranges;

    use super::{Numbering, TaskKind};
    use crate::store::numbering::Priced;

    fn words(indices: &str, positions: &str) -> String {
        let needs = Priced { cpu_millis: 1000, gpus: 0 };
        let numbering = Numbering::new(1, needs, &indices.parse().unwrap());
        let positions: Ranges = positions.parse().unwrap();
        TaskKind::Started.of_crowd(JobId(1), &positions, Timestamp(0), &numbering).message
    }

    #[test]
    fn a_crowd_is_named_by_its_indices_as_far_as_they_fit() {
        assert_eq!(words("1-1000", "0-3,9"), "tasks 1-4,10 started");
        assert_eq!(words("0-1000:2", "0,5"), "tasks 0,10 started");
        assert_eq!(words("1-10000", "0-1999"), "tasks 1-1000 and others, 2000 in all, started");
        let every_second = words("0-100000:2", "0-30");
        assert!(every_second.ends_with(",52,54 and others, 31 in all, started"), "{every_second}");
    }
}
