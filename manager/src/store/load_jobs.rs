//! Loads jobs that have not ended, each with its tasks, what it waits for, and who bids on it. What the
//! columns about bids and prices say is in `load_market`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_core::job::{After, EndedTasks, Job, Lease, Task, TaskState};
use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_core::votes::Votes;
use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::task::TaskSpec;
use campusgrid_protocol::terms::When;
use rusqlite::{Connection, Row};

use super::load::{each, rows};
use super::load_market::{self, Parsed, nonsense};
use super::progress::{Run, positions};
use super::{StoreError, statements};

statements! {
    JOBS = "SELECT job.id, job.owner, job.name, job_spec.spec, job_spec.terms, job.quote,
            job.submitted_at, job.priority, job.on_hold, job_spec.lock, job.cancelling,
            job.rate_permille, market.round, market.stage, market.closes_at, market.worker,
            market.price, market.start_within_s, market.automatic, market.start_by
        FROM job JOIN job_spec ON job_spec.job = job.id LEFT JOIN market ON market.job = job.id
        WHERE job.state IN ('queued', 'running')";
    PROGRESS = "SELECT progress.job, progress.chunk, progress.states
        FROM job JOIN progress ON progress.job = job.id WHERE job.state IN ('queued', 'running')";
    WAITS = "SELECT waits_for.job, waits_for.other, waits_for.condition, waits_for.each
        FROM job JOIN waits_for ON waits_for.job = job.id WHERE job.state IN ('queued', 'running')
        ORDER BY waits_for.job, waits_for.place";
    TASKS = "SELECT task.job, task.idx, task.attempts, task.tries_left, task.state,
            attempt.worker, attempt.leased_at, attempt.started_at, attempt.cancelling,
            attempt.gpus, task.losses, task.runs_left, task.paused_until, attempt.price,
            attempt.prices, task.checkpoint, task.checkpoint_size, task.checkpoint_ms, task.paid,
            task.paid_ms, task.audit
        FROM job JOIN task INDEXED BY task_open ON task.job = job.id
        JOIN attempt ON attempt.job = task.job AND attempt.idx = task.idx
            AND attempt.number = task.attempts
        WHERE job.state IN ('queued', 'running') AND task.ended_at IS NULL";
    BIDS = "SELECT bid.job, bid.worker, bid.price, bid.start_within_s, bid.automatic, bid.at
        FROM bid INDEXED BY bid_open JOIN job ON job.id = bid.job
        WHERE bid.state = 'open' AND job.state IN ('queued', 'running')";
    VOTES = "SELECT vote.job, vote.idx, vote.attempt, vote.worker, vote.owner, vote.digest, vote.charge,
            vote.run_ms
        FROM job JOIN task INDEXED BY task_open ON task.job = job.id
        JOIN vote ON vote.job = task.job AND vote.idx = task.idx
        WHERE job.state IN ('queued', 'running') AND task.ended_at IS NULL
        ORDER BY vote.job, vote.idx, vote.place";
}

/// Jobs that have not ended, each with what has become of its tasks and what it waits for.
pub(super) fn jobs(connection: &Connection) -> Result<BTreeMap<JobId, Job>, StoreError> {
    let mut jobs: BTreeMap<JobId, Job> = rows(connection, JOBS, job)?;
    let of = |jobs: &mut BTreeMap<JobId, Job>, id: u64, add: &mut dyn FnMut(&mut Job)| {
        add(jobs.get_mut(&JobId(id)).expect("the query joins the same jobs"));
    };
    each(connection, PROGRESS, |row| {
        let (chunk, states): (u32, String) = (row.get(1)?, row.get(2)?);
        of(&mut jobs, row.get(0)?, &mut |job| {
            let positions = positions(chunk, job.spec.tasks);
            job.untouched.remove_range(positions.start, positions.end.saturating_sub(1));
            for run in Run::of(chunk, states.as_bytes()) {
                run.sort_into(&mut job.untouched, &mut job.ended);
            }
        });
        Ok(Ok(()))
    })?;
    each(connection, WAITS, |row| {
        let text: String = row.get(2)?;
        let Some(when) = parse_condition(&text) else {
            return nonsense("waits_for", "condition", text);
        };
        let after = After { job: JobId(row.get(1)?), when, each: row.get(3)? };
        of(&mut jobs, row.get(0)?, &mut |job| job.after.push(after));
        Ok(Ok(()))
    })?;
    each(connection, TASKS, |row| {
        let ((id, index), task) = match task(row)? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        of(&mut jobs, id, &mut |job| {
            if task.state == TaskState::Queued {
                job.requeued.insert(index);
            }
            job.tasks.insert(index, task);
        });
        Ok(Ok(()))
    })?;
    bids_and_votes(connection, &mut jobs)?;
    Ok(jobs)
}

