//! Reads what the tasks of a job have printed and left: logs, and outputs.

use campusgrid_protocol::id::{AttemptId, JobId, TaskId};
use campusgrid_protocol::task::{BlobRef, Content, Log};
use rusqlite::{Row, params};

use super::read::{Reader, StoredLog, StoredOutput, Viewer, WhichLog};
use super::read_tasks::{blob, position_from};
use super::write::stream_name;
use super::{StoreError, statements};

statements! {
    LETTER = "SELECT substr(states, ?2 % 512 + 1, 1) FROM progress
        WHERE job = ?1 AND chunk = ?2 / 512";
    TASK = "SELECT attempts, state = 'leased', ended_at IS NOT NULL FROM task
        WHERE job = ?1 AND idx = ?2";
    LOG = "SELECT content, hash, size, cut_bytes FROM log
        WHERE job = ?1 AND idx = ?2 AND attempt = ?3 AND stream = ?4";
    OUTPUT = "SELECT hash, size FROM output WHERE job = ?1 AND idx = ?2 AND path = ?3";
    OUTPUTS = "SELECT idx, path, hash, size FROM output
        WHERE job = ?1 AND (idx, path) > (?2, ?3) ORDER BY idx, path LIMIT ?4";
    OUTPUTS_TOTAL = "SELECT count(*), coalesce(sum(size), 0) FROM output WHERE job = ?1";
}

impl Reader {
    /// Where the log of a task, or of one of its attempts, is; None if the viewer has no such task.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn log(
        &self,
        viewer: Viewer,
        job: JobId,
        which: WhichLog,
    ) -> Result<Option<StoredLog>, StoreError> {
        let WhichLog { index, attempt, stream } = which;
        let Some((Some(indices), emptied)) = self.indices(viewer, job)? else { return Ok(None) };
        let Some(position) = indices.position(index) else { return Ok(None) };
        let task = TaskId { job, index: position };
        let state = |row: &Row<'_>| Ok((row.get::<_, u32>(0)?, row.get(1)?, row.get(2)?));
        let found = self.first("a task", TASK, params![job.0, position], state)?;
        let nothing = Log { content: Content::Inline(Vec::new()), cut_bytes: 0 };
        let Some((attempts, is_leased, task_over)) = found else {
            if attempt.is_some() {
                return Ok(None);
            }
            let waits = |row: &Row<'_>| Ok(row.get::<_, String>(0)? == "u");
            let waits = self.first("a task", LETTER, params![job.0, position], waits)?;
            return Ok(Some(if waits.unwrap_or(true) {
                StoredLog::Live(None)
            } else {
                StoredLog::Kept { attempt: None, log: nothing, task_over: true }
            }));
        };
        let number = attempt.unwrap_or(attempts);
        if number == 0 || number > attempts {
            return Ok(None);
        }
        let attempt = AttemptId { task, number };
        if is_leased && number == attempts {
            return Ok(Some(StoredLog::Live(Some(attempt))));
        }
        if emptied {
            return Ok(Some(StoredLog::Gone));
        }
        let values = params![job.0, position, number, stream_name(stream)];
        let log = self.first("a log", LOG, values, log)?.unwrap_or(nothing);
        let task_over = task_over || number < attempts;
        Ok(Some(StoredLog::Kept { attempt: Some(attempt), log, task_over }))
    }

    /// The blob of an output; None if the viewer has no such output.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn output(
        &self,
        viewer: Viewer,
        job: JobId,
        index: u32,
        path: &str,
    ) -> Result<Option<BlobRef>, StoreError> {
        let Some((Some(indices), _)) = self.indices(viewer, job)? else { return Ok(None) };
        let Some(position) = indices.position(index) else { return Ok(None) };
        self.first("an output", OUTPUT, params![job.0, position, path], |row| blob(row, 0))
    }

    /// Outputs of a job by index and path, those after an index and a path; None if the viewer has no
    /// such job.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn outputs(
        &self,
        viewer: Viewer,
        job: JobId,
        after: Option<(u32, &str)>,
        limit: u32,
    ) -> Result<Option<Vec<StoredOutput>>, StoreError> {
        let Some((indices, _)) = self.indices(viewer, job)? else { return Ok(None) };
        let Some(indices) = indices else { return Ok(Some(Vec::new())) };
        // No path is empty, so all of a task come after that.
        let (position, path) = match after {
            None => (Some(0), ""),
            Some((index, path)) => match indices.position(index) {
                Some(position) => (Some(position), path),
                None => (position_from(&indices, index), ""),
            },
        };
        let values = params![job.0, position, path, limit];
        let outputs = self.list("outputs", OUTPUTS, values, |row| {
            let position = row.get(0)?;
            let index = indices.index(position).unwrap_or(position);
            Ok(StoredOutput { index, path: row.get(1)?, blob: blob(row, 2)? })
        });
        outputs.map(Some)
    }

    /// How many outputs a job has, and their bytes; None if the viewer has no such job.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn outputs_total(
        &self,
        viewer: Viewer,
        job: JobId,
    ) -> Result<Option<(u32, u64)>, StoreError> {
        if self.indices(viewer, job)?.is_none() {
            return Ok(None);
        }
        let sums = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        self.first("outputs", OUTPUTS_TOTAL, params![job.0], sums)
    }
}

fn log(row: &Row<'_>) -> rusqlite::Result<Log> {
    let hash: Option<[u8; 32]> = row.get(1)?;
    let content = match hash {
        Some(_) => Content::Blob(blob(row, 1)?),
        None => Content::Inline(row.get(0)?),
    };
    Ok(Log { content, cut_bytes: row.get(3)? })
}
