//! Reads jobs with their tasks, attempts, logs and outputs.

use campusgrid_core::gpus::{GpuSet, GpuSetError};
use campusgrid_core::snapshot::Shape;
use campusgrid_protocol::id::{AttemptId, BlobHash, JobId, TaskId, UserId};
use campusgrid_protocol::rest;
use campusgrid_protocol::task::{BlobRef, Content, Log, Stream, TaskSpec, Work};
use rusqlite::types::Type;
use rusqlite::{Row, params};

use super::read::{Reader, StoredJob, StoredLog, Viewer, below};
use super::write::stream_name;
use super::{StoreError, statements};

/// Jobs with what their rows in a list need.
macro_rules! jobs {
    () => {
        "SELECT job.id, job.name, user.name, job.spec, job.tasks, job.untouched_from,
            job.succeeded, job.failed, job.cancelled, job.charged, job.quote, job.submitted_at,
            job.ended_at, job.owner,
            (SELECT count(*) FROM task
                WHERE task.job = job.id AND task.ended_at IS NULL AND task.state = 'queued'),
            job.lock IS NOT NULL
        FROM job JOIN user ON user.id = job.owner "
    };
}

statements! {
    JOBS = concat!(jobs!(), "WHERE job.owner = ?1 AND job.id < ?2 ORDER BY job.id DESC LIMIT ?3");
    JOBS_OF_ALL = concat!(jobs!(), "WHERE job.id < ?1 ORDER BY job.id DESC LIMIT ?2");
    JOB = concat!(jobs!(), "WHERE job.id = ?1 AND (job.owner = ?2 OR ?3)");
    LOCK = "SELECT lock FROM job WHERE id = ?1 AND (owner = ?2 OR ?3)";
    TASKS = "SELECT idx, state, left_behind FROM task WHERE job = ?1 AND idx >= ?2
        ORDER BY idx LIMIT ?3";
    ATTEMPTS = "SELECT attempt.idx, attempt.number, attempt.worker, worker.name,
            attempt.leased_at, attempt.started_at, attempt.ended_at, attempt.outcome,
            attempt.run_ms, attempt.cpu_ms, attempt.ram_peak_mib, attempt.charged, attempt.gpus
        FROM attempt JOIN worker ON worker.id = attempt.worker
        WHERE attempt.job = ?1 AND attempt.idx BETWEEN ?2 AND ?3
        ORDER BY attempt.idx, attempt.number";
    OUTPUTS = "SELECT idx, path, size, hash FROM output WHERE job = ?1 AND idx BETWEEN ?2 AND ?3
        ORDER BY idx, path";
    TASK_IN_JOB = "SELECT task.attempts, coalesce(task.ended_at, job.ended_at), job.tasks
        FROM job LEFT JOIN task ON task.job = job.id AND task.idx = ?2
        WHERE job.id = ?1 AND (job.owner = ?3 OR ?4)";
    LOG = "SELECT content, hash, size, cut_bytes FROM log
        WHERE job = ?1 AND idx = ?2 AND stream = ?3";
    OUTPUT = "SELECT output.hash, output.size FROM output JOIN job ON job.id = output.job
        WHERE output.job = ?1 AND output.idx = ?2 AND output.path = ?3 AND (job.owner = ?4 OR ?5)";
}

/// Tasks that a job's own page shows.
const TASKS_SHOWN: u32 = 100;

impl Reader {
    /// Jobs of one user (or of all, for an operator who asks for `everyone`), newest first, those
    /// with an id below `before`.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn jobs(
        &self,
        viewer: Viewer,
        everyone: bool,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<rest::Job>, StoreError> {
        let map = |row: &Row<'_>| Ok(stored_job(row)?.detail.job);
        if everyone && viewer.operator {
            return self.list("jobs", JOBS_OF_ALL, params![below(before), limit], map);
        }
        self.list("jobs", JOBS, params![viewer.user.0, below(before), limit], map)
    }

