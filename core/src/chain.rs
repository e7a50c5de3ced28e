//! Chains: jobs, or each of their tasks, that wait for other jobs or for their tasks.
//!
//! What is decided about a job is told to those that wait for it, and what that decides about them to
//! those that wait for them: one after the other, however long the chain, before anything else
//! happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::terms::When;

use crate::effect::{Change, Effects, Refusal};
use crate::grid::Grid;
use crate::job::{After, EndedTasks, Job};

const WHENS: [When; 4] = [When::Started, When::Ok, When::Any, When::Failed];

/// Who waits for which job, and what they have still to be told.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    followers: BTreeSet<(After, JobId)>,
    news: VecDeque<News>,
}

/// What has come of tasks that others may wait for.
#[derive(Debug)]
pub(crate) enum News {
    /// A task of it was given to a machine for the first time.
    Started { job: JobId, task: u32 },
    /// These tasks have ended, by succeeding or not.
    Ended { job: JobId, tasks: Ranges, ok: bool },
    /// All of it has ended, and all of it has succeeded or not.
    Over { job: JobId, ok: bool },
}

impl News {
    fn job(&self) -> JobId {
        match self {
            Self::Started { job, .. } | Self::Ended { job, .. } | Self::Over { job, .. } => *job,
        }
    }
}

impl Chains {
    /// To be told on by [`Grid::follow`], if anybody waits for it.
    pub(crate) fn tell(&mut self, news: News) {
        let least = After { job: news.job(), when: When::Started, each: false };
        let first = self.followers.range((least, JobId(0))..).next();
        if first.is_some_and(|(after, _)| after.job == news.job()) {
            self.news.push_back(news);
        }
    }

    pub(crate) fn begin(&mut self, job: &Job) {
        self.followers.extend(job.after.iter().map(|after| (*after, job.id)));
    }

    pub(crate) fn end(&mut self, job: &Job) {
        for after in &job.after {
            self.followers.remove(&(*after, job.id));
        }
    }

    fn followers(&self, after: After) -> Vec<JobId> {
        let all = (after, JobId(0))..=(after, JobId(u64::MAX));
        self.followers.range(all).map(|(_, job)| *job).collect()
    }

    #[cfg(test)]
    pub(crate) fn is_of<'a>(&self, jobs: impl Iterator<Item = &'a Job>) -> bool {
        let all = |job: &'a Job| job.after.iter().map(|after| (*after, job.id));
        self.news.is_empty() && self.followers == jobs.flat_map(all).collect()
    }
}

/// What a new job waits for, settled as far as it can be.
pub(crate) struct Edges {
    /// Those of open jobs.
    pub(crate) open: Vec<After>,
    /// Tasks that can never start, and why.
    pub(crate) broken: Vec<(Ranges, Arc<str>)>,
}

impl Edges {
    /// Whether it waits for nothing.
    pub(crate) fn is_none(&self) -> bool {
        self.open.is_empty() && self.broken.is_empty()
    }
}

impl Grid {
    /// Settles what a new job of so many tasks is to wait for.
    ///
    /// # Errors
    ///
    /// `AfterUnknown`, `SizesDiffer`; `NeverStarts` if no task of it can ever start; `Moved` if one has
    /// ended since they were read.
    pub(crate) fn settle_after(
        &self,
        (user, tasks): (UserId, u32),
        after: Vec<After>,
        ended: &BTreeMap<JobId, EndedTasks>,
    ) -> Result<Edges, Refusal> {
        let mut alive = Ranges::below(tasks);
        let mut edges = Edges { open: Vec::new(), broken: Vec::new() };
        for after in BTreeSet::from_iter(after) {
            let open = self.jobs.get(&after.job);
            let so_far = match (open, ended.get(&after.job)) {
                (Some(job), _) if job.owner == user => &job.ended,
                (None, Some(ended)) => ended,
                (None, None) if self.was_job(after.job) => return Err(Refusal::Moved),
                (Some(_), _) | (None, None) => {
                    return Err(Refusal::AfterUnknown { job: after.job });
                }
            };
            let never = Refusal::NeverStarts { job: after.job };
            if after.each {
                let size = open.map_or_else(|| so_far.len(), |job| job.spec.tasks);
                if size != tasks {
                    return Err(Refusal::SizesDiffer { job: after.job, tasks: size });
                }
                let broken = broken(so_far, after.when);
                alive.remove_all(&broken);
                edges.broken.push((broken, words(after)));
            } else if (open.is_none() && !is_met(after.when, so_far.is_ok()))
                || (after.when == When::Ok && !so_far.is_ok())
            {
                return Err(never);
            }
            if alive.is_empty() {
                return Err(never);
            }
            let is_started = !after.each && after.when == When::Started;
            if open.is_some_and(|job| !is_started || !job.has_started()) {
                edges.open.push(after);
            }
        }
        Ok(edges)
    }

    /// Whether this has been the number of a job that is over, as far as can be told here.
    pub(crate) fn was_job(&self, id: JobId) -> bool {
        let is_given = id > JobId(0) && id <= self.last_job;
        is_given && !self.jobs.contains_key(&id) && !self.drafts.contains_key(&id)
    }

