//! The machine's GPUs: what is offered, what of the host a granted one needs, when one is free.
//!
//! Whole NVIDIA GPUs, one task at a time each. Parts of one (MIG) and other makers' are not offered.

mod cdi;
pub mod error;
mod find;
pub mod grant;
mod library;
pub(crate) mod meter;
mod nodes;
mod nvml;
#[cfg(test)]
mod recording;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use campusgrid_protocol::resource::{Gpu, GpuLoad, Isolation};
use campusgrid_sandbox::plan::{Check, Holds};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use self::error::GpuError;
use self::grant::{Grant, Held};
use self::library::Shown;
use self::nodes::Nodes;

/// The driver tells of no process that leaves a GPU, so we ask: this often, and this many times
/// before a GPU counts as busy. A killed process is gone from its lists within about a second.
const ASK_EVERY: Duration = Duration::from_millis(200);
const ASK_TIMES: u32 = 75;

/// A driver that does not answer within this time has a wedged GPU.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What a GPU's driver tells: NVML in earnest, a recording in tests.
///
/// Its functions may block, as drivers do.
trait Driver: fmt::Debug + Send + Sync {
    /// All GPUs of the machine, in the driver's order; one that is broken hides no other.
    fn cards(&self) -> Result<Vec<Result<Card, GpuError>>, GpuError>;

    fn load(&self, uuid: &str) -> Result<GpuLoad, GpuError>;

    /// Processes that compute on it, whoever's they are; not those that only draw a desktop.
    fn processes(&self, uuid: &str) -> Result<u16, GpuError>;
}

/// One GPU of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Card {
    uuid: String,
    /// N of its device node `/dev/nvidiaN`.
    minor: u32,
    /// Split into instances (MIG).
    is_split: bool,
    gpu: Gpu,
    /// The newest version of CUDA that its driver runs, such as `12.4`.
    cuda: String,
}

/// Where a machine keeps what belongs to its GPUs.
#[derive(Debug, Clone)]
struct Places {
    dev: PathBuf,
    /// Directories of CDI specifications, the one that counts most first.
    cdi: Vec<PathBuf>,
    /// Directories of the driver's libraries, the likeliest first.
    libraries: Vec<PathBuf>,
}

impl Places {
    fn usual() -> Self {
        Self {
            dev: PathBuf::from("/dev"),
            cdi: ["/run/cdi", "/var/run/cdi", "/etc/cdi"].map(PathBuf::from).to_vec(),
            libraries: library::usual_directories(),
        }
    }
}

/// The system that a task sees around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// This machine's `/usr`.
    Machine,
    /// A container image's own.
    Image,
}

/// The GPUs that are offered. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gpus {
    driver: Option<Arc<dyn Driver>>,
    places: Arc<Places>,
    /// By their numbers.
    offered: Arc<[Offered]>,
}

/// One of them.
#[derive(Debug)]
struct Offered {
    card: Card,
    /// For whoever is granted it.
    held: Arc<Mutex<()>>,
    /// For whoever asks the driver about it.
    turn: Arc<Mutex<()>>,
}

impl Gpus {
    /// Those of these that tasks behind such walls can be granted, and what is said of the others.
    pub(crate) fn behind_walls(self, isolation: Isolation) -> (Self, Option<Check>) {
        if isolation != Isolation::Restricted || self.offered.is_empty() {
            return (self, None);
        }
        // CUDA reserves terabytes of addresses, so only a cgroup can limit its memory.
        let found = "not offered, since a task's memory cannot be limited here".to_owned();
        let none = Self { driver: None, offered: Arc::from([]), ..self };
        (none, Some(check(Holds::Optional, found, None)))
    }

    /// What is offered; a GPU's number is its place here.
    pub fn offered(&self) -> Vec<Gpu> {
        self.offered.iter().map(|offered| offered.card.gpu.clone()).collect()
    }

    /// The newest version of CUDA that the driver runs, such as `12.4`.
    pub fn cuda(&self) -> Option<&str> {
        self.offered.first().map(|offered| offered.card.cuda.as_str())
    }

