//! Reads one job with all that it runs, and what has become of its tasks as a whole.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use campusgrid_core::job::EndedTasks;
use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::rest;
use campusgrid_protocol::rest::submit::{Brought, Checked};
use campusgrid_protocol::task::{LABEL_4, Packages, Program, TaskSpec, Work};
use campusgrid_protocol::terms::Terms;
use rusqlite::{Row, params};

use super::load_jobs::parse_condition;
use super::progress::Run;
use super::read::{Reader, StoredJob, StoredSpec, TaskFilter, Viewer, number, unread};
use super::read_jobs::jobs;
use super::{StoreError, statements};

statements! {
    JOB = concat!(jobs!(), "WHERE job.id = ?1 AND (job.owner = ?2 OR ?3)");
    SPEC = "SELECT spec, terms, lock IS NOT NULL FROM job_spec WHERE job = ?1";
    SPEC_OF = "SELECT job_spec.spec, job_spec.terms, job.name, job.priority,
            job.emptied_at IS NOT NULL
        FROM job JOIN job_spec ON job_spec.job = job.id WHERE job.id = ?1 AND job.owner = ?2";
    WAITS = "SELECT other, condition, each FROM waits_for WHERE job = ?1 ORDER BY place";
    FILES = "SELECT count(*), coalesce(sum(size), 0) FROM file WHERE job = ?1";
    LOCK = "SELECT job_spec.lock FROM job JOIN job_spec ON job_spec.job = job.id
        WHERE job.id = ?1 AND (job.owner = ?2 OR ?3)";
    IS_OVER = "SELECT ended_at IS NOT NULL FROM job
        WHERE id = ?1 AND (owner = ?2 OR ?3) AND state <> 'draft'";
}

/// Tasks that a job's own page shows.
const TASKS_SHOWN: u32 = 100;

impl Reader {
    /// One job with its first tasks; None if the viewer has no such job. Of a draft, what launching it
    /// would run.
    ///
    /// # Errors
    ///
    /// `Read`; `Nonsense` for a draft that no version of this program has let in.
    pub fn job(&self, viewer: Viewer, id: JobId) -> Result<Option<StoredJob>, StoreError> {
        let values = params![number(id.0), viewer.user.0, viewer.operator];
        let found = self.first("a job", JOB, values, |row| {
            let owner = UserId(row.get(19)?);
            let (emptied, note): (bool, String) = (row.get(18)?, row.get(20)?);
            let (task_micros, rate_permille): (i64, u32) = (row.get(7)?, row.get(24)?);
            Ok((self.job_row(row)?, owner, emptied, note, (task_micros, rate_permille)))
        })?;
        let Some((job, owner, emptied, note, price)) = found else { return Ok(None) };
        let (mut detail, spec, terms) = if job.state == rest::JobState::Draft {
            self.draft_detail(viewer, job)?
        } else {
            let (spec, terms, has_lock) = self.spec(id)?;
            let detail = detail(job, spec.clone(), terms.clone());
            (rest::JobDetail { has_lock, ..detail }, spec, terms)
        };
        let is_job = detail.job.state != rest::JobState::Draft;
        detail.note = note;
        (detail.task_micros, detail.rate_permille) = price;
        let files = self.first("files", FILES, params![id.0], |row| Ok((row.get(0)?, row.get(1)?)));
        (detail.files, detail.files_bytes) = files?.unwrap_or((0, 0));
        if is_job {
            detail.after = self.waits(id)?;
            detail.market = self.market(viewer, id)?;
            let first = TaskFilter { from: 0, limit: TASKS_SHOWN, state: None };
            detail.task_list = self.tasks(viewer, id, first)?.unwrap_or_default();
            if let Some(award) = detail.market.as_ref().and_then(|market| market.award.as_ref()) {
                detail.task_micros = award.price_micros; // And no longer what it would be at most.
            }
            if detail.note.is_empty() && detail.job.tasks == 1 {
                detail.note = detail.task_list.first().and_then(unsaid).unwrap_or_default();
            }
        }
        Ok(Some(StoredJob { detail, owner, spec, terms, emptied }))
    }

    /// What a job of this user's runs; None for a draft.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn spec_of(&self, user: UserId, job: JobId) -> Result<Option<StoredSpec>, StoreError> {
        self.first("a job", SPEC_OF, params![number(job.0), user.0], |row| {
            let (spec, terms) = parse(row)?;
            let (name, priority, emptied) = (row.get(2)?, row.get(3)?, row.get(4)?);
            Ok(StoredSpec { name, spec, terms, priority, emptied })
        })
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

