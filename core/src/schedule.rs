//! Which waiting task goes to which machine.
//!
//! First come, first served among the heads of shapes, as the queue has them; a shape that fits
//! nowhere is passed over until a machine that could take it has more room. The cost of an event does
//! not grow with the queue.

use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, WorkerId};
use campusgrid_protocol::message::ToWorker;

use crate::chain::News;
use crate::effect::{Change, Effects, NoticeKind};
use crate::grid::Grid;
use crate::job::{Lease, Task, TaskState};
use crate::losses::Losses;
use crate::money::Micros;
use crate::notices::notice;
use crate::queue::Reach;
use crate::sharing::Host;
use crate::snapshot::Shape;
use crate::votes::Votes;
use crate::worker::{Grant, Link, Room};

impl Grid {
    /// Places waiting tasks, first come first served, until nothing that waits fits what is free.
    ///
    /// Called once after a batch of inputs. Never gives a machine more than it has free. Costs
    /// O(shapes) per machine that got room; per placement O(machines that got room) for a shape that
    /// has waited, and for a new one O(offers that differ) and O(log machines) for each different
    /// size of what is free.
    pub fn dispatch(&mut self, effects: &mut Effects) {
        if self.is_shut() {
            return; // What has got room meanwhile is remembered.
        }
        let freed = std::mem::take(&mut self.freed);
        for worker in &freed {
            let Some(link) = self.links.get(worker) else { continue };
            let (host, users) = (Host::of(&self.workers[worker], link), &self.users);
            self.queue.unblock(|shape| {
                link.free.fits(&shape.needs) && host.admits(shape, || &users[&shape.owner].name)
            });
        }
        while let Some((job, shape, reach)) = self.queue.first() {
            let best = match reach {
                Reach::Anywhere => self.best_worker(&shape),
                Reach::Freed => freed
                    .iter()
                    .filter(|id| self.takes(**id, &shape))
                    .min_by_key(|id| Room::of(**id, &self.links[id]))
                    .copied(),
                Reach::Nowhere => None,
            };
            match best {
                Some(worker) => {
                    self.lease(job, &shape, worker, effects);
                    self.follow(effects);
                }
                None => self.queue.block(&shape),
            }
        }
    }

    /// The machine that the task fits most tightly, in the order of [`Room`].
    fn best_worker(&self, shape: &Shape) -> Option<WorkerId> {
        // What nobody offers would have every machine asked that is large enough.
        if !self.offers.have_all(&shape.labels) {
            return None;
        }
        if let Some(only) = shape.only {
            return self.takes(only, shape).then_some(only);
        }
        let needs = &shape.needs;
        let mut from = Room::least(needs.gpus.into(), needs.cpu_millis, needs.ram_mib);
        loop {
            let room = *self.rooms.range(from..).next()?;
            // Leaps over all machines that have as many GPUs and too few cores, or as many cores and
            // too little memory.
            from = if room.cpu_millis < needs.cpu_millis {
                Room::least(room.gpus, needs.cpu_millis, needs.ram_mib)
            } else if room.ram_mib < needs.ram_mib {
                Room::least(room.gpus, room.cpu_millis, needs.ram_mib)
            } else if self.takes(room.worker, shape) {
                return Some(room.worker);
            } else {
                Room { worker: WorkerId(room.worker.0 + 1), ..room }
            };
        }
    }

    /// Whether a machine may be given a task of a shape right now.
    pub(crate) fn takes(&self, id: WorkerId, shape: &Shape) -> bool {
        self.links.get(&id).is_some_and(|link| {
            self.takes_tasks(id, link)
                && link.free.fits(&shape.needs)
                && self.admits(id, link, shape)
                && self.pauses.end(&(id, shape.clone())).is_none()
        })
    }

    /// Whether a machine could run a task of a shape, however busy it is.
    pub(crate) fn admits(&self, id: WorkerId, link: &Link, shape: &Shape) -> bool {
        Host::of(&self.workers[&id], link).admits(shape, || &self.users[&shape.owner].name)
    }

