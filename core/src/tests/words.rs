//! Effects in words, so that a test reads as what happened.

use campusgrid_protocol::id::UserId;
use campusgrid_protocol::message::{Comeback, ToWorker};

use crate::effect::{Change, Effects, Reply, TaskPause, Verdict};
use crate::job::After;
use crate::ledger::AccountId;
use crate::tests::world::USERS;
use crate::user::LOCAL;

/// One line an effect, in order; what follows from another line is left out.
pub(super) fn words(effects: &Effects) -> String {
    let changes = effects.changes.iter().filter_map(of_change);
    let sends = effects.sends.iter().filter_map(|(session, message)| {
        Some(format!("to session {session}: {}", of_message(message)?))
    });
    let replies = effects.replies.iter().map(|(_, reply)| of_reply(reply));
    let closes = effects.closes.iter().map(|(session, why, comeback)| match comeback {
        Comeback::Later => format!("session {session} ends: {why}"),
        Comeback::Never => format!("session {session} ends for good: {why}"),
    });
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

fn name(user: UserId) -> String {
    of_account(AccountId::User(user))
}

fn of_change(change: &Change) -> Option<String> {
    Some(match change {
        Change::Transferred(transfer) => {
            let (from, to) = (of_account(transfer.from), of_account(transfer.to));
            format!("{}: {from} -> {to} {}", transfer.key, transfer.amount)
        }
        Change::TaskLeased { attempt, worker, gpus, .. } => {
            let with = if gpus.is_empty() { String::new() } else { format!(" with GPU {gpus}") };
            format!("{attempt} -> worker-{worker}{with}")
        }
        Change::JobLocked { job, lock, at: _ } => {
            format!("job {job} is locked to {}", versions(lock))
        }
        Change::TaskCancelling { attempt } => format!("{attempt} is to stop"),
        Change::TaskRequeued { attempt, reason, tries_left, .. } => {
            format!("{attempt} waits again, {tries_left} tries left: {reason}")
        }
        Change::JobCancelling { job, at: _ } => {
            format!("what waits of job {job} is to be cancelled")
        }
        Change::TaskEnded(end) => {
            let verdict = match (&end.verdict, &end.reason) {
                (Verdict::Succeeded, _) => "succeeded".to_owned(),
                (Verdict::Failed { reason }, _) => format!("failed: {reason}"),
                (Verdict::Cancelled, None) => "cancelled".to_owned(),
                (Verdict::Cancelled, Some(reason)) => format!("cancelled, {reason}"),
            };
            let kept = end.kept.map_or_else(String::new, |number| format!(" by attempt {number}"));
            format!("{} {verdict}{kept}; charged {}", end.task, end.charged)
        }
        Change::UntouchedCancelled { job, tasks, reason: None, at: _ } => {
            format!("{job}.{tasks} cancelled")
        }
        Change::UntouchedCancelled { job, tasks, reason: Some(reason), at: _ } => {
            format!("{job}.{tasks} cancelled, {reason}")
        }
        Change::JobEnded { job, at: _ } => format!("job {job} is over"),
        Change::TaskPausing(pause) => {
            let TaskPause { attempt, reason, charged, runs_left, until, at, .. } = &**pause;
            let pause_s = until.since_ms(*at) / 1000;
            format!(
                "{attempt} failed: {reason}; charged {charged}; {runs_left} runs left, the next in \
                 {pause_s} s"
            )
        }
        Change::TaskChecking(check) => format!("{} waits for another's result", check.attempt),
        Change::CheckpointSaved { attempt, saved, .. } => {
            format!("{attempt} has saved {} s", saved.run_ms / 1000)
        }
        Change::CheckpointDropped { task } => format!("{task} begins anew"),
        Change::WorkerRulesSet { worker, .. } => format!("worker-{worker} has other rules"),
        Change::WorkerAskSet { worker, ask, .. } => {
            let by = if ask.automatic { ", by itself" } else { "" };
            let ask = if ask.prices.is_some() { "its own price" } else { "the formula" };
            format!("worker-{worker} asks for {ask}{by}")
        }
        Change::BidPlaced { job, worker, bid } => {
            let by = if bid.automatic { ", by itself" } else { "" };
            format!("worker-{worker} bids {} on job {job}{by}", bid.price)
        }
        Change::BidOver { job, worker, fate, at: _ } => {
            format!("bid of worker-{worker} on job {job}: {fate:?}")
        }
        Change::JobAwarded { job, award, quote, at } => {
            let by = award.start_by.map_or_else(
                || "which runs it".to_owned(),
                |by| format!("within {} s", by.since_ms(*at) / 1000),
            );
            let (worker, price) = (award.worker, award.price);
            format!("job {job} is worker-{worker}'s for {price}, {by}; quote {quote}")
        }
        Change::JobReopened { job, market, quote, reason, at: _ } => {
            let round = market.round;
            format!("job {job} is open again, round {round}, quote {quote}: {reason}")
        }
        Change::UserVerified { user, .. } => format!("{} has an address", name(*user)),
        Change::TaskRoused { task } => format!("{task} waits again"),
        Change::AfterMet { job, after: After { job: other, when, each } } => {
            let whose = if *each { "the tasks of job" } else { "job" };
            format!("job {job} waits no more for {whose} {other} ({when:?})")
        }
        Change::JobHoldSet { job, on_hold: true, at: _ } => format!("job {job} is on hold"),
        Change::JobHoldSet { job, on_hold: false, at: _ } => format!("job {job} is released"),
        Change::JobPrioritySet { job, priority, at: _ } => {
            format!("job {job} has priority {priority}")
        }
        Change::Drafted { draft, submit: _ } => {
            format!("draft {} of {}", draft.id, name(draft.owner))
        }
        Change::DraftChanged { job, put, removed, revision, at: _ } => {
            let put: Vec<&str> = put.iter().map(|file| file.path.as_str()).collect();
            format!("draft {job}, revision {revision}: {put:?} put, {removed:?} removed")
        }
        Change::DraftDiscarded { job, at: _ } => format!("draft {job} is discarded"),
        Change::JobEmptied { job, at: _ } => format!("job {job} is emptied"),
        Change::NoticeDue { job, kind, at: _ } => format!("notice of job {job}: {kind:?}"),
        Change::NoticeTried { notice, fate, at: _ } => format!("notice {notice}: {fate:?}"),
        Change::WebhookSecretSet { user, .. } => format!("a new secret of {}", name(*user)),
        Change::WorkerApproved { worker, at: _ } => {
            let owner = of_account(AccountId::User(worker.owner));
            format!("worker-{} \"{}\" belongs to {owner}", worker.id, worker.name)
        }
        Change::WorkerRenamed { worker, name } => format!("worker-{worker} is called \"{name}\""),
        Change::WorkerRemoved { worker, at: _ } => format!("worker-{worker} is removed"),
        Change::WorkerSetAside { worker, reason: Some(reason), at: _ } => {
            format!("worker-{worker} is set aside: {reason}")
        }
        Change::WorkerSetAside { worker, reason: None, at: _ } => {
            format!("worker-{worker} is released")
        }
        Change::RoleSet { by, user, role, at: _ } => {
            let by = if *by == LOCAL { "the machine".to_owned() } else { name(*by) };
            format!("{} is {role:?} by {by}'s word", name(*user))
        }
        Change::VoucherMade(voucher) => {
            format!("voucher {}: {:?}, {} uses", voucher.id, voucher.purpose, voucher.uses_left)
        }
        Change::VoucherUsed { voucher, uses_left } => {
            format!("voucher {voucher} has {uses_left} uses left")
        }
        Change::VoucherOver { voucher, at: _ } => format!("voucher {voucher} is over"),
        Change::SubmitKeyForgotten { user: _, key } => format!("key {key} forgotten"),
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
        | Change::Account { .. }
        | Change::JobSubmitted(_)
        | Change::SubmitKeyKept { .. }
        | Change::AttemptPaid { .. }
        | Change::WorkerRecord { .. }
        | Change::AttemptStarted { .. } => return None,
    })
}

fn of_message(message: &ToWorker) -> Option<String> {
    Some(match message {
        ToWorker::Welcome { worker, owner, .. } => format!("welcome, worker-{worker} of {owner}"),
        ToWorker::Locked { attempt, lock } => format!("lock of {attempt} is {}", versions(lock)),
        ToWorker::Cancel { attempt } => format!("cancel {attempt}"),
        ToWorker::Drop { attempt } => format!("drop {attempt}"),
        ToWorker::Stored { attempt } => format!("stored {attempt}"),
        ToWorker::Closing { reason, comeback: _ } => format!("closing: {reason}"),
        ToWorker::Rules(_) => "other rules".to_owned(),
        ToWorker::Start { .. }
        | ToWorker::Renewed { .. }
        | ToWorker::Earned { .. }
        | ToWorker::Certificate { .. } => return None,
    })
}

fn of_reply(reply: &Reply) -> String {
    match reply {
        Reply::Registered { user } => {
            format!("user {} is {} ({:?})", user.id, user.name, user.role)
        }
        Reply::Submitted { job, held } => format!("job {job}, {held} held"),
        Reply::Drafted { job } => format!("draft {job}"),
        Reply::Cancelled { jobs } => format!("{jobs} jobs have something cancelled"),
        Reply::Approved { worker } => format!("worker-{worker} approved"),
        Reply::Enrolled { worker, owner } => format!("enrolled as worker-{worker} of {owner}"),
        Reply::VoucherMade { voucher } => format!("voucher {voucher} made"),
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
