//! Results that count only when machines of two owners agree on them: of jobs whose submitters want it
//! so, and samples of others, to learn which machines are to be relied on (as BOINC's adaptive
//! replication does).

use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId, WorkerId};
use campusgrid_protocol::task::{Content, Ended, Failure, Log, Outcome};

use crate::effect::{Change, Effects, TaskCheck, TaskResult, Verdict};
use crate::grid::Grid;
use crate::job::{Job, Lease, Task, TaskState};
use crate::ledger::AccountId;
use crate::money::Micros;
use crate::pay::{Deed, Payee};
use crate::record::Record;
use crate::settle::End;
use crate::snapshot::Shape;
use crate::votes::{Ballot, Vote, Votes};

/// A machine with fewer results in a row that others confirmed has each of its results checked.
const VALID_IN_ROW_MIN: u32 = 10;

/// Of a machine with so many confirmed results in a row as it has, so many are checked in one time as
/// many.
const CHECKED_SHARE: u64 = 5;

/// How long the result of a sample waits for another machine before it counts all the same; but no less
/// than the task's own time limit. Milliseconds.
const WAIT_MIN_MS: u64 = 10 * 60 * 1000;

/// Runs that a check may take beyond the first.
const EXTRA_RUNS: u32 = 2;

/// Why a task failed that can not be checked.
const DIFFERENT: &str = "three machines came to three different results: the job is not deterministic; all three were \
     charged";

impl Job {
    /// Owners whose machines do not run this task, since one has given a result or must not. The
    /// submitter's own are excluded wherever any is.
    pub fn but(&self, index: u32) -> [Option<UserId>; 2] {
        match self.tasks.get(&index).map(|task| task.votes) {
            None | Some(Votes::None) => self.but_at_first(),
            Some(Votes::One(one)) => [Some(one.owner), None],
            Some(Votes::Two(one, two)) => [Some(one.owner), Some(two.owner)],
        }
    }

    /// As [`Job::but`], of its tasks that have no result yet.
    pub fn but_at_first(&self) -> [Option<UserId>; 2] {
        [self.terms.verify.then_some(self.owner), None]
    }
}

impl Grid {
    /// Whether a result waits for another machine's; holds what that may cost, if its submitter has not
    /// done so.
    pub(crate) fn is_checked(
        &mut self,
        lease: &Lease,
        ended: &Ended,
        effects: &mut Effects,
    ) -> bool {
        let id = ended.attempt.task;
        let job = &self.jobs[&id.job];
        let task = &job.tasks[&id.index];
        if lease.cancelling || ended.outcome == Outcome::Cancelled {
            return false;
        }
        if job.terms.verify || !task.votes.is_empty() {
            return true;
        }
        let owner = self.workers[&lease.worker].owner;
        let is_sample = ended.outcome == Outcome::Succeeded
            && job.terms.deterministic
            && job.market.is_none()
            && job.quote > Micros::ZERO
            && !job.is_overdue(self.now)
            && owner != job.owner
            && is_of_one_machine(task)
            && self.is_drawn(lease.worker, ended.attempt);
        let cost = job.quote.checked_times(EXTRA_RUNS).filter(|_| is_sample);
        let Some(cost) = cost.filter(|cost| self.is_affordable(*cost, job.owner)) else {
            return false;
        };
        if !self.is_checkable(job, owner) {
            return false;
        }
        let submitter = job.owner;
        if !self.ledger.hold_fees(id, cost, self.now, &mut effects.changes) {
            return false;
        }
        self.note_fees(submitter, -cost);
        self.task_mut(id).audit = cost;
        true
    }

    /// Whether a check may be paid: there are so many fees, and this submitter has paid as many. Else one
    /// whose machines check each other's results would be paid with what others have paid.
    fn is_affordable(&self, cost: Micros, submitter: UserId) -> bool {
        let paid = self.fees_of.get(&submitter).copied().unwrap_or_default();
        cost <= paid && cost <= self.ledger.account(AccountId::Fee).balance
    }

    /// Counts what a submitter has paid in fees, or what of that was spent on checks. Nothing is known of
    /// what was paid before the last start, so that no fee is spent twice.
    pub(crate) fn note_fees(&mut self, submitter: UserId, fees: Micros) {
        if fees != Micros::ZERO {
            *self.fees_of.entry(submitter).or_default() += fees;
        }
    }

