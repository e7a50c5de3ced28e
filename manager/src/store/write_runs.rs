//! Writes what attempts come to before their task ends: pay, checkpoints, and results that wait for
//! another machine's.

use campusgrid_core::effect::{Change, TaskCheck};
use campusgrid_core::ledger::TransferKey;
use campusgrid_core::votes::Vote;
use campusgrid_protocol::id::{AttemptId, TaskId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::task::{Output, Saved};
use rusqlite::{OptionalExtension, params};

use super::statements;
use super::write::{Writer, clamp};

statements! {
    ATTEMPT_PAY = "UPDATE attempt SET charged = charged + ?4, earned = earned + ?5, paid_ms = ?6,
            pay = (SELECT id FROM transfer WHERE key = ?7)
        WHERE job = ?1 AND idx = ?2 AND number = ?3";
    TASK_CHARGE = "UPDATE task SET charged = charged + ?3 WHERE job = ?1 AND idx = ?2";
    CHECKPOINT_SET = "UPDATE task SET checkpoint = ?3, checkpoint_size = ?4, checkpoint_ms = ?5
        WHERE job = ?1 AND idx = ?2";
    CHECKPOINT_GONE = "UPDATE task SET checkpoint = NULL, checkpoint_size = NULL, checkpoint_ms = NULL
        WHERE job = ?1 AND idx = ?2 AND checkpoint IS NOT NULL";
    CHECKPOINT_UNPAID = "UPDATE task SET paid_ms = 0 WHERE job = ?1 AND idx = ?2";
    CHECKPOINT_FILE_NEW = "INSERT INTO checkpoint_file (job, idx, path, hash, size)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    CHECKPOINT_BYTES = "SELECT sum(size) FROM checkpoint_file WHERE job = ?1 AND idx = ?2";
    CHECKPOINT_FILES_GONE = "DELETE FROM checkpoint_file WHERE job = ?1 AND idx = ?2";
    TASK_CHECKING = "UPDATE task SET state = 'queued', runs_left = ?3, audit = ?4, paid_ms = 0
        WHERE job = ?1 AND idx = ?2";
    TASK_RUNS_LEFT = "SELECT runs_left FROM task WHERE job = ?1 AND idx = ?2";
    VOTE_NEW = "INSERT INTO vote (job, idx, place, attempt, worker, owner, digest, charge, run_ms)
        VALUES (?1, ?2, (SELECT count(*) FROM vote WHERE job = ?1 AND idx = ?2), ?3, ?4, ?5, ?6, ?7, ?8)";
    VOTE_OUTPUT_NEW = "INSERT INTO vote_output (job, idx, attempt, path, hash, size)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    VOTE_OUTPUTS_KEEP = "INSERT INTO output (job, idx, path, hash, size)
        SELECT job, idx, path, hash, size FROM vote_output WHERE job = ?1 AND idx = ?2 AND attempt = ?3";
    VOTE_LEFT_BEHIND = "UPDATE task SET left_behind = (SELECT left_behind FROM attempt
            WHERE job = ?1 AND idx = ?2 AND number = ?3)
        WHERE job = ?1 AND idx = ?2";
    VOTE_OUTPUTS_BYTES = "SELECT sum(size) FROM vote_output WHERE job = ?1 AND idx = ?2";
    VOTE_OUTPUTS_GONE = "DELETE FROM vote_output WHERE job = ?1 AND idx = ?2";
    KEPT_BYTES = "SELECT sum(size) FROM vote_output WHERE job = ?1 AND idx = ?2 AND attempt = ?3";
    ATTEMPT_LEFT_BEHIND = "UPDATE attempt SET left_behind = ?4
        WHERE job = ?1 AND idx = ?2 AND number = ?3";
}

