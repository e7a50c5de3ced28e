//! Effects in words, so that a test reads as what happened.

use campusgrid_protocol::message::{Approval, ToWorker};

use crate::effect::{Change, Effects, Reply, Verdict};
use crate::ledger::AccountId;
use crate::tests::world::USERS;

/// One line an effect, in order; what follows from another line is left out.
pub(super) fn words(effects: &Effects) -> String {
    let changes = effects.changes.iter().filter_map(of_change);
    let sends = effects.sends.iter().filter_map(|(session, message)| {
        Some(format!("to session {session}: {}", of_message(message)?))
    });
    let replies = effects.replies.iter().map(|(_, reply)| of_reply(reply));
    let closes =
        effects.closes.iter().map(|(session, why)| format!("session {session} ends: {why}"));
    changes.chain(sends).chain(replies).chain(closes).map(|line| format!("{line}\n")).collect()
}

fn of_account(id: AccountId) -> String {
    match id {
        AccountId::Mint => "mint".to_owned(),
        AccountId::Escrow => "escrow".to_owned(),
        AccountId::Fee => "fee".to_owned(),
        AccountId::User(user) => USERS
            .get(usize::try_from(user.0).unwrap() - 1)
            .map_or_else(|| format!("user-{user}"), |&name| name.to_owned()),
    }
}

fn of_change(change: &Change) -> Option<String> {
    Some(match change {
        Change::Transferred(transfer) => {
            let (from, to) = (of_account(transfer.from), of_account(transfer.to));
            format!("{}: {from} -> {to} {}", transfer.key, transfer.amount)
        }
        Change::TaskLeased { attempt, worker, gpus, tries_left: _, at: _ } => {
            let with = if gpus.is_empty() { String::new() } else { format!(" with GPU {gpus}") };
            format!("{attempt} -> worker-{worker}{with}")
        }
        Change::JobLocked { job, lock, at: _ } => {
            format!("job {job} is locked to {}", versions(lock))
        }
        Change::TaskCancelling { attempt } => format!("{attempt} is to stop"),
        Change::TaskRequeued { attempt, reason, tries_left, at: _ } => {
            format!("{attempt} waits again, {tries_left} tries left: {reason}")
        }
        Change::TaskEnded(end) => {
            let verdict = match &end.verdict {
                Verdict::Succeeded => "succeeded".to_owned(),
                Verdict::Failed { reason } => format!("failed: {reason}"),
                Verdict::Cancelled => "cancelled".to_owned(),
            };
            format!("{} {verdict}; charged {}", end.task, end.charged)
        }
        Change::UntouchedCancelled { job, from, to, at: _ } => {
            format!("{job}.{from} to {job}.{} cancelled", to - 1)
        }
        Change::JobEnded { job, ended, at: _ } => {
            let (ok, bad, off) = (ended.succeeded, ended.failed, ended.cancelled);
            format!("job {job} is over: {ok} succeeded, {bad} failed, {off} cancelled")
        }
        Change::WorkerApproved { worker, at: _ } => {
            let owner = of_account(AccountId::User(worker.owner));
            format!("worker-{} \"{}\" belongs to {owner}", worker.id, worker.name)
        }
        Change::WorkerRenamed { worker, name } => format!("worker-{worker} is called \"{name}\""),
        Change::WorkerRemoved { worker, at: _ } => format!("worker-{worker} is removed"),
        Change::SubmitKeyForgotten { user: _, key } => format!("key {key} forgotten"),
        Change::UserRegistered { .. }
        | Change::LoginOpened { .. }
        | Change::LoginClosed { .. }
        | Change::LoginsOver { .. }
        | Change::Account { .. }
        | Change::JobSubmitted(_)
        | Change::SubmitKeyKept { .. }
        | Change::AttemptStarted { .. } => return None,
    })
}

fn of_message(message: &ToWorker) -> Option<String> {
    Some(match message {
        ToWorker::Welcome { worker, approval, .. } => match approval {
            Approval::Owned { by } => format!("welcome, worker-{worker} of {by}"),
            Approval::Waiting { code } => format!("welcome, worker-{worker}; show {code}"),
        },
        ToWorker::Approved { owner } => format!("approved by {owner}"),
        ToWorker::Locked { attempt, lock } => format!("lock of {attempt} is {}", versions(lock)),
        ToWorker::Cancel { attempt } => format!("cancel {attempt}"),
        ToWorker::Drop { attempt } => format!("drop {attempt}"),
        ToWorker::Stored { attempt } => format!("stored {attempt}"),
        ToWorker::Closing { reason } => format!("closing: {reason}"),
        ToWorker::Start { .. } | ToWorker::Renewed { .. } => return None,
    })
}

fn of_reply(reply: &Reply) -> String {
    match reply {
        Reply::Registered { user } => {
            format!("user {} is {} ({:?})", user.id, user.name, user.role)
        }
        Reply::Submitted { job, held } => format!("job {job}, {held} held"),
        Reply::Approved { worker } => format!("worker-{worker} approved"),
        Reply::Done => "done".to_owned(),
        Reply::Refused(refusal) => format!("refused: {refusal}"),
    }
}

/// A lock without its hashes.
fn versions(lock: &str) -> String {
    if lock.is_empty() {
        return "nothing".to_owned();
    }
    let version = |line: &str| line.split(" --hash=").next().unwrap_or(line).to_owned();
    lock.lines().map(version).collect::<Vec<_>>().join(" ")
}