    /// How the tasks of jobs ended that are over, by position; None for one that is open. What is
    /// missing is not the viewer's, or is a draft.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn ended_tasks(
        &self,
        viewer: Viewer,
        jobs: &[JobId],
    ) -> Result<BTreeMap<JobId, Option<EndedTasks>>, StoreError> {
        let mut found = BTreeMap::new();
        for &job in jobs {
            let values = params![number(job.0), viewer.user.0, viewer.operator];
            let is_over = self.first("a job", IS_OVER, values, |row| row.get::<_, bool>(0))?;
            if let Some(is_over) = is_over {
                found.insert(job, if is_over { Some(self.ended_of(job)?) } else { None });
            }
        }
        Ok(found)
    }

    /// The positions of those tasks of a job, over or not, that are worth running again; None if the
    /// viewer has no such job, or it is a draft.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn failed_tasks(
        &self,
        viewer: Viewer,
        job: JobId,
        retry: &rest::arrays::Retry,
    ) -> Result<Option<Ranges>, StoreError> {
        let values = params![number(job.0), viewer.user.0, viewer.operator];
        let found = self.first("a job", IS_OVER, values, |row| row.get::<_, bool>(0))?;
        if found.is_none() {
            return Ok(None);
        }
        let EndedTasks { mut failed, cancelled, .. } = self.ended_of(job)?;
        if retry.cancelled {
            failed.insert_all(&cancelled);
        }
        Ok(Some(failed))
    }

    fn ended_of(&self, job: JobId) -> Result<EndedTasks, StoreError> {
        let (mut untouched, mut ended) = (Ranges::default(), EndedTasks::default());
        self.each_chunk(job, 0, |chunk, states| {
            for run in Run::of(chunk, states) {
                run.sort_into(&mut untouched, &mut ended);
            }
            ControlFlow::Continue(())
        })?;
        Ok(ended)
    }

    fn spec(&self, job: JobId) -> Result<(TaskSpec, Terms, bool), StoreError> {
        let found = self.first("what a job runs", SPEC, params![job.0], |row| {
            let (spec, terms) = parse(row)?;
            Ok((spec, terms, row.get(2)?))
        })?;
        let missing = || StoreError::Nonsense {
            table: "job_spec",
            column: "job",
            value: format!("{job}, which is missing"),
        };
        found.ok_or_else(missing)
    }

    fn waits(&self, job: JobId) -> Result<Vec<rest::After>, StoreError> {
        self.list("what a job waits for", WAITS, params![job.0], |row| {
            let text: String = row.get(1)?;
            let when = parse_condition(&text).ok_or(rusqlite::Error::InvalidColumnType(
                1,
                text,
                rusqlite::types::Type::Text,
            ))?;
            Ok(rest::After { job: row.get(0)?, when, each: row.get(2)? })
        })
    }

    fn draft_detail(
        &self,
        viewer: Viewer,
        job: rest::Job,
    ) -> Result<(rest::JobDetail, TaskSpec, Terms), StoreError> {
        let draft = self.draft(viewer, JobId(job.job))?;
        let text = draft.map(|draft| draft.submit).unwrap_or_default();
        let checked = serde_json::from_str::<rest::Submit>(&text).ok().and_then(|submit| {
            let waits_for_lines = submit.lines_file.is_some();
            submit.check(Brought::Later).ok().map(|checked| (checked, waits_for_lines))
        });
        let Some((checked, waits_for_lines)) = checked else {
            return Err(StoreError::Nonsense { table: "draft", column: "submit", value: text });
        };
        let Checked { name: _, spec, terms, priority, on_hold, after } = checked;
        let job = rest::Job { priority, on_hold, ..job };
        let mut detail = detail(job, spec.clone(), terms.clone());
        detail.after = after;
        if waits_for_lines {
            detail.array.clear(); // As many as the file will have.
        }
        Ok((detail, spec, terms))
    }
}

/// Why a task has failed, where that is not how its last attempt ended.
fn unsaid(task: &rest::Task) -> Option<String> {
    let outcome = task.attempts.last().and_then(|last| last.outcome.as_deref());
    let is_told = task.state != rest::TaskState::Failed || outcome == Some(task.reason.as_str());
    (!is_told).then(|| task.reason.clone())
}

fn parse(row: &Row<'_>) -> rusqlite::Result<(TaskSpec, Terms)> {
    let spec: String = row.get(0)?;
    let spec = serde_json::from_str(&spec).map_err(|error| unread(0, error))?;
    let terms: String = row.get(1)?;
    Ok((spec, serde_json::from_str(&terms).map_err(|error| unread(1, error))?))
}

fn detail(job: rest::Job, spec: TaskSpec, terms: Terms) -> rest::JobDetail {
    let (program, packages, flags): (_, Option<Packages>, _) = match spec.work {
        Work::Python { program, packages } => (program, Some(packages), Vec::new()),
        Work::C { program, flags } => (program, None, flags),
        Work::Shell { program } => (program, None, Vec::new()),
    };
    let (source, entry) = match program {
        Program::Source(source) => (source, None),
        Program::Entry(entry) => (String::new(), Some(entry)),
    };
    let mut labels = spec.labels;
    labels.retain(|label| label != LABEL_4); // It says how old a worker may be, and nobody asked.
    rest::JobDetail {
        job,
        source,
        entry,
        arguments: spec.arguments,
        array: terms.indices.to_string(),
        lines_file: spec.lines,
        at_once: terms.at_once,
        outputs: spec.outputs,
        after: Vec::new(),
        retries: terms.retries,
        backoff_s: terms.backoff_s,
        warn_s: spec.warn_s,
        deadline_at_ms: terms.deadline_at_ms,
        notify: terms.notify,
        files: 0,
        files_bytes: 0,
        note: String::new(),
        packages,
        flags,
        labels,
        image: spec.image,
        isolation: spec.isolation,
        shared_tmp: spec.shared_tmp,
        has_lock: false,
        needs: spec.needs,
        time_limit_s: spec.time_limit_s,
        market: None,
        deterministic: terms.deterministic,
        verify: terms.verify,
        checkpoint_s: spec.checkpoint_s,
        task_micros: 0,
        rate_permille: 1000,
        waiting: None,
        task_list: Vec::new(),
    }
}