    /// One job with its first tasks; None if the viewer has no such job.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn job(&self, viewer: Viewer, id: JobId) -> Result<Option<StoredJob>, StoreError> {
        let Some(mut stored) = self.job_alone(viewer, id)? else { return Ok(None) };
        stored.detail.task_list = self.started_tasks(id, 0, TASKS_SHOWN)?;
        Ok(Some(stored))
    }

    fn job_alone(&self, viewer: Viewer, id: JobId) -> Result<Option<StoredJob>, StoreError> {
        let values = params![number(id.0), viewer.user.0, viewer.operator];
        self.first("a job", JOB, values, stored_job)
    }

    /// What a job's packages came to; None if the viewer has no such job, or nothing is known yet.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn lock(&self, viewer: Viewer, id: JobId) -> Result<Option<String>, StoreError> {
        let values = params![number(id.0), viewer.user.0, viewer.operator];
        Ok(self.first("a lock", LOCK, values, |row| row.get(0))?.flatten())
    }

    /// Started tasks of a job from index `from` on; None if the viewer has no such job.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn tasks(
        &self,
        viewer: Viewer,
        job: JobId,
        from: u32,
        limit: u32,
    ) -> Result<Option<Vec<rest::Task>>, StoreError> {
        match self.job_alone(viewer, job)? {
            Some(_) => self.started_tasks(job, from, limit).map(Some),
            None => Ok(None),
        }
    }

    fn started_tasks(
        &self,
        job: JobId,
        from: u32,
        limit: u32,
    ) -> Result<Vec<rest::Task>, StoreError> {
        let mut tasks: Vec<(String, rest::Task)> =
            self.list("tasks", TASKS, params![job.0, from, limit], |row| {
                let task = rest::Task {
                    index: row.get(0)?,
                    state: rest::TaskState::Queued,
                    attempts: Vec::new(),
                    outputs: Vec::new(),
                    left_behind: row.get(2)?,
                };
                Ok((row.get(1)?, task))
            })?;
        let Some(last) = tasks.last().map(|(_, task)| task.index) else { return Ok(Vec::new()) };
        let range = params![job.0, from, last];
        for (index, attempt) in self.list("attempts", ATTEMPTS, range, attempt)? {
            of_index(&mut tasks, index).attempts.push(attempt);
        }
        for (index, output) in self.list("outputs", OUTPUTS, range, output)? {
            of_index(&mut tasks, index).outputs.push(output);
        }
        for (state, task) in &mut tasks {
            task.state = task_state(state, &task.attempts);
        }
        Ok(tasks.into_iter().map(|(_, task)| task).collect())
    }

    /// Where a task's log is; None if the viewer has no such task.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn log(
        &self,
        viewer: Viewer,
        job: JobId,
        index: u32,
        stream: Stream,
    ) -> Result<Option<StoredLog>, StoreError> {
        let values = params![number(job.0), index, viewer.user.0, viewer.operator];
        let found = self.first("a task", TASK_IN_JOB, values, |row| {
            let (attempts, ended): (Option<u32>, Option<u64>) = (row.get(0)?, row.get(1)?);
            Ok((attempts, ended.is_some(), row.get::<_, u32>(2)?))
        })?;
        let Some((attempts, ended, _)) = found.filter(|&(_, _, tasks)| index < tasks) else {
            return Ok(None);
        };
        if !ended {
            let task = TaskId { job, index };
            let newest = attempts.map(|number| AttemptId { task, number });
            return Ok(Some(StoredLog::Live(newest)));
        }
        let kept = self.first("a log", LOG, params![job.0, index, stream_name(stream)], log)?;
        // A task that was cancelled while it waited has printed nothing.
        let empty = Log { content: Content::Inline(Vec::new()), cut_bytes: 0 };
        Ok(Some(StoredLog::Kept(kept.unwrap_or(empty))))
    }

    /// The blob of an output; None if the viewer has no such output.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn output(
        &self,
        viewer: Viewer,
        task: TaskId,
        path: &str,
    ) -> Result<Option<BlobRef>, StoreError> {
        let values = params![number(task.job.0), task.index, path, viewer.user.0, viewer.operator];
        self.first("an output", OUTPUT, values, |row| {
            Ok(BlobRef { hash: BlobHash(row.get(0)?), size_bytes: row.get(1)? })
        })
    }
}

