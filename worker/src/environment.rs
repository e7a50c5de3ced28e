//! Python environments: built by `uv` outside of any task, kept by what is in them, shared read-only.
//!
//! ```text
//! environments/KEY/          one environment; KEY names the lock, the interpreter and uv
//! environments/answers/HASH  which KEY a list of requirements came to, good for a day or so
//! environments/.new-*        being built; swept at start
//! uv-cache/                  uv's own, on the same file system so that it can link files
//! ```

pub mod index;
pub mod requirements;
mod uv;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::OnceCell;
use tracing::info;

use self::requirements::Requirements;
use self::uv::Uv;
use crate::clock;

/// The interpreter of every environment: tasks see nothing of the host but `/usr`.
const PYTHON: &str = "/usr/bin/python3";

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
    uv: Uv,
    fresh: Duration,
    /// What is being made right now, by the hash of its requirements, so that it is made once.
    flights: Mutex<BTreeMap<[u8; 32], Flight>>,
}

type Flight = Arc<OnceCell<Result<PathBuf, EnvironmentError>>>;

/// What [`Environments`] are made of.
#[derive(Debug, Clone)]
pub struct EnvironmentsConfig {
    pub data_dir: PathBuf,
    /// None: looked for in `PATH`, then as `tools/bin/uv` in the data directory, where it is
    /// installed if it is nowhere.
    pub uv: Option<PathBuf>,
    /// How long an answer of the index is taken to hold.
    pub fresh: Duration,
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
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(".new-") {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let uv = Uv::new(&config);
        Ok(Self { dir, uv, fresh: config.fresh, flights: Mutex::new(BTreeMap::new()) })
    }

    /// The directory of an environment with these requirements, to be bound read-only at `/env`.
    ///
    /// Built once however many tasks wait for it; a failure is shared by those that wait, and tried
    /// again for the next.
    ///
    /// # Errors
    ///
    /// See [`EnvironmentError`]; nothing half built is left.
    pub async fn ready(&self, requirements: &[String]) -> Result<PathBuf, EnvironmentError> {
        let requirements = Requirements::check(requirements)
            .map_err(|error| EnvironmentError::Requirements { message: error.to_string() })?;
        let hash = *blake3::hash(requirements.text().as_bytes()).as_bytes();
        let flight = Arc::clone(self.flights().entry(hash).or_default());
        let result = flight.get_or_init(|| self.make(&requirements)).await.clone();
        let mut flights = self.flights();
        if flights.get(&hash).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
            flights.remove(&hash);
        }
        result
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, BTreeMap<[u8; 32], Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(&self, requirements: &Requirements) -> Result<PathBuf, EnvironmentError> {
        let uv = self.uv.find().await?;
        let toolchain = format!("{}\n{}", fingerprint(Path::new(PYTHON))?, fingerprint(&uv)?);
        let question = hash(&[&toolchain, requirements.text()]);
        let answer = self.dir.join("answers").join(question);
        if let Some(environment) = self.answered(&answer) {
            return Ok(environment);
        }
        let building = Building::new(&self.dir)?;
        info!(packages = requirements.len(), "resolving requirements");
        let lock = self.uv.compile(&uv, building.path(), requirements.text()).await?;
        let key = hash(&[&toolchain, &lock]);
        let environment = self.dir.join(&key);
        if !environment.is_dir() {
            info!(environment = %key, "building an environment");
            self.uv.build(&uv, building.path()).await?;
            building.move_to(&environment).await?;
        }
        // Lost with the power, it is only asked again.
        fs::write(&answer, &key).map_err(|error| machine("note an environment", &error))?;
        Ok(environment)
    }

    /// The environment of an earlier answer, if that is young enough and the environment is there.
    fn answered(&self, answer: &Path) -> Option<PathBuf> {
        let modified = fs::metadata(answer).ok()?.modified().ok()?;
        let asked_s = modified.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let key = fs::read_to_string(answer).ok()?;
        let is_key = key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        let environment = self.dir.join(&key);
        let is_fresh = clock::unix_s().saturating_sub(asked_s) < self.fresh.as_secs();
        (is_key && is_fresh && environment.is_dir()).then_some(environment)
    }
}

/// A directory in which an environment grows; gone with this value unless it was moved.
struct Building {
    dir: PathBuf,
}

impl Building {
    fn new(parent: &Path) -> Result<Self, EnvironmentError> {
        let dir = parent.join(format!(".new-{:08x}", crate::backoff::random()));
        fs::create_dir(&dir).map_err(|error| machine("make a directory", &error))?;
        Ok(Self { dir })
    }

    fn path(&self) -> &Path {
        &self.dir
    }

    /// Puts the finished environment where tasks find it, once all of its files are on disk: a name
    /// that survives a loss of power must not stand for empty files.
    async fn move_to(&self, environment: &Path) -> Result<(), EnvironmentError> {
        let built = self.dir.join(uv::ENVIRONMENT);
        let environment = environment.to_owned();
        let moved = tokio::task::spawn_blocking(move || {
            nix::unistd::syncfs(fs::File::open(&built)?)?;
            match fs::rename(&built, &environment) {
                // Other requirements came to the same lock, and were faster.
                Err(_) if environment.is_dir() => Ok(()),
                moved => moved,
            }
        });
        match moved.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(machine("keep an environment", &error)),
            Err(_) => Err(EnvironmentError::Machine { message: "building was cut short".into() }),
        }
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir); // What is left is swept at the next start.
    }
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

fn hash(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
