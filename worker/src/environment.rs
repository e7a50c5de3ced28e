//! Python environments: built by `uv` outside of any task, kept by what is in them, shared read-only.
//!
//! What a job asks for is resolved once to a [`Lock`], which the manager then gives to all workers of
//! the job; environments are made from locks only.
//!
//! ```text
//! environments/KEY/           one environment; KEY names the lock, the interpreter and uv
//! environments/answers/HASH   the lock that a list of requirements came to, good for a day or so
//! environments/workshop/      what uv may change: its cache, and new-*, being built
//! environments/.*             on their way in or out; swept at start
//! ```

pub mod asked;
mod disk;
pub mod flights;
pub mod index;
pub mod interpreter;
pub mod lock;
pub mod requirements;
pub mod shelf;
pub mod specifiers;
mod telling;
mod tools;
mod uv;
pub mod uv_lock;
pub mod workshop;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use campusgrid_protocol::message::LOCK_MAX_BYTES;
use tokio::sync::RwLock;
use tracing::{info, warn};

use self::asked::Question;
use self::flights::{Flights, Steps};
use self::interpreter::{Interpreter, Interpreters, Wanted};
use self::lock::Lock;
use self::requirements::Requirements;
use self::shelf::{Environment, Shelf};
use self::specifiers::Specifiers;
use self::tools::Tools;
use self::uv::{Bench, Uv};
use self::workshop::Workshop;
use crate::clock;

/// Requirements are resolved for this minor version of Python 3 and all later ones where that works,
/// so that one lock serves all machines of a campus. Older ones have seen their last release.
const OLDEST_MINOR: u32 = 10;

/// Why there is no environment for a task, by who answers for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// The submitter's: what is asked for does not exist, or has no wheel.
    #[error("{message}")]
    Requirements { message: String },
    /// This machine's: no uv, no index, no disk.
    #[error("{message}")]
    Machine { message: String },
}

/// The environments of one worker; may be asked by many tasks at once.
#[derive(Debug)]
pub struct Environments {
    dir: PathBuf,
    tools: Tools,
    uv: Uv,
    fresh: Duration,
    interpreters: Interpreters,
    shelf: Shelf,
    max_bytes: u64,
    resolutions: Flights<Lock>,
    builds: Flights<Arc<Environment>>,
    /// Read by whoever uses uv's cache, written by whoever empties it.
    cache: RwLock<()>,
}

/// What [`Environments`] are made of.
#[derive(Debug, Clone)]
pub struct EnvironmentsConfig {
    pub data_dir: PathBuf,
    /// None: looked for in `PATH`, then as `tools/bin/uv` in the data directory, where it is
    /// installed if it is nowhere.
    pub uv: Option<PathBuf>,
    /// How long an answer of the index is taken to hold.
    pub fresh: Duration,
    /// What environments and uv's cache may take up together. An environment in use is never
    /// removed for it, and one that is being built comes on top; no single one may be larger.
    pub max_mib: u64,
    /// The worker's own environment variables: where uv, pip and proxies are configured.
    pub variables: BTreeMap<String, String>,
}

impl Environments {
    /// Sweeps what an earlier worker left half built. Opens nothing else; a missing `uv` is
    /// installed when a task needs it.
    ///
    /// # Errors
    ///
    /// When the directories cannot be made.
    pub fn open(config: EnvironmentsConfig) -> std::io::Result<Self> {
        let dir = config.data_dir.join("environments");
        fs::create_dir_all(dir.join("answers"))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        workshop::make_open(&dir.join(WORKSHOP))?;
        sweep(&dir, ".")?;
        sweep(&dir.join(WORKSHOP), BUILDING)?;
        Ok(Self {
            tools: Tools::new(&config),
            uv: Uv::new(&config),
            fresh: config.fresh,
            interpreters: Interpreters::default(),
            shelf: Shelf::new(dir.clone(), config.max_mib << 20),
            max_bytes: config.max_mib << 20,
            resolutions: Flights::new(),
            builds: Flights::new(),
            cache: RwLock::new(()),
            dir,
        })
    }

