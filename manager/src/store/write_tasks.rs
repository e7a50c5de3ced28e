//! Writes what changed about tasks: attempts, results, and the counts that follow from them.

use campusgrid_core::effect::{Change, TaskEnd, TaskPause, TaskResult, Verdict};
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{AttemptId, TaskId};
use campusgrid_protocol::task::{Content, Ended, Failure, Log, Outcome, Stream};
use rusqlite::params;

use super::progress::Progress;
use super::write::{Writer, clamp, stream_name};
use super::{prices, statements};

statements! {
    TASK_LEASE = "INSERT INTO task (job, idx, attempts, tries_left, runs_left, state)
        VALUES (?1, ?2, ?3, ?4, (SELECT runs FROM job WHERE id = ?1), 'leased')
        ON CONFLICT (job, idx) DO UPDATE SET
            attempts = excluded.attempts, tries_left = excluded.tries_left, state = 'leased'";
    TASK_REQUEUE = "UPDATE task SET state = 'queued', tries_left = ?3, losses = ?4, paid = ?5,
            paid_ms = ?6
        WHERE job = ?1 AND idx = ?2";
    TASK_PAUSE = "UPDATE task SET state = 'pausing', paused_until = ?3, tries_left = ?4,
            runs_left = ?5, reason = ?6, paid = 0, paid_ms = 0
        WHERE job = ?1 AND idx = ?2";
    TASK_ROUSE = "UPDATE task SET state = 'queued', paused_until = NULL WHERE job = ?1 AND idx = ?2";
    TASK_PAID = "SELECT paid FROM task WHERE job = ?1 AND idx = ?2";
    TASK_OPEN = "SELECT state = 'leased', runs_left, paid, EXISTS (SELECT 1 FROM vote
            WHERE vote.job = task.job AND vote.idx = task.idx)
        FROM task WHERE job = ?1 AND idx = ?2";
    TASK_END = "UPDATE task SET state = ?3, paused_until = NULL, reason = ?4, left_behind = ?5,
            paid = 0, audit = 0, ended_at = ?6 WHERE job = ?1 AND idx = ?2";
    ATTEMPT_NEW = "INSERT INTO attempt (job, idx, number, worker, leased_at, gpus, price, prices)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    ATTEMPT_START = "UPDATE attempt SET started_at = ?4 WHERE job = ?1 AND idx = ?2 AND number = ?3";
    ATTEMPT_CANCEL = "UPDATE attempt SET cancelling = 1 WHERE job = ?1 AND idx = ?2 AND number = ?3";
    ATTEMPT_RETURN = "UPDATE attempt SET ended_at = ?4, outcome = ?5, ending = 'returned',
            run_ms = max(?6, paid_ms)
        WHERE job = ?1 AND idx = ?2 AND number = ?3";
    ATTEMPT_END = "UPDATE attempt SET ended_at = ?4, outcome = ?5, ending = ?6, exit_code = ?7,
            run_ms = ?8, cpu_ms = ?9, ram_peak_mib = ?10
        WHERE job = ?1 AND idx = ?2 AND number = ?3";
    LOG_NEW = "INSERT INTO log (job, idx, attempt, stream, content, hash, size, cut_bytes)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    OUTPUT_NEW = "INSERT INTO output (job, idx, path, hash, size) VALUES (?1, ?2, ?3, ?4, ?5)";
    JOB_NOTE = "UPDATE job SET note = ?2 WHERE id = ?1";
}

