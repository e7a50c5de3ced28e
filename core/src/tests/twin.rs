//! The naive twin of the scheduler: what may start, in which order and where, found the slow way from
//! nothing but the jobs and the machines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId, WorkerId};
use campusgrid_protocol::terms::When;

use crate::grid::Grid;
use crate::input::Intake;
use crate::job::{After, Job};
use crate::market::Stage;
use crate::snapshot::Shape;
use crate::worker::{Grant, Link};

/// Tasks that this round has placed, in order.
pub(super) type Placed = Vec<(TaskId, WorkerId)>;

/// What dispatch has to do: of what may start and is not known to fit nowhere, each user's first by
/// priority and age, of these the oldest, on the machine that it fits most tightly; if there is none,
/// that is known; and again until nothing is left.
pub(super) fn placements(grid: &Grid) -> Placed {
    let mut links = grid.links.clone();
    let mut placed = Placed::new();
    let mut grants = BTreeMap::<WorkerId, Vec<Grant>>::new();
    let has_room_now = |shape: &Shape| {
        let links = grid.freed.iter().filter_map(|id| Some((id, grid.links.get(id)?)));
        links
            .into_iter()
            .any(|(id, link)| link.free.fits(&shape.needs) && grid.admits(*id, link, shape))
    };
    let blocked = grid.queue.waiting().filter(|shape| grid.queue.is_blocked(shape));
    let mut blocked: BTreeSet<Shape> =
        blocked.filter(|shape| !has_room_now(shape)).cloned().collect();
    if grid.intake != Intake::Open {
        return placed;
    }
    loop {
        let mut firsts = BTreeMap::<UserId, _>::new();
        for job in grid.jobs.values() {
            for (shape, index) in next(grid, job, &placed) {
                if !blocked.contains(&shape) {
                    let rank = (Reverse(job.priority), job.submitted_at, job.id);
                    let one = (rank, shape, index);
                    let first = firsts.entry(job.owner).or_insert_with(|| one.clone());
                    *first = one.min(first.clone());
                }
            }
        }
        let age = |((_, submitted_at, job), _, _): &((_, _, _), Shape, u32)| (*submitted_at, *job);
        let Some(((_, _, id), shape, index)) = firsts.into_values().min_by_key(age) else {
            return placed;
        };
        let tightness = |(id, link): &(&WorkerId, &mut Link)| {
            let free = &link.free;
            ((free.gpus.len(), free.cpu_millis, free.ram_mib), link.connected_at, **id)
        };
        let fitting = links.iter_mut().filter(|(id, link)| is_room(grid, **id, link, &shape));
        let Some((&worker, link)) = fitting.min_by_key(tightness) else {
            blocked.insert(shape);
            continue;
        };
        let (needs, gpus) = (shape.needs, link.free.choose(&shape.needs));
        placed.push((TaskId { job: id, index }, worker));
        let mut running = grid.occupancy.get(&worker).cloned().unwrap_or_default();
        let here = grants.entry(worker).or_default();
        here.push(Grant::new(needs, gpus));
        for (number, grant) in (0..).zip(here.iter()) {
            let task = TaskId { job: JobId(u64::MAX), index: 0 };
            running.insert(AttemptId { task, number }, *grant);
        }
        link.free = link.room(&running);
    }
}

/// The tasks of a job that are to start next, after what was placed: of each shape the first.
pub(super) fn next(grid: &Grid, job: &Job, placed: &Placed) -> BTreeMap<Shape, u32> {
    let of_job = placed.iter().filter(|(task, _)| task.job == job.id);
    let running = job.leases().count() + of_job.clone().count();
    let is_full = job.terms.at_once.is_some_and(|at_once| running >= at_once as usize);
    let waits_for_all = |after: &After| !after.each && !has_started(grid, *after, None, placed);
    let stage = job.market.as_ref().map(|market| market.stage);
    let is_open = matches!(stage, Some(Stage::Open { .. }));
    if job.on_hold || is_full || is_open || job.after.iter().any(waits_for_all) {
        return BTreeMap::new();
    }
    let only = match stage {
        Some(Stage::Awarded(award)) => Some(award.worker),
        Some(Stage::Open { .. }) | None => None,
    };
    let placed_of_job: BTreeSet<u32> = of_job.map(|(task, _)| task.index).collect();
    let mut waiting = job.requeued.clone();
    waiting.extend(ready(grid, job, placed));
    let mut firsts = BTreeMap::new();
    for &index in waiting.difference(&placed_of_job) {
        let is_new = !job.tasks.contains_key(&index);
        let but = if is_new { job.but_at_first() } else { job.but(index) };
        let shape = Shape::of(job.owner, &job.spec, &grid.policy.prices);
        firsts.entry(Shape { only, but, ..shape }).or_insert(index);
    }
    firsts
}

/// The tasks of a job that never started and whose counterparts have come far enough.
pub(super) fn ready(grid: &Grid, job: &Job, placed: &Placed) -> BTreeSet<u32> {
    let may_start = |index: &u32| {
        let mut each = job.after.iter().filter(|after| after.each);
        each.all(|after| {
            let ended = &grid.jobs[&after.job].ended;
            let (ok, bad) = (
                ended.succeeded.contains(*index),
                ended.failed.contains(*index) || ended.cancelled.contains(*index),
            );
            match after.when {
                When::Started => has_started(grid, *after, Some(*index), placed),
                When::Ok => ok,
                When::Any => ok || bad,
                When::Failed => bad,
            }
        })
    };
    job.untouched.numbers().filter(may_start).collect()
}

/// Whether the job that is waited for, or its task, has started; for jobs, by this round alone.
fn has_started(grid: &Grid, after: After, index: Option<u32>, placed: &Placed) -> bool {
    let other = &grid.jobs[&after.job];
    let before = index.is_some_and(|index| !other.untouched.contains(index));
    let is_it = |task: &TaskId| task.job == after.job && index.is_none_or(|at| at == task.index);
    after.when == When::Started && (before || placed.iter().any(|(task, _)| is_it(task)))
}

/// Whether nothing of what a job waits for is decided: what is has been told of.
pub(super) fn is_undecided(grid: &Grid, job: &Job) -> bool {
    job.after.iter().all(|after| {
        let Some(other) = grid.jobs.get(&after.job) else { return false };
        let (ended, is_broken) = (&other.ended, |index: &u32| match after.when {
            When::Started | When::Any => false,
            When::Ok => {
                other.ended.failed.contains(*index) || other.ended.cancelled.contains(*index)
            }
            When::Failed => other.ended.succeeded.contains(*index),
        });
        match (after.each, after.when) {
            (true, _) => !job.untouched.numbers().any(|index| is_broken(&index)),
            (false, When::Started) => !other.has_started(),
            (false, When::Ok) => ended.failed.is_empty() && ended.cancelled.is_empty(),
            (false, When::Any | When::Failed) => true,
        }
    })
}

pub(super) fn is_room(grid: &Grid, id: WorkerId, link: &Link, shape: &Shape) -> bool {
    let silence_ms = grid.now.since_ms(link.heard_at);
    silence_ms <= 3 * u64::from(grid.policy.heartbeat_ms)
        && !link.leaving
        && grid.intake == Intake::Open
        && link.is_open(&grid.workers[&id].rules, grid.now)
        && grid.workers[&id].set_aside.is_none()
        && grid.admits(id, link, shape)
        && link.free.fits(&shape.needs)
        && grid.pauses.end(&(id, shape.clone())).is_none()
}
