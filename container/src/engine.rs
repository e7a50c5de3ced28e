//! Docker or Podman as the worker uses it: what holds there, which images there are, running plans.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::cpus::Cpus;
use campusgrid_sandbox::plan::{Check, Exit, Plan, Progress, Report};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::berth::Berth;
use crate::builder::hand_over;
use crate::connect;
use crate::debootstrap::{self, Recipe};
use crate::error::EngineError;
use crate::image::{self, Image, ImagePolicy};
use crate::kit::Kit;
use crate::loss::{ANSWERING, autopsy, wait_for};
use crate::pool::{Family, Pool};
use crate::refusal::{check, check_image};
use crate::report;
use crate::roster::Roster;
use crate::slots::Slots;
use crate::supervise::{Course, Supervision};
use crate::unpack::{Outputs, Unpacker};
use crate::walls::Walls;

/// How the worker wants to use an engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where it listens; looked for in the usual places if `None`.
    pub socket: Option<PathBuf>,
    /// The program that calls [`crate::helper::helper_main`] when it is told to:
    /// `/proc/self/exe` for a worker.
    pub helper: PathBuf,
    /// A directory of this worker's alone, made if need be, that the engine can see.
    pub state: PathBuf,
    /// This worker's own name, the same at each start: its containers are known by it.
    pub instance: String,
    /// Tasks run as this uid and the 255 after it, each as one of its own; the worker's own tools,
    /// if it is root, as the one after those.
    pub first_job_uid: u32,
    pub images: ImagePolicy,
    /// How long an engine that does not answer is waited for before a task is given up.
    pub patience: Duration,
}

/// An engine that was found to hold what is asked of it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

/// What all containers have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) docker: Docker,
    pub(crate) kit: Kit,
    /// The filter of system calls as this engine takes it.
    pub(crate) seccomp: String,
    pub(crate) roster: Roster,
    pub(crate) first_job_uid: u32,
    pub(crate) builder_uid: u32,
    pub(crate) is_podman: bool,
    pub(crate) pins_cores: bool,
    /// Some engines cannot; memory, which files count against, then limits their number.
    pub(crate) limits_files: bool,
    pub(crate) patience: Duration,
    pub(crate) images: ImagePolicy,
    pub(crate) slots: Slots,
    pub(crate) cpus: Cpus,
    pub(crate) pool: Pool,
}

impl Engine {
    /// Looks for an engine, tries with a real container what holds there, and removes what an
    /// earlier life of this worker has left.
    ///
    /// No engine means that no job can run in containers here; the checks then say what is missing
    /// and the command that mends it.
    pub async fn connect(config: EngineConfig) -> (Option<Self>, Vec<Check>) {
        connect::connect(config).await
    }

    /// The labels that this machine offers: `image:default`, `image:sha256:…`, `image:NAME@sha256:…`
    /// and, where images may be fetched, `image:PREFIX*`.
    ///
    /// # Errors
    ///
    /// `Gone` or `Refused`.
    pub async fn images(&self) -> Result<Vec<String>, EngineError> {
        let listed = timeout(ANSWERING, image::labels(&self.shared.docker, &self.shared.images));
        listed.await.map_err(|_| EngineError::silent("list its images", ANSWERING))?
    }

    /// What an image's content is called: `sha256:…`. It is fetched where that is allowed.
    ///
    /// # Errors
    ///
    /// `Image` if it is not allowed or not to be had, `Pull`, `Gone` or `Refused`.
    pub async fn identity(&self, image: &str) -> Result<String, EngineError> {
        Ok(self.find(image).await?.id)
    }

