//! Which machines may be black holes: they take tasks and give them all back before they begin, and
//! since that is quickly done, they take ever more.
//!
//! A machine is one if three different jobs came back from it within ten minutes, of those that say
//! something about it. A job that began on another machine does, and one whose submitter is to be
//! believed. One that came back from several machines and began nowhere else does not: it may fail
//! everywhere. A submitter could write jobs that do, and with them have every machine set aside that
//! is the first to try them; so all others of one submitter count as one. In memory only: after a
//! restart a black hole is found out once more.

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
    /// Of jobs that came back, and of open ones that began somewhere.
    evidence: BTreeMap<JobId, Evidence>,
    ends: Deadlines<(WorkerId, JobId)>,
}

#[derive(Debug, Clone, Copy)]
struct Suspicion {
    submitter: UserId,
    believed: bool,
}

/// What is known of a job.
#[derive(Debug, Default)]
struct Evidence {
    /// The machines that a suspicion by this job is kept of.
    failed_on: BTreeSet<WorkerId>,
    /// It came back from more machines than one.
    spread: bool,
    /// The first machines that it began on, and that are not its submitter's; two, since the one that
    /// it came back from is no witness.
    began_on: [Option<WorkerId>; 2],
    /// It has ended, so nothing more is learned.
    over: bool,
}

/// What a job that came back says about a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It began on another one, or its submitter is to be believed.
    Sound,
    /// Nothing: maybe it fails everywhere.
    Faulty,
    /// Maybe it fails everywhere, but nobody has seen that.
    Unproven,
}

impl Evidence {
    fn standing(&self, suspicion: &Suspicion, worker: WorkerId) -> Standing {
        let began_elsewhere = self.began_on.iter().flatten().any(|&other| other != worker);
        match (began_elsewhere, self.spread, suspicion.believed) {
            (true, _, _) | (false, false, true) => Standing::Sound,
            (false, true, _) => Standing::Faulty,
            (false, false, false) => Standing::Unproven,
        }
    }

    /// Whether this is the first that is known of it there.
    fn note_began(&mut self, worker: WorkerId) -> bool {
        let free = match self.began_on {
            [None, _] => 0,
            [Some(first), None] if first != worker => 1,
            [Some(_), _] => return false,
        };
        self.began_on[free] = Some(worker);
        true
    }

    fn is_of_use(&self) -> bool {
        !self.failed_on.is_empty() || (self.began_on[0].is_some() && !self.over)
    }
}

/// A job that came back before it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailedStart {
    pub(crate) worker: WorkerId,
    pub(crate) job: JobId,
    pub(crate) submitter: UserId,
    /// Whether the submitter's word is enough: they may have the machine set aside, or no other
    /// machine could bear them out.
    pub(crate) believed: bool,
}

impl Suspicions {
    /// Notes that a job came back; whether its machine is a black hole by that.
    pub(crate) fn failed(&mut self, failed: FailedStart, now: Timestamp) -> bool {
        self.forget_old(now);
        let FailedStart { worker, job, submitter, believed } = failed;
        let evidence = self.evidence.entry(job).or_default();
        evidence.failed_on.insert(worker);
        evidence.spread |= evidence.failed_on.len() > 1;
        let jobs = self.of_worker.entry(worker).or_default();
        jobs.entry(job).or_insert(Suspicion { submitter, believed }).believed |= believed;
        self.ends.renew((worker, job), now.plus_ms(MEMORY_MS));
        self.is_black_hole(worker)
    }

    /// Notes that a job has begun on a machine that is not its submitter's; which machines are black
    /// holes by that.
    pub(crate) fn began(&mut self, job: JobId, worker: WorkerId, now: Timestamp) -> Vec<WorkerId> {
        self.forget_old(now);
        let evidence = self.evidence.entry(job).or_default();
        if !evidence.note_began(worker) {
            return Vec::new();
        }
        let others: Vec<WorkerId> =
            evidence.failed_on.iter().copied().filter(|&other| other != worker).collect();
        others.into_iter().filter(|&other| self.is_black_hole(other)).collect()
    }

    /// A job has ended.
    pub(crate) fn over(&mut self, job: JobId) {
        if let Some(evidence) = self.evidence.get_mut(&job) {
            evidence.over = true;
            self.tidy(job);
        }
    }

