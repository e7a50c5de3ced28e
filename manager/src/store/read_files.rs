//! Reads drafts, the files that jobs bring, checkpoints, and who still refers to which content.

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{BlobHash, JobId, TaskId, UserId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::task::{BlobRef, Saved};
use rusqlite::{Row, params};

use super::read::{Reader, StoredDraft, Viewer, number};
use super::read_tasks::blob;
use super::{StoreError, load_market, statements};

/// Whether a user has content: in a file (or an output) of a job of theirs. From job to job, since one
/// that has it a thousand times is looked at once.
macro_rules! has {
    ($table:literal) => {
        concat!(
            "WITH RECURSIVE holder(job) AS (
                SELECT min(job) FROM ",
            $table,
            " WHERE hash = ?2
                UNION ALL
                SELECT (SELECT min(job) FROM ",
            $table,
            " WHERE hash = ?2 AND job > holder.job) FROM holder WHERE holder.job IS NOT NULL)
            SELECT EXISTS (SELECT 1 FROM holder JOIN job ON job.id = holder.job
                JOIN ",
            $table,
            " AS found ON found.job = holder.job AND found.hash = ?2
                WHERE job.owner = ?1 AND found.size = ?3)"
        )
    };
}

statements! {
    DRAFT = "SELECT job.id, job.owner, job.name, draft.submit, draft.revision, job.submitted_at,
            draft.touched_at, (SELECT count(*) FROM file WHERE file.job = job.id),
            (SELECT coalesce(sum(size), 0) FROM file WHERE file.job = job.id)
        FROM job JOIN draft ON draft.job = job.id WHERE job.id = ?1 AND (job.owner = ?2 OR ?3)";
    REVISION = "SELECT coalesce(draft.revision, 0) FROM job LEFT JOIN draft ON draft.job = job.id
        WHERE job.id = ?1 AND (job.owner = ?2 OR ?3)";
    FILES = "SELECT path, hash, size, executable FROM file WHERE job = ?1 AND path > ?2
        ORDER BY path LIMIT ?3";
    FILE = "SELECT file.path, file.hash, file.size, file.executable
        FROM file JOIN job ON job.id = file.job
        WHERE file.job = ?1 AND file.path = ?2 AND (job.owner = ?3 OR ?4)";
    MANIFEST = "SELECT manifest, manifest_size FROM job WHERE id = ?1 AND manifest IS NOT NULL";
    INPUT = "SELECT hash, size FROM file WHERE hash = ?2 AND job = ?1 LIMIT 1";
    HAS_FILE = has!("file");
    HAS_OUTPUT = has!("output");
    STORED = "SELECT coalesce(sum(stored_bytes), 0) FROM job INDEXED BY job_storing
        WHERE owner = ?1 AND stored_bytes > 0";
    TO_EMPTY = "SELECT id FROM job WHERE ended_at < ?1 AND ended_at IS NOT NULL
            AND emptied_at IS NULL
        ORDER BY ended_at LIMIT ?2";
    IS_REFERRED = "SELECT EXISTS (SELECT 1 FROM file WHERE hash = ?1)
        OR EXISTS (SELECT 1 FROM output WHERE hash = ?1)
        OR EXISTS (SELECT 1 FROM log WHERE hash = ?1)
        OR EXISTS (SELECT 1 FROM job WHERE manifest = ?1)
        OR EXISTS (SELECT 1 FROM task WHERE checkpoint = ?1)
        OR EXISTS (SELECT 1 FROM checkpoint_file WHERE hash = ?1)
        OR EXISTS (SELECT 1 FROM vote_output WHERE hash = ?1)";
    CHECKPOINT = "SELECT checkpoint, checkpoint_size, checkpoint_ms FROM task WHERE job = ?1 AND idx = ?2";
    CHECKPOINT_BLOB = "SELECT hash, size FROM checkpoint_file
            WHERE job = ?1 AND idx = ?2 AND hash = ?3
        UNION ALL SELECT checkpoint, checkpoint_size FROM task
            WHERE job = ?1 AND idx = ?2 AND checkpoint = ?3
        LIMIT 1";
}

impl Reader {
    /// A draft; None if the viewer has no such draft.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn draft(&self, viewer: Viewer, job: JobId) -> Result<Option<StoredDraft>, StoreError> {
        let values = params![number(job.0), viewer.user.0, viewer.operator];
        self.first("a draft", DRAFT, values, |row| {
            Ok(StoredDraft {
                job: JobId(row.get(0)?),
                owner: UserId(row.get(1)?),
                name: row.get(2)?,
                submit: row.get(3)?,
                revision: row.get(4)?,
                files: row.get(7)?,
                bytes: row.get(8)?,
                made_at: Timestamp(row.get(5)?),
                touched_at: Timestamp(row.get(6)?),
            })
        })
    }

    /// Input files of a job or draft, by path, those after a path; None if the viewer has no such job.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn files(
        &self,
        viewer: Viewer,
        job: JobId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Option<Vec<InputFile>>, StoreError> {
        if self.revision(viewer, job)?.is_none() {
            return Ok(None);
        }
        let values = params![job.0, after.unwrap_or(""), limit];
        self.list("files", FILES, values, file).map(Some)
    }

    /// One input file; None if the viewer has no such file.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn file(
        &self,
        viewer: Viewer,
        job: JobId,
        path: &str,
    ) -> Result<Option<InputFile>, StoreError> {
        let values = params![number(job.0), path, viewer.user.0, viewer.operator];
        self.first("a file", FILE, values, file)
    }

    /// All input files of a job or draft, and the revision that they are of, 0 if it is no draft; None
    /// if the viewer has no such job.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn all_files(
        &self,
        viewer: Viewer,
        job: JobId,
    ) -> Result<Option<(u64, Vec<InputFile>)>, StoreError> {
        let Some(revision) = self.revision(viewer, job)? else { return Ok(None) };
        let files = self.list("files", FILES, params![job.0, "", u32::MAX], file)?;
        Ok(Some((revision, files)))
    }

    fn revision(&self, viewer: Viewer, job: JobId) -> Result<Option<u64>, StoreError> {
        let values = params![number(job.0), viewer.user.0, viewer.operator];
        self.first("a job", REVISION, values, |row| row.get(0))
    }

    /// The manifest of a job's input files; None if it brings none or they are gone.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn manifest_of(&self, job: JobId) -> Result<Option<BlobRef>, StoreError> {
        self.first("a manifest", MANIFEST, params![number(job.0)], |row| blob(row, 0))
    }

    /// An input file's content by its hash; None if the job has none of it.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn input_of(&self, job: JobId, hash: BlobHash) -> Result<Option<BlobRef>, StoreError> {
        self.first("a file", INPUT, params![number(job.0), hash.0], |row| blob(row, 0))
    }

    /// What a task's next attempt goes on from, if it has anything.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn checkpoint_of(&self, task: TaskId) -> Result<Option<Saved>, StoreError> {
        let values = params![number(task.job.0), task.index];
        let read = self.first("a checkpoint", CHECKPOINT, values, |row| load_market::saved(row, 0));
        Ok(read?.flatten())
    }

    /// The list of files of a task's checkpoint, or one of the files, by its hash; None if it has none of
    /// it.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn checkpoint_blob(
        &self,
        task: TaskId,
        hash: BlobHash,
    ) -> Result<Option<BlobRef>, StoreError> {
        let values = params![number(task.job.0), task.index, hash.0];
        self.first("a checkpoint's file", CHECKPOINT_BLOB, values, |row| blob(row, 0))
    }

    /// Whether content is in a file or an output of a job of this user's.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn has_content(&self, user: UserId, blob: BlobRef) -> Result<bool, StoreError> {
        let values = params![user.0, blob.hash.0, number(blob.size_bytes)];
        for sql in [HAS_FILE, HAS_OUTPUT] {
            if self.first("content", sql, values, |row| row.get(0))?.unwrap_or(false) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What all jobs and drafts of a user keep: files, outputs and logs that are blobs, each as often as
    /// a job has it. Bytes.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn storage_used(&self, user: UserId) -> Result<u64, StoreError> {
        Ok(self.first("storage", STORED, params![user.0], |row| row.get(0))?.unwrap_or(0))
    }

    /// Jobs that ended before a time and still have their files and logs, the oldest first.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn jobs_to_empty(
        &self,
        ended_before: Timestamp,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        let values = params![number(ended_before.0), limit];
        self.list("jobs", TO_EMPTY, values, |row| row.get(0).map(JobId))
    }

    /// Whether any row names a blob.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn is_referred(&self, hash: BlobHash) -> Result<bool, StoreError> {
        let found = self.first("references", IS_REFERRED, params![hash.0], |row| row.get(0))?;
        Ok(found.unwrap_or(true))
    }
}

fn file(row: &Row<'_>) -> rusqlite::Result<InputFile> {
    Ok(InputFile { path: row.get(0)?, blob: blob(row, 1)?, executable: row.get(3)? })
}