impl Writer<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "change() has sorted out the others")]
    pub(super) fn task_change(&mut self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::TaskLeased { attempt, worker, gpus, tries_left, deal, at } => {
                let AttemptId { task, number } = attempt;
                let tally = self.batch.tally(task.job);
                tally.leased += 1;
                if *number == 1 {
                    tally.begun = true;
                    tally.moves.set(task.index, task.index, Progress::Begun);
                }
                self.run(TASK_LEASE, params![task.job.0, task.index, number, tries_left])?;
                let (job, gpus) = (task.job.0, gpus.to_string());
                let (price, prices) = (deal.price.0, deal.prices.as_ref().map(prices::text));
                let (index, worker, at) = (task.index, worker.0, at.0);
                self.run(ATTEMPT_NEW, params![job, index, number, worker, at, gpus, price, prices])
            }
            Change::AttemptStarted { attempt: AttemptId { task, number }, at } => {
                self.run(ATTEMPT_START, params![task.job.0, task.index, number, at.0])
            }
            Change::TaskCancelling { attempt: AttemptId { task, number } } => {
                self.run(ATTEMPT_CANCEL, params![task.job.0, task.index, number])
            }
            Change::TaskRequeued {
                attempt,
                reason,
                tries_left,
                losses,
                paid,
                paid_ms,
                run_ms,
                at,
            } => {
                let AttemptId { task, number } = attempt;
                let (job, index) = (task.job.0, task.index);
                let was_paid = self.paid(*task)?;
                let tally = self.batch.tally(task.job);
                tally.leased -= 1;
                tally.paid += paid.0 - was_paid;
                let (losses, paid_ms) = (losses.to_string(), clamp(*paid_ms));
                self.run(TASK_REQUEUE, params![job, index, tries_left, losses, paid.0, paid_ms])?;
                // Of a machine that was lost no more is known than what it had saved.
                let run_ms = clamp(*run_ms);
                self.run(ATTEMPT_RETURN, params![job, index, number, at.0, reason, run_ms])
            }
            Change::TaskPausing(pause) => self.task_pause(pause),
            Change::TaskRoused { task } => self.run(TASK_ROUSE, params![task.job.0, task.index]),
            Change::TaskEnded(end) => self.task_end(end),
            Change::UntouchedCancelled { job, tasks, reason, at: _ } => {
                let runs = self.numbering(*job)?.runs;
                let tally = self.batch.tally(*job);
                tally.cancelled += tasks.len();
                tally.open_runs -= i64::from(tasks.len()) * i64::from(runs);
                for (first, last) in tasks.ranges() {
                    tally.moves.set(first, last, Progress::Cancelled);
                }
                match reason {
                    Some(reason) => self.run(JOB_NOTE, params![job.0, reason]),
                    None => Ok(()),
                }
            }
            other => unreachable!("not about a task: {other:?}"),
        }
    }

    fn task_pause(&mut self, pause: &TaskPause) -> rusqlite::Result<()> {
        let TaskPause { attempt, ended, reason, charged: _, tries_left, runs_left, until, at } =
            pause;
        let AttemptId { task, number: _ } = attempt;
        let was_paid = self.paid(*task)?;
        let tally = self.batch.tally(task.job);
        tally.leased -= 1;
        tally.open_runs -= 1;
        tally.paid -= was_paid;
        self.run(
            TASK_PAUSE,
            params![task.job.0, task.index, until.0, tries_left, runs_left, reason],
        )?;
        // What it left is not kept: the runs that follow leave theirs.
        self.attempt_end(*attempt, ended, *at)
    }

    fn task_end(&mut self, end: &TaskEnd) -> rusqlite::Result<()> {
        // What was charged came before, with the payments.
        let TaskEnd { task, attempt, kept, verdict, reason: why, charged: _, at } = end;
        let tally = self.batch.tally(task.job);
        let (state, reason, progress) = match verdict {
            Verdict::Succeeded => {
                tally.succeeded += 1;
                ("succeeded", "", Progress::Succeeded)
            }
            Verdict::Failed { reason } => {
                tally.failed += 1;
                ("failed", reason.as_str(), Progress::Failed)
            }
            Verdict::Cancelled => {
                tally.cancelled += 1;
                ("cancelled", why.as_deref().unwrap_or(""), Progress::Cancelled)
            }
        };
        tally.moves.set(task.index, task.index, progress);
        let (was_leased, runs_left, was_paid, has_votes): (bool, i64, i64, bool) = self
            .connection
            .prepare_cached(TASK_OPEN)?
            .query_row(params![task.job.0, task.index], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        let tally = self.batch.tally(task.job);
        tally.leased -= i64::from(was_leased);
        tally.open_runs -= runs_left;
        tally.paid -= was_paid;
        let left_behind = attempt.as_ref().map_or("", |result| &result.ended.left_behind);
        let job = task.job.0;
        let values = params![job, task.index, state, reason, left_behind, at.0];
        self.run(TASK_END, values)?;
        self.checkpoint_gone(*task)?;
        if has_votes {
            self.votes_over(*task, *kept)?;
        }
        if let Some(why) = why {
            self.run(JOB_NOTE, params![job, why])?;
        }
        let Some(TaskResult { attempt, ended }) = attempt else { return Ok(()) };
        self.attempt_end(*attempt, ended, *at)?;
        if kept.is_some() {
            return Ok(());
        }
        let mut bytes = 0;
        for output in &ended.outputs {
            let (hash, size) = (output.blob.hash.0, clamp(output.blob.size_bytes));
            self.run(OUTPUT_NEW, params![job, task.index, output.path, hash, size])?;
            bytes += size;
        }
        self.batch.tally(task.job).stored_bytes += bytes;
        Ok(())
    }

    /// Of the present run's quote, by now. Micro-credits.
    fn paid(&self, task: TaskId) -> rusqlite::Result<i64> {
        let place = params![task.job.0, task.index];
        self.connection.prepare_cached(TASK_PAID)?.query_row(place, |row| row.get(0))
    }

    pub(super) fn attempt_end(
        &mut self,
        attempt: AttemptId,
        ended: &Ended,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let Ended { outcome, usage, stdout, stderr, .. } = ended;
        let AttemptId { task: TaskId { job, index }, number } = attempt;
        let (ending, exit_code, words) = ending(outcome);
        let (run_ms, cpu_ms) = (clamp(usage.run_ms), clamp(usage.cpu_ms));
        let peak = usage.ram_peak_mib;
        let values =
            params![job.0, index, number, at.0, words, ending, exit_code, run_ms, cpu_ms, peak];
        self.run(ATTEMPT_END, values)?;
        self.log(attempt, Stream::Stdout, stdout)?;
        self.log(attempt, Stream::Stderr, stderr)
    }

    fn log(&mut self, attempt: AttemptId, stream: Stream, log: &Log) -> rusqlite::Result<()> {
        let (content, hash, size) = match &log.content {
            Content::Inline(bytes) if bytes.is_empty() && log.cut_bytes == 0 => return Ok(()),
            Content::Inline(bytes) => (Some(bytes), None, bytes.len() as u64),
            Content::Blob(blob) => (None, Some(blob.hash.0), blob.size_bytes),
        };
        let (size, cut) = (clamp(size), clamp(log.cut_bytes));
        let AttemptId { task, number } = attempt;
        if hash.is_some() {
            self.batch.tally(task.job).stored_bytes += size;
        }
        let (job, stream) = (task.job.0, stream_name(stream));
        self.run(LOG_NEW, params![job, task.index, number, stream, content, hash, size, cut])
    }
}

/// How an attempt ended: for programs, with the exit code as a shell would tell it, and in words.
fn ending(outcome: &Outcome) -> (&'static str, Option<i32>, String) {
    match outcome {
        Outcome::Succeeded => ("succeeded", Some(0), "succeeded".to_owned()),
        Outcome::Failed(failure) => {
            let code = match failure {
                Failure::ExitCode(code) => Some(*code),
                Failure::Signal(signal) => Some(128_i32.saturating_add(*signal)),
                Failure::OutOfMemory { .. }
                | Failure::TimeLimit { .. }
                | Failure::ScratchFull { .. }
                | Failure::TooManyFiles { .. }
                | Failure::FileTooLarge { .. }
                | Failure::Processes { .. }
                | Failure::OutputFlood { .. }
                | Failure::CompileError { .. }
                | Failure::Requirements { .. }
                | Failure::Image { .. }
                | Failure::Inputs { .. } => None,
            };
            ("failed", code, failure.to_string())
        }
        Outcome::Cancelled => ("cancelled", None, "cancelled".to_owned()),
        Outcome::Returned(fault) => ("returned", None, fault.to_string()),
    }
}