    /// The interpreter that a task and its environment use.
    ///
    /// # Errors
    ///
    /// `Requirements` if what the program says rules out all that this machine has, else `Machine`.
    pub async fn interpreter(
        &self,
        workshop: Workshop<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Interpreter, EnvironmentError> {
        self.interpreters.choose(workshop, &self.scrap(), wanted).await
    }

    /// What the packages come to that a job asks for.
    ///
    /// Done once however many ask at a time.
    ///
    /// # Errors
    ///
    /// See [`EnvironmentError`].
    pub async fn resolve(
        &self,
        workshop: Workshop<'_>,
        interpreter: &Interpreter,
        question: &Question,
        steps: &Steps,
    ) -> Result<Lock, EnvironmentError> {
        let key = question.key(interpreter);
        let answer = &self.dir.join("answers").join(key.to_hex().as_str());
        let work = |steps: Steps| async move {
            if let Some(lock) = self.answered(answer) {
                return Ok(lock);
            }
            let uv = self.tools.uv(&steps).await?;
            steps.send_replace(question.words());
            let bench = Bench {
                workshop,
                uv: &uv,
                interpreter,
                packages: &self.dir.join(WORKSHOP),
                results: &self.scrap(),
                steps: &steps,
            };
            let _cache = self.cache.read().await;
            let lock = match question {
                Question::Names { requirements, python } => {
                    self.resolve_names(bench, requirements, python.as_ref()).await?
                }
                Question::UvLock { text, project } => {
                    let lock = self.uv.export(bench, text, &project.pyproject).await?;
                    lock.for_python(project.python.clone())
                }
            };
            // Lost with the power, it is only asked again.
            fs::write(answer, lock.text()).map_err(|error| machine("note a lock", &error))?;
            Ok(lock)
        };
        self.resolutions.join(*key.as_bytes(), steps, work).await
    }

    /// For as many versions of Python as possible; if there is no such answer, for this machine's
    /// and later ones.
    async fn resolve_names(
        &self,
        bench: Bench<'_>,
        requirements: &Requirements,
        python: Option<&Specifiers>,
    ) -> Result<Lock, EnvironmentError> {
        let own = bench.interpreter.version.1;
        let will_do = |minor: &u32| python.is_none_or(|python| python.hold_for_minor(*minor));
        let oldest = (OLDEST_MINOR..own).find(will_do).unwrap_or(own);
        let mut minor = oldest;
        loop {
            match self.uv.compile(bench, requirements.text(), minor).await {
                Ok(lock) => {
                    let since = format!(">=3.{minor}");
                    let since = Specifiers::parse(&since).expect("it was made so");
                    return Ok(lock.for_python(since));
                }
                Err(EnvironmentError::Requirements { .. }) if minor != own => minor = own,
                Err(error) => return Err(error),
            }
        }
    }

    /// The directory of an environment made from this lock, to be bound read-only at `/env`.
    ///
    /// Built once however many tasks wait for it; a failure is shared by those that wait, and tried
    /// again for the next.
    ///
    /// # Errors
    ///
    /// See [`EnvironmentError`]; nothing half built is left.
    pub async fn ready(
        &self,
        workshop: Workshop<'_>,
        interpreter: &Interpreter,
        lock: &Lock,
        steps: &Steps,
    ) -> Result<Arc<Environment>, EnvironmentError> {
        let uv = self.tools.uv(steps).await?;
        let toolchain = format!("{}\n{}", interpreter.fingerprint, fingerprint(&uv)?);
        let key = hash(&[toolchain, lock.text().to_owned()]);
        let name = key.to_hex();
        if let Some(environment) = self.shelf.take(&name) {
            return Ok(Arc::new(environment));
        }
        let work = |steps: Steps| {
            let (uv, name) = (&uv, name.as_str());
            async move {
                let bench = Bench {
                    workshop,
                    uv,
                    interpreter,
                    packages: &self.dir.join(WORKSHOP),
                    results: &self.scrap(),
                    steps: &steps,
                };
                self.build(bench, name, lock).await
            }
        };
        self.builds.join(*key.as_bytes(), steps, work).await
    }

    async fn build(
        &self,
        bench: Bench<'_>,
        name: &str,
        lock: &Lock,
    ) -> Result<Arc<Environment>, EnvironmentError> {
        if let Some(environment) = self.shelf.take(name) {
            return Ok(Arc::new(environment)); // Built since the question was asked.
        }
        info!(environment = %name, packages = lock.packages(), "building an environment");
        let building = Building::new(bench.packages)?;
        let cache = self.cache.read().await;
        let too_full = disk::until_too_full(bench.packages, self.max_bytes);
        tokio::select! {
            biased;
            built = self.uv.build(bench, &building.name, lock) => built?,
            error = too_full => {
                return Err(EnvironmentError::Machine { message: error.to_string() });
            }
        }
        drop(cache);
        bench.steps.send_replace("putting its packages in place".to_owned());
        let (shelf, key) = (self.shelf.clone(), name.to_owned());
        let built = building.path.join(uv::ENVIRONMENT);
        blocking(move || shelf.put(&built, &key))
            .await
            .map_err(|error| machine("keep an environment", &error))?;
        drop(building);
        let environment = self.shelf.take(name).ok_or_else(|| EnvironmentError::Machine {
            message: "somebody has removed its environment".to_owned(),
        })?;
        // While it is held, so that its own room is not made by removing it.
        self.make_room().await;
        Ok(Arc::new(environment))
    }

    /// Keeps what is on the disk below its limit. While somebody uses uv's cache, that stays.
    async fn make_room(&self) {
        let alone = self.cache.try_write();
        let cache = alone.is_ok().then(|| self.dir.join(WORKSHOP).join(workshop::CACHE));
        let shelf = self.shelf.clone();
        if let Err(error) = blocking(move || shelf.make_room(cache.as_deref())).await {
            warn!("no room could be made among the environments: {error}");
        }
        drop(alone);
        if let Err(error) = self.forget_old_answers() {
            warn!("old answers of the package index could not be removed: {error}");
        }
    }

    /// The lock of an earlier answer, if that is young enough.
    fn answered(&self, answer: &Path) -> Option<Lock> {
        self.is_fresh(answer).ok().filter(|is_fresh| *is_fresh)?;
        let text = fs::read_to_string(answer).ok().filter(|text| text.len() <= LOCK_MAX_BYTES)?;
        Lock::check(&text).ok()
    }

    fn is_fresh(&self, answer: &Path) -> std::io::Result<bool> {
        let modified = fs::metadata(answer)?.modified()?;
        let asked_s = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Ok(clock::unix_s().saturating_sub(asked_s) < self.fresh.as_secs())
    }

    fn forget_old_answers(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(self.dir.join("answers"))? {
            let path = entry?.path();
            if !self.is_fresh(&path)? {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// A path for what a tool says, which nobody else uses.
    fn scrap(&self) -> PathBuf {
        self.dir.join(format!(".said-{:08x}", crate::backoff::random()))
    }
}

/// What uv may change, beneath the environments.
const WORKSHOP: &str = "workshop";

/// Begins the name of a directory in which an environment is built.
const BUILDING: &str = "new-";

/// A directory in which an environment grows; gone with this value but for what was moved.
struct Building {
    path: PathBuf,
    name: String,
}

impl Building {
    fn new(parent: &Path) -> Result<Self, EnvironmentError> {
        let name = format!("{BUILDING}{:08x}", crate::backoff::random());
        let path = parent.join(&name);
        workshop::make_open(&path).map_err(|error| machine("make a directory", &error))?;
        Ok(Self { path, name })
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        let _ = shelf::remove(&self.path); // What is left is swept at the next start.
    }
}

/// Removes what begins so.
fn sweep(dir: &Path, begin: &str) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(begin) {
            shelf::remove(&entry.path())?;
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

fn machine(what: &str, error: &std::io::Error) -> EnvironmentError {
    EnvironmentError::Machine { message: format!("failed to {what}: {error}") }
}

/// A program's place and age: changes whenever it is upgraded, without starting it.
fn fingerprint(program: &Path) -> Result<String, EnvironmentError> {
    let read = || {
        let path = fs::canonicalize(program)?;
        let modified = fs::metadata(&path)?.modified()?;
        Ok(format!("{} {:?}", path.display(), modified.duration_since(UNIX_EPOCH).ok()))
    };
    read().map_err(|error: std::io::Error| EnvironmentError::Machine {
        message: format!("{} cannot be used: {error}", program.display()),
    })
}

fn hash(parts: &[String]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize()
}