    /// Whether a machine's result is one of those that are checked: all of a new machine's, and fewer
    /// the longer its row of confirmed results. Which ones nobody can tell before, since the ledger's
    /// newest hash is not known then.
    fn is_drawn(&self, worker: WorkerId, attempt: AttemptId) -> bool {
        let in_row = self.workers[&worker].record.valid_in_row;
        if in_row < VALID_IN_ROW_MIN {
            return true;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.ledger.head());
        hasher.update(attempt.to_string().as_bytes());
        let bytes = *hasher.finalize().as_bytes();
        let draw = u64::from_le_bytes(*bytes.first_chunk().expect("a hash has 32 bytes"));
        draw % u64::from(in_row) < CHECKED_SHARE
    }

    /// Whether machines of two other owners that take tasks right now could give a second opinion and a
    /// third, if they had room. With one alone, whose word counts could not be told where they differ.
    fn is_checkable(&self, job: &Job, owner: UserId) -> bool {
        let shape = Shape { but: [Some(owner), None], ..self.shape_of(job) };
        let mut owners = self.links.iter().filter_map(|(&worker, link)| {
            let could = self.takes_tasks(worker, link)
                && self.admits(worker, link, &shape)
                && link.whole().fits(&shape.needs);
            could.then(|| self.workers[&worker].owner)
        });
        let first = owners.next();
        first.is_some_and(|first| owners.any(|other| other != first))
    }

    /// Counts a result against those that came before, which ends the task or has another machine run
    /// it. The machine has been released.
    pub(crate) fn check_result(
        &mut self,
        payee: Payee,
        verdict: Verdict,
        ended: Box<Ended>,
        effects: &mut Effects,
    ) {
        let id = ended.attempt.task;
        let submitter = self.jobs[&id.job].owner;
        let vote = Vote {
            attempt: ended.attempt.number,
            worker: payee.worker,
            owner: payee.owner,
            digest: digest(&ended),
            charge: payee.charge,
            run_ms: payee.run_ms,
        };
        let attempt = ended.attempt;
        let end = End {
            result: Some(TaskResult { attempt, ended: ended.clone() }),
            payee: Some(payee),
            ..End::of(verdict)
        };
        let end = match self.task_mut(id).votes.and(vote) {
            Ballot::Open(votes) => {
                return self.await_another(votes, (vote, payee.deed), ended, effects);
            }
            Ballot::Agreed { with, liar } => {
                for right in [with, vote] {
                    self.tally(right.worker, submitter, confirm, effects);
                }
                if let Some(liar) = liar {
                    self.tally(liar.worker, submitter, contradict, effects);
                }
                End { wrong: liar.map(|liar| liar.attempt), is_confirmed: true, ..end }
            }
            Ballot::Hopeless { first } => {
                if self.jobs[&id.job].terms.verify {
                    End { verdict: Verdict::Failed { reason: DIFFERENT.to_owned() }, ..end }
                } else {
                    // Nobody has asked for it to be checked.
                    End { verdict: Verdict::Succeeded, kept: Some(first), ..end }
                }
            }
        };
        self.end_task(id, end, effects);
        self.close_if_over(id.job, effects);
    }

    /// The task waits for a machine of another owner.
    fn await_another(
        &mut self,
        votes: Votes,
        (vote, deed): (Vote, Deed),
        ended: Box<Ended>,
        effects: &mut Effects,
    ) {
        let (attempt, at) = (ended.attempt, self.now);
        let id = attempt.task;
        self.drop_checkpoint(id, effects);
        let task = self.task_mut(id);
        (task.votes, task.paid_ms) = (votes, 0);
        let (runs_left, audit) = (task.runs_left, task.audit);
        let check = TaskCheck { attempt, ended, vote, runs_left, audit, at };
        effects.changes.push(Change::TaskChecking(Box::new(check)));
        let submitter = self.jobs[&id.job].owner;
        if deed == Deed::Delivered {
            self.tally(vote.worker, submitter, |record| record.delivered += 1, effects);
        }
        self.requeue(id);
        self.watch_check(id);
        if self.jobs[&id.job].is_overdue(at) {
            self.conclude(id, &Self::overdue(), effects);
        }
    }

    /// Notes until when the result of a sample waits for another machine.
    pub(crate) fn watch_check(&mut self, id: TaskId) {
        let job = &self.jobs[&id.job];
        if job.tasks[&id.index].audit > Micros::ZERO {
            let wait_ms = job.limit_ms().max(WAIT_MIN_MS);
            self.checks.renew(id, self.now.plus_ms(wait_ms));
        }
    }

    /// As a job is taken up anew.
    pub(crate) fn watch_checks(&mut self, id: JobId) {
        for index in Vec::from_iter(self.jobs[&id].tasks.keys().copied()) {
            self.watch_check(TaskId { job: id, index });
        }
    }

