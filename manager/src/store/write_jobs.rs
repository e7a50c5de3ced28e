//! Writes what changed about jobs and drafts as a whole: their files, what they wait for, and what
//! somebody is to be told of them.

use campusgrid_core::draft::Draft;
use campusgrid_core::effect::{Change, NewJob, NoticeKind};
use campusgrid_core::input::{FilesOf, NoticeFate};
use campusgrid_core::job::After;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::task::Work;
use campusgrid_protocol::terms::When;
use rusqlite::{OptionalExtension, params};

use super::numbering::{Numbering, Priced};
use super::statements;
use super::write::{Writer, clamp};

statements! {
    JOB_NEW = "INSERT INTO job (id, owner, name, kind, state, tasks, runs, quote, submitted_at,
            priority, on_hold, open_runs, manifest, manifest_size, rate_permille)
        VALUES (?1, ?2, ?3, ?4, 'queued', ?5, ?6, ?7, ?8, ?9, ?10, ?5 * ?6, ?11, ?12, ?13)
        ON CONFLICT (id) DO UPDATE SET
            name = excluded.name, kind = excluded.kind, state = excluded.state,
            tasks = excluded.tasks, runs = excluded.runs, quote = excluded.quote,
            submitted_at = excluded.submitted_at, priority = excluded.priority,
            on_hold = excluded.on_hold, open_runs = excluded.open_runs,
            manifest = excluded.manifest, manifest_size = excluded.manifest_size,
            rate_permille = excluded.rate_permille
        WHERE state = 'draft'";
    SPEC_NEW = "INSERT INTO job_spec (job, spec, terms) VALUES (?1, ?2, ?3)";
    JOBS_ADD = "UPDATE total SET jobs = jobs + 1 WHERE id = 1";
    JOB_LOCK = "UPDATE job_spec SET lock = ?2 WHERE job = ?1";
    JOB_HOLD = "UPDATE job SET on_hold = ?2 WHERE id = ?1";
    JOB_PRIORITY = "UPDATE job SET priority = ?2 WHERE id = ?1";
    JOB_CANCEL = "UPDATE job SET cancelling = 1 WHERE id = ?1";
    WAIT_NEW = "INSERT INTO waits_for (job, place, other, condition, each)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    WAIT_MET = "DELETE FROM waits_for WHERE job = ?1 AND other = ?2 AND condition = ?3 AND each = ?4";
    WAITS_OVER = "DELETE FROM waits_for WHERE job = ?1";
    DRAFT_JOB_NEW = "INSERT INTO job (id, owner, name, kind, state, tasks, runs, quote, submitted_at,
            open_runs)
        VALUES (?1, ?2, ?3, coalesce(json_extract(?4, '$.kind'), 'python'), 'draft', 0, 1, 0, ?5, 0)";
    DRAFT_NEW = "INSERT INTO draft (job, submit, revision, touched_at) VALUES (?1, ?2, ?3, ?4)";
    DRAFT_TOUCH = "UPDATE draft SET revision = ?2, touched_at = ?3 WHERE job = ?1";
    DRAFT_OVER = "DELETE FROM draft WHERE job = ?1";
    DRAFT_JOB_GONE = "DELETE FROM job WHERE id = ?1 AND state = 'draft'";
    NUMBERS_FROM = "UPDATE total SET jobs_from = max(jobs_from, ?1) WHERE id = 1";
    EVENTS_GONE = "DELETE FROM event WHERE job = ?1";
    FILE_SIZE = "SELECT size FROM file WHERE job = ?1 AND path = ?2";
    FILE_PUT = "INSERT INTO file (job, path, hash, size, executable) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (job, path) DO UPDATE SET
            hash = excluded.hash, size = excluded.size, executable = excluded.executable";
    FILE_GONE = "DELETE FROM file WHERE job = ?1 AND path = ?2";
    FILES_COPY = "INSERT INTO file (job, path, hash, size, executable)
        SELECT ?1, path, hash, size, executable FROM file WHERE job = ?2";
    FILES_BYTES = "SELECT coalesce(sum(size), 0) FROM file WHERE job = ?1";
    FILES_GONE = "DELETE FROM file WHERE job = ?1";
    OUTPUTS_GONE = "DELETE FROM output WHERE job = ?1";
    LOGS_GONE = "DELETE FROM log WHERE job = ?1";
    JOB_EMPTY = "UPDATE job SET emptied_at = ?2, stored_bytes = 0, manifest = NULL,
            manifest_size = NULL WHERE id = ?1";
    // To those who want to be told, in the ways they want.
    NOTICE_NEW = "INSERT OR IGNORE INTO notice (job, kind, channel, at, due_at)
        SELECT ?1, ?2, channel, ?3, ?3
        FROM job_spec, (SELECT 'mail' AS channel UNION ALL SELECT 'webhook')
        WHERE job_spec.job = ?1 AND iif(channel = 'mail',
            json_extract(terms, '$.notify.mail'), json_extract(terms, '$.notify.webhook') IS NOT NULL)";
    NOTICE_OVER = "UPDATE notice SET due_at = NULL, tries = tries + 1, reason = ?2 WHERE id = ?1";
    NOTICE_PUT_OFF = "UPDATE notice SET due_at = ?2, tries = tries + 1, reason = ?3
        WHERE id = ?1 AND due_at IS NOT NULL";
}