    /// Takes GPUs for one task, once nothing computes on them.
    ///
    /// Waits for the end of what an earlier task has left, for 15 s each.
    ///
    /// # Errors
    ///
    /// When one is not offered, is busy, or lacks something on this machine; nothing is then taken.
    pub async fn grant(&self, numbers: &[u16], root: Root) -> Result<Grant, GpuError> {
        let mut numbers = numbers.to_vec();
        // In one order everywhere, so that two tasks cannot wait for each other.
        numbers.sort_unstable();
        if let Some(pair) = numbers.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(GpuError::Twice { number: pair[0] });
        }
        let mut cards = Vec::new();
        let mut guards = Vec::new();
        for &number in &numbers {
            let Offered { card, held, turn: _ } = self.card(number)?;
            let guard = timeout(ASK_EVERY * ASK_TIMES, Arc::clone(held).lock_owned()).await;
            guards.push(guard.map_err(|_| GpuError::Held { number })?);
            cards.push(card);
        }
        let Some(first) = cards.first() else { return Ok(Grant::default()) };
        self.until_free(&numbers).await?;
        let minors: Vec<u32> = cards.iter().map(|card| card.minor).collect();
        let nodes = Nodes::find(&self.places.dev, &minors)?;
        let shown = Shown::find(&self.places, &first.gpu.driver, root)?;
        // By their names: right with walls, where there are no others, and right without.
        let uuids: Vec<&str> = cards.iter().map(|card| card.uuid.as_str()).collect();
        let visible = ["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"];
        let mut environment = visible.map(|name| (name.to_owned(), uuids.join(","))).to_vec();
        environment.extend(shown.path.map(|path| ("LD_LIBRARY_PATH".to_owned(), path)));
        Ok(Grant {
            devices: nodes.0,
            read_only: shown.files,
            environment,
            held: Some(Held { gpus: self.clone(), numbers, _guards: guards }),
        })
    }

    fn card(&self, number: u16) -> Result<&Offered, GpuError> {
        let unknown = GpuError::Unknown { number, offered: self.offered.len() };
        self.offered.get(usize::from(number)).ok_or(unknown)
    }

    /// Waits until no process computes on any of these.
    async fn until_free(&self, numbers: &[u16]) -> Result<(), GpuError> {
        let Some(driver) = &self.driver else { return Ok(()) };
        for &number in numbers {
            let Offered { card, turn, held: _ } = self.card(number)?;
            let mut asked = 0;
            loop {
                let (driver, uuid) = (Arc::clone(driver), card.uuid.clone());
                let processes = answer(turn, move || driver.processes(&uuid)).await?;
                asked += 1;
                if processes == 0 {
                    break;
                }
                if asked >= ASK_TIMES {
                    return Err(GpuError::Busy { number, processes });
                }
                sleep(ASK_EVERY).await;
            }
        }
        Ok(())
    }
}

/// Asks a driver where it may block, for as long as an answer makes sense.
///
/// A question keeps its turn until the driver answers, however late: a wedged one takes one thread
/// for all questions of a turn, and not the spool's as well.
async fn answer<T: Send + 'static>(
    turn: &Arc<Mutex<()>>,
    ask: impl FnOnce() -> Result<T, GpuError> + Send + 'static,
) -> Result<T, GpuError> {
    let asked = async {
        let turn = Arc::clone(turn).lock_owned().await;
        let ask = move || {
            let answered = ask();
            drop(turn);
            answered
        };
        tokio::task::spawn_blocking(ask).await
    };
    let silence = GpuError::Silence { limit_s: ANSWER_LIMIT.as_secs() };
    match timeout(ANSWER_LIMIT, asked).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(_)) | Err(_) => Err(silence),
    }
}

fn check(state: Holds, found: String, mend: Option<String>) -> Check {
    Check { what: "GPU".to_owned(), state, found, mend }
}

/// An error with all its causes.
fn chain(error: GpuError) -> String {
    format!("{:#}", anyhow::Error::new(error))
}