    /// Samples that no other machine has taken up count without.
    pub(crate) fn settle_checks(&mut self, effects: &mut Effects) {
        while let Some(id) = self.checks.pop_over(self.now) {
            match self.task_mut(id).state {
                TaskState::Queued => self.conclude(id, "no other machine was free", effects),
                TaskState::Leased(_) | TaskState::Pausing { .. } => self.watch_check(id),
            }
        }
    }

    /// Ends a task of which there are results, though no two agree, and says why no other machine is
    /// asked. What the first machine said counts, unless its submitter wanted it confirmed: then
    /// whoever gave a result is paid, and else the first alone.
    pub(crate) fn conclude(&mut self, id: TaskId, why: &str, effects: &mut Effects) {
        self.end_unchecked(id, why, effects);
        self.close_if_over(id.job, effects);
    }

    /// As [`Grid::conclude`]; the caller closes the job if it is over.
    fn end_unchecked(&mut self, id: TaskId, why: &str, effects: &mut Effects) {
        let verify = self.jobs[&id.job].terms.verify;
        let end = match self.task_mut(id).votes {
            // As without the check, which its submitter has not asked for.
            Votes::One(one) | Votes::Two(one, _) if !verify => {
                End { kept: Some(one.attempt), ..End::of(Verdict::Succeeded) }
            }
            Votes::None | Votes::One(_) => {
                let reason = format!("its result was not confirmed by a second machine: {why}");
                End::of(Verdict::Failed { reason })
            }
            Votes::Two(..) => {
                let reason = format!("two machines came to different results: {why}");
                End::of(Verdict::Failed { reason })
            }
        };
        self.end_task(id, end, effects);
    }

    /// As [`Grid::conclude`], of a task that waits when it is to be cancelled for this reason; whether
    /// there are results of it.
    pub(crate) fn conclude_waiting(
        &mut self,
        id: TaskId,
        reason: Option<&Arc<str>>,
        effects: &mut Effects,
    ) -> bool {
        let Some(reason) = reason.filter(|_| !self.task_mut(id).votes.is_empty()) else {
            return false;
        };
        self.end_unchecked(id, reason, effects);
        true
    }
}

/// Whether what a task came to is one machine's alone: it has not gone on from what an earlier attempt had
/// saved, which may have been forged. Where it began is not known any more of one that has saved something
/// itself in a later attempt.
fn is_of_one_machine(task: &Task) -> bool {
    task.attempts == 1 || task.checkpoint.is_none()
}

fn confirm(record: &mut Record) {
    record.valid += 1;
    record.valid_in_row = record.valid_in_row.saturating_add(1);
}

fn contradict(record: &mut Record) {
    record.invalid += 1;
    record.valid_in_row = 0;
}

/// BLAKE3 of what two machines must agree on: how the attempt ended, its standard output, and the files
/// that it left. Not its standard error, which tells of times and paths.
fn digest(ended: &Ended) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(ending(&ended.outcome).as_bytes());
    let Log { content, cut_bytes } = &ended.stdout;
    match content {
        Content::Inline(bytes) => part(blake3::hash(bytes).as_bytes()),
        Content::Blob(blob) => part(&blob.hash.0),
    }
    part(&cut_bytes.to_le_bytes());
    let mut outputs: Vec<_> = ended.outputs.iter().collect();
    outputs.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    for output in outputs {
        part(output.path.as_bytes());
        part(&output.blob.hash.0);
    }
    *hasher.finalize().as_bytes()
}

/// How an attempt ended, without what differs from machine to machine.
fn ending(outcome: &Outcome) -> String {
    let failure = match outcome {
        Outcome::Succeeded => return "succeeded".to_owned(),
        Outcome::Cancelled => return "cancelled".to_owned(),
        Outcome::Returned(_) => return "returned".to_owned(),
        Outcome::Failed(failure) => failure,
    };
    match failure {
        Failure::ExitCode(code) => format!("exit {code}"),
        Failure::Signal(signal) => format!("signal {signal}"),
        Failure::OutOfMemory { .. } => "memory".to_owned(),
        Failure::TimeLimit { .. } => "time".to_owned(),
        Failure::ScratchFull { .. } => "scratch".to_owned(),
        Failure::TooManyFiles { .. } => "files".to_owned(),
        Failure::FileTooLarge { .. } => "file".to_owned(),
        Failure::Processes { .. } => "processes".to_owned(),
        Failure::OutputFlood { .. } => "flood".to_owned(),
        Failure::CompileError { code } => format!("compile {code}"),
        Failure::Requirements { .. } => "requirements".to_owned(),
        Failure::Image { .. } => "image".to_owned(),
        Failure::Inputs { .. } => "inputs".to_owned(),
    }
}
