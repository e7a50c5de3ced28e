//! Which machines may be black holes: they take tasks and give them all back before they begin, and
//! since that is quickly done, they take ever more.
//!
//! A machine is one if three different jobs came back from it within ten minutes that have failed so
//! on no other machine. A submitter could write jobs that fail everywhere, and with them have every
//! machine set aside that is the first to try them. So all the jobs of one submitter count as one,
//! but for those that began on somebody else's machine, and for those of whoever may set the machine
//! aside anyway. In memory only: after a restart a black hole is found out once more.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_protocol::id::{JobId, UserId, WorkerId};

use crate::deadlines::Deadlines;
use crate::time::Timestamp;

/// How long a job that came back counts.
const MEMORY_MS: u64 = 10 * 60 * 1000;

/// Different jobs that make a black hole.
const JOBS: usize = 3;

/// Jobs that came back before they began, for ten minutes each.
#[derive(Debug, Default)]
pub(crate) struct Suspicions {
    of_worker: BTreeMap<WorkerId, BTreeMap<JobId, Suspicion>>,
    workers_of: BTreeMap<JobId, BTreeSet<WorkerId>>,
    ends: Deadlines<(WorkerId, JobId)>,
}

#[derive(Debug, Clone, Copy)]
struct Suspicion {
    submitter: UserId,
    standing: Standing,
}

/// What is known of a job that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Maybe it fails everywhere.
    Unproven,
    /// It began on another machine, or its submitter is to be believed.
    Sound,
    /// It has failed so on another machine as well, and says nothing about any.
    Faulty,
}

/// A job that came back before it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailedStart {
    pub(crate) worker: WorkerId,
    pub(crate) job: JobId,
    pub(crate) submitter: UserId,
    /// Whether the submitter may have the machine set aside: it is their own, or they are an operator.
    pub(crate) believed: bool,
}

impl Suspicions {
    /// Notes that a job came back; whether its machine is a black hole by that.
    pub(crate) fn failed(&mut self, failed: FailedStart, now: Timestamp) -> bool {
        self.forget_old(now);
        let FailedStart { worker, job, submitter, believed } = failed;
        let workers = self.workers_of.entry(job).or_default();
        workers.insert(worker);
        let everywhere = workers.len() > 1;
        if everywhere {
            for other in workers.iter() {
                if let Some(suspicion) =
                    self.of_worker.get_mut(other).and_then(|jobs| jobs.get_mut(&job))
                {
                    suspicion.standing = Standing::Faulty;
                }
            }
        }
        let standing = match (everywhere, believed) {
            (true, _) => Standing::Faulty,
            (false, true) => Standing::Sound,
            (false, false) => Standing::Unproven,
        };
        let jobs = self.of_worker.entry(worker).or_default();
        jobs.entry(job).or_insert(Suspicion { submitter, standing });
        self.ends.renew((worker, job), now.plus_ms(MEMORY_MS));
        self.is_black_hole(worker)
    }

    /// Notes that a job has begun on a machine that is not its submitter's; which machines are black
    /// holes by that.
    pub(crate) fn began(&mut self, job: JobId, worker: WorkerId, now: Timestamp) -> Vec<WorkerId> {
        self.forget_old(now);
        let Some(workers) = self.workers_of.get(&job) else { return Vec::new() };
        let others: Vec<WorkerId> =
            workers.iter().copied().filter(|&other| other != worker).collect();
        for other in &others {
            if let Some(suspicion) =
                self.of_worker.get_mut(other).and_then(|jobs| jobs.get_mut(&job))
                && suspicion.standing == Standing::Unproven
            {
                suspicion.standing = Standing::Sound;
            }
        }
        others.into_iter().filter(|&other| self.is_black_hole(other)).collect()
    }

    /// A machine is not suspected any more, or is no more.
    pub(crate) fn forget(&mut self, worker: WorkerId) {
        for job in self.of_worker.get(&worker).into_iter().flat_map(BTreeMap::keys) {
            self.ends.close(&(worker, *job));
            leave(&mut self.workers_of, *job, worker);
        }
        self.of_worker.remove(&worker);
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some((worker, job)) = self.ends.pop_over(now) {
            leave(&mut self.workers_of, job, worker);
            if let Some(jobs) = self.of_worker.get_mut(&worker) {
                jobs.remove(&job);
                if jobs.is_empty() {
                    self.of_worker.remove(&worker);
                }
            }
        }
    }

