//! What tasks can run in on this machine: the worker's own sandbox, a container engine, or both.

use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_container::engine::{Engine, EngineConfig};
use campusgrid_container::image::ImagePolicy;
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::text::DEFAULT_IMAGE;
use campusgrid_sandbox::plan::{Check, Holds};
use campusgrid_sandbox::sandbox::{Confinement, Sandbox, SandboxConfig};
use tracing::warn;

use crate::config::{Config, EngineSettings, Pull, Weaker, WithoutSandbox};

/// In containers tasks run as the user that is so far after the first one of the sandbox, and the 255
/// after it: two tasks of one user would share what the kernel limits by user.
const FIRST_CONTAINER_UID: u32 = 512;

/// For an engine that is restarted, as updates do.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);

/// How both find the program that is to be a task's first process: this one.
const HELPER: &str = "/proc/self/exe";

/// What works here, tried with real tasks.
#[derive(Debug)]
pub(crate) struct Walls {
    /// With what it holds by itself, which is never less than `isolation`.
    pub(crate) sandbox: Option<(Sandbox, Isolation)>,
    pub(crate) engine: Option<Engine>,
    /// What a task that asks for no image can count on.
    pub(crate) isolation: Isolation,
    /// What holds, what does not and why, a line each.
    pub(crate) notes: Vec<String>,
    pub(crate) checks: Vec<Check>,
    /// What jobs can require of the engine by name, the most important first.
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
            first_job_uid: config.first_job_uid,
            allow_restricted: config.weaker == Weaker::Allow,
        });
        let state = place.join("engine");
        let engine = async {
            match (&config.engine, config.without_sandbox) {
                (Some(settings), WithoutSandbox::Refuse) => {
                    connect(settings, state, instance, config.first_job_uid).await
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
            sandbox: no_weaker(sandbox, isolation),
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

/// A sandbox that holds what the machine promises, and no other.
///
/// Where containers hold better, jobs rely on the image's tools and on limits that a weaker sandbox
/// may not have, such as that of a GPU's user's memory: none is to end up in it, whatever it accepts.
fn no_weaker<T>(sandbox: Option<(T, Isolation)>, promised: Isolation) -> Option<(T, Isolation)> {
    sandbox.filter(|(_, own)| *own >= promised)
}

/// Finds an engine and tries it.
pub(crate) async fn connect(
    settings: &EngineSettings,
    state: PathBuf,
    instance: String,
    first_job_uid: u32,
) -> (Option<Engine>, Vec<Check>) {
    Engine::connect(EngineConfig {
        socket: None,
        helper: PathBuf::from(HELPER),
        state,
        instance,
        first_job_uid: first_job_uid + FIRST_CONTAINER_UID,
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
        Ok(images) => labels.extend(by_use(images)),
        Err(error) => {
            warn!("the engine's images are not offered: {:#}", anyhow::Error::new(error));
        }
    }
    labels
}

/// The default image, without which ordinary jobs do not come, then what stands for many.
fn by_use(mut images: Vec<String>) -> Vec<String> {
    let default = format!("image:{DEFAULT_IMAGE}");
    images.sort_by_key(|label| (*label != default, !label.ends_with('*')));
    images
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
    fn a_weaker_sandbox_is_not_kept_beside_containers() {
        let kept = |own, has_default| no_weaker(Some(((), own)), level(own, has_default).0);
        assert_eq!(kept(Isolation::Restricted, true), None);
        for (own, has_default) in [
            (Isolation::None, false),
            (Isolation::Restricted, false),
            (Isolation::Full, true),
            (Isolation::Full, false),
        ] {
            assert_eq!(kept(own, has_default), Some(((), own)));
        }
    }

    #[test]
    fn of_many_images_those_come_first_that_most_jobs_need() {
        let images = ["image:a@sha256:1", "image:default", "image:lab/*", "image:sha256:2"];
        let sorted = by_use(images.map(str::to_owned).to_vec());
        let expected = ["image:default", "image:lab/*", "image:a@sha256:1", "image:sha256:2"];
        assert_eq!(sorted, expected);
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