impl Writer<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "change() has sorted out the others")]
    pub(super) fn run_change(&mut self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::AttemptPaid { attempt, worker, charged, earned, run_ms, at } => {
                let AttemptId { task, number } = *attempt;
                let (job, index) = (task.job, task.index);
                let key = TransferKey::Pay(*attempt).to_string();
                let (charged, run_ms) = (charged.0, clamp(*run_ms));
                let pay = params![job.0, index, number, charged, earned.0, run_ms, key];
                self.run(ATTEMPT_PAY, pay)?;
                self.run(TASK_CHARGE, params![job.0, index, charged])?;
                self.batch.tally(job).charged += charged;
                self.batch.earned(*worker, *at, earned.0);
                let needs = self.numbering(job)?.needs;
                self.batch.priced(*at, needs, charged, run_ms);
                Ok(())
            }
            Change::CheckpointSaved { attempt, saved, files, at: _ } => {
                self.checkpoint(attempt.task, *saved, files)
            }
            Change::CheckpointDropped { task } => {
                self.checkpoint_gone(*task)?;
                self.run(CHECKPOINT_UNPAID, params![task.job.0, task.index])
            }
            Change::TaskChecking(check) => self.task_checking(check),
            other => unreachable!("not about a run: {other:?}"),
        }
    }

    fn checkpoint(
        &mut self,
        task: TaskId,
        saved: Saved,
        files: &[InputFile],
    ) -> rusqlite::Result<()> {
        self.checkpoint_gone(task)?;
        let (job, index) = (task.job.0, task.index);
        let Saved { manifest, run_ms } = saved;
        let size = clamp(manifest.size_bytes);
        self.run(CHECKPOINT_SET, params![job, index, manifest.hash.0, size, clamp(run_ms)])?;
        let mut bytes = 0;
        for InputFile { path, blob, executable: _ } in files {
            let size = clamp(blob.size_bytes);
            self.run(CHECKPOINT_FILE_NEW, params![job, index, path, blob.hash.0, size])?;
            bytes += size;
        }
        self.batch.tally(task.job).stored_bytes += bytes;
        Ok(())
    }

    /// Nothing of a task's checkpoint is kept, if it has one.
    pub(super) fn checkpoint_gone(&mut self, task: TaskId) -> rusqlite::Result<()> {
        let place = params![task.job.0, task.index];
        if self.connection.prepare_cached(CHECKPOINT_GONE)?.execute(place)? == 0 {
            return Ok(());
        }
        let bytes = self.sum(CHECKPOINT_BYTES, place)?;
        self.run(CHECKPOINT_FILES_GONE, place)?;
        self.batch.tally(task.job).stored_bytes -= bytes;
        Ok(())
    }

    fn task_checking(&mut self, check: &TaskCheck) -> rusqlite::Result<()> {
        let TaskCheck { attempt, ended, vote, runs_left, audit, at } = check;
        let AttemptId { task, number } = *attempt;
        let (job, index) = (task.job.0, task.index);
        let had_left = self.sum(TASK_RUNS_LEFT, params![job, index])?;
        let tally = self.batch.tally(task.job);
        tally.leased -= 1;
        tally.open_runs += i64::from(*runs_left) - had_left;
        self.run(TASK_CHECKING, params![job, index, runs_left, audit.0])?;
        self.attempt_end(*attempt, ended, *at)?;
        let Vote { attempt: of, worker, owner, digest, charge, run_ms } = vote;
        let (worker, owner, charge) = (worker.0, owner.0, charge.0);
        self.run(VOTE_NEW, params![job, index, of, worker, owner, digest, charge, clamp(*run_ms)])?;
        self.run(ATTEMPT_LEFT_BEHIND, params![job, index, number, ended.left_behind])?;
        let mut bytes = 0;
        for Output { path, blob } in &ended.outputs {
            let size = clamp(blob.size_bytes);
            self.run(VOTE_OUTPUT_NEW, params![job, index, number, path, blob.hash.0, size])?;
            bytes += size;
        }
        self.batch.tally(task.job).stored_bytes += bytes;
        Ok(())
    }

    /// The outputs of a task that was checked are those of the attempt that counts, if that is one of
    /// those which were kept; the others go.
    pub(super) fn votes_over(&mut self, task: TaskId, kept: Option<u32>) -> rusqlite::Result<()> {
        let (job, index) = (task.job.0, task.index);
        let mut grown = -self.sum(VOTE_OUTPUTS_BYTES, params![job, index])?;
        if let Some(number) = kept {
            grown += self.sum(KEPT_BYTES, params![job, index, number])?;
            self.run(VOTE_OUTPUTS_KEEP, params![job, index, number])?;
            self.run(VOTE_LEFT_BEHIND, params![job, index, number])?;
        }
        self.run(VOTE_OUTPUTS_GONE, params![job, index])?;
        self.batch.tally(task.job).stored_bytes += grown;
        Ok(())
    }

    /// A number; 0 for none.
    fn sum(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<i64> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let sum = statement.query_row(values, |row| row.get::<_, Option<i64>>(0)).optional()?;
        Ok(sum.flatten().unwrap_or(0))
    }
}