/// The bids that stand on the jobs, and what machines have said of their tasks.
fn bids_and_votes(
    connection: &Connection,
    jobs: &mut BTreeMap<JobId, Job>,
) -> Result<(), StoreError> {
    each(connection, BIDS, |row| {
        let (worker, bid) = load_market::bid(row, 1)?;
        let job = jobs.get_mut(&JobId(row.get(0)?)).expect("the query joins the same jobs");
        let Some(market) = &mut job.market else {
            return nonsense("bid", "job", job.id.to_string());
        };
        market.bids.insert(worker, bid);
        Ok(Ok(()))
    })?;
    each(connection, VOTES, |row| {
        let vote = load_market::vote(row, 2)?;
        let job = jobs.get_mut(&JobId(row.get(0)?)).expect("the query joins the same jobs");
        let task = job.tasks.get_mut(&row.get(1)?).expect("the query joins the same tasks");
        let Some(votes) = load_market::with(task.votes, vote) else {
            return nonsense("vote", "attempt", format!("{} of job {}", vote.attempt, job.id));
        };
        task.votes = votes;
        Ok(Ok(()))
    })
}

fn job(row: &Row<'_>) -> Parsed<(JobId, Job)> {
    let text: String = row.get(3)?;
    let Ok(spec) = serde_json::from_str::<TaskSpec>(&text) else {
        return nonsense("job_spec", "spec", text);
    };
    let text: String = row.get(4)?;
    let Ok(terms) = serde_json::from_str(&text) else { return nonsense("job_spec", "terms", text) };
    let market = match load_market::market(row, 12)? {
        Ok(market) => market,
        Err(error) => return Ok(Err(error)),
    };
    let id = JobId(row.get(0)?);
    let job = Job {
        id,
        owner: UserId(row.get(1)?),
        name: row.get(2)?,
        terms: Arc::new(terms),
        quote: Micros(row.get(5)?),
        rate_permille: row.get(11)?,
        market,
        submitted_at: Timestamp(row.get(6)?),
        priority: row.get(7)?,
        on_hold: row.get(8)?,
        after: Vec::new(),
        untouched: Ranges::below(spec.tasks),
        spec: Arc::new(spec),
        tasks: BTreeMap::new(),
        requeued: BTreeSet::new(),
        ended: EndedTasks::default(),
        lock: row.get::<_, Option<String>>(9)?.map(Arc::from),
        cancelling: row.get(10)?,
    };
    Ok(Ok((id, job)))
}

pub(super) fn parse_condition(text: &str) -> Option<When> {
    match text {
        "started" => Some(When::Started),
        "ok" => Some(When::Ok),
        "any" => Some(When::Any),
        "failed" => Some(When::Failed),
        _ => None,
    }
}

fn task(row: &Row<'_>) -> Parsed<((u64, u32), Task)> {
    let text: String = row.get(4)?;
    let state = match text.as_str() {
        "queued" => TaskState::Queued,
        "pausing" => TaskState::Pausing { until: Timestamp(row.get(12)?) },
        "leased" => {
            let gpus: String = row.get(9)?;
            let Ok(gpus) = gpus.parse() else { return nonsense("attempt", "gpus", gpus) };
            let deal = match load_market::deal(row, 13)? {
                Ok(deal) => deal,
                Err(error) => return Ok(Err(error)),
            };
            TaskState::Leased(Lease {
                worker: WorkerId(row.get(5)?),
                leased_at: Timestamp(row.get(6)?),
                started_at: row.get::<_, Option<u64>>(7)?.map(Timestamp),
                cancelling: row.get(8)?,
                gpus,
                deal,
            })
        }
        _ => return nonsense("task", "state", text),
    };
    let losses: String = row.get(10)?;
    let Ok(losses) = losses.parse() else { return nonsense("task", "losses", losses) };
    let (attempts, tries_left, runs_left) = (row.get(2)?, row.get(3)?, row.get(11)?);
    let task = Task {
        attempts,
        tries_left,
        runs_left,
        losses,
        state,
        checkpoint: load_market::saved(row, 15)?,
        paid: Micros(row.get(18)?),
        paid_ms: row.get(19)?,
        votes: Votes::None,
        audit: Micros(row.get(20)?),
    };
    Ok(Ok(((row.get(0)?, row.get(1)?), task)))
}
