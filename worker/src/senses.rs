//! The owner's side of a machine: whether somebody is here, what feeds it, what was said by hand; and
//! what comes of it by the owner's rules.

pub mod bus;
mod inotify;
mod input;
mod keeper;
mod kept;
mod local;
mod policy_file;
mod power;
mod processes;
pub mod report;
mod session;
mod sources;
mod steady;
mod system;
mod terminals;
mod writer;

use std::path::PathBuf;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::rules::Rules;
use campusgrid_sharing::sharing::Sharing;
use campusgrid_sharing::verdict::Verdict;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

pub use self::keeper::Keeper;
use self::keeper::Ways;
pub(crate) use self::keeper::moment;
use self::kept::Kept;
use self::policy_file::PolicyFile;
pub(crate) use self::sources::look_once;
use crate::config::Config;
use crate::control::Door;
use crate::policy::permissive;
use bus::Address;

/// Orders of the owner on their way to the daemon, which takes them as fast as they come.
const ORDERS: usize = 16;

/// Where the machine is sensed, and what is kept where.
#[derive(Debug, Clone)]
pub struct SensesConfig {
    pub data_dir: PathBuf,
    /// The rules that nobody but whoever may write this file can lift; none need be there.
    pub policy: PathBuf,
    /// Where a service is reached by others than its own user; none: in `data_dir`, by that user.
    pub runtime_dir: Option<PathBuf>,
    pub places: Places,
}

/// Where things are on this machine.
#[derive(Debug, Clone)]
pub struct Places {
    pub sys: PathBuf,
    pub dev: PathBuf,
    pub proc: PathBuf,
    pub system_bus: Address,
    pub session_bus: Address,
}

impl Default for Places {
    /// Where Linux has them.
    fn default() -> Self {
        Self {
            sys: PathBuf::from("/sys"),
            dev: PathBuf::from("/dev"),
            proc: PathBuf::from("/proc"),
            system_bus: Address::System,
            session_bus: Address::Session,
        }
    }
}

impl SensesConfig {
    /// As a worker of this configuration has it; `runtime_dir` is what systemd has made for a service.
    pub fn of(config: &Config, runtime_dir: Option<&str>) -> Self {
        Self {
            data_dir: config.data_dir.clone(),
            policy: config.policy.clone(),
            runtime_dir: runtime_dir.map(PathBuf::from).filter(|path| path.is_absolute()),
            places: Places::default(),
        }
    }
}

/// Why a machine's owner cannot be obeyed.
#[derive(Debug, thiserror::Error)]
pub enum SensesError {
    #[error("failed to read what the owner has said before from {path}")]
    ReadKept { path: PathBuf, source: std::io::Error },
    #[error("failed to keep what the owner says in {path}")]
    Keep { path: PathBuf, source: std::io::Error },
}

/// What the owner wants of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Hand this one back at once.
    Stop { attempt: AttemptId },
}

/// Something that runs here, for the owner to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// As [`AttemptId`] is written.
    pub attempt: String,
    /// Who has submitted it.
    pub whose: String,
    /// The job's name.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    pub since_ms: u64,
    pub cpu_millis: u32,
    pub ram_mib: u32,
    pub gpus: u16,
    pub limit_ms: u64,
    /// In a word: "running".
    pub state: String,
}

/// What the daemon tells of itself, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    rules: Option<Rules>,
    earned_micros: Option<i64>,
    works: Vec<Work>,
    /// For whom this machine works, while it is connected.
    works_for: Option<String>,
}

/// What a daemon holds: the verdict, and where it tells what the owner may read.
#[derive(Debug, Clone)]
pub struct Owner {
    told: watch::Sender<Told>,
    verdict: watch::Receiver<Verdict>,
}

impl Owner {
    /// What holds; the newest counts.
    pub fn verdict(&self) -> watch::Receiver<Verdict> {
        self.verdict.clone()
    }

    /// The rules of the dashboard. They are checked and kept.
    pub fn rules(&self, rules: Rules) {
        self.told.send_modify(|told| told.rules = Some(rules));
    }

    /// What this machine has earned, ever. Micro-credits.
    pub fn earned(&self, micros: i64) {
        self.told.send_modify(|told| told.earned_micros = Some(micros));
    }

    /// What runs here.
    pub fn works(&self, works: Vec<Work>) {
        self.told.send_if_modified(|told| {
            let is_other = told.works != works;
            told.works = works;
            is_other
        });
    }

    /// For whom this machine works; none: it is not connected.
    pub fn works_for(&self, owner: Option<String>) {
        self.told.send_modify(|told| told.works_for = owner);
    }
}

/// Looks at everything for the first time.
///
/// To be run are the [`Keeper`], for as long as the daemon lives; to be followed are the verdict of the
/// [`Owner`] and the orders.
///
/// # Errors
///
/// When what the owner has said before cannot be read. A policy file that cannot be followed is no error:
/// nothing is shared until it can.
pub async fn open(
    config: SensesConfig,
) -> Result<(Owner, mpsc::Receiver<Order>, Keeper), SensesError> {
    let (file, policy) = PolicyFile::open(config.policy);
    let kept = Kept::of(&config.data_dir);
    let rules = kept.rules()?.unwrap_or_default();
    let by_hand = kept.by_hand()?;
    let mut sharing = Sharing::new(TimeZone::system(), permissive(), rules, by_hand);
    sharing.set_policy(policy);
    let door = Door::open(&config.data_dir, config.runtime_dir.as_deref());
    let (told, heard) = watch::channel(Told::default());
    let (orders, order) = mpsc::channel(ORDERS);
    let ways = Ways { told: heard, orders, door };
    let (keeper, verdict) = Keeper::open(config.places, sharing, kept, file, ways).await;
    Ok((Owner { told, verdict }, order, keeper))
}
