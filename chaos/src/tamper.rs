//! Lies about what came of a storm, and a manager that is made to break its promise: each must be found,
//! or the checks prove nothing.

use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use crate::check::{ClientTruth, OwnerTruth};
use crate::history::Known;

/// One lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// A job that was acknowledged is not there.
    ForgetAJob,
    /// A result is another one than was downloaded before.
    ChangeAResult,
    /// A task is paid once more.
    PayTwice,
    /// Whenever the manager is killed, it comes back with the database that it had before the first
    /// client came, as if nothing had been written to the disk since.
    LoseCommits,
}

/// It is no lie that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no such lie; there are forget-a-job, change-a-result, pay-twice, lose-commits")]
pub struct UnknownTampering;

impl FromStr for Tampering {
    type Err = UnknownTampering;

    fn from_str(text: &str) -> Result<Self, UnknownTampering> {
        match text {
            "forget-a-job" => Ok(Self::ForgetAJob),
            "change-a-result" => Ok(Self::ChangeAResult),
            "pay-twice" => Ok(Self::PayTwice),
            "lose-commits" => Ok(Self::LoseCommits),
            _ => Err(UnknownTampering),
        }
    }
}

impl Tampering {
    /// Several, with commas between.
    ///
    /// # Errors
    ///
    /// If one of them is not known.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, UnknownTampering> {
        text.split(',').map(str::parse).collect()
    }

    /// Changes what the grid is believed to have said.
    pub fn tell(self, clients: &mut [(Known, ClientTruth)], owner: &mut OwnerTruth) {
        match self {
            Self::ForgetAJob => {
                if let Some((_, truth)) = clients.first_mut() {
                    truth.jobs.pop();
                }
            }
            Self::ChangeAResult => {
                let jobs = clients.iter_mut().flat_map(|(_, truth)| &mut truth.jobs);
                if let Some(hash) = jobs.flat_map(|job| job.files.values_mut()).next() {
                    *hash = "0".repeat(64);
                }
            }
            Self::PayTwice => {
                if let Some(paid) = owner.transfers.iter().find(|it| it.key.starts_with("pay:")) {
                    owner.transfers.push(paid.clone());
                }
            }
            // What it breaks, it has broken by now.
            Self::LoseCommits => {}
        }
    }
}

/// Of a database: itself, and what was written to it last.
const DATABASE: [&str; 2] = ["campusgrid.sqlite", "campusgrid.sqlite-wal"];

/// Where its copy lies.
const KEPT: &str = "kept";

/// Keeps a copy of the database of a manager that writes nothing at the moment.
///
/// # Errors
///
/// When a file cannot be copied.
pub fn keep_database(manager_dir: &Path) -> io::Result<()> {
    let kept = manager_dir.join(KEPT);
    fs::create_dir(&kept)?;
    copy(manager_dir, &kept)
}

/// Puts the copy in the place of the database of a manager that does not run.
///
/// # Errors
///
/// When a file cannot be copied.
pub fn lose_commits(manager_dir: &Path) -> io::Result<()> {
    copy(&manager_dir.join(KEPT), manager_dir)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for name in DATABASE {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name))?;
        } else if to.join(name).exists() {
            fs::remove_file(to.join(name))?;
        }
    }
    Ok(())
}
