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
use crate::notices::notice;
use crate::queue::Reach;
use crate::snapshot::{Shape, admits};
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
            let owner = self.workers[worker].owner;
            self.queue.unblock(|shape| {
                link.free.fits(&shape.needs) && admits((link.isolation, &link.offer), owner, shape)
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
                    self.lease(job, worker, effects);
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

    fn takes(&self, id: WorkerId, shape: &Shape) -> bool {
        self.links.get(&id).is_some_and(|link| {
            self.takes_tasks(id, link)
                && link.free.fits(&shape.needs)
                && admits((link.isolation, &link.offer), self.workers[&id].owner, shape)
                && self.pauses.end(&(id, shape.clone())).is_none()
        })
    }

    /// Whether a machine may get anything new, if it has room.
    pub(crate) fn takes_tasks(&self, id: WorkerId, link: &Link) -> bool {
        self.is_heard(link) && !link.leaving && self.workers[&id].set_aside.is_none()
    }

    pub(crate) fn is_heard(&self, link: &Link) -> bool {
        self.now.since_ms(link.heard_at) <= self.policy.silence_max_ms()
    }

    /// Gives the job's next waiting task to a machine.
    fn lease(&mut self, id: JobId, worker: WorkerId, effects: &mut Effects) {
        let job = self.jobs.get_mut(&id).expect("the queue holds open jobs");
        let lineup = self.lineups.get_mut(&id).expect("every open job has one");
        let index = lineup.next(job).expect("the queue holds jobs with a task that may start");
        if !job.requeued.remove(&index) {
            if !job.has_started() {
                notice(job, NoticeKind::Started, self.now, effects);
            }
            job.untouched.remove(index);
            lineup.ready.as_mut().map(|ready| ready.remove(index));
            self.chains.tell(News::Started { job: id, task: index });
        }
        lineup.running += 1;
        let needs = job.spec.needs;
        let gpus =
            self.links.get(&worker).expect("a machine that takes is connected").free.choose(&needs);
        let lease =
            Lease { worker, leased_at: self.now, started_at: None, cancelling: false, gpus };
        let fresh = Task {
            attempts: 0,
            tries_left: self.policy.tries,
            runs_left: job.terms.runs(),
            losses: Losses::None,
            state: TaskState::Queued,
        };
        let task = job.tasks.entry(index).or_insert(fresh);
        task.attempts += 1;
        task.state = TaskState::Leased(lease);
        let attempt = AttemptId { task: TaskId { job: id, index }, number: task.attempts };
        let (tries_left, at) = (task.tries_left, self.now);
        effects.changes.push(Change::TaskLeased { attempt, worker, gpus, tries_left, at });
        let (spec, lock) = (Arc::clone(&job.spec), job.lock.clone());
        let index = job.terms.indices.index(index).expect("every task has an index");
        self.line_up(id);
        self.renew_lease(attempt);
        self.update_room(worker, |occupancy| {
            occupancy.insert(attempt, Grant::new(needs, gpus));
        });
        let gpus = gpus.numbers().collect();
        self.send(worker, ToWorker::Start { attempt, index, spec, gpus, lock }, effects);
    }

    /// How long an attempt goes on if it runs to its time limit.
    pub(crate) fn remaining_ms(&self, attempt: AttemptId) -> u64 {
        let Some(job) = self.jobs.get(&attempt.task.job) else { return 0 };
        let Some(lease) = job.lease(attempt) else { return 0 };
        let since = lease.started_at.unwrap_or(lease.leased_at);
        (u64::from(job.spec.time_limit_s) * 1000).saturating_sub(self.now.since_ms(since))
    }
}
