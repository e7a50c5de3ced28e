//! Python environments: built by `uv` outside of any task, kept by what is in them, shared read-only.
//!
//! What a job asks for is resolved once to a [`Lock`], which the manager then gives to all workers of
//! the job; environments are made from locks only.
//!
//! ```text
//! environments/KEY/           one environment; KEY names the lock, the interpreter and uv
//! environments/answers/HASH   the lock that a list of requirements came to, good for a day or so
//! environments/workshop/      what uv may change: its cache, and new-*, being built
//! environments/images/new-*   the same for one piece of work in an image, and nothing after it
//! environments/.*             on their way in or out; swept at start
//! ```

mod answers;
pub mod asked;
mod building;
mod disk;
pub mod index;
pub mod interpreter;
mod refusals;
pub mod requirements;
mod room;
pub mod shelf;
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

use campusgrid_protocol::lock::Lock;
use campusgrid_protocol::python::Specifiers;
use tracing::info;

use self::answers::Answers;
use self::asked::Question;
use self::building::{BUILDING, Building, Packages, sweep};
use self::interpreter::{Interpreter, Interpreters, Wanted};
use self::refusals::Refusals;
use self::requirements::Requirements;
use self::room::Room;
use self::shelf::{Cache, Environment, Shelf};
use self::tools::Tools;
use self::uv::{Bench, Uv};
use self::workshop::Workshop;
use crate::flights::{Flights, Steps};

/// Requirements are resolved for this minor version of Python 3 and all later ones where that works,
/// so that one lock serves all machines of a campus. Older ones have seen their last release.
const OLDEST_MINOR: u32 = 10;

/// Why there is no environment for a task, by who answers for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// The submitter's: what is asked for does not exist, or has no wheel.
    #[error("{message}")]
    Requirements { message: String },
    /// The submitter's, too: the image is not to be had, or has no Python.
    #[error("{message}")]
    Image { message: String },
    /// This machine's: no uv, no index, no disk.
    #[error("{message}")]
    Machine { message: String },
    /// The container engine went away, whatever the task is.
    #[error("{message}")]
    Engine { message: String },
}

/// The environments of one worker; may be asked by many tasks at once.
#[derive(Debug)]
pub struct Environments {
    dir: PathBuf,
    tools: Tools,
    uv: Uv,
    answers: Answers,
    refusals: Refusals,
    interpreters: Interpreters,
    shelf: Shelf,
    room: Room,
    resolutions: Flights<Lock, EnvironmentError>,
    builds: Flights<Arc<Environment>, EnvironmentError>,
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
    /// What the owner offers of the machine, thousandths of a core and MiB; all builds together stay
    /// below it.
    pub cpu_millis: u32,
    pub ram_mib: u32,
    /// The worker's own environment variables: where uv, pip and proxies are configured.
    pub variables: BTreeMap<String, String>,
}

