//! What a task needs before its clock starts: an interpreter, its packages, its GPUs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use campusgrid_protocol::compiler_flag::check_compiler_flag;
use campusgrid_protocol::lock::Lock;
use campusgrid_protocol::task::{Failure, Outcome, Program, Work, WorkerFault};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::warn;

use super::backend::Surroundings;
use super::course::Course;
use super::outcome::fault;
use super::plan::Seen;
use crate::agent::effect::Progress;
use crate::environment::EnvironmentError;
use crate::environment::asked::{Asked, Question};
use crate::environment::interpreter::{Wanted, named};
use crate::environment::shelf::Environment;
use crate::environment::workshop::Workshop;
use crate::flights::Steps;
use crate::gpu::Root;
use crate::gpu::grant::Grant;
use crate::inputs::{InputsError, Tree};

/// Between two steps of a preparation that are told; those in between are left out.
const STEP_PAUSE: Duration = Duration::from_millis(500);

/// What a task holds of this machine while it runs.
#[derive(Debug)]
pub(super) struct Equipment {
    /// The interpreter for Python tasks without an environment.
    pub(super) python: String,
    pub(super) environment: Option<Arc<Environment>>,
    /// The job's files, and the task's line of them.
    pub(super) inputs: Option<Arc<Tree>>,
    pub(super) line: Option<String>,
    /// What an earlier attempt has left to go on from.
    pub(super) saved: Option<Arc<Tree>>,
    pub(super) gpus: Grant,
}

impl Equipment {
    /// What of it the task sees.
    pub(super) fn seen<'a>(&'a self, surroundings: Surroundings<'a>) -> Seen<'a> {
        let environment = self.environment.as_ref().map(|environment| environment.path());
        Seen {
            surroundings,
            python: &self.python,
            environment,
            inputs: self.inputs.as_deref(),
            line: self.line.as_deref(),
            saved: self.saved.as_deref(),
            gpus: &self.gpus,
        }
    }

    /// Only what every system has.
    pub(super) fn plain() -> Self {
        Self {
            python: "python3".to_owned(),
            environment: None,
            inputs: None,
            line: None,
            saved: None,
            gpus: Grant::default(),
        }
    }
}

