//! Where the `uv` program is; where there is none, it is installed, so that a laptop needs nothing but
//! Python.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::info;

use super::{EnvironmentError, EnvironmentsConfig, machine};
use crate::flights::Steps;

/// Where uv is installed beneath the data directory, and with what.
const TOOLS: &str = "tools";
const PYTHON: &str = "/usr/bin/python3";

const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// Of what pip says, this much is passed on. Characters.
const MESSAGE_MAX: usize = 2000;

#[derive(Debug)]
pub(super) struct Tools {
    /// Places to look, in order; the first is the only one if a setting names it.
    places: Vec<PathBuf>,
    /// A Python environment with uv in it, where the machine has none of its own.
    own: PathBuf,
    variables: BTreeMap<String, String>,
    installing: Mutex<()>,
}

impl Tools {
    pub(super) fn new(config: &EnvironmentsConfig) -> Self {
        let places = match &config.uv {
            Some(path) => vec![path.clone()],
            None => {
                let path = config.variables.get("PATH").map(String::as_str).unwrap_or("");
                let mut places: Vec<PathBuf> = std::env::split_paths(path)
                    .filter(|dir| dir.is_absolute())
                    .map(|dir| dir.join("uv"))
                    .collect();
                places.push(config.data_dir.join(TOOLS).join("bin/uv"));
                places
            }
        };
        Self {
            places,
            own: config.data_dir.join(TOOLS),
            variables: config.variables.clone(),
            installing: Mutex::new(()),
        }
    }

    /// Finds uv; where there is none and no setting names one, installs it beneath the data
    /// directory.
    ///
    /// # Errors
    ///
    /// `Machine`, with what its owner can do.
    pub(super) async fn uv(&self, steps: &Steps) -> Result<PathBuf, EnvironmentError> {
        if let Some(found) = self.found() {
            return Ok(found);
        }
        if let [only] = self.places.as_slice() {
            let message = format!("there is no uv at {}, where worker.uv says", only.display());
            return Err(EnvironmentError::Machine { message });
        }
        let _alone = self.installing.lock().await;
        if self.found().is_none() {
            steps.send_replace("installing uv on the worker".to_owned());
            self.install().await?;
        }
        self.found().ok_or_else(|| EnvironmentError::Machine {
            message: format!("installing uv left none in {}", self.own.display()),
        })
    }

    fn found(&self) -> Option<PathBuf> {
        self.places.iter().find(|place| place.is_file()).and_then(|place| place.canonicalize().ok())
    }

    async fn install(&self) -> Result<(), EnvironmentError> {
        info!(directory = %self.own.display(), "installing uv");
        let mut venv = self.plain_command(PYTHON);
        venv.args(["-m", "venv"]).arg(&self.own);
        let mut pip = self.plain_command(self.own.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
        pip.arg("uv");
        for command in [venv, pip] {
            finish(command).await.map_err(|message| EnvironmentError::Machine {
                message: format!(
                    "uv is not installed on the worker and could not be: {message}; its owner can \
                     install it with 'pipx install uv' or name it in worker.uv"
                ),
            })?;
        }
        Ok(())
    }

    /// A command with the worker's own variables, in which pip finds its configuration.
    fn plain_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.variables);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }
}

async fn finish(mut command: Command) -> Result<(), String> {
    let output = timeout(INSTALL_LIMIT, command.output())
        .await
        .map_err(|_| format!("it took longer than {} s", INSTALL_LIMIT.as_secs()))?
        .map_err(|error| machine("start a program", &error).to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let plain = said.trim().chars().filter(|&c| c == '\n' || !c.is_control());
    Err(match plain.take(MESSAGE_MAX).collect::<String>() {
        silent if silent.is_empty() => format!("it ended with {}", output.status),
        message => message,
    })
}
