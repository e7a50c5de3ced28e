//! Holds what clients were told against what the grid says in the end. Pure: it asks nobody, and a false
//! history or a false answer makes it speak.

mod money;
mod results;

use std::collections::BTreeMap;
use std::fmt;

use campusgrid_protocol::rest;

use crate::history::{Cancel, FileName, Known, KnownJob};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// What was acknowledged is there.
    NothingLost,
    /// One submit is one job, however often it was repeated.
    NothingDoubled,
    /// Everything comes to an end.
    Ends,
    /// Once, and stays as it was first seen.
    EndsOnce,
    /// As its source says, unless it was cancelled or given up.
    Fate,
    /// What a task leaves is what its source computes.
    RightResult,
    /// What was downloaded once stays the same.
    SameResult,
    /// Attempts are numbered from 1 and only the last one counts.
    Attempts,
    /// Paid at most once, for what ended, as much as was charged.
    Money,
    /// The manager's own check of its books.
    Books,
    /// Nobody is refused what is theirs.
    Refused,
    /// No process ends unless it is told to.
    Alive,
    /// Nothing is left behind: results in spools, processes, groups.
    Remains,
}

/// Something that should not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub rule: Rule,
    pub words: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.words)
    }
}

/// What the grid says of one client in the end.
#[derive(Debug, Clone)]
pub struct ClientTruth {
    pub starting_micros: i64,
    pub jobs: Vec<JobTruth>,
    pub credits: rest::Credits,
    pub transfers: Vec<rest::Transfer>,
}

/// What the grid says of one job in the end.
#[derive(Debug, Clone)]
pub struct JobTruth {
    pub job: rest::Job,
    pub tasks: Vec<rest::Task>,
    /// BLAKE3 in hex of all that can be downloaded.
    pub files: BTreeMap<FileName, String>,
}

/// What the grid says of the user who owns all workers and submits nothing.
#[derive(Debug, Clone)]
pub struct OwnerTruth {
    pub credits: rest::Credits,
    pub transfers: Vec<rest::Transfer>,
}

/// Figures about what was checked, for people to see that something was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub jobs: usize,
    pub tasks: u32,
    pub attempts: usize,
    pub succeeded: u32,
    pub failed: u32,
    pub cancelled: u32,
    /// Ended by the grid after too many lost attempts, and refunded.
    pub given_up: u32,
    pub files: usize,
}

/// Everything that does not agree.
pub fn check(clients: &[(Known, ClientTruth)], owner: &OwnerTruth) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (known, truth) in clients {
        check_client(known, truth, &mut findings);
        money::check_client(known, truth, &mut findings);
    }
    let jobs: Vec<&rest::Job> =
        clients.iter().flat_map(|(_, truth)| &truth.jobs).map(|truth| &truth.job).collect();
    money::check_owner(&jobs, owner, &mut findings);
    findings.sort();
    findings
}

/// How much there was to check.
pub fn figures(clients: &[(Known, ClientTruth)]) -> Figures {
    let mut figures = Figures::default();
    for (known, truth) in clients {
        figures.files += known.jobs.values().map(|job| job.files.len()).sum::<usize>();
        for truth in &truth.jobs {
            figures.jobs += 1;
            figures.tasks += truth.job.tasks;
            figures.succeeded += truth.job.succeeded;
            figures.failed += truth.job.failed;
            figures.cancelled += truth.job.cancelled;
            figures.attempts += truth.tasks.iter().map(|task| task.attempts.len()).sum::<usize>();
            let given_up = truth.tasks.iter().filter(|task| results::is_given_up(task)).count();
            figures.given_up += u32::try_from(given_up).unwrap_or(u32::MAX);
        }
    }
    figures
}

fn check_client(known: &Known, truth: &ClientTruth, findings: &mut Vec<Finding>) {
    let mut find = |rule, words| findings.push(Finding { rule, words });
    for words in &known.refused {
        find(Rule::Refused, words.clone());
    }
    for words in known.unsettled() {
        find(Rule::Ends, words);
    }
    let mut keys: BTreeMap<u64, &str> = BTreeMap::new();
    for (key, intent) in &known.intents {
        if intent.accepted.len() > 1 {
            let answers = &intent.accepted;
            find(Rule::NothingDoubled, format!("submit {key} was answered with {answers:?}"));
        }
        for (job, _) in &intent.accepted {
            if let Some(other) = keys.insert(*job, key) {
                find(Rule::NothingLost, format!("submits {other} and {key} are one job, {job}"));
            }
        }
    }
    let there: BTreeMap<u64, &JobTruth> =
        truth.jobs.iter().map(|truth| (truth.job.job, truth)).collect();
    for job in there.keys().filter(|job| !known.jobs.contains_key(job)) {
        find(Rule::NothingDoubled, format!("job {job} is nobody's: no submit led to it"));
    }
    for (id, job) in &known.jobs {
        match there.get(id) {
            Some(truth) => check_job(job, truth, findings),
            None => findings.push(Finding {
                rule: Rule::NothingLost,
                words: format!("job {id} was acknowledged and is not there"),
            }),
        }
    }
}

fn check_job(known: &KnownJob, truth: &JobTruth, findings: &mut Vec<Finding>) {
    let job = &truth.job;
    let id = job.job;
    let mut find = |rule, words: String| {
        findings
            .push(Finding { rule, words: format!("job {id} ({:?}): {words}", known.work.kind) });
    };
    if job.ended_at_ms.is_none() {
        find(Rule::Ends, format!("has not ended: {:?}", job.state));
    }
    if job.tasks != known.work.tasks {
        find(Rule::NothingLost, format!("has {} tasks, not {}", job.tasks, known.work.tasks));
    }
    let ended = [job.succeeded, job.failed, job.cancelled];
    if ended.iter().sum::<u32>() != job.tasks {
        let words = format!("of {} tasks these succeeded, failed, were cancelled: ", job.tasks);
        find(Rule::EndsOnce, format!("{words}{ended:?}"));
    }
    let now = (job.state, job.charged_micros, job.refunded_micros);
    if known.end.is_some_and(|seen| seen != now) {
        find(Rule::EndsOnce, format!("was seen to end as {:?} and is {now:?}", known.end));
    }
    let asked = known.cancel != Cancel::No;
    if job.cancelled > 0 && !asked {
        find(Rule::Fate, "is cancelled, and nobody asked for it".to_owned());
    }
    results::check(known, truth, findings);
}

#[cfg(test)]
mod tests;
