//! What tasks can run in on this machine: the worker's own sandbox, a container engine, or both.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_container::engine::{Engine, EngineConfig};
use campusgrid_container::image::ImagePolicy;
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::text::DEFAULT_IMAGE;
use campusgrid_sandbox::plan::{Check, Holds};
use campusgrid_sandbox::sandbox::{Confinement, Sandbox, SandboxConfig};
use tracing::warn;

use crate::backoff::random;
use crate::config::{Config, EngineSettings, Pull, Weaker, WithoutSandbox};

/// As root, tasks run as this user and the 255 after it, and our own tools as the one after those.
const FIRST_JOB_UID: u32 = 60_000;

/// In containers they run as this user and the 255 after it: two tasks of one user would share what
/// the kernel limits by user.
const FIRST_CONTAINER_UID: u32 = 60_512;

/// For an engine that is restarted, as updates do.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);

/// How both find the program that is to be a task's first process: this one.
const HELPER: &str = "/proc/self/exe";

/// What works here, tried with real tasks.
#[derive(Debug)]
pub(crate) struct Walls {
    /// With what it holds by itself.
    pub(crate) sandbox: Option<(Sandbox, Isolation)>,
    pub(crate) engine: Option<Engine>,
    /// The better of what both hold.
    pub(crate) isolation: Isolation,
    /// What holds, what does not and why, a line each.
    pub(crate) notes: Vec<String>,
    pub(crate) checks: Vec<Check>,
    /// What jobs can require of the engine by name.
    pub(crate) labels: Vec<String>,
}

impl Walls {
    /// Tries what the configuration allows.
    ///
    /// `place` is a directory of this process's alone. What lies in `place/scratch` is removed, and
    /// containers that an earlier process has left that called itself by the same `instance`.
    pub(crate) async fn probe(config: &Config, place: &Path, instance: String) -> Self {
        let sandbox = Sandbox::probe(SandboxConfig {
            confinement: match config.without_sandbox {
                WithoutSandbox::Refuse => Confinement::Full,
                WithoutSandbox::RunOwnJobs => Confinement::None,
            },
            helper: PathBuf::from(HELPER),
            scratch: place.join("scratch"),
            first_job_uid: FIRST_JOB_UID,
            allow_restricted: config.weaker == Weaker::Allow,
        });
        let state = place.join("engine");
        let engine = async {
            match (&config.engine, config.without_sandbox) {
                (Some(settings), WithoutSandbox::Refuse) => {
                    connect(settings, state, instance).await
                }
                // An engine would bring jobs of others, and this owner wants only their own.
                (Some(_), WithoutSandbox::RunOwnJobs) | (None, _) => (None, vec![not_used()]),
            }
        };
        let ((sandbox, strength), (engine, engine_checks)) = tokio::join!(sandbox, engine);
        let labels = match &engine {
            Some(engine) => engine_labels(engine).await,
            None => Vec::new(),
        };
        let sandbox = sandbox.map(|sandbox| (sandbox, strength.isolation));
        let has_default = labels.iter().any(|label| label == &format!("image:{DEFAULT_IMAGE}"));
        let (isolation, weight) = level(strength.isolation, has_default);
        let mut walls = Self {
            sandbox,
            engine,
            isolation,
            notes: strength.notes,
            checks: strength.checks,
            labels,
        };
        for mut check in engine_checks {
            if check.state != Holds::Yes && check != not_used() {
                check.state = weight;
            }
            if check.state != Holds::Optional {
                walls.notes.push(format!("{}: {}", check.what, check.found));
            }
            walls.checks.push(check);
        }
        walls
    }
}

/// The level of a machine, and how much it matters what an engine lacks.
///
/// An engine without the default image has nothing to run an ordinary job in.
fn level(sandbox: Isolation, has_default_image: bool) -> (Isolation, Holds) {
    let engine = if has_default_image { Isolation::Docker } else { Isolation::None };
    let needs_engine = sandbox < Isolation::Docker && !has_default_image;
    (sandbox.max(engine), if needs_engine { Holds::No } else { Holds::Optional })
}

/// Finds an engine and tries it.
pub(crate) async fn connect(
    settings: &EngineSettings,
    state: PathBuf,
    instance: String,
) -> (Option<Engine>, Vec<Check>) {
    Engine::connect(EngineConfig {
        socket: None,
        helper: PathBuf::from(HELPER),
        state,
        instance,
        first_job_uid: FIRST_CONTAINER_UID,
        images: ImagePolicy {
            allowed: settings.images.clone(),
            pull: settings.pull == Pull::Listed,
        },
        patience: ENGINE_PATIENCE,
    })
    .await
}

/// `docker`, and the images.
async fn engine_labels(engine: &Engine) -> Vec<String> {
    let mut labels = vec!["docker".to_owned()];
    match engine.images().await {
        Ok(images) => labels.extend(images),
        Err(error) => {
            warn!("the engine's images are not offered: {:#}", anyhow::Error::new(error));
        }
    }
    labels
}

/// Nothing that anybody misses.
fn not_used() -> Check {
    let found = "not to be used, says the configuration".to_owned();
    Check { what: "container engine".to_owned(), state: Holds::Optional, found, mend: None }
}

/// The name by which a worker of this data directory knows its containers again.
pub(crate) fn instance(data_dir: &Path) -> String {
    let hash = blake3::hash(data_dir.as_os_str().as_encoded_bytes());
    hash.to_hex()[..16].to_owned()
}

/// A directory that nobody else has, for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
    /// What containers can be called that must not be mistaken for a worker's.
    pub(crate) instance: String,
}

impl Scratch {
    /// # Errors
    ///
    /// When there is no room for one where temporary files go.
    pub(crate) fn make() -> io::Result<Self> {
        let instance = format!("trial-{}-{:08x}", std::process::id(), random());
        let path = std::env::temp_dir().join(format!("campusgrid-{instance}"));
        // Fails where something of this name is, so that nobody can have made it for us.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, instance })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            warn!("{} stays: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_of_both_is_what_a_machine_offers() {
        let all = [Isolation::None, Isolation::Restricted, Isolation::Docker, Isolation::Full];
        let said = |has_default| all.map(|sandbox| level(sandbox, has_default));
        use Holds::{No, Optional};
        let [none, restricted, docker, full] = all;
        let without = [(none, No), (restricted, No), (docker, Optional), (full, Optional)];
        assert_eq!(said(false), without);
        assert_eq!(said(true), [docker, docker, docker, full].map(|level| (level, Optional)));
    }

    #[test]
    fn a_scratch_directory_is_removed() {
        let scratch = Scratch::make().unwrap();
        let path = scratch.path.clone();
        fs::write(path.join("file"), "").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn an_instance_is_the_same_at_each_start() {
        assert_eq!(
            instance(Path::new("/var/lib/campusgrid")),
            instance(Path::new("/var/lib/campusgrid"))
        );
        assert_ne!(instance(Path::new("/a")), instance(Path::new("/b")));
    }
}
