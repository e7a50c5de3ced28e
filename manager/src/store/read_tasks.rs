//! Reads the tasks of a job one by one. They are stored by position and shown by index.

use std::ops::ControlFlow;

use campusgrid_core::gpus::{GpuSet, GpuSetError};
use campusgrid_protocol::array::{INDEX_MAX, Indices};
use campusgrid_protocol::id::{BlobHash, JobId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::rest;
use campusgrid_protocol::task::BlobRef;
use rusqlite::{Row, params};

use super::progress::{CHUNK, Progress, Run, positions};
use super::read::{Reader, TaskFilter, Viewer, number, unread};
use super::{StoreError, statements};

statements! {
    INDICES = "SELECT json_extract(job_spec.terms, '$.indices'), job.emptied_at IS NOT NULL
        FROM job LEFT JOIN job_spec ON job_spec.job = job.id
        WHERE job.id = ?1 AND (job.owner = ?2 OR ?3)";
    TASKS = "SELECT idx, state, left_behind, coalesce(checkpoint_ms, 0),
            iif(ended_at IS NULL, (SELECT count(*) FROM vote
                WHERE vote.job = task.job AND vote.idx = task.idx), 0), coalesce(reason, '')
        FROM task WHERE job = ?1 AND idx BETWEEN ?2 AND ?3
        ORDER BY idx LIMIT ?4";
    OPEN_TASKS = "SELECT task.idx FROM task INDEXED BY task_open JOIN attempt ON attempt.job = task.job
            AND attempt.idx = task.idx AND attempt.number = task.attempts
        WHERE task.job = ?1 AND task.idx >= ?2 AND task.ended_at IS NULL
            AND CASE task.state WHEN 'leased' THEN
                iif(attempt.started_at IS NULL, 'preparing', 'running') ELSE task.state END = ?3
        ORDER BY task.idx LIMIT ?4";
    CHUNKS = "SELECT chunk, states FROM progress WHERE job = ?1 AND chunk >= ?2 ORDER BY chunk";
    ATTEMPTS = "SELECT attempt.idx, attempt.number, attempt.worker, worker.name,
            attempt.leased_at, attempt.started_at, attempt.ended_at, attempt.outcome,
            attempt.run_ms, attempt.cpu_ms, attempt.ram_peak_mib, attempt.charged, attempt.gpus,
            attempt.ending, attempt.exit_code, attempt.price
        FROM attempt JOIN worker ON worker.id = attempt.worker
        WHERE attempt.job = ?1 AND attempt.idx BETWEEN ?2 AND ?3
        ORDER BY attempt.idx, attempt.number";
    TASK_OUTPUTS = "SELECT idx, path, size, hash FROM output
        WHERE job = ?1 AND idx BETWEEN ?2 AND ?3 ORDER BY idx, path";
}

impl Reader {
    /// Tasks of a job by index; None if the viewer has no such job.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn tasks(
        &self,
        viewer: Viewer,
        job: JobId,
        filter: TaskFilter,
    ) -> Result<Option<Vec<rest::Task>>, StoreError> {
        let Some((indices, _)) = self.indices(viewer, job)? else { return Ok(None) };
        let TaskFilter { from, limit, state } = filter;
        let Some(indices) = indices else { return Ok(Some(Vec::new())) };
        let Some(from) = position_from(&indices, from) else { return Ok(Some(Vec::new())) };
        let mut tasks = Vec::new();
        match state {
            None => tasks = self.begun(job, (from, u32::MAX), limit)?,
            Some(state) => {
                let positions = self.in_state(job, indices.len(), (from, state), limit)?;
                for (first, last) in positions.ranges() {
                    tasks.append(&mut self.begun(job, (first, last), limit)?);
                }
                fill_up(&mut tasks, &positions, state);
            }
        }
        for task in &mut tasks {
            task.index = indices.index(task.index).unwrap_or(task.index);
        }
        Ok(Some(tasks))
    }

    /// The positions of those tasks whose index is among `indices`; None if the viewer has no such job,
    /// or it is a draft.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn positions(
        &self,
        viewer: Viewer,
        job: JobId,
        indices: &Ranges,
    ) -> Result<Option<Ranges>, StoreError> {
        let found = self.indices(viewer, job)?;
        Ok(found.and_then(|(all, _)| all).map(|all| all.positions(indices)))
    }

    /// The indices of a job's tasks, None for a draft, and whether its files are gone; None (outside) if
    /// the viewer has no such job.
    pub(super) fn indices(
        &self,
        viewer: Viewer,
        job: JobId,
    ) -> Result<Option<(Option<Indices>, bool)>, StoreError> {
        let values = params![number(job.0), viewer.user.0, viewer.operator];
        self.first("a job", INDICES, values, |row| {
            let text: Option<String> = row.get(0)?;
            let indices = text.map(|text| text.parse()).transpose();
            Ok((indices.map_err(|error| unread(0, error))?, row.get(1)?))
        })
    }

    /// Tasks that have begun, with their attempts and outputs; `index` is their position.
    fn begun(
        &self,
        job: JobId,
        (first, last): (u32, u32),
        limit: u32,
    ) -> Result<Vec<rest::Task>, StoreError> {
        let mut tasks: Vec<(String, rest::Task)> =
            self.list("tasks", TASKS, params![job.0, first, last, limit], |row| {
                let nothing = untouched(row.get(0)?, rest::TaskState::Queued);
                let (left_behind, saved_ms, checking) = (row.get(2)?, row.get(3)?, row.get(4)?);
                let reason = row.get(5)?;
                let task = rest::Task { left_behind, saved_ms, checking, reason, ..nothing };
                Ok((row.get(1)?, task))
            })?;
        let Some(last) = tasks.last().map(|(_, task)| task.index) else { return Ok(Vec::new()) };
        let range = params![job.0, first, last];
        for (index, attempt) in self.list("attempts", ATTEMPTS, range, attempt)? {
            of_index(&mut tasks, index).attempts.push(attempt);
        }
        for (index, output) in self.list("outputs", TASK_OUTPUTS, range, output)? {
            of_index(&mut tasks, index).outputs.push(output);
        }
        for (state, task) in &mut tasks {
            task.state = task_state(state, &task.attempts);
        }
        Ok(tasks.into_iter().map(|(_, task)| task).collect())
    }

    /// The first positions from one on of tasks in a state, of a job with so many tasks.
    fn in_state(
        &self,
        job: JobId,
        tasks: u32,
        filter: (u32, rest::TaskState),
        limit: u32,
    ) -> Result<Ranges, StoreError> {
        let (from, state) = filter;
        let (open, progress) = match state {
            rest::TaskState::Queued => (Some("queued"), Some(Progress::Untouched)),
            rest::TaskState::Pausing => (Some("pausing"), None),
            rest::TaskState::Preparing => (Some("preparing"), None),
            rest::TaskState::Running => (Some("running"), None),
            rest::TaskState::Succeeded => (None, Some(Progress::Succeeded)),
            rest::TaskState::Failed => (None, Some(Progress::Failed)),
            rest::TaskState::Cancelled => (None, Some(Progress::Cancelled)),
        };
        let mut found = Ranges::default();
        if let Some(state) = open {
            let values = params![job.0, from, state, limit];
            for position in self.list("tasks", OPEN_TASKS, values, |row| row.get(0))? {
                found.insert(position);
            }
        }
        if let Some(progress) = progress {
            found.insert_all(&self.so_far(job, tasks, (from, progress), limit)?);
        }
        let mut first = Ranges::default();
        for position in found.numbers().take(limit as usize) {
            first.insert(position);
        }
        Ok(first)
    }

    /// The first positions, at least `limit` if there are as many, from one on of tasks that are so far.
    fn so_far(
        &self,
        job: JobId,
        tasks: u32,
        (from, wanted): (u32, Progress),
        limit: u32,
    ) -> Result<Ranges, StoreError> {
        let (mut found, mut next) = (Ranges::default(), from);
        let untouched = wanted == Progress::Untouched;
        let take = |found: &mut Ranges, first: u32, end: u32| {
            let (first, end) = (first.max(from), end.min(first.max(from).saturating_add(limit)));
            found.insert_range(first, end.saturating_sub(1).max(first.saturating_sub(1)));
        };
        self.each_chunk(job, from / CHUNK, |chunk, states| {
            let positions = positions(chunk, tasks);
            if untouched && next < positions.start {
                take(&mut found, next, positions.start);
            }
            next = positions.end;
            for run in Run::of(chunk, states) {
                if run.progress == wanted && run.last >= from {
                    take(&mut found, run.first, run.last + 1);
                }
            }
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if untouched && found.len() < limit && next < tasks {
            take(&mut found, next, tasks);
        }
        Ok(found)
    }

    /// Goes through the rows of a job's progress in order, as long as it is wanted.
    pub(super) fn each_chunk(
        &self,
        job: JobId,
        from: u32,
        mut take: impl FnMut(u32, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut read = || {
            let mut statement = self.connection.prepare_cached(CHUNKS)?;
            let mut rows = statement.query(params![job.0, from])?;
            while let Some(row) = rows.next()? {
                let states = row.get_ref(1)?.as_bytes()?;
                if take(row.get(0)?, states).is_break() {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(|source| StoreError::Read { what: "a job's progress", source })
    }
}

/// The position of the first task whose index is at least this.
pub(super) fn position_from(indices: &Indices, index: u32) -> Option<u32> {
    if index == 0 {
        return Some(0);
    }
    let mut rest = Ranges::default();
    rest.insert_range(index, INDEX_MAX);
    indices.positions(&rest).first()
}

/// Adds the tasks at those positions that have not begun; all by position.
fn fill_up(tasks: &mut Vec<rest::Task>, positions: &Ranges, state: rest::TaskState) {
    let mut missing = positions.clone();
    for task in tasks.iter() {
        missing.remove(task.index);
    }
    tasks.extend(missing.numbers().map(|position| untouched(position, state)));
    tasks.sort_by_key(|task| task.index);
}

/// A task that nothing is known of.
fn untouched(index: u32, state: rest::TaskState) -> rest::Task {
    let (attempts, outputs) = (Vec::new(), Vec::new());
    let (left_behind, reason) = (String::new(), String::new());
    rest::Task { index, state, attempts, outputs, left_behind, reason, saved_ms: 0, checking: 0 }
}

fn of_index(tasks: &mut [(String, rest::Task)], index: u32) -> &mut rest::Task {
    let at = tasks.binary_search_by_key(&index, |(_, task)| task.index);
    &mut tasks[at.expect("attempts and outputs belong to a task")].1
}

fn task_state(state: &str, attempts: &[rest::Attempt]) -> rest::TaskState {
    match state {
        "succeeded" => rest::TaskState::Succeeded,
        "failed" => rest::TaskState::Failed,
        "cancelled" => rest::TaskState::Cancelled,
        "pausing" => rest::TaskState::Pausing,
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
    let ending: Option<String> = row.get(13)?;
    let attempt = rest::Attempt {
        number: row.get(1)?,
        worker: row.get(2)?,
        worker_name: row.get(3)?,
        gpus: gpus.numbers().collect(),
        leased_at_ms: row.get(4)?,
        started_at_ms: row.get(5)?,
        ended_at_ms: row.get(6)?,
        end: ending.and_then(|ending| match ending.as_str() {
            "succeeded" => Some(rest::AttemptEnd::Succeeded),
            "failed" => Some(rest::AttemptEnd::Failed),
            "cancelled" => Some(rest::AttemptEnd::Cancelled),
            "returned" => Some(rest::AttemptEnd::Returned),
            _ => None,
        }),
        outcome: row.get(7)?,
        exit_code: row.get(14)?,
        run_ms: row.get(8)?,
        cpu_ms: row.get(9)?,
        ram_peak_mib: row.get(10)?,
        price_micros: row.get(15)?,
        charged_micros: row.get(11)?,
    };
    Ok((row.get(0)?, attempt))
}

fn output(row: &Row<'_>) -> rusqlite::Result<(u32, rest::OutputFile)> {
    let blake3 = BlobHash(row.get(3)?).to_string();
    Ok((row.get(0)?, rest::OutputFile { path: row.get(1)?, size_bytes: row.get(2)?, blake3 }))
}

/// A hash and a size, in two columns from this one on.
pub(super) fn blob(row: &Row<'_>, from: usize) -> rusqlite::Result<BlobRef> {
    Ok(BlobRef { hash: BlobHash(row.get(from)?), size_bytes: row.get(from + 1)? })
}