impl Environments {
    /// Sweeps what an earlier worker left half built, and begins to remove what does not fit. A
    /// missing `uv` is installed when a task needs it.
    ///
    /// # Errors
    ///
    /// When the directories cannot be made.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn open(config: EnvironmentsConfig) -> std::io::Result<Self> {
        let dir = config.data_dir.join("environments");
        // The sandbox hands the workshop over to the user that builds.
        for name in [ANSWERS, WORKSHOP, IMAGES] {
            make_closed(&dir.join(name))?;
        }
        // Tasks behind filters alone find their environment by its path, as users of their own.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))?;
        let answers = Answers::open(dir.join(ANSWERS), config.fresh)?;
        sweep(&dir, ".")?;
        sweep(&dir.join(WORKSHOP), BUILDING)?;
        sweep(&dir.join(IMAGES), BUILDING)?;
        let path = dir.join(WORKSHOP).join(workshop::CACHE);
        let shelf = Shelf::new(dir.clone(), Cache { path, users: Arc::default() });
        let room = Room::new(shelf.clone(), answers.clone(), config.max_mib << 20);
        drop(room.make());
        Ok(Self {
            tools: Tools::new(&config),
            uv: Uv::new(&config),
            answers,
            refusals: Refusals::default(),
            interpreters: Interpreters::default(),
            shelf,
            room,
            resolutions: Flights::new(),
            builds: Flights::new(),
            dir,
        })
    }

    /// The interpreter that a task and its environment use.
    ///
    /// # Errors
    ///
    /// See [`EnvironmentError`]; `Requirements` only if no machine could have what is asked for.
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
        let key = &question.key(interpreter);
        let work = |steps: Steps| async move {
            if let Some(lock) = self.answers.find(key) {
                return Ok(lock);
            }
            self.refusals.check(key.as_bytes())?;
            let uv = self.tools.uv(&steps).await?;
            let packages = self.packages(interpreter)?;
            let bench = Bench {
                workshop,
                uv: &uv,
                interpreter,
                packages: packages.path(),
                results: &self.scrap(),
                steps: &steps,
            };
            let resolved = async {
                steps.send_replace(question.words());
                match question {
                    Question::Names { requirements, python } => {
                        self.resolve_names(bench, requirements, python.as_ref()).await
                    }
                    Question::UvLock { text, project } => {
                        let lock = self.uv.export(bench, text, &project.pyproject).await?;
                        Ok(lock.for_python(project.python.clone()))
                    }
                }
            };
            let _after = self.room.after();
            let resolved = self.room.in_turn(bench, resolved).await;
            self.refusals.note(*key.as_bytes(), &resolved);
            let lock = resolved?;
            let (answers, key, kept, draft) =
                (self.answers.clone(), *key, lock.clone(), self.scrap());
            let keep = blocking(move || answers.keep(&key, &kept, &draft));
            keep.await.map_err(|error| machine("note a lock", &error))?;
            Ok(lock)
        };
        self.resolutions.join(*key.as_bytes(), steps, work).await
    }

    /// For as many versions of Python as possible, this machine's among them.
    async fn resolve_names(
        &self,
        bench: Bench<'_>,
        requirements: &Requirements,
        python: Option<&Specifiers>,
    ) -> Result<Lock, EnvironmentError> {
        let own = bench.interpreter.version.1;
        for minor in older_minors(own, python) {
            match self.resolve_since(bench, requirements, minor).await {
                Err(EnvironmentError::Requirements { .. }) => {}
                answer => return answer,
            }
        }
        self.resolve_since(bench, requirements, own).await
    }

    async fn resolve_since(
        &self,
        bench: Bench<'_>,
        requirements: &Requirements,
        minor: u32,
    ) -> Result<Lock, EnvironmentError> {
        let lock = self.uv.compile(bench, requirements.text(), minor).await?;
        let since = Specifiers::parse(&format!(">=3.{minor}")).expect("it was made so");
        Ok(lock.for_python(since))
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
                let packages = Arc::new(self.packages(interpreter)?);
                let bench = Bench {
                    workshop,
                    uv,
                    interpreter,
                    packages: packages.path(),
                    results: &self.scrap(),
                    steps: &steps,
                };
                self.build(bench, &packages, name, lock).await
            }
        };
        self.builds.join(*key.as_bytes(), steps, work).await
    }

    async fn build(
        &self,
        bench: Bench<'_>,
        packages: &Arc<Packages>,
        name: &str,
        lock: &Lock,
    ) -> Result<Arc<Environment>, EnvironmentError> {
        if let Some(environment) = self.shelf.take(name) {
            return Ok(Arc::new(environment)); // Built since the question was asked.
        }
        info!(environment = %name, packages = lock.packages(), "building an environment");
        let after = self.room.after();
        let building = Building::new(bench.packages)?;
        self.room.in_turn(bench, self.uv.build(bench, &building.name, lock)).await?;
        bench.steps.send_replace("putting its packages in place".to_owned());
        let (shelf, key) = (self.shelf.clone(), name.to_owned());
        let built = bench.packages.canonicalize().map(|packages| packages.join(&building.name));
        // Kept by this work itself: nobody may wait for it any more, and half an environment must not
        // be kept because the rest was removed meanwhile.
        let kept = (building, Arc::clone(packages));
        let put = move || {
            let put = shelf.put(&built?.join(uv::ENVIRONMENT), &key);
            drop(kept);
            put
        };
        let environment =
            blocking(put).await.map_err(|error| machine("keep an environment", &error))?;
        after.made().await;
        Ok(Arc::new(environment))
    }

    /// The directory that uv may change for this interpreter.
    ///
    /// Work in an image has one of its own, without a cache that lasts: the image's Python and its C
    /// library run there, and what they leave must reach neither the jobs of others nor a worker
    /// that still reads it.
    fn packages(&self, interpreter: &Interpreter) -> Result<Packages, EnvironmentError> {
        match interpreter.image {
            None => Ok(Packages::Lasting(self.dir.join(WORKSHOP))),
            Some(_) => Building::new(&self.dir.join(IMAGES)).map(Packages::Passing),
        }
    }

    /// A path for what a tool says, which nobody else uses.
    fn scrap(&self) -> PathBuf {
        self.dir.join(format!(".said-{:08x}", crate::backoff::random()))
    }
}

/// Locks, beneath the environments.
const ANSWERS: &str = "answers";

/// What uv may change.
const WORKSHOP: &str = "workshop";

/// The same for images.
const IMAGES: &str = "images";

/// The minor versions of Python 3 to resolve for before this machine's own: those that a program says
/// it runs on.
fn older_minors(own: u32, python: Option<&Specifiers>) -> impl Iterator<Item = u32> {
    (OLDEST_MINOR..own)
        .filter(move |&minor| python.is_none_or(|python| python.hold_for_minor(minor)))
}

/// Makes a directory that only its owner may enter.
fn make_closed(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn others_may_pass_to_an_environment_and_enter_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("environments");
        fs::create_dir_all(dir.join(WORKSHOP)).unwrap();
        fs::set_permissions(dir.join(WORKSHOP), fs::Permissions::from_mode(0o777)).unwrap();
        let config = EnvironmentsConfig {
            data_dir: home.path().to_owned(),
            uv: None,
            fresh: Duration::ZERO,
            max_mib: 1,
            cpu_millis: 1000,
            ram_mib: 512,
            variables: BTreeMap::new(),
        };
        drop(Environments::open(config).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o711);
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o700, "{}", path.display());
        }
    }

    #[test]
    fn one_older_version_after_another_is_tried() {
        let check = |own: u32, python: &str| -> Vec<u32> {
            older_minors(own, Specifiers::parse(python).as_ref()).collect()
        };
        assert_eq!(check(13, ""), [10, 11, 12]);
        assert_eq!(check(13, ">=3.11,!=3.12.*"), [11]);
        assert_eq!(check(9, ""), [0; 0]);
    }
}
