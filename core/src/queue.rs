//! Which jobs have something that may start, and in which order they come.
//!
//! Among one user's jobs, higher priority goes first, then who came first. Between users it is who
//! came first, by the job that is its user's next: whoever puts a later job of theirs before an
//! earlier one goes behind those who came in between, so that priorities take nothing from others.
//! What is known to fit on no machine is passed over.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use campusgrid_protocol::id::{JobId, UserId};

use crate::job::Job;
use crate::snapshot::Shape;
use crate::time::Timestamp;

/// A job's place among its user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    priority: Reverse<i8>,
    place: Place,
}

/// A job's place among all. Not its number: that of a draft is older than the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    submitted_at: Timestamp,
    job: JobId,
}

impl Rank {
    pub(crate) fn of(job: &Job) -> Self {
        let place = Place { submitted_at: job.submitted_at, job: job.id };
        Self { priority: Reverse(job.priority), place }
    }
}

/// Jobs with a task that may start, by shape.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    shapes: BTreeMap<Shape, Line>,
    /// Of each user, the heads of those shapes that are not blocked.
    heads: BTreeMap<UserId, BTreeSet<(Rank, Shape)>>,
    /// The first head of each user: what the scheduler looks at, in order.
    firsts: BTreeMap<Place, UserId>,
}

#[derive(Debug, Default)]
struct Line {
    jobs: BTreeSet<Rank>,
    reach: Reach,
}

impl Line {
    /// Its first job, if the scheduler is to look at it.
    fn head(&self) -> Option<Rank> {
        self.jobs.first().filter(|_| self.reach != Reach::Nowhere).copied()
    }
}

/// Where the tasks of a line may fit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    #[default]
    Anywhere,
    /// They fitted nowhere, and since then only the machines that got room have changed.
    Freed,
    /// On no machine as things are.
    Nowhere,
}

impl Queue {
    /// A job has a task that may start. Repeating it changes nothing.
    pub(crate) fn add(&mut self, shape: &Shape, rank: Rank) {
        if !self.shapes.contains_key(shape) {
            self.shapes.insert(shape.clone(), Line::default());
        }
        self.update(shape, |line| {
            line.jobs.insert(rank);
        });
    }

    /// A job has no task that may start any more.
    pub(crate) fn remove(&mut self, shape: &Shape, rank: Rank) {
        self.update(shape, |line| {
            line.jobs.remove(&rank);
        });
        if self.shapes.get(shape).is_some_and(|line| line.jobs.is_empty()) {
            self.shapes.remove(shape);
        }
    }

    #[cfg(test)]
    pub(crate) fn has(&self, shape: &Shape, job: JobId) -> bool {
        let mut lines = self.shapes.get(shape).into_iter();
        lines.any(|line| line.jobs.iter().any(|rank| rank.place.job == job))
    }

    #[cfg(test)]
    pub(crate) fn is_blocked(&self, shape: &Shape) -> bool {
        self.shapes[shape].reach == Reach::Nowhere
    }

    /// The shapes of which tasks may start.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Shape> {
        self.shapes.keys()
    }

    /// The tasks of a shape fit on no machine as things are.
    pub(crate) fn block(&mut self, shape: &Shape) {
        self.update(shape, |line| line.reach = Reach::Nowhere);
    }

    /// A machine that these shapes may fit has got room.
    pub(crate) fn unblock(&mut self, fits: impl Fn(&Shape) -> bool) {
        let mut opened = Vec::new();
        for (shape, line) in &mut self.shapes {
            if line.reach == Reach::Nowhere && fits(shape) {
                line.reach = Reach::Freed;
                opened.extend(line.head().map(|rank| (rank, shape.clone())));
            }
        }
        for (rank, shape) in opened {
            self.set_head(shape.owner, None, Some((rank, shape)));
        }
    }

    /// The head that comes first, and where to look for room for it.
    pub(crate) fn first(&self) -> Option<(JobId, Shape, Reach)> {
        let (place, user) = self.firsts.first_key_value()?;
        let (_, shape) = self.heads[user].first()?;
        Some((place.job, shape.clone(), self.shapes[shape].reach))
    }

    /// Keeps the heads true to the line across a change.
    fn update(&mut self, shape: &Shape, change: impl FnOnce(&mut Line)) {
        let Some(line) = self.shapes.get_mut(shape) else { return };
        let before = line.head();
        change(line);
        let after = line.head();
        if before != after {
            let head = |rank| (rank, shape.clone());
            self.set_head(shape.owner, before.map(head), after.map(head));
        }
    }

    /// Keeps `firsts` true to the heads across a change.
    fn set_head(
        &mut self,
        user: UserId,
        before: Option<(Rank, Shape)>,
        after: Option<(Rank, Shape)>,
    ) {
        let heads = self.heads.entry(user).or_default();
        if let Some((first, _)) = heads.first() {
            self.firsts.remove(&first.place);
        }
        if let Some(before) = before {
            heads.remove(&before);
        }
        heads.extend(after);
        match heads.first() {
            Some((first, _)) => {
                self.firsts.insert(first.place, user);
            }
            None => {
                self.heads.remove(&user);
            }
        }
    }
}
