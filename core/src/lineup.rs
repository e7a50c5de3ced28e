//! What the grid works out about each open job: whether something of it may start, and what.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_protocol::id::{JobId, TaskId};
use campusgrid_protocol::ranges::Ranges;

use crate::grid::Grid;
use crate::job::{Job, TaskState};
use crate::market::Stage;
use crate::queue::{Queue, Rank};
use crate::snapshot::{But, Shape};

/// About one open job; not on disk.
#[derive(Debug)]
pub(crate) struct Lineup {
    /// Tasks that are leased.
    pub(crate) running: u32,
    /// Those of its tasks that never started and need not wait for their counterparts any more; absent
    /// if no task waits for one.
    pub(crate) ready: Option<Ranges>,
    /// Something of it waits or pauses, and nothing may start.
    pub(crate) is_stalled: bool,
    /// Tasks that wait for machines and for nothing else; those of them too that may not start beside what
    /// runs.
    waiting: u32,
    /// Of tasks without a result.
    base: Strand,
    /// Of tasks with results that others are to check, by whose machines may not do so.
    apart: BTreeMap<But, Strand>,
}

/// Tasks of one job that wait for the same machines.
#[derive(Debug)]
struct Strand {
    shape: Shape,
    /// Those that wait again.
    requeued: BTreeSet<u32>,
    /// Where it stands in the queue, if it does.
    queued: Option<Rank>,
}

impl Lineup {
    /// Of a job none of whose tasks waits again yet.
    fn new(job: &Job, shape: Shape, ready: Option<Ranges>) -> Self {
        let running = u32::try_from(job.leases().count()).expect("a job has at most u32 tasks");
        let base = Strand { shape, requeued: BTreeSet::new(), queued: None };
        Self { running, ready, is_stalled: false, waiting: 0, base, apart: BTreeMap::new() }
    }

    /// The shape of tasks without a result.
    pub(crate) fn shape(&self) -> &Shape {
        &self.base.shape
    }

    /// All shapes that tasks of it wait under, or may.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = &Shape> {
        std::iter::once(&self.base.shape).chain(self.apart.values().map(|strand| &strand.shape))
    }

    fn strand(&mut self, but: But) -> &mut Strand {
        if but == self.base.shape.but {
            return &mut self.base;
        }
        self.apart.entry(but).or_insert_with(|| Strand {
            shape: Shape { but, ..self.base.shape.clone() },
            requeued: BTreeSet::new(),
            queued: None,
        })
    }

    /// The task of the job that is to start next under this shape, by its position: the lowest that
    /// waits and may.
    pub(crate) fn next(&self, job: &Job, shape: &Shape) -> Option<u32> {
        if shape.but == self.base.shape.but {
            self.next_of_base(job)
        } else {
            self.apart.get(&shape.but)?.requeued.first().copied()
        }
    }

    fn next_of_base(&self, job: &Job) -> Option<u32> {
        let untouched = match &self.ready {
            None => job.untouched.first(),
            Some(ready) => ready.first(),
        };
        self.base.requeued.first().copied().into_iter().chain(untouched).min()
    }

    /// A task that waits again does so no longer.
    fn forget(&mut self, task: u32, but: But) {
        self.strand(but).requeued.remove(&task);
    }

    /// Whether as many tasks run as may at once.
    pub(crate) fn is_full(&self, job: &Job) -> bool {
        job.terms.at_once.is_some_and(|at_once| self.running >= at_once)
    }

    /// The one rule of what may start: the job is not on hold, takes no bids, waits for no other job as
    /// a whole, and has fewer tasks running than may at once; and a task of it waits and may.
    fn may_start(&self, job: &Job) -> bool {
        !job.on_hold
            && job.open_market().is_none()
            && job.after.iter().all(|after| after.each)
            && !self.is_full(job)
    }
}