impl Course<'_> {
    /// Makes ready what the task needs, and tells meanwhile how that goes.
    pub(super) async fn equip(&self, surroundings: Surroundings<'_>) -> Result<Equipment, Outcome> {
        let (steps, told) = watch::channel(String::new());
        let leaving = Outcome::Returned(WorkerFault::Leaving);
        tokio::select! {
            biased;
            () = self.words.clone().until_stopped() => Err(self.words.stopped().unwrap_or(leaving)),
            equipment = self.equipment(surroundings, &steps) => equipment,
            never = self.tell_steps(told) => match never {},
        }
    }

    async fn equipment(
        &self,
        surroundings: Surroundings<'_>,
        steps: &Steps,
    ) -> Result<Equipment, Outcome> {
        // First: whether they are what the job says is cheaper to find out than what packages are.
        let (inputs, line) = self.inputs(steps).await.map_err(blame_for_inputs)?;
        let saved = self.saved(steps).await?;
        let mut equipment = match &self.order.spec.work {
            Work::Python { packages, .. } => {
                let asked = Asked::check(packages).map_err(blame)?;
                self.python(surroundings, asked, steps).await.map_err(blame)?
            }
            Work::C { flags, .. } => {
                // The manager has checked them; this machine trusts its own eyes.
                if let Some(flag) = flags.iter().find(|flag| check_compiler_flag(flag).is_err()) {
                    return Err(fault(format!("the compiler's flag {flag:?} is not taken here")));
                }
                Equipment::plain()
            }
            Work::Shell { .. } => Equipment::plain(),
        };
        (equipment.inputs, equipment.line, equipment.saved) = (inputs, line, saved);
        if !self.order.gpus.is_empty() {
            steps.send_replace("waiting until its GPUs are free".to_owned());
            let root = match surroundings {
                Surroundings::Machine => Root::Machine,
                Surroundings::Image(_) => Root::Image,
            };
            let granted = self.runner.gpus.grant(&self.order.gpus, root).await;
            equipment.gpus = granted.map_err(|error| {
                let message = format!("{:#}", anyhow::Error::new(error));
                warn!("no GPU: {message}");
                Outcome::Returned(WorkerFault::Gpu { message })
            })?;
        }
        Ok(equipment)
    }

    /// The job's files, and the task's line of them.
    async fn inputs(
        &self,
        steps: &Steps,
    ) -> Result<(Option<Arc<Tree>>, Option<String>), InputsError> {
        let spec = &*self.order.spec;
        let refused = |message: String| Err(InputsError::Refused { message });
        let Some(manifest) = spec.inputs else {
            return match (spec.work.program(), &spec.lines) {
                (Program::Source(_), None) => Ok((None, None)),
                (Program::Entry(_), _) | (_, Some(_)) => refused("it has brought none".to_owned()),
            };
        };
        let tree = self.runner.inputs.ready(self.attempt, manifest, steps).await?;
        if let Program::Entry(path) = spec.work.program()
            && !tree.has(path)
        {
            return refused(format!("the program {path:?} is not among them"));
        }
        let line = match &spec.lines {
            Some(path) => Some(tree.line(path, self.order.index).await?),
            None => None,
        };
        Ok((Some(tree), line))
    }

    /// What an earlier attempt has left, which the manager has answered for: nobody who submitted
    /// the job is to blame for it.
    async fn saved(&self, steps: &Steps) -> Result<Option<Arc<Tree>>, Outcome> {
        let Some(saved) = self.order.checkpoint else { return Ok(None) };
        match self.runner.inputs.ready(self.attempt, saved.manifest, steps).await {
            Ok(tree) => Ok(Some(tree)),
            Err(InputsError::Refused { message } | InputsError::Fetch { message }) => {
                let message = format!("what the task is to go on from: {message}");
                Err(blame_for_inputs(InputsError::Fetch { message }))
            }
            Err(error @ InputsError::Disk { .. }) => Err(blame_for_inputs(error)),
        }
    }

    async fn python(
        &self,
        surroundings: Surroundings<'_>,
        asked: Asked,
        steps: &Steps,
    ) -> Result<Equipment, EnvironmentError> {
        let labels = &self.order.spec.labels;
        if asked == (Asked::Nothing { python: None }) && named(labels).is_none() {
            return Ok(Equipment::plain());
        }
        let workshop = Workshop { backends: &self.runner.backends, surroundings };
        let environments = &self.runner.environments;
        // What a text with hashes comes to is its author's choice; only of names is another worker's
        // word taken, or what it wrote could stand for what the submitter did.
        let known = match &asked {
            Asked::Question(Question::Names { .. }) => self.words.lock(),
            Asked::Question(Question::UvLock { .. }) | Asked::Locked(_) | Asked::Nothing { .. } => {
                None
            }
        };
        let known = known.map(|text| from_manager(&text)).transpose()?;
        let program = asked.python();
        let lock = known.as_ref().and_then(Lock::python);
        let interpreter =
            environments.interpreter(workshop, Wanted { labels, program, lock }).await?;
        let (lock, is_foreign) = match (&asked, known) {
            (Asked::Nothing { .. }, _) => {
                return Ok(Equipment { python: interpreter.path, ..Equipment::plain() });
            }
            (Asked::Locked(lock), _) => (lock.clone(), false),
            (Asked::Question(_), Some(lock)) => (lock, true),
            (Asked::Question(question), None) => {
                let own = environments.resolve(workshop, &interpreter, question, steps).await?;
                match question {
                    Question::UvLock { .. } => (own, false),
                    Question::Names { .. } => {
                        let lock = self.agree(&own, steps).await?;
                        let is_foreign = lock != own;
                        (lock, is_foreign)
                    }
                }
            }
        };
        if lock.packages() == 0 {
            return Ok(Equipment { python: interpreter.path, ..Equipment::plain() });
        }
        // Another worker's lock may leave no choice but another interpreter.
        let wanted = Wanted { labels, program, lock: lock.python() };
        let interpreter = environments.interpreter(workshop, wanted).await?;
        let ready = environments.ready(workshop, &interpreter, &lock, steps).await;
        let environment = ready.map_err(|error| match error {
            EnvironmentError::Requirements { message } if is_foreign => {
                let message =
                    format!("the versions that another worker has chosen do not fit: {message}");
                EnvironmentError::Machine { message }
            }
            error @ (EnvironmentError::Requirements { .. }
            | EnvironmentError::Image { .. }
            | EnvironmentError::Machine { .. }
            | EnvironmentError::Engine { .. }) => error,
        })?;
        let environment = Some(environment);
        Ok(Equipment { python: interpreter.path, environment, ..Equipment::plain() })
    }

    /// Tells the manager what the packages came to here, and takes what it answers: the lock of the
    /// job, which is that of the first worker.
    async fn agree(&self, own: &Lock, steps: &Steps) -> Result<Lock, EnvironmentError> {
        steps.send_replace("waiting for the manager to note its packages' versions".to_owned());
        self.tell(Progress::Resolved { lock: own.text().to_owned() }).await;
        let answer: Arc<str> = self.words.clone().until_locked().await;
        from_manager(&answer)
    }

    /// Tells steps as they come, though not each of many.
    async fn tell_steps(&self, mut told: watch::Receiver<String>) -> Infallible {
        while told.changed().await.is_ok() {
            let step = told.borrow_and_update().clone();
            self.tell(Progress::Preparing { step }).await;
            sleep(STEP_PAUSE).await;
        }
        std::future::pending().await
    }
}

/// It may come from another worker, whom nobody here knows.
fn from_manager(text: &str) -> Result<Lock, EnvironmentError> {
    Lock::check(text).map_err(|error| EnvironmentError::Machine {
        message: format!("the manager's lock of the job's packages is not one: {error}"),
    })
}

/// Whose fault it is that there is no environment.
fn blame(error: EnvironmentError) -> Outcome {
    match error {
        EnvironmentError::Requirements { message } => {
            Outcome::Failed(Failure::Requirements { message })
        }
        EnvironmentError::Image { message } => Outcome::Failed(Failure::Image { message }),
        EnvironmentError::Engine { message } => {
            warn!("no environment: {message}");
            Outcome::Returned(WorkerFault::Engine { message })
        }
        EnvironmentError::Machine { message } => {
            warn!("no environment: {message}");
            Outcome::Returned(WorkerFault::Environment { message })
        }
    }
}

/// Whose fault it is that the job's files are not there.
fn blame_for_inputs(error: InputsError) -> Outcome {
    warn!("no files: {error}");
    match error {
        InputsError::Refused { message } => Outcome::Failed(Failure::Inputs { message }),
        InputsError::Fetch { message } => Outcome::Returned(WorkerFault::Inputs { message }),
        InputsError::Disk { message } => Outcome::Returned(WorkerFault::Disk { message }),
    }
}
