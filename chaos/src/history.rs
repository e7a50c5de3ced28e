//! What a client remembers of its dealings with the grid: a journal on disk that outlives the client,
//! and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use campusgrid_protocol::rest::JobState;
use serde::{Deserialize, Serialize};

use crate::error::ChaosError;
use crate::work::Work;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Written before the first try to submit: whatever happens, this key stands for this job.
    Intended {
        key: String,
        work: Work,
    },
    Accepted {
        key: String,
        job: u64,
        held_micros: i64,
    },
    /// The grid refuses what nobody should refuse.
    Refused {
        words: String,
    },
    CancelIntended {
        job: u64,
    },
    CancelAccepted {
        job: u64,
    },
    /// The job had ended, maybe by an earlier try of which the answer was lost.
    CancelTooLate {
        job: u64,
    },
    EndSeen {
        job: u64,
        state: JobState,
        charged_micros: i64,
        refunded_micros: i64,
    },
    Downloaded {
        job: u64,
        file: FileName,
        blake3: String,
    },
    /// All that the job left has been downloaded.
    Collected {
        job: u64,
    },
    CreditsSeen {
        balance_micros: i64,
        held_micros: i64,
        spent_micros: i64,
    },
}

/// Something that a task left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileName {
    pub task: u32,
    /// [`STDOUT`], or the path of an output.
    pub path: String,
}

/// Stands for a log among paths: no output begins with a slash.
pub const STDOUT: &str = "/stdout";

/// A file to which a client adds a line for everything that it learns or is about to do.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens a journal and yields what is in it.
    ///
    /// # Errors
    ///
    /// `Journal`, `JournalLine`.
    pub fn open(path: &Path) -> Result<(Self, Vec<Event>), ChaosError> {
        let failed = |source| ChaosError::Journal { path: path.to_owned(), source };
        let events = read(path)?;
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).open(path).map_err(failed)?;
        // A line that its writer was killed in is a line that nobody has acted upon.
        let whole = whole_bytes(&fs::read(path).map_err(failed)?);
        file.set_len(whole as u64).map_err(failed)?;
        Ok((Self { path: path.to_owned(), file }, events))
    }

    /// Adds an event; when this returns, it outlives this process.
    ///
    /// # Errors
    ///
    /// `Journal`.
    pub fn add(&mut self, event: &Event) -> Result<(), ChaosError> {
        let mut line = serde_json::to_vec(event).expect("events are plain values");
        line.push(b'\n');
        let written = self.file.write_all(&line);
        written.map_err(|source| ChaosError::Journal { path: self.path.clone(), source })
    }
}

/// The events of a journal; none if there is no such file yet.
///
/// # Errors
///
/// `Journal`, `JournalLine`.
pub fn read(path: &Path) -> Result<Vec<Event>, ChaosError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ChaosError::Journal { path: path.to_owned(), source }),
    };
    let lines = bytes[..whole_bytes(&bytes)].split(|&byte| byte == b'\n');
    let lines = lines.enumerate().filter(|(_, line)| !line.is_empty());
    let event = |(number, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|source| ChaosError::JournalLine {
            path: path.to_owned(),
            line: number + 1,
            source,
        })
    };
    lines.map(event).collect()
}

/// Up to the end of the last whole line.
fn whole_bytes(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1)
}

/// What a client knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// By idempotency key, in the order in which they were thought of.
    pub intents: BTreeMap<String, Intent>,
    /// By job.
    pub jobs: BTreeMap<u64, KnownJob>,
    pub refused: Vec<String>,
    /// Balance, held, spent, as seen one after the other.
    pub credits: Vec<[i64; 3]>,
}

/// A submit, from the thought of it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub work: Work,
    /// Every answer to it; one, if all is well, however often it was repeated.
    pub accepted: BTreeSet<(u64, i64)>,
}

/// A job that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownJob {
    pub work: Work,
    pub held_micros: i64,
    pub cancel: Cancel,
    /// State, charge and refund, as first seen; `None` while it has not been seen to end.
    pub end: Option<(JobState, i64, i64)>,
    /// BLAKE3 in hex, as first downloaded.
    pub files: BTreeMap<FileName, String>,
    pub collected: bool,
}

/// How far a wish to cancel has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    No,
    Intended,
    Accepted,
    TooLate,
}

impl Known {
    /// What follows from a journal.
    pub fn of(events: &[Event]) -> Self {
        let mut known = Self::default();
        for event in events {
            known.learn(event);
        }
        known
    }

