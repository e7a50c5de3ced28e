//! How far each task of a job is, as a letter: rows of a few hundred letters, so that a million tasks are
//! read, counted and drawn in milliseconds, whatever became of them. Where there is no row, none of its
//! tasks has started.

use std::collections::BTreeMap;

use campusgrid_core::job::EndedTasks;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::ranges::Ranges;
use rusqlite::{Connection, OptionalExtension, params};

use super::statements;

statements! {
    CHUNK_READ = "SELECT states FROM progress WHERE job = ?1 AND chunk = ?2";
    CHUNK_SET = "INSERT INTO progress (job, chunk, states) VALUES (?1, ?2, ?3)
        ON CONFLICT (job, chunk) DO UPDATE SET states = excluded.states";
}

/// Tasks of one row: a few of these fit a page of the database.
pub(super) const CHUNK: u32 = 512;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It never started, and was not cancelled.
    Untouched,
    /// It has started and not ended, and has a row of its own.
    Begun,
    Succeeded,
    Failed,
    Cancelled,
}

impl Progress {
    pub(super) fn letter(self) -> u8 {
        match self {
            Self::Untouched => b'u',
            Self::Begun => b'b',
            Self::Succeeded => b's',
            Self::Failed => b'f',
            Self::Cancelled => b'c',
        }
    }

    /// Of a letter that the table may hold.
    pub(super) fn of(letter: u8) -> Self {
        match letter {
            b'b' => Self::Begun,
            b's' => Self::Succeeded,
            b'f' => Self::Failed,
            b'c' => Self::Cancelled,
            _ => Self::Untouched,
        }
    }
}

/// Neighbours that are equally far, from the first position to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) progress: Progress,
}

impl Run {
    /// The runs of a row.
    pub(super) fn of(chunk: u32, states: &[u8]) -> impl Iterator<Item = Self> {
        let mut position = chunk * CHUNK;
        states.chunk_by(|one, other| one == other).map(move |letters| {
            let first = position;
            position += u32::try_from(letters.len()).expect("a row has few letters");
            Self { first, last: position - 1, progress: Progress::of(letters[0]) }
        })
    }

    /// Adds its tasks to those that never started, or to those that have ended.
    pub(super) fn sort_into(self, untouched: &mut Ranges, ended: &mut EndedTasks) {
        let ranges = match self.progress {
            Progress::Begun => return,
            Progress::Untouched => untouched,
            Progress::Succeeded => &mut ended.succeeded,
            Progress::Failed => &mut ended.failed,
            Progress::Cancelled => &mut ended.cancelled,
        };
        ranges.insert_range(self.first, self.last);
    }
}

/// The positions of a row's tasks, as far as the job has them.
pub(super) fn positions(chunk: u32, tasks: u32) -> std::ops::Range<u32> {
    let first = chunk * CHUNK;
    first..first.saturating_add(CHUNK).min(tasks)
}

/// What became of tasks of one job in one batch, in order.
#[derive(Debug, Default)]
pub(super) struct Moves {
    runs: Vec<Run>,
}

impl Moves {
    /// The tasks from one position to another are so far now.
    pub(super) fn set(&mut self, first: u32, last: u32, progress: Progress) {
        self.runs.push(Run { first, last, progress });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Writes them, of a job with so many tasks.
    pub(super) fn write(
        &self,
        connection: &Connection,
        job: JobId,
        tasks: u32,
    ) -> rusqlite::Result<()> {
        let mut chunks = BTreeMap::<u32, Vec<u8>>::new();
        for run in &self.runs {
            for chunk in run.first / CHUNK..=run.last / CHUNK {
                let range = positions(chunk, tasks);
                let (begin, end) = (run.first.max(range.start), run.last.min(range.end - 1));
                let states = match chunks.entry(chunk) {
                    std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::btree_map::Entry::Vacant(entry) => {
                        entry.insert(read(connection, job, chunk, range.len())?)
                    }
                };
                let place = |position: u32| (position - range.start) as usize;
                states[place(begin)..=place(end)].fill(run.progress.letter());
            }
        }
        for (chunk, states) in chunks {
            let states = String::from_utf8(states).expect("they are letters");
            connection.prepare_cached(CHUNK_SET)?.execute(params![job.0, chunk, states])?;
        }
        Ok(())
    }
}

fn read(
    connection: &Connection,
    job: JobId,
    chunk: u32,
    tasks: usize,
) -> rusqlite::Result<Vec<u8>> {
    let mut statement = connection.prepare_cached(CHUNK_READ)?;
    let states = statement.query_row(params![job.0, chunk], |row| row.get::<_, String>(0));
    let mut states = states.optional()?.map(String::into_bytes).unwrap_or_default();
    states.resize(tasks, Progress::Untouched.letter());
    Ok(states)
}

#[cfg(test)]
mod tests {
    use campusgrid_core::job::EndedTasks;
    use campusgrid_protocol::ranges::Ranges;

    use super::{CHUNK, Run, positions};

    #[test]
    fn a_row_is_read_as_runs() {
        let (mut untouched, mut ended) = (Ranges::default(), EndedTasks::default());
        for run in Run::of(1, b"ssbfcuu") {
            run.sort_into(&mut untouched, &mut ended);
        }
        let EndedTasks { succeeded, failed, cancelled } = ended;
        let words = [succeeded, failed, cancelled, untouched].map(|ranges| ranges.to_string());
        assert_eq!(words, ["512-513", "515", "516", "517-518"]);
        assert_eq!(positions(1, 2000), CHUNK..2 * CHUNK);
        assert_eq!(positions(1, 600), CHUNK..600);
    }
}
