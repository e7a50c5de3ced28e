//! Submitting and cancelling.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_protocol::frame;
use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId};
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::task::TaskSpec;

use crate::durable::SubmitKey;
use crate::effect::{Change, Effects, NewJob, Refusal, Reply};
use crate::grid::Grid;
use crate::input::Submission;
use crate::job::{EndedTasks, Job, TaskState};
use crate::ledger::{Hold, Refund, TransferKey};
use crate::pricing::price;
use crate::settle::End;
use crate::snapshot::Shape;

impl Grid {
    pub(crate) fn on_submit(&mut self, new: Submission, effects: &mut Effects) -> Reply {
        let Submission { user, key, name, spec } = new;
        assert!(spec.tasks > 0, "a job of no tasks would never end");
        let key = key.map(|key| ((user, key), body_hash(&name, &spec)));
        if let Some((key, body)) = &key
            && let Some(kept) = self.submit_keys.get(key)
        {
            let SubmitKey { job, held, .. } = *kept;
            return if kept.body == *body {
                Reply::Submitted { job, held }
            } else {
                Reply::Refused(Refusal::KeyReused { job })
            };
        }
        if let Some(refusal) = self.shut() {
            return Reply::Refused(refusal);
        }
        let max = self.policy.active_jobs_max;
        if self.jobs_of.get(&user).is_some_and(|&jobs| jobs >= max) {
            return Reply::Refused(Refusal::TooManyJobs { max });
        }
        let limit_ms = u64::from(spec.time_limit_s) * 1000;
        let quote = price(&self.policy.prices, &spec.needs, limit_ms);
        let Some(held) = quote.checked_times(spec.tasks) else {
            return Reply::Refused(Refusal::PriceOverflow);
        };
        let id = JobId(self.last_job.0 + 1);
        if let Err(insufficient) =
            self.ledger.hold(Hold { user, job: id, amount: held }, self.now, &mut effects.changes)
        {
            return Reply::Refused(Refusal::Insufficient(insufficient));
        }
        self.last_job = id;
        let spec = Arc::new(spec);
        effects.changes.push(Change::JobSubmitted(Box::new(NewJob {
            id,
            owner: user,
            name: name.clone(),
            spec: Arc::clone(&spec),
            quote,
            at: self.now,
        })));
        if let Some((key, body)) = key {
            let until = self.now.plus_ms(self.policy.submit_key_ms);
            self.keep_submit_key(key, SubmitKey { job: id, held, until, body }, effects);
        }
        self.queue.add(&Shape::of(user, &spec), id);
        *self.jobs_of.entry(user).or_default() += 1;
        let job = Job {
            id,
            owner: user,
            name,
            spec,
            quote,
            submitted_at: self.now,
            untouched_from: 0,
            tasks: BTreeMap::new(),
            requeued: BTreeSet::new(),
            ended: EndedTasks::default(),
            lock: None,
            cancelling: false,
        };
        self.jobs.insert(id, job);
        Reply::Submitted { job: id, held }
    }

    fn keep_submit_key(
        &mut self,
        (user, key): (UserId, String),
        kept: SubmitKey,
        effects: &mut Effects,
    ) {
        self.submit_keys.insert((user, key.clone()), kept);
        self.submit_key_ends.insert((kept.until, user, key.clone()));
        effects.changes.push(Change::SubmitKeyKept { user, key, kept });
    }

    pub(crate) fn forget_submit_keys(&mut self, effects: &mut Effects) {
        while let Some((until, user, key)) = self.submit_key_ends.pop_first() {
            if until > self.now {
                self.submit_key_ends.insert((until, user, key));
                return;
            }
            self.submit_keys.remove(&(user, key.clone()));
            effects.changes.push(Change::SubmitKeyForgotten { user, key });
        }
    }

    pub(crate) fn on_cancel(&mut self, user: UserId, id: JobId, effects: &mut Effects) -> Reply {
        let Some(job) = self.jobs.get(&id) else {
            let existed = id <= self.last_job && id > JobId(0);
            return Reply::Refused(if existed { Refusal::HasEnded } else { Refusal::NotFound });
        };
        if !self.may_act_for(user, job.owner) {
            return Reply::Refused(Refusal::NotFound);
        }
        let running: Vec<AttemptId> = job.leases().map(|(attempt, _)| attempt).collect();
        for attempt in running {
            self.ask_to_stop(attempt, effects);
        }
        if self.is_shut() {
            self.cancel_later(id, effects);
        } else {
            self.cancel_waiting(id, effects);
            self.close_if_over(id, effects);
        }
        Reply::Done
    }

    fn ask_to_stop(&mut self, attempt: AttemptId, effects: &mut Effects) {
        let Some(lease) =
            self.jobs.get_mut(&attempt.task.job).and_then(|job| job.lease_mut(attempt))
        else {
            return;
        };
        if !lease.cancelling {
            lease.cancelling = true;
            let worker = lease.worker;
            effects.changes.push(Change::TaskCancelling { attempt });
            self.send(worker, ToWorker::Cancel { attempt }, effects);
        }
    }

    pub(crate) fn cancel_untouched(&mut self, id: JobId, effects: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.untouched() > 0) else { return };
        let (from, to, owner) = (job.untouched_from, job.spec.tasks, job.owner);
        let amount = job.quote.checked_times(to - from).expect("the whole hold fitted at submit");
        job.untouched_from = to;
        job.ended.cancelled += to - from;
        effects.changes.push(Change::UntouchedCancelled { job: id, from, to, at: self.now });
        let key = TransferKey::RefundUntouched { job: id, from, to };
        self.ledger.refund(Refund { key, user: owner, amount }, self.now, &mut effects.changes);
    }

    pub(crate) fn cancel_queued(&mut self, task: TaskId, effects: &mut Effects) {
        let queued = |job: &Job| {
            job.tasks.get(&task.index).is_some_and(|task| task.state == TaskState::Queued)
        };
        assert!(self.jobs.get(&task.job).is_some_and(queued), "task {task} is not queued");
        self.end_task(task, End::cancelled(), effects);
    }
}

/// What a repeated submit must equal.
fn body_hash(name: &str, spec: &TaskSpec) -> [u8; 32] {
    let spec = frame::encode(spec).expect("a checked spec fits a message");
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(&spec);
    *hasher.finalize().as_bytes()
}
