//! The machine's GPUs: what is offered, what of the host a granted one needs, when one is free.
//!
//! Whole NVIDIA GPUs, one task at a time each. Parts of one (MIG) and other makers' are not offered.

mod cdi;
pub mod error;
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

use campusgrid_protocol::resource::{Gpu, GpuLoad};
use campusgrid_sandbox::plan::{Check, Holds};
use nvml_wrapper::error::NvmlError;
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
    /// All GPUs of the machine, in the driver's order.
    fn cards(&self) -> Result<Vec<Card>, GpuError>;

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
    /// By their numbers, each with what whoever is granted it holds.
    offered: Arc<[(Card, Arc<Mutex<()>>)]>,
}

impl Gpus {
    /// Looks for GPUs, and says what there is. A machine without is no error.
    pub async fn find() -> (Self, Vec<Check>) {
        match answer(|| Ok(Self::open())).await {
            Ok(found) => found,
            Err(error) => Self::without(Places::usual(), Holds::No, chain(error)),
        }
    }

    /// May block.
    fn open() -> (Self, Vec<Check>) {
        let places = Places::usual();
        match nvml::Nvidia::open() {
            Ok(driver) => Self::behind(Arc::new(driver), places),
            Err(GpuError::Open { source: NvmlError::LibloadingError(_) }) => {
                Self::without(places, Holds::Optional, "none with an NVIDIA driver".to_owned())
            }
            Err(error) => Self::without(places, Holds::No, chain(error)),
        }
    }

    fn without(places: Places, state: Holds, found: String) -> (Self, Vec<Check>) {
        let mut checks = vec![check(state, found, None)];
        checks.extend(other_makers(&places));
        let gpus = Self { driver: None, places: Arc::new(places), offered: Arc::from([]) };
        (gpus, checks)
    }

    /// Offers what `driver` has and a task could use.
    fn behind(driver: Arc<dyn Driver>, places: Places) -> (Self, Vec<Check>) {
        let cards = match driver.cards() {
            Ok(cards) => cards,
            Err(error) => return Self::without(places, Holds::No, chain(error)),
        };
        let mut checks = Vec::new();
        let mut offered = Vec::new();
        for card in cards {
            let name = format!(
                "{}, {} MiB, driver {}, CUDA {}",
                card.gpu.model, card.gpu.memory_mib, card.gpu.driver, card.cuda
            );
            if card.is_split {
                let found = format!("{name}: split into instances (MIG), which are not offered");
                checks.push(check(Holds::Optional, found, None));
                continue;
            }
            // Without its nodes or its libraries a task could not use it: not offered is honest.
            let usable = Nodes::find(&places.dev, &[card.minor])
                .and_then(|_| Shown::find(&places, &card.gpu.driver, Root::Machine));
            match usable {
                Ok(_) => {
                    checks.push(check(Holds::Yes, name, None));
                    offered.push((card, Arc::default()));
                }
                Err(GpuError::Node { path, mend }) => {
                    let found = format!("{name}: {} is not there", path.display());
                    checks.push(check(Holds::No, found, Some(mend)));
                }
                Err(GpuError::ClosedNode { path, mend }) => {
                    let found = format!("{name}: tasks may not use {}", path.display());
                    checks.push(check(Holds::No, found, Some(mend)));
                }
                Err(error) => {
                    checks.push(check(Holds::No, format!("{name}: {}", chain(error)), None));
                }
            }
        }
        if checks.is_empty() {
            checks.push(check(Holds::Optional, "none that NVIDIA's driver knows".to_owned(), None));
        }
        checks.extend(other_makers(&places));
        let places = Arc::new(places);
        (Self { driver: Some(driver), places, offered: offered.into() }, checks)
    }

    /// What is offered; a GPU's number is its place here.
    pub fn offered(&self) -> Vec<Gpu> {
        self.offered.iter().map(|(card, _)| card.gpu.clone()).collect()
    }

    /// The newest version of CUDA that the driver runs, such as `12.4`.
    pub fn cuda(&self) -> Option<&str> {
        self.offered.first().map(|(card, _)| card.cuda.as_str())
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
            let (card, lock) = self.card(number)?;
            let lock = Arc::clone(lock).lock_owned();
            let guard = timeout(ASK_EVERY * ASK_TIMES, lock).await;
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

    fn card(&self, number: u16) -> Result<&(Card, Arc<Mutex<()>>), GpuError> {
        let unknown = GpuError::Unknown { number, offered: self.offered.len() };
        self.offered.get(usize::from(number)).ok_or(unknown)
    }

    /// Waits until no process computes on any of these.
    async fn until_free(&self, numbers: &[u16]) -> Result<(), GpuError> {
        let Some(driver) = &self.driver else { return Ok(()) };
        for &number in numbers {
            let (card, _) = self.card(number)?;
            let mut asked = 0;
            loop {
                let (driver, uuid) = (Arc::clone(driver), card.uuid.clone());
                let processes = answer(move || driver.processes(&uuid)).await?;
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
async fn answer<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, GpuError> + Send + 'static,
) -> Result<T, GpuError> {
    let silence = GpuError::Silence { limit_s: ANSWER_LIMIT.as_secs() };
    match timeout(ANSWER_LIMIT, tokio::task::spawn_blocking(ask)).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(_)) | Err(_) => Err(silence),
    }
}

fn check(state: Holds, found: String, mend: Option<String>) -> Check {
    Check { what: "GPU".to_owned(), state, found, mend }
}

/// GPUs that this worker cannot grant, so that nobody looks for them in vain.
fn other_makers(places: &Places) -> Vec<Check> {
    [("kfd", "an AMD GPU, which is not offered"), ("dxg", "a GPU of WSL2, which is not offered")]
        .into_iter()
        .filter(|(node, _)| places.dev.join(node).exists())
        .map(|(_, found)| check(Holds::Optional, found.to_owned(), None))
        .collect()
}

/// An error with all its causes.
fn chain(error: GpuError) -> String {
    format!("{:#}", anyhow::Error::new(error))
}