    /// Whether a connected machine could run a task of a shape, were it idle and shared.
    ///
    /// # Errors
    ///
    /// Why not, in words that follow "this machine cannot run the job: ".
    pub(crate) fn could_run(&self, id: WorkerId, shape: &Shape) -> Result<(), &'static str> {
        let link = self.links.get(&id).ok_or("it is not connected")?;
        let worker = &self.workers[&id];
        let bid = Shape { only: Some(id), ..shape.clone() }; // Whatever is asked for it else.
        if worker.set_aside.is_some() {
            Err("it is set aside")
        } else if let Some(bar) = Host::of(worker, link).bar(&bid, || &self.users[&bid.owner].name)
        {
            Err(bar.words())
        } else if !link.whole().fits(&shape.needs) {
            Err("it does not share as much as the job needs")
        } else {
            Ok(())
        }
    }

    /// Whether a machine may get anything new, if it has room.
    pub(crate) fn takes_tasks(&self, id: WorkerId, link: &Link) -> bool {
        let worker = &self.workers[&id];
        self.is_heard(link)
            && !link.leaving
            && worker.set_aside.is_none()
            && link.is_open(&worker.rules, self.now)
    }

    pub(crate) fn is_heard(&self, link: &Link) -> bool {
        self.now.since_ms(link.heard_at) <= self.policy.silence_max_ms()
    }

    /// Gives the next task of a job that waits under this shape to a machine.
    pub(crate) fn lease(
        &mut self,
        id: JobId,
        shape: &Shape,
        worker: WorkerId,
        effects: &mut Effects,
    ) {
        let lineup = self.lineups.get_mut(&id).expect("every open job has one");
        let index = lineup.next(&self.jobs[&id], shape).expect("a task that may start waits so");
        lineup.running += 1;
        let task_id = TaskId { job: id, index };
        if self.jobs[&id].requeued.contains(&index) {
            self.unqueue(task_id);
        } else {
            self.touch(task_id, effects);
        }
        let link = self.links.get(&worker).expect("a machine that takes is connected");
        let (gpus, knows_checkpoints) = (link.free.choose(&shape.needs), link.shares.is_some());
        if !knows_checkpoints {
            self.drop_checkpoint(task_id, effects);
        }
        let deal = self.deal(&self.jobs[&id], worker);
        let at = self.now;
        let lease =
            Lease { worker, leased_at: at, started_at: None, cancelling: false, gpus, deal };
        let job = self.jobs.get_mut(&id).expect("the queue holds open jobs");
        let task = job.tasks.get_mut(&index).expect("it has been touched");
        task.attempts += 1;
        task.state = TaskState::Leased(lease);
        let attempt = AttemptId { task: task_id, number: task.attempts };
        let tries_left = task.tries_left;
        effects.changes.push(Change::TaskLeased { attempt, worker, gpus, tries_left, deal, at });
        self.line_up(id);
        self.renew_lease(attempt);
        self.update_room(worker, |occupancy| {
            occupancy.insert(attempt, Grant::new(shape.needs, gpus));
        });
        self.send(worker, self.start(attempt), effects);
    }

    /// A task begins that never did.
    fn touch(&mut self, id: TaskId, effects: &mut Effects) {
        let job = self.jobs.get_mut(&id.job).expect("the queue holds open jobs");
        if !job.has_started() {
            notice(job, NoticeKind::Started, self.now, effects);
        }
        job.untouched.remove(id.index);
        let fresh = Task {
            attempts: 0,
            tries_left: self.policy.tries,
            runs_left: job.terms.runs(),
            losses: Losses::None,
            state: TaskState::Queued,
            checkpoint: None,
            paid: Micros::ZERO,
            paid_ms: 0,
            votes: Votes::None,
            audit: Micros::ZERO,
        };
        job.tasks.insert(id.index, fresh);
        let lineup = self.lineups.get_mut(&id.job).expect("every open job has one");
        lineup.ready.as_mut().map(|ready| ready.remove(id.index));
        self.chains.tell(News::Started { job: id.job, task: id.index });
    }

    /// What a machine is told of an attempt that has been leased to it.
    fn start(&self, attempt: AttemptId) -> ToWorker {
        let job = &self.jobs[&attempt.task.job];
        let lease = job.lease(attempt).expect("it has just been leased");
        let index = job.terms.indices.index(attempt.task.index);
        ToWorker::Start {
            attempt,
            index: index.expect("every task has an index"),
            spec: Arc::clone(&job.spec),
            gpus: lease.gpus.numbers().collect(),
            lock: job.lock.clone(),
            checkpoint: job.tasks[&attempt.task.index].checkpoint,
            whose: self.users[&job.owner].name.clone(),
            name: job.name.clone(),
        }
    }

    /// How long an attempt goes on if it runs to its time limit.
    pub(crate) fn remaining_ms(&self, attempt: AttemptId) -> u64 {
        let Some(job) = self.jobs.get(&attempt.task.job) else { return 0 };
        let Some(lease) = job.lease(attempt) else { return 0 };
        let since = lease.started_at.unwrap_or(lease.leased_at);
        let done_ms = job.tasks[&attempt.task.index].paid_ms + self.now.since_ms(since);
        job.limit_ms().saturating_sub(done_ms)
    }
}