impl Writer<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "change() has sorted out the others")]
    pub(super) fn job_change(&mut self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::JobSubmitted(job) => self.job(job),
            Change::JobLocked { job, lock, at: _ } => self.run(JOB_LOCK, params![job.0, lock]),
            Change::AfterMet { job, after } => {
                let After { job: other, when, each } = after;
                self.run(WAIT_MET, params![job.0, other.0, condition(*when), each])
            }
            Change::JobHoldSet { job, on_hold, at: _ } => {
                self.run(JOB_HOLD, params![job.0, on_hold])
            }
            Change::JobPrioritySet { job, priority, at: _ } => {
                self.run(JOB_PRIORITY, params![job.0, priority])
            }
            Change::Drafted { draft, submit } => self.draft(draft, submit),
            Change::DraftChanged { job, put, removed, revision, at } => {
                self.run(DRAFT_TOUCH, params![job.0, clamp(*revision), at.0])?;
                self.files(*job, put, removed)
            }
            Change::DraftDiscarded { job, at: _ } => self.draft_discarded(*job),
            Change::JobCancelling { job, at: _ } => self.run(JOB_CANCEL, params![job.0]),
            Change::JobEnded { job, at } => {
                self.batch.tally(*job).ended_at = Some(*at);
                self.market_over(*job)?;
                self.run(WAITS_OVER, params![job.0])
            }
            Change::JobEmptied { job, at } => self.job_emptied(*job, *at),
            Change::NoticeDue { job, kind, at } => {
                self.run(NOTICE_NEW, params![job.0, notice_kind(*kind), at.0])
            }
            Change::NoticeTried { notice, fate, at: _ } => {
                let notice = clamp(*notice);
                match fate {
                    NoticeFate::Delivered => self.run(NOTICE_OVER, params![notice, ""]),
                    NoticeFate::GivenUp { reason } => {
                        self.run(NOTICE_OVER, params![notice, reason])
                    }
                    NoticeFate::PutOff { until, reason } => {
                        self.run(NOTICE_PUT_OFF, params![notice, until.0, reason])
                    }
                }
            }
            other => unreachable!("not about a job: {other:?}"),
        }
    }

    fn job(&mut self, job: &NewJob) -> rusqlite::Result<()> {
        let NewJob { id, owner, name, spec, terms, priority, on_hold, after, files, quote, .. } =
            job;
        let NewJob { rate_permille, market, at, .. } = job;
        let manifest = spec.inputs.map(|manifest| manifest.hash.0);
        let manifest_size = spec.inputs.map(|manifest| clamp(manifest.size_bytes));
        let (kind, runs) = (kind(&spec.work), terms.runs());
        let row = params![
            id.0,
            owner.0,
            name,
            kind,
            spec.tasks,
            runs,
            quote.0,
            at.0,
            priority,
            on_hold,
            manifest,
            manifest_size,
            rate_permille
        ];
        self.run(JOB_NEW, row)?;
        let text = serde_json::to_string(&**spec).expect("a spec has no maps and no odd numbers");
        let terms_text = serde_json::to_string(&**terms).expect("terms have no maps either");
        self.run(SPEC_NEW, params![id.0, text, terms_text])?;
        self.run(JOBS_ADD, [])?;
        for (place, After { job: other, when, each }) in after.iter().enumerate() {
            self.run(WAIT_NEW, params![id.0, place, other.0, condition(*when), each])?;
        }
        if let Some(market) = market {
            self.market(*id, terms.sale, market)?;
        }
        let needs = Priced::of(&spec.needs);
        self.numberings.keep(*id, Numbering::new(runs, needs, &terms.indices));
        match files {
            FilesOf::None => Ok(()),
            FilesOf::Draft { .. } => self.run(DRAFT_OVER, params![id.0]),
            FilesOf::Job(from) => {
                self.run(FILES_COPY, params![id.0, from.0])?;
                let bytes: i64 = self
                    .connection
                    .prepare_cached(FILES_BYTES)?
                    .query_row(params![id.0], |row| row.get(0))?;
                self.batch.tally(*id).stored_bytes += bytes;
                Ok(())
            }
        }
    }

    fn draft(&self, draft: &Draft, submit: &str) -> rusqlite::Result<()> {
        let Draft { id, owner, name, made_at, touched_at, revision, files: _ } = draft;
        self.run(DRAFT_JOB_NEW, params![id.0, owner.0, name, submit, made_at.0])?;
        self.run(DRAFT_NEW, params![id.0, submit, clamp(*revision), touched_at.0])
    }

    fn files(&mut self, job: JobId, put: &[InputFile], removed: &[String]) -> rusqlite::Result<()> {
        let mut grown = 0;
        for path in removed {
            grown -= self.file_size(job, path)?;
            self.run(FILE_GONE, params![job.0, path])?;
        }
        for InputFile { path, blob, executable } in put {
            let size = clamp(blob.size_bytes);
            grown += size - self.file_size(job, path)?;
            self.run(FILE_PUT, params![job.0, path, blob.hash.0, size, executable])?;
        }
        self.batch.tally(job).stored_bytes += grown;
        Ok(())
    }

    /// Bytes; 0 if there is none.
    fn file_size(&self, job: JobId, path: &str) -> rusqlite::Result<i64> {
        let mut statement = self.connection.prepare_cached(FILE_SIZE)?;
        let size = statement.query_row(params![job.0, path], |row| row.get(0)).optional()?;
        Ok(size.unwrap_or(0))
    }

    /// Nothing of it stays but that its number was given out.
    fn draft_discarded(&mut self, job: JobId) -> rusqlite::Result<()> {
        self.batch.write_job(self.connection, self.numberings, job)?;
        for sql in [FILES_GONE, DRAFT_OVER, EVENTS_GONE, DRAFT_JOB_GONE, NUMBERS_FROM] {
            self.run(sql, params![job.0])?;
        }
        Ok(())
    }

    fn job_emptied(&mut self, job: JobId, at: Timestamp) -> rusqlite::Result<()> {
        self.batch.write_job(self.connection, self.numberings, job)?;
        for sql in [FILES_GONE, OUTPUTS_GONE, LOGS_GONE] {
            self.run(sql, params![job.0])?;
        }
        self.run(JOB_EMPTY, params![job.0, at.0])
    }
}

fn kind(work: &Work) -> &'static str {
    match work {
        Work::Python { .. } => "python",
        Work::C { .. } => "c",
        Work::Shell { .. } => "shell",
    }
}

pub(super) fn condition(when: When) -> &'static str {
    match when {
        When::Started => "started",
        When::Ok => "ok",
        When::Any => "any",
        When::Failed => "failed",
    }
}

fn notice_kind(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Started => "started",
        NoticeKind::Failed => "failed",
        NoticeKind::Ended => "ended",
    }
}
