//! Sandboxed tasks, through the same door as the worker's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use campusgrid_protocol::resource::Isolation;
use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{Exit, Limits, Network, Plan, Step};
use campusgrid_sandbox::sandbox::{Confinement, Sandbox, SandboxConfig};
use tokio::sync::mpsc;

use crate::plain::TRUE;

/// The uids of jobs when run as root: others than a worker's on the same machine.
const FIRST_JOB_UID: u32 = 61000;

/// A sandbox, and where its tasks leave what they print.
#[derive(Debug)]
pub(crate) struct Confined {
    sandbox: Sandbox,
    folder: PathBuf,
}

/// Files that a job brings.
#[derive(Debug)]
pub(crate) struct Inputs {
    tree: PathBuf,
    names: Vec<String>,
}

/// Where they are seen.
const SHOWN: &str = "/inputs";

impl Confined {
    /// # Errors
    ///
    /// When this machine cannot confine tasks fully; says what is missing.
    pub(crate) async fn new(folder: &Path) -> Result<Self> {
        let config = SandboxConfig {
            confinement: Confinement::Full,
            helper: std::env::current_exe().context("failed to find the own binary")?,
            scratch: folder.join("scratch"),
            first_job_uid: FIRST_JOB_UID,
            allow_restricted: false,
        };
        let (sandbox, strength) = Sandbox::probe(config).await;
        match sandbox {
            Some(sandbox) if strength.isolation == Isolation::Full => {
                Ok(Self { sandbox, folder: folder.to_owned() })
            }
            Some(_) | None => bail!("tasks are not confined here: {}", strength.notes.join("; ")),
        }
    }

    /// Lays so many files out, as a worker does with those that a job brings.
    ///
    /// # Errors
    ///
    /// When they cannot be made.
    pub(crate) fn lay_out(&self, files: usize) -> Result<Inputs> {
        let tree = self.folder.join(format!("inputs-{files}"));
        fs::create_dir(&tree).context("failed to make a directory for inputs")?;
        let names: Vec<String> = (0..files).map(|number| format!("file-{number}.csv")).collect();
        for name in &names {
            fs::write(tree.join(name), "x\n").context("failed to make an input")?;
        }
        Ok(Inputs { tree, names })
    }

    /// The same task, which finds these files.
    ///
    /// # Errors
    ///
    /// As [`Self::prepare`].
    pub(crate) fn prepare_with(&self, name: &str, family: &str, inputs: &Inputs) -> Result<Plan> {
        let link = |name: &String| (name.clone(), Path::new(SHOWN).join(name));
        Ok(Plan {
            read_only: vec![(inputs.tree.clone(), SHOWN.into())],
            links: inputs.names.iter().map(link).collect(),
            ..self.prepare(name, Some(family))?
        })
    }

    /// What a worker makes ready before it runs a task.
    ///
    /// # Errors
    ///
    /// When the directory for results cannot be made.
    pub(crate) fn prepare(&self, name: &str, family: Option<&str>) -> Result<Plan> {
        let results = self.folder.join(name);
        fs::create_dir(&results).context("failed to make a directory for results")?;
        Ok(Plan {
            name: name.to_owned(),
            files: Vec::new(),
            links: Vec::new(),
            steps: vec![Step {
                argv: vec![TRUE.to_owned()],
                wall: Duration::from_secs(60),
                warn: None,
            }],
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            read_only: Vec::new(),
            read_write: Vec::new(),
            devices: Vec::new(),
            network: Network::None,
            family: family.map(str::to_owned),
            shared_tmp: false,
            outputs: Vec::new(),
            checkpoints: None,
            limits: LIMITS,
            results,
        })
    }

    /// # Errors
    ///
    /// When it could not be run, or did not exit with 0.
    pub(crate) async fn run(&self, plan: Plan) -> Result<()> {
        // Nobody listens.
        let (progress, _) = mpsc::channel(1);
        let report = self.sandbox.run(plan, progress, Controls::none()).await?;
        if report.exit != Exit::Code(0) {
            bail!("a task that does nothing ended with {:?}", report.exit);
        }
        Ok(())
    }

    /// Removes what a task has left, as a worker does when its results are stored.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub(crate) fn clear(&self, name: &str) -> Result<()> {
        fs::remove_dir_all(self.folder.join(name)).context("failed to remove results")
    }
}

/// Of a small job.
const LIMITS: Limits = Limits {
    cpu_millis: 1000,
    core_percent: 100,
    ram_mib: 256,
    scratch_mib: 64,
    scratch_files: 4096,
    file_mib: 64,
    processes: 64,
    log_keep_bytes: 64 * 1024,
    log_flood_bytes: 1024 * 1024,
    outputs: 10,
    outputs_bytes: 1024 * 1024,
    grace: Duration::from_millis(200),
};