    /// Takes one more event in.
    pub fn learn(&mut self, event: &Event) {
        match event {
            Event::Intended { key, work } => {
                let intent = Intent { work: *work, accepted: BTreeSet::new() };
                self.intents.insert(key.clone(), intent);
            }
            Event::Accepted { key, job, held_micros } => {
                let Some(intent) = self.intents.get_mut(key) else { return };
                intent.accepted.insert((*job, *held_micros));
                self.jobs.entry(*job).or_insert(KnownJob {
                    work: intent.work,
                    held_micros: *held_micros,
                    cancel: Cancel::No,
                    end: None,
                    files: BTreeMap::new(),
                    collected: false,
                });
            }
            Event::Refused { words } => self.refused.push(words.clone()),
            Event::CancelIntended { job } => self.with(*job, |job| job.cancel = Cancel::Intended),
            Event::CancelAccepted { job } => self.with(*job, |job| job.cancel = Cancel::Accepted),
            Event::CancelTooLate { job } => self.with(*job, |job| job.cancel = Cancel::TooLate),
            Event::EndSeen { job, state, charged_micros, refunded_micros } => {
                let end = (*state, *charged_micros, *refunded_micros);
                self.with(*job, |job| job.end = job.end.or(Some(end)));
            }
            Event::Downloaded { job, file, blake3 } => self.with(*job, |job| {
                job.files.entry(file.clone()).or_insert_with(|| blake3.clone());
            }),
            Event::Collected { job } => self.with(*job, |job| job.collected = true),
            Event::CreditsSeen { balance_micros, held_micros, spent_micros } => {
                self.credits.push([*balance_micros, *held_micros, *spent_micros]);
            }
        }
    }

    /// What is still to be done, in words; empty once everything has come to its end.
    pub fn unsettled(&self) -> Vec<String> {
        let submits = self.intents.iter().filter(|(_, intent)| intent.accepted.is_empty());
        let submits = submits.map(|(key, _)| format!("submit {key} is not acknowledged"));
        let cancels = self.jobs.iter().filter(|(_, job)| job.cancel == Cancel::Intended);
        let cancels = cancels.map(|(id, _)| format!("cancel of job {id} is not acknowledged"));
        let open = self.jobs.iter().filter(|(_, job)| job.end.is_none());
        let open = open.map(|(id, job)| format!("job {id} ({:?}) has not ended", job.work.kind));
        let left = self.jobs.iter().filter(|(_, job)| job.end.is_some() && !job.collected);
        let left = left.map(|(id, _)| format!("the results of job {id} are not downloaded"));
        submits.chain(cancels).chain(open).chain(left).collect()
    }

    fn with(&mut self, job: u64, change: impl FnOnce(&mut KnownJob)) {
        if let Some(job) = self.jobs.get_mut(&job) {
            change(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Journal, Known};
    use crate::work::{Kind, Work};

    const WORK: Work = Work { kind: Kind::Shell, input: 1, tasks: 1 };

    fn intended(key: &str) -> Event {
        Event::Intended { key: key.to_owned(), work: WORK }
    }

    fn accepted(key: &str, job: u64) -> Event {
        Event::Accepted { key: key.to_owned(), job, held_micros: 7 }
    }

    #[test]
    fn a_journal_survives_a_writer_that_was_killed_within_a_line() {
        let path = std::env::temp_dir().join(format!("chaos-journal-{}", std::process::id()));
        let (mut journal, events) = Journal::open(&path).unwrap();
        assert_eq!(events, []);
        journal.add(&intended("a")).unwrap();
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"event\":\"acce");
        std::fs::write(&path, text).unwrap();
        let (mut journal, events) = Journal::open(&path).unwrap();
        assert_eq!(events, [intended("a")]);
        journal.add(&accepted("a", 1)).unwrap();
        let (_, events) = Journal::open(&path).unwrap();
        assert_eq!(events, [intended("a"), accepted("a", 1)]);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_unsettled_is_told() {
        let mut known = Known::of(&[intended("a"), intended("b"), accepted("b", 1)]);
        known.learn(&Event::CancelIntended { job: 1 });
        assert_eq!(
            known.unsettled(),
            [
                "submit a is not acknowledged",
                "cancel of job 1 is not acknowledged",
                "job 1 (Shell) has not ended"
            ]
        );
    }

    #[test]
    fn two_answers_to_one_key_are_both_kept() {
        let known = Known::of(&[intended("a"), accepted("a", 1), accepted("a", 2)]);
        assert_eq!(known.intents["a"].accepted.len(), 2);
    }
}
