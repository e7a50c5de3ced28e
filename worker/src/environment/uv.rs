//! The `uv` program: found, started with few variables, and its failures told apart.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::info;

use super::index::{pip_files, variables_for_uv};
use super::{EnvironmentError, EnvironmentsConfig, PYTHON, machine};

/// The environment's name in the directory in which it is built.
pub(super) const ENVIRONMENT: &str = "environment";

const REQUIREMENTS: &str = "requirements.in";
const LOCK: &str = "requirements.lock";

/// Where uv is installed beneath the data directory.
const TOOLS: &str = "tools";

const INSTALL_LIMIT: Duration = Duration::from_secs(300);
const RESOLVE_LIMIT: Duration = Duration::from_secs(180);
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// Of what uv says, this much is passed on. Characters.
const MESSAGE_MAX: usize = 2000;

#[derive(Debug)]
pub(super) struct Uv {
    /// Places to look, in order; the first is the only one if a setting names it.
    places: Vec<PathBuf>,
    cache: PathBuf,
    variables: BTreeMap<String, String>,
    /// A Python environment with uv in it, where the machine has none of its own.
    tools: PathBuf,
    own_variables: BTreeMap<String, String>,
    installing: Mutex<()>,
}

impl Uv {
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
        let files: Vec<String> = pip_files(&config.variables)
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .collect();
        let variables = variables_for_uv(&config.variables, &files);
        Self {
            places,
            cache: config.data_dir.join("uv-cache"),
            variables,
            tools: config.data_dir.join(TOOLS),
            own_variables: config.variables.clone(),
            installing: Mutex::new(()),
        }
    }

    /// Finds uv; where there is none and no setting names one, installs it beneath the data
    /// directory, so that a laptop needs nothing but Python.
    pub(super) async fn find(&self) -> Result<PathBuf, EnvironmentError> {
        if let Some(found) = self.found() {
            return Ok(found);
        }
        if let [only] = self.places.as_slice() {
            let message = format!("there is no uv at {}, where worker.uv says", only.display());
            return Err(EnvironmentError::Machine { message });
        }
        let _alone = self.installing.lock().await;
        if self.found().is_none() {
            self.install().await?;
        }
        self.found().ok_or_else(|| EnvironmentError::Machine {
            message: format!("installing uv left none in {}", self.tools.display()),
        })
    }

    fn found(&self) -> Option<PathBuf> {
        self.places.iter().find(|place| place.is_file()).cloned()
    }

    async fn install(&self) -> Result<(), EnvironmentError> {
        info!(directory = %self.tools.display(), "installing uv");
        let mut venv = self.plain_command(PYTHON);
        venv.args(["-m", "venv"]).arg(&self.tools);
        let mut pip = self.plain_command(self.tools.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
        pip.arg("uv");
        for command in [venv, pip] {
            finish(command, INSTALL_LIMIT).await.map_err(|failed| EnvironmentError::Machine {
                message: format!(
                    "uv is not installed on the worker and could not be: {}; its owner can \
                     install it with 'pipx install uv' or name it in worker.uv",
                    failed.message
                ),
            })?;
        }
        Ok(())
    }

    /// A command with the worker's own variables, in which pip finds its configuration.
    fn plain_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.own_variables);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// Resolves requirements to exact wheels with their hashes; the lock stays in `dir`.
    pub(super) async fn compile(
        &self,
        uv: &Path,
        dir: &Path,
        requirements: &str,
    ) -> Result<String, EnvironmentError> {
        fs::write(dir.join(REQUIREMENTS), requirements)
            .map_err(|error| machine("write the requirements", &error))?;
        let mut command = self.command(uv, dir);
        command.args(["pip", "compile", "--only-binary", ":all:", "--generate-hashes"]);
        command.args(["--python", PYTHON, "--no-header", "--no-annotate"]);
        command.args(["--output-file", LOCK, REQUIREMENTS]);
        finish(command, RESOLVE_LIMIT).await.map_err(|failed| {
            // uv ends with 1 where there is no solution, with 2 where it could not look for one.
            let is_submitters =
                failed.code == Some(1) || failed.message.contains("Couldn't parse requirement");
            match is_submitters {
                true => EnvironmentError::Requirements { message: failed.message },
                false => EnvironmentError::Machine { message: failed.message },
            }
        })?;
        fs::read_to_string(dir.join(LOCK)).map_err(|error| machine("read the lock", &error))
    }

    /// Builds the environment of the lock in `dir`. Wheels only, so that nothing of a stranger runs.
    pub(super) async fn build(&self, uv: &Path, dir: &Path) -> Result<(), EnvironmentError> {
        let mut venv = self.command(uv, dir);
        venv.args(["venv", "--python", PYTHON, "--relocatable", "--no-project", ENVIRONMENT]);
        let mut sync = self.command(uv, dir);
        sync.args(["pip", "sync", "--python", &format!("{ENVIRONMENT}/bin/python3")]);
        sync.args(["--require-hashes", "--only-binary", ":all:", "--compile-bytecode", LOCK]);
        for command in [venv, sync] {
            finish(command, BUILD_LIMIT)
                .await
                .map_err(|failed| EnvironmentError::Machine { message: failed.message })?;
        }
        Ok(())
    }

    fn command(&self, uv: &Path, dir: &Path) -> Command {
        let mut command = Command::new(uv);
        command.arg("--quiet").current_dir(dir).env_clear();
        // Laptops of a campus trust its own authority; uv by itself would not.
        command.env("UV_SYSTEM_CERTS", "1");
        command.envs(&self.variables);
        command.env("UV_CACHE_DIR", &self.cache).env("UV_PYTHON_DOWNLOADS", "never");
        command.env("NO_COLOR", "1").env("LANG", "C.UTF-8");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }
}

struct Failed {
    code: Option<i32>,
    message: String,
}

async fn finish(mut command: Command, limit: Duration) -> Result<(), Failed> {
    let without_code = |message| Failed { code: None, message };
    let output = timeout(limit, command.output())
        .await
        .map_err(|_| without_code(format!("uv took longer than {} s", limit.as_secs())))?
        .map_err(|error| without_code(format!("uv could not be started: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let plain = said.trim().chars().filter(|&c| c == '\n' || !c.is_control());
    let message = match plain.take(MESSAGE_MAX).collect::<String>() {
        silent if silent.is_empty() => format!("uv ended with {}", output.status),
        message => message,
    };
    Err(Failed { code: output.status.code(), message })
}