    /// A machine is not suspected any more, or is no more.
    pub(crate) fn forget(&mut self, worker: WorkerId) {
        for (job, _) in self.of_worker.remove(&worker).into_iter().flatten() {
            self.ends.close(&(worker, job));
            self.clear(job, worker);
        }
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some((worker, job)) = self.ends.pop_over(now) {
            self.clear(job, worker);
            if let Some(jobs) = self.of_worker.get_mut(&worker) {
                jobs.remove(&job);
                if jobs.is_empty() {
                    self.of_worker.remove(&worker);
                }
            }
        }
    }

    fn clear(&mut self, job: JobId, worker: WorkerId) {
        if let Some(evidence) = self.evidence.get_mut(&job) {
            evidence.failed_on.remove(&worker);
            self.tidy(job);
        }
    }

    fn tidy(&mut self, job: JobId) {
        if self.evidence.get(&job).is_some_and(|evidence| !evidence.is_of_use()) {
            self.evidence.remove(&job);
        }
    }

    fn is_black_hole(&self, worker: WorkerId) -> bool {
        let Some(jobs) = self.of_worker.get(&worker) else { return false };
        let mut sound = 0;
        let mut submitters = BTreeSet::new();
        for (job, suspicion) in jobs {
            match self.evidence[job].standing(suspicion, worker) {
                Standing::Sound => sound += 1,
                Standing::Faulty => {}
                Standing::Unproven => {
                    submitters.insert(suspicion.submitter);
                }
            }
        }
        sound + submitters.len() >= JOBS
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::id::{JobId, UserId, WorkerId};

    use super::{FailedStart, MEMORY_MS, Suspicions};
    use crate::time::Timestamp;

    /// What happens, one word each: `j1@2` job 1 comes back from worker 2 (a job's submitter is the
    /// tens of its number), `b1@2` it begins on worker 2, `o1@2` it comes back and is believed, `e1`
    /// it ends, `f2` worker 2 is forgotten, `w` ten minutes pass. Yields the black holes as they are
    /// found.
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
                "e" => suspicions.over(JobId(next())),
                "f" => suspicions.forget(WorkerId(next())),
                _ => now = now.plus_ms(MEMORY_MS),
            }
        }
        let found: Vec<String> = found.iter().map(WorkerId::to_string).collect();
        assert_eq!(found.join(" "), expected, "{story}");
        now = now.plus_ms(MEMORY_MS);
        suspicions.forget_old(now);
        for job in 11..40 {
            suspicions.over(JobId(job));
        }
        let Suspicions { of_worker, evidence, ends } = suspicions;
        assert!(of_worker.is_empty() && evidence.is_empty() && ends.first().is_none());
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
        check("j11@1 j11@2 j21@1 j21@2 j31@1 j31@2", "");
        check("o11@1 o12@1 o11@2 o13@1 o14@1", "1");
        // What it began on itself is no witness against a machine.
        check("j11@1 j11@2 j21@1 j21@2 j31@1 j31@2 b11@1 b21@1 b31@1", "2");
        // Nor is it forgotten that it failed elsewhere.
        check("j11@1 j21@1 j11@2 j21@2 f2 j31@1", "");
    }

    #[test]
    fn two_black_holes_at_once_are_both_found_by_a_third_machine() {
        check("j11@1 j12@1 j13@1 j11@2 j12@2 j13@2 b11@3 b12@3 b13@3", "1 2");
        check("j11@1 j21@1 j11@2 j31@1 b11@3", "1");
    }

    #[test]
    fn what_began_before_is_a_witness_until_the_job_is_over() {
        check("b11@3 b12@3 b13@3 j11@1 j12@1 j13@1", "1");
        check("b11@1 b12@1 b13@1 b11@2 b12@2 b13@2 j11@1 j12@1 j13@1", "1");
        check("b11@3 b12@3 w b13@3 w j11@1 j12@1 j13@1", "1");
        check("b11@1 b12@1 b13@1 j11@1 j12@1 j13@1", "");
        check("b11@3 j11@1 e11 j21@1 j31@1 e21 e31", "1");
    }

    #[test]
    fn it_counts_for_ten_minutes() {
        check("j11@1 j21@1 w j31@1", "");
        check("j11@1 j21@1 j31@1 f1 j11@1 j21@1", "1");
    }
}