    /// Those of a job's tasks that never started and whose counterparts have all come far enough;
    /// `None` if its tasks wait for none.
    pub(crate) fn ready(&self, job: &Job) -> Option<Ranges> {
        let has_each = job.after.iter().any(|after| after.each);
        has_each.then(|| self.released(job, job.untouched.clone()))
    }

    fn released(&self, job: &Job, tasks: Ranges) -> Ranges {
        let each = job.after.iter().filter(|after| after.each);
        each.fold(tasks, |tasks, after| match self.jobs.get(&after.job) {
            Some(other) => far_enough(other, after.when, tasks),
            // It is over, and what that breaks is about to be told.
            None => tasks,
        })
    }

    /// Tells on all that is news.
    pub(crate) fn follow(&mut self, effects: &mut Effects) {
        while let Some(news) = self.chains.news.pop_front() {
            match news {
                News::Started { job, task } => {
                    let whole = After { job, when: When::Started, each: false };
                    self.meet_all(whole, effects);
                    self.release_each(After { each: true, ..whole }, &Ranges::one(task));
                }
                News::Ended { job, tasks, ok } => {
                    for when in WHENS {
                        let each = After { job, when, each: true };
                        if is_met(when, ok) {
                            self.release_each(each, &tasks);
                        } else {
                            self.break_each(each, &tasks, effects);
                        }
                    }
                    if !ok {
                        self.break_all(After { job, when: When::Ok, each: false }, effects);
                    }
                }
                News::Over { job, ok } => {
                    for when in WHENS {
                        // What this breaks of single tasks has been told with their ends.
                        self.meet_all(After { job, when, each: true }, effects);
                        let whole = After { job, when, each: false };
                        if is_met(when, ok) {
                            self.meet_all(whole, effects);
                        } else {
                            self.break_all(whole, effects);
                        }
                    }
                }
            }
        }
    }

    fn meet_all(&mut self, after: After, effects: &mut Effects) {
        for id in self.chains.followers(after) {
            self.chains.followers.remove(&(after, id));
            let job = self.jobs.get_mut(&id).expect("only open jobs wait for others");
            job.after.retain(|other| *other != after);
            if job.after.iter().all(|after| !after.each) {
                self.lineups.get_mut(&id).expect("every open job has one").ready = None;
            }
            effects.changes.push(Change::AfterMet { job: id, after });
            self.line_up(id);
        }
    }

    fn release_each(&mut self, after: After, tasks: &Ranges) {
        for id in self.chains.followers(after) {
            let job = &self.jobs[&id];
            let released = self.released(job, tasks.common(&job.untouched));
            let lineup = self.lineups.get_mut(&id).expect("every open job has one");
            lineup.ready.get_or_insert_default().insert_all(&released);
            self.line_up(id);
        }
    }

    fn break_each(&mut self, after: After, tasks: &Ranges, effects: &mut Effects) {
        for id in self.chains.followers(after) {
            self.cancel_untouched(id, tasks, Some(words(after)), effects);
            self.close_if_over(id, effects);
        }
    }

    fn break_all(&mut self, after: After, effects: &mut Effects) {
        for id in self.chains.followers(after) {
            let tasks = self.jobs[&id].untouched.clone();
            self.cancel_untouched(id, &tasks, Some(words(after)), effects);
            self.close_if_over(id, effects);
        }
    }
}

/// Whether what is over, well or not, has come as far as this.
fn is_met(when: When, ok: bool) -> bool {
    match when {
        When::Started | When::Any => true,
        When::Ok => ok,
        When::Failed => !ok,
    }
}

/// The tasks that have ended and not come as far as this.
fn broken(ended: &EndedTasks, when: When) -> Ranges {
    match when {
        When::Started | When::Any => Ranges::default(),
        When::Ok => {
            let mut broken = ended.failed.clone();
            broken.insert_all(&ended.cancelled);
            broken
        }
        When::Failed => ended.succeeded.clone(),
    }
}

/// Those of these tasks that have come as far as this. Costs by the number of their ranges.
fn far_enough(job: &Job, when: When, mut tasks: Ranges) -> Ranges {
    let EndedTasks { succeeded, failed, cancelled } = &job.ended;
    let ended: &[&Ranges] = match when {
        When::Started => {
            let waiting = tasks.common(&job.untouched);
            tasks.remove_all(&waiting);
            return tasks;
        }
        When::Ok => &[succeeded],
        When::Any => &[succeeded, failed, cancelled],
        When::Failed => &[failed, cancelled],
    };
    let mut found = Ranges::default();
    for ended in ended {
        found.insert_all(&tasks.common(ended));
    }
    found
}

/// Why what waited for this can never start.
fn words(after: After) -> Arc<str> {
    let After { job, when, each } = after;
    let whose = if each {
        format!("the task of job {job} that it was to follow")
    } else {
        format!("job {job}, which it was to follow,")
    };
    match when {
        When::Failed => format!("{whose} has not failed, so it can never start").into(),
        When::Started | When::Ok | When::Any => {
            format!("{whose} has not succeeded, so it can never start").into()
        }
    }
}
