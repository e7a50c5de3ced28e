//! Which index each task of a job has, how often it may run, and what its price is counted by: kept for the
//! jobs that are written about right now.

use std::collections::BTreeMap;

use campusgrid_protocol::array::Indices;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::resource::Needs;
use rusqlite::types::Type;
use rusqlite::{Connection, params};

use super::statements;

statements! {
    NUMBERING = "SELECT job.tasks, job.runs, json_extract(job_spec.terms, '$.indices'),
            json_extract(job_spec.spec, '$.needs.cpu_millis'),
            json_extract(job_spec.spec, '$.needs.gpus')
        FROM job JOIN job_spec ON job_spec.job = job.id WHERE job.id = ?1";
}

/// Jobs that are kept; beyond, all are read anew, at a few microseconds each.
const KEPT_MAX: usize = 1024;

/// Of what an attempt has, that which the going rate is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Priced {
    pub(super) cpu_millis: i64,
    pub(super) gpus: i64,
}

impl Priced {
    pub(super) fn of(needs: &Needs) -> Self {
        Self { cpu_millis: needs.cpu_millis.into(), gpus: needs.gpus.into() }
    }
}

/// What the words about a job's tasks need.
#[derive(Debug, Clone)]
pub(super) struct Numbering {
    pub(super) tasks: u32,
    /// That each task may have.
    pub(super) runs: u8,
    pub(super) needs: Priced,
    /// None if they are the positions.
    indices: Option<Indices>,
}

impl Numbering {
    pub(super) fn new(runs: u8, needs: Priced, indices: &Indices) -> Self {
        let tasks = indices.len();
        let is_counted = *indices == Indices::counted(tasks);
        Self { tasks, runs, needs, indices: (!is_counted).then(|| indices.clone()) }
    }

    /// The index of the task at a position.
    pub(super) fn index(&self, position: u32) -> u32 {
        let index = |indices: &Indices| indices.index(position).unwrap_or(position);
        self.indices.as_ref().map_or(position, index)
    }
}

/// The numberings of some jobs.
#[derive(Debug, Default)]
pub(super) struct Numberings {
    kept: BTreeMap<JobId, Numbering>,
}

impl Numberings {
    pub(super) fn keep(&mut self, job: JobId, numbering: Numbering) {
        if self.kept.len() >= KEPT_MAX {
            self.kept.clear();
        }
        self.kept.insert(job, numbering);
    }

    pub(super) fn forget(&mut self, job: JobId) {
        self.kept.remove(&job);
    }

    /// That of a job, read if it is not kept.
    pub(super) fn of(
        &mut self,
        connection: &Connection,
        job: JobId,
    ) -> rusqlite::Result<&Numbering> {
        if !self.kept.contains_key(&job) {
            let mut statement = connection.prepare_cached(NUMBERING)?;
            let read = statement.query_row(params![job.0], |row| {
                let text: String = row.get(2)?;
                let indices: Indices = text.parse().map_err(|error| {
                    rusqlite::Error::FromSqlConversionFailure(2, Type::Text, Box::new(error))
                })?;
                let needs = Priced { cpu_millis: row.get(3)?, gpus: row.get(4)? };
                Ok(Numbering::new(row.get(1)?, needs, &indices))
            })?;
            self.keep(job, read);
        }
        Ok(&self.kept[&job])
    }
}
