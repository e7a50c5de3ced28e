//! What the grid works out about each open job: whether something of it may start, and what.

use campusgrid_protocol::id::JobId;
use campusgrid_protocol::ranges::Ranges;

use crate::grid::Grid;
use crate::job::Job;
use crate::queue::Rank;
use crate::snapshot::Shape;

/// About one open job; not on disk.
#[derive(Debug)]
pub(crate) struct Lineup {
    pub(crate) shape: Shape,
    /// Tasks that are leased.
    pub(crate) running: u32,
    /// Those of its tasks that never started and need not wait for their counterparts any more; absent
    /// if no task waits for one.
    pub(crate) ready: Option<Ranges>,
    /// Something of it waits or pauses, and nothing may start.
    pub(crate) is_stalled: bool,
    /// Where it stands in the queue, if it does.
    queued: Option<Rank>,
}

impl Lineup {
    pub(crate) fn new(job: &Job, ready: Option<Ranges>) -> Self {
        let running = u32::try_from(job.leases().count()).expect("a job has at most u32 tasks");
        let shape = Shape::of(job.owner, &job.spec);
        Self { shape, running, ready, is_stalled: false, queued: None }
    }

    /// The task of the job that is to start next, by its position: the lowest that waits and may.
    pub(crate) fn next(&self, job: &Job) -> Option<u32> {
        let untouched = match &self.ready {
            None => job.untouched.first(),
            Some(ready) => ready.first(),
        };
        job.requeued.first().copied().into_iter().chain(untouched).min()
    }

    /// Whether as many tasks run as may at once.
    pub(crate) fn is_full(&self, job: &Job) -> bool {
        job.terms.at_once.is_some_and(|at_once| self.running >= at_once)
    }

    /// The one rule of what may start: the job is not on hold, waits for no other job as a whole, has
    /// fewer tasks running than may at once, and has one that waits and may start.
    fn may_start(&self, job: &Job) -> bool {
        !job.on_hold
            && job.after.iter().all(|after| after.each)
            && !self.is_full(job)
            && self.next(job).is_some()
    }
}

impl Grid {
    /// Puts a job into the queue if something of it may start, and takes it out if not: to be called
    /// after every change of what decides about that.
    pub(crate) fn line_up(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let lineup = self.lineups.get_mut(&id).expect("every open job has one");
        let rank = lineup.may_start(job).then(|| Rank::of(job));
        if rank != lineup.queued {
            if let Some(before) = lineup.queued {
                self.queue.remove(&lineup.shape, before);
            }
            if let Some(rank) = rank {
                self.queue.add(&lineup.shape, rank);
            }
            lineup.queued = rank;
        }
        lineup.is_stalled = rank.is_none() && job.open_tasks() > lineup.running;
    }

    /// As a job begins or is taken up anew; all jobs that it waits for are there.
    pub(crate) fn begin_lineup(&mut self, id: JobId) {
        let job = &self.jobs[&id];
        let lineup = Lineup::new(job, self.ready(job));
        self.lineups.insert(id, lineup);
        self.line_up(id);
    }

    /// An open job is about to be forgotten.
    pub(crate) fn end_lineup(&mut self, id: JobId) {
        let lineup = self.lineups.remove(&id).expect("every open job has one");
        if let Some(rank) = lineup.queued {
            self.queue.remove(&lineup.shape, rank);
        }
    }
}
