//! Which waiting task goes to which machine.
//!
//! First come, first served among the heads of shapes; a shape that fits nowhere is passed over
//! until a machine that could take it has more room. The cost of an event does not grow with the
//! queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, WorkerId};
use campusgrid_protocol::message::ToWorker;

use crate::effect::{Change, Effects};
use crate::grid::Grid;
use crate::job::{Lease, Task, TaskState};
use crate::losses::Losses;
use crate::snapshot::{Shape, admits};
use crate::worker::{Grant, Link, Room};

/// Jobs with a task that waits, by shape.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    shapes: BTreeMap<Shape, Line>,
    /// The head of each shape that is not blocked: what the scheduler looks at, in order.
    open: BTreeMap<JobId, Shape>,
}

#[derive(Debug, Default)]
struct Line {
    jobs: BTreeSet<JobId>,
    reach: Reach,
}

impl Line {
    /// Its first job, if the scheduler is to look at it.
    fn head(&self) -> Option<JobId> {
        self.jobs.first().filter(|_| self.reach != Reach::Nowhere).copied()
    }
}

/// Where the tasks of a line may fit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Reach {
    #[default]
    Anywhere,
    /// They fitted nowhere, and since then only the machines that got room have changed.
    Freed,
    /// On no machine as things are.
    Nowhere,
}

impl Queue {
    /// A job has a task that waits. Repeating it changes nothing.
    pub(crate) fn add(&mut self, shape: &Shape, job: JobId) {
        if !self.shapes.contains_key(shape) {
            self.shapes.insert(shape.clone(), Line::default());
        }
        self.update(shape, |line| {
            line.jobs.insert(job);
        });
    }

    /// A job has no task that waits any more.
    pub(crate) fn remove(&mut self, shape: &Shape, job: JobId) {
        self.update(shape, |line| {
            line.jobs.remove(&job);
        });
        if self.shapes.get(shape).is_some_and(|line| line.jobs.is_empty()) {
            self.shapes.remove(shape);
        }
    }

    #[cfg(test)]
    pub(crate) fn has(&self, shape: &Shape, job: JobId) -> bool {
        self.shapes.get(shape).is_some_and(|line| line.jobs.contains(&job))
    }

    /// The shapes of which tasks wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Shape> {
        self.shapes.keys()
    }

    fn block(&mut self, shape: &Shape) {
        self.update(shape, |line| line.reach = Reach::Nowhere);
    }

    fn unblock(&mut self, fits: impl Fn(&Shape) -> bool) {
        for (shape, line) in &mut self.shapes {
            if line.reach == Reach::Nowhere && fits(shape) {
                line.reach = Reach::Freed;
                self.open.extend(line.head().map(|job| (job, shape.clone())));
            }
        }
    }

    /// The head that comes first, and where to look for room for it.
    fn first(&self) -> Option<(JobId, Shape, Reach)> {
        let (&job, shape) = self.open.first_key_value()?;
        Some((job, shape.clone(), self.shapes[shape].reach))
    }

    /// Keeps `open` true to the line across a change.
    fn update(&mut self, shape: &Shape, change: impl FnOnce(&mut Line)) {
        let Some(line) = self.shapes.get_mut(shape) else { return };
        let before = line.head();
        change(line);
        let after = line.head();
        if before != after {
            if let Some(job) = before {
                self.open.remove(&job);
            }
            self.open.extend(after.map(|job| (job, shape.clone())));
        }
    }
}

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
                Some(worker) => self.lease(job, worker, effects),
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
        let index = job.next_waiting().expect("the queue holds jobs with a task that waits");
        if !job.requeued.remove(&index) {
            job.untouched_from += 1;
        }
        let needs = job.spec.needs;
        let gpus =
            self.links.get(&worker).expect("a machine that takes is connected").free.choose(&needs);
        let lease =
            Lease { worker, leased_at: self.now, started_at: None, cancelling: false, gpus };
        let fresh = Task {
            attempts: 0,
            tries_left: self.policy.tries,
            losses: Losses::None,
            state: TaskState::Queued,
        };
        let task = job.tasks.entry(index).or_insert(fresh);
        task.attempts += 1;
        task.state = TaskState::Leased(lease);
        let attempt = AttemptId { task: TaskId { job: id, index }, number: task.attempts };
        let (tries_left, at) = (task.tries_left, self.now);
        effects.changes.push(Change::TaskLeased { attempt, worker, gpus, tries_left, at });
        if job.waiting() == 0 {
            self.queue.remove(&Shape::of(job.owner, &job.spec), id);
        }
        let (spec, lock) = (Arc::clone(&job.spec), job.lock.clone());
        self.renew_lease(attempt);
        self.update_room(worker, |occupancy| {
            occupancy.insert(attempt, Grant::new(needs, gpus));
        });
        let gpus = gpus.numbers().collect();
        self.send(worker, ToWorker::Start { attempt, spec, gpus, lock }, effects);
    }

    /// How long an attempt goes on if it runs to its time limit.
    pub(crate) fn remaining_ms(&self, attempt: AttemptId) -> u64 {
        let Some(job) = self.jobs.get(&attempt.task.job) else { return 0 };
        let Some(lease) = job.lease(attempt) else { return 0 };
        let since = lease.started_at.unwrap_or(lease.leased_at);
        (u64::from(job.spec.time_limit_s) * 1000).saturating_sub(self.now.since_ms(since))
    }
}