    /// Runs a plan in a container of `image`, to its end, and collects what it leaves.
    ///
    /// As [`campusgrid_sandbox::sandbox::Sandbox::run`] does, with the same meaning of `progress`
    /// and `controls`; but `/job`, `/tmp` and `/dev/shm` have each the whole of the scratch space, all
    /// together what the memory limit, which counts them, leaves of it. Dropping the future kills the
    /// task.
    ///
    /// # Errors
    ///
    /// [`EngineError::blame`] says whose fault it is; nothing of the task is left running, unless
    /// the engine does not come back: then the next sweep removes it.
    pub async fn run(
        &self,
        plan: Plan,
        image: &str,
        progress: mpsc::Sender<Progress>,
        controls: Controls,
    ) -> Result<Report, EngineError> {
        check(&plan)?;
        let image = self.find(image).await?;
        check_image(&plan, &image)?;
        hand_over(&plan, self.shared.builder_uid)?;
        let mut berth = self.berth(&plan, image).await?;
        let unpacker = Unpacker::start(plan.results.join("outputs"), &plan.limits);
        let supervision = Supervision::new(&plan, &mut berth.channel, &unpacker, controls);
        let (course, followed) = supervision.follow(progress).await;
        let outputs = unpacker.finish().await;
        if let Err(lost) = followed {
            let outputs = Outputs {
                left_behind: "all outputs (they were lost when memory ran out)".to_owned(),
                ..outputs.unwrap_or_default()
            };
            let exit = autopsy(&self.shared, berth, &lost).await?;
            return written(course, exit, plan, outputs).await;
        }
        let exit = report::exit(&course);
        let is_clean = course.cause.is_none()
            && course.done.is_some_and(|done| done.oom_kills == 0)
            && outputs.is_ok();
        match (Family::of(&plan), &course.reusable) {
            (Some(family), Ok(())) if is_clean => self.shared.pool.put(family, berth),
            (Some(_) | None, Ok(()) | Err(_)) => berth.container.remove().await,
        }
        written(course, exit?, plan, outputs?).await
    }

    /// Removes the containers of this worker's that are not in use here: those of an earlier life,
    /// and those that an engine which died has left.
    ///
    /// # Errors
    ///
    /// `Gone` or `Refused`.
    pub async fn sweep(&self) -> Result<usize, EngineError> {
        self.shared.roster.sweep(&self.shared.docker).await
    }

    /// Removes the containers that wait for further tasks. To be called before the worker ends.
    pub async fn close(&self) {
        self.shared.pool.clear().await;
    }

    /// Builds the image that jobs mean by `default`, from a distribution's packages. Takes minutes.
    ///
    /// `say` is given a line for each step.
    ///
    /// # Errors
    ///
    /// `NotRoot`, `Program` if debootstrap or tar fail, `Host`, `Gone`, `Refused`.
    pub async fn build_default(
        &self,
        recipe: Recipe,
        say: impl FnMut(&str) + Send + 'static,
    ) -> Result<(), EngineError> {
        debootstrap::build(&self.shared.docker, recipe, say).await
    }

    /// Makes the tree beneath `directory` the image that jobs mean by `default`.
    ///
    /// # Errors
    ///
    /// `Program` if tar fails, `Host`, `Gone`, `Refused`.
    pub async fn import_default(&self, directory: &Path) -> Result<(), EngineError> {
        let directory = directory.to_path_buf();
        debootstrap::import(&self.shared.docker, directory, image::DEFAULT_TAG).await
    }

    /// The image, from an engine that may have to come back first.
    async fn find(&self, image: &str) -> Result<Image, EngineError> {
        let Shared { docker, images, roster, patience, .. } = &*self.shared;
        let mut found = image::find(docker, images, image).await;
        if let Err(EngineError::Gone { .. }) = found {
            wait_for(docker, *patience).await?;
            found = image::find(docker, images, image).await;
        }
        if found.is_ok() && roster.has_lost() {
            roster.sweep(docker).await?;
        }
        found
    }

    /// A container for a plan: a warm one of its family, or a new one.
    async fn berth(&self, plan: &Plan, image: Image) -> Result<Berth, EngineError> {
        let walls = Walls::new(plan, image);
        if let Some(family) = Family::of(plan)
            && let Some(berth) = self.shared.pool.take(&family, &walls).await
        {
            return Ok(berth);
        }
        Berth::start(&self.shared, walls).await
    }
}

/// Writes the report where that may block.
async fn written(
    course: Course,
    exit: Exit,
    plan: Plan,
    outputs: Outputs,
) -> Result<Report, EngineError> {
    let writing = move || report::report(&course, exit, &plan, outputs);
    let operation = "finish a report on another thread";
    let written = tokio::task::spawn_blocking(writing).await;
    written.map_err(std::io::Error::other).map_err(EngineError::host(operation))?
}
