//! Why a plan did not run in a container, and who answers for it.

use std::io;
use std::time::Duration;

/// Never the task's own fault, but for `Image`.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the container engine is gone: {reason}")]
    Gone { reason: String },
    #[error("{message}")]
    Image { message: String },
    #[error("the registry of image {image} failed: {message}")]
    Pull { image: String, message: String },
    #[error("the container engine refused to {operation}: {message}")]
    Refused { operation: &'static str, message: String },
    #[error("limit {limit} does not hold in the container: {found}")]
    Limit { limit: &'static str, found: String },
    #[error("the plan cannot run in a container: {reason}")]
    Plan { reason: String },
    #[error("the container's first process failed: {message}")]
    Helper { message: String },
    #[error("failed to {operation}")]
    Host { operation: &'static str, source: io::Error },
    #[error("only root can build an image from a distribution's packages")]
    NotRoot,
    #[error("{program} failed: {said}")]
    Program { program: String, said: String },
}

/// Who answers for an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The machine's engine, which takes all its tasks with it: costs the task nothing.
    Engine,
    /// Whoever submitted the job, and named the image.
    Submitter,
    /// This worker.
    Worker,
}

impl EngineError {
    pub fn blame(&self) -> Blame {
        match self {
            Self::Gone { .. } | Self::Pull { .. } => Blame::Engine,
            Self::Image { .. } => Blame::Submitter,
            Self::Refused { .. }
            | Self::Limit { .. }
            | Self::Plan { .. }
            | Self::Helper { .. }
            | Self::Host { .. }
            | Self::NotRoot
            | Self::Program { .. } => Blame::Worker,
        }
    }

    /// What an engine's answer to an operation means.
    pub(crate) fn from_answer(operation: &'static str, error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        if let Error::DockerResponseServerError { message, .. }
        | Error::DockerStreamError { error: message } = error
        {
            return Self::Refused { operation, message };
        }
        // Everything else means that there was no answer, or none that can be understood.
        Self::Gone { reason: format!("it did not {operation}: {error}") }
    }

    pub(crate) fn silent(operation: &'static str, after: Duration) -> Self {
        let reason = format!("it did not {operation} within {} s", after.as_secs());
        Self::Gone { reason }
    }

    pub(crate) fn host(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Host { operation, source }
    }
}
