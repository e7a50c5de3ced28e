//! What runs plans on this machine: its own sandbox, or a container engine.

use campusgrid_container::engine::Engine;
use campusgrid_container::error::{Blame, EngineError};
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::text::DEFAULT_IMAGE;
use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{Plan, Progress, Report, SandboxError};
use campusgrid_sandbox::sandbox::Sandbox;
use tokio::sync::mpsc;

/// Why a plan could not be run.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("this machine has nothing that would run it")]
    Nothing,
}

impl BackendError {
    pub fn blame(&self) -> Blame {
        match self {
            Self::Sandbox(_) | Self::Nothing => Blame::Worker,
            Self::Engine(error) => error.blame(),
        }
    }
}

/// What there is.
#[derive(Debug)]
pub struct Backends {
    /// With what it has been found to hold.
    sandbox: Option<(Sandbox, Isolation)>,
    engine: Option<Engine>,
    /// What all of the worker's own tools are told.
    tools: Controls,
}

/// The system that a plan sees around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surroundings<'a> {
    /// This machine's own, shown by the sandbox.
    Machine,
    /// A container image's.
    Image(&'a str),
}

impl Backends {
    /// A machine whose sandbox, if it has one, holds as much as is said.
    pub fn new(sandbox: Option<(Sandbox, Isolation)>, engine: Option<Engine>) -> Self {
        Self { sandbox, engine, tools: Controls::none() }
    }

    /// The worker's own tools hear these.
    pub(crate) fn with_tools(self, tools: Controls) -> Self {
        Self { tools, ..self }
    }

    /// What a tool of the worker's is told while it runs: to stand still, as tasks are.
    pub(crate) fn tools(&self) -> Controls {
        self.tools.clone()
    }

    /// Where a task runs that asks for this image, or none, and for at least this isolation.
    pub fn surroundings<'a>(&self, image: Option<&'a str>, least: Isolation) -> Surroundings<'a> {
        match (image, &self.sandbox) {
            (Some(image), _) => Surroundings::Image(image),
            (None, Some((_, isolation))) if *isolation >= least => Surroundings::Machine,
            (None, Some(_) | None) => Surroundings::Image(DEFAULT_IMAGE),
        }
    }

    /// What the content of an image is called, whatever name it was asked for by.
    ///
    /// # Errors
    ///
    /// `Engine` if it is not to be had, `Nothing` without an engine.
    pub async fn identity(&self, image: &str) -> Result<String, BackendError> {
        match &self.engine {
            Some(engine) => Ok(engine.identity(image).await?),
            None => Err(BackendError::Nothing),
        }
    }

    /// Runs a plan to its end, as [`Sandbox::run`] does.
    ///
    /// # Errors
    ///
    /// Never what the task did; nothing of it is left running.
    pub async fn run(
        &self,
        surroundings: Surroundings<'_>,
        plan: Plan,
        progress: mpsc::Sender<Progress>,
        controls: Controls,
    ) -> Result<Report, BackendError> {
        match (surroundings, &self.sandbox, &self.engine) {
            (Surroundings::Machine, Some((sandbox, _)), _) => {
                Ok(sandbox.run(plan, progress, controls).await?)
            }
            (Surroundings::Image(image), _, Some(engine)) => {
                Ok(engine.run(plan, image, progress, controls).await?)
            }
            (Surroundings::Machine, None, _) | (Surroundings::Image(_), _, None) => {
                Err(BackendError::Nothing)
            }
        }
    }
}