/// An id from outside may be any number; SQLite's are signed.
fn number(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

fn of_index(tasks: &mut [(String, rest::Task)], index: u32) -> &mut rest::Task {
    let at = tasks.binary_search_by_key(&index, |(_, task)| task.index);
    &mut tasks[at.expect("attempts and outputs belong to a task")].1
}

fn stored_job(row: &Row<'_>) -> rusqlite::Result<StoredJob> {
    let text: String = row.get(3)?;
    let spec: TaskSpec = serde_json::from_str(&text).map_err(|error| unread(3, error))?;
    let owner = UserId(row.get(13)?);
    let (tasks, untouched_from, requeued): (u32, u32, u32) =
        (row.get(4)?, row.get(5)?, row.get(14)?);
    let (succeeded, failed, cancelled) = (row.get(6)?, row.get(7)?, row.get(8)?);
    let ended = succeeded + failed + cancelled;
    let queued = tasks - untouched_from + requeued;
    let (charged_micros, quote): (i64, i64) = (row.get(9)?, row.get(10)?);
    let ended_at_ms: Option<u64> = row.get(12)?;
    let job = rest::Job {
        job: row.get(0)?,
        name: row.get(1)?,
        owner: row.get(2)?,
        kind: kind(&spec.work),
        state: job_state(ended_at_ms.is_some(), queued == tasks, [failed, cancelled]),
        tasks,
        queued,
        running: tasks - ended - queued,
        succeeded,
        failed,
        cancelled,
        submitted_at_ms: row.get(11)?,
        ended_at_ms,
        held_micros: quote * i64::from(tasks),
        charged_micros,
        refunded_micros: quote * i64::from(ended) - charged_micros,
    };
    let shape = Shape::of(owner, &spec);
    Ok(StoredJob { detail: detail(job, spec, row.get(15)?), shape })
}

fn detail(job: rest::Job, spec: TaskSpec, has_lock: bool) -> rest::JobDetail {
    let TaskSpec { work, needs, time_limit_s, isolation, labels, image, shared_tmp, tasks: _ } =
        spec;
    let (source, packages, flags) = match work {
        Work::Python { source, packages } => (source, Some(packages), Vec::new()),
        Work::C { source, flags } => (source, None, flags),
        Work::Shell { command } => (command, None, Vec::new()),
    };
    rest::JobDetail {
        job,
        source,
        packages,
        flags,
        labels,
        image,
        isolation,
        shared_tmp,
        has_lock,
        needs,
        time_limit_s,
        waiting: None,
        task_list: Vec::new(),
    }
}

fn unread(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

fn kind(work: &Work) -> rest::WorkKind {
    match work {
        Work::Python { .. } => rest::WorkKind::Python,
        Work::C { .. } => rest::WorkKind::C,
        Work::Shell { .. } => rest::WorkKind::Shell,
    }
}

fn job_state(ended: bool, untouched: bool, [failed, cancelled]: [u32; 2]) -> rest::JobState {
    match (ended, untouched) {
        (false, true) => rest::JobState::Queued,
        (false, false) => rest::JobState::Running,
        (true, _) if failed > 0 => rest::JobState::Failed,
        (true, _) if cancelled > 0 => rest::JobState::Cancelled,
        (true, _) => rest::JobState::Succeeded,
    }
}

fn task_state(state: &str, attempts: &[rest::Attempt]) -> rest::TaskState {
    match state {
        "succeeded" => rest::TaskState::Succeeded,
        "failed" => rest::TaskState::Failed,
        "cancelled" => rest::TaskState::Cancelled,
        "leased" if attempts.last().is_some_and(|newest| newest.started_at_ms.is_some()) => {
            rest::TaskState::Running
        }
        "leased" => rest::TaskState::Preparing,
        _ => rest::TaskState::Queued,
    }
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<(u32, rest::Attempt)> {
    let text: String = row.get(12)?;
    let gpus: GpuSet = text.parse().map_err(|error: GpuSetError| unread(12, error))?;
    let attempt = rest::Attempt {
        number: row.get(1)?,
        worker: row.get(2)?,
        worker_name: row.get(3)?,
        gpus: gpus.numbers().collect(),
        leased_at_ms: row.get(4)?,
        started_at_ms: row.get(5)?,
        ended_at_ms: row.get(6)?,
        outcome: row.get(7)?,
        run_ms: row.get(8)?,
        cpu_ms: row.get(9)?,
        ram_peak_mib: row.get(10)?,
        charged_micros: row.get(11)?,
    };
    Ok((row.get(0)?, attempt))
}

fn output(row: &Row<'_>) -> rusqlite::Result<(u32, rest::OutputFile)> {
    let blake3 = BlobHash(row.get(3)?).to_string();
    Ok((row.get(0)?, rest::OutputFile { path: row.get(1)?, size_bytes: row.get(2)?, blake3 }))
}

fn log(row: &Row<'_>) -> rusqlite::Result<Log> {
    let hash: Option<[u8; 32]> = row.get(1)?;
    let content = match hash {
        Some(hash) => Content::Blob(BlobRef { hash: BlobHash(hash), size_bytes: row.get(2)? }),
        None => Content::Inline(row.get(0)?),
    };
    Ok(Log { content, cut_bytes: row.get(3)? })
}