impl Strand {
    /// Stands in the queue with this rank, or does not.
    fn stand(&mut self, rank: Option<Rank>, queue: &mut Queue) {
        if rank != self.queued {
            if let Some(before) = self.queued {
                queue.remove(&self.shape, before);
            }
            if let Some(rank) = rank {
                queue.add(&self.shape, rank);
            }
            self.queued = rank;
        }
    }
}

impl Grid {
    /// The shape of those tasks of a job that have no result.
    pub(crate) fn shape_of(&self, job: &Job) -> Shape {
        let only = job.market.as_ref().and_then(|market| match market.stage {
            Stage::Open { .. } => None,
            Stage::Awarded(award) => Some(award.worker),
        });
        let shape = Shape::of(job.owner, &job.spec, &self.policy.prices);
        Shape { only, but: job.but_at_first(), ..shape }
    }

    /// Puts a job into the queue if something of it may start, and takes it out if not: to be called
    /// after every change of what decides about that.
    pub(crate) fn line_up(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let lineup = self.lineups.get_mut(&id).expect("every open job has one");
        let rank = lineup.may_start(job).then(|| Rank::of(job));
        let of_base = rank.filter(|_| lineup.next_of_base(job).is_some());
        let mut stands = of_base.is_some();
        lineup.base.stand(of_base, &mut self.queue);
        for strand in lineup.apart.values_mut() {
            let rank = rank.filter(|_| !strand.requeued.is_empty());
            stands |= rank.is_some();
            strand.stand(rank, &mut self.queue);
        }
        lineup.apart.retain(|_, strand| !strand.requeued.is_empty());
        lineup.is_stalled = !stands && job.open_tasks() > lineup.running;
        let waits = !job.on_hold && job.after.is_empty() && job.open_market().is_none();
        let waiting = if waits { job.waiting() } else { 0 };
        self.waiting = self.waiting - u64::from(lineup.waiting) + u64::from(waiting);
        lineup.waiting = waiting;
    }

    /// As a job begins or is taken up anew; all jobs that it waits for are there.
    pub(crate) fn begin_lineup(&mut self, id: JobId) {
        let job = &self.jobs[&id];
        let mut lineup = Lineup::new(job, self.shape_of(job), self.ready(job));
        for &task in &job.requeued {
            lineup.strand(job.but(task)).requeued.insert(task);
        }
        self.lineups.insert(id, lineup);
        self.line_up(id);
    }

    /// An open job is about to be forgotten.
    pub(crate) fn end_lineup(&mut self, id: JobId) {
        let lineup = self.lineups.remove(&id).expect("every open job has one");
        self.waiting -= u64::from(lineup.waiting);
        for mut strand in std::iter::once(lineup.base).chain(lineup.apart.into_values()) {
            strand.stand(None, &mut self.queue);
        }
    }

    /// A bid on the job was accepted, or has failed: another machine may run it than before.
    pub(crate) fn reshape(&mut self, id: JobId) {
        let shape = self.shape_of(&self.jobs[&id]);
        let base = &mut self.lineups.get_mut(&id).expect("every open job has one").base;
        if base.shape != shape {
            base.stand(None, &mut self.queue);
            base.shape = shape;
        }
        self.line_up(id);
    }

    /// A task that has started before waits again; it may be for others than its last machine's owner.
    pub(crate) fn requeue(&mut self, id: TaskId) {
        let job = self.jobs.get_mut(&id.job).expect("a task that waits again is of an open job");
        let task = job.tasks.get_mut(&id.index).expect("it has started and has not ended");
        task.state = TaskState::Queued;
        job.requeued.insert(id.index);
        let but = job.but(id.index);
        let lineup = self.lineups.get_mut(&id.job).expect("every open job has one");
        lineup.strand(but).requeued.insert(id.index);
        self.line_up(id.job);
    }

    /// A task that may wait again is leased, or is about to end. The caller lines its job up.
    pub(crate) fn unqueue(&mut self, id: TaskId) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        if job.requeued.remove(&id.index) {
            let but = job.but(id.index);
            let lineup = self.lineups.get_mut(&id.job).expect("every open job has one");
            lineup.forget(id.index, but);
        }
    }
}