    fn is_black_hole(&self, worker: WorkerId) -> bool {
        let Some(jobs) = self.of_worker.get(&worker) else { return false };
        let of = |standing: Standing| {
            jobs.values().filter(move |suspicion| suspicion.standing == standing)
        };
        let submitters: BTreeSet<UserId> =
            of(Standing::Unproven).map(|suspicion| suspicion.submitter).collect();
        of(Standing::Sound).count() + submitters.len() >= JOBS
    }
}

fn leave(workers_of: &mut BTreeMap<JobId, BTreeSet<WorkerId>>, job: JobId, worker: WorkerId) {
    if let Some(workers) = workers_of.get_mut(&job) {
        workers.remove(&worker);
        if workers.is_empty() {
            workers_of.remove(&job);
        }
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::id::{JobId, UserId, WorkerId};

    use super::{FailedStart, MEMORY_MS, Suspicions};
    use crate::time::Timestamp;

    /// What happens, one word each: `j1@2` job 1 comes back from worker 2 (a job's submitter is the
    /// tens of its number), `b1@2` it begins on worker 2, `o1@2` it comes back and is believed, `f2`
    /// worker 2 is forgotten, `w` ten minutes pass. Yields the black holes as they are found.
    fn check(story: &str, expected: &str) {
        let mut suspicions = Suspicions::default();
        let mut now = Timestamp(1);
        let mut found = Vec::new();
        for word in story.split_whitespace() {
            let (what, rest) = word.split_at(1);
            let mut numbers = rest.split('@').map(|number| number.parse::<u64>().unwrap_or(0));
            let mut next = || numbers.next().unwrap_or(0);
            match what {
                "j" | "o" => {
                    let (job, worker) = (JobId(next()), WorkerId(next()));
                    let submitter = UserId(job.0 / 10);
                    let failed = FailedStart { worker, job, submitter, believed: what == "o" };
                    found.extend(suspicions.failed(failed, now).then_some(worker));
                }
                "b" => {
                    let job = JobId(next());
                    found.extend(suspicions.began(job, WorkerId(next()), now));
                }
                "f" => suspicions.forget(WorkerId(next())),
                _ => now = now.plus_ms(MEMORY_MS),
            }
        }
        let found: Vec<String> = found.iter().map(WorkerId::to_string).collect();
        assert_eq!(found.join(" "), expected, "{story}");
        now = now.plus_ms(MEMORY_MS);
        suspicions.forget_old(now);
        let Suspicions { of_worker, workers_of, ends } = suspicions;
        assert!(of_worker.is_empty() && workers_of.is_empty() && ends.first().is_none());
    }

    #[test]
    fn jobs_of_three_people_make_a_black_hole() {
        check("j11@1 j21@1 j31@1", "1");
        check("j11@1 j21@1 j22@1 j11@1", "");
    }

    #[test]
    fn jobs_of_one_count_as_one_until_they_began_elsewhere() {
        check("j11@1 j12@1 j13@1 j14@1", "");
        check("j11@1 j12@1 j13@1 b11@2", "");
        check("j11@1 j12@1 j13@1 b11@2 b12@2", "1");
        check("j11@1 j12@1 j13@1 b11@1 b12@1 b13@1", "");
        check("j11@1 j12@1 b11@2 b12@3 j13@1", "1");
    }

    #[test]
    fn those_who_may_set_it_aside_are_believed() {
        check("o11@1 o12@1 o13@1", "1");
    }

    #[test]
    fn what_fails_everywhere_says_nothing() {
        check("j11@1 j11@2 j21@1 j21@2 j31@1 j31@2 b11@3 b21@3 b31@3", "");
        check("o11@1 o12@1 o11@2 o13@1 o14@1", "1");
    }

    #[test]
    fn it_counts_for_ten_minutes() {
        check("j11@1 j21@1 w j31@1", "");
        check("j11@1 j21@1 j31@1 f1 j11@1 j21@1", "1");
    }
}
