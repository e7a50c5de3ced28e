//! The `uv` program: found, started with few variables, and its failures told apart.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::index::{pip_files, variables_for_uv};
use super::{EnvironmentError, EnvironmentsConfig, PYTHON, machine};

/// The environment's name in the directory in which it is built.
pub(super) const ENVIRONMENT: &str = "environment";

const REQUIREMENTS: &str = "requirements.in";
const LOCK: &str = "requirements.lock";

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
                places.push(config.data_dir.join("tools/bin/uv"));
                places
            }
        };
        let files: Vec<String> = pip_files(&config.variables)
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .collect();
        let variables = variables_for_uv(&config.variables, &files);
        Self { places, cache: config.data_dir.join("uv-cache"), variables }
    }

    pub(super) fn find(&self) -> Result<PathBuf, EnvironmentError> {
        self.places.iter().find(|place| place.is_file()).cloned().ok_or_else(|| {
            let message = match self.places.as_slice() {
                [only] => format!("there is no uv at {}, where worker.uv says", only.display()),
                _ => "uv is not installed on the worker; its owner can install it with \
                      'pipx install uv' or name it in worker.uv"
                    .to_owned(),
            };
            EnvironmentError::Machine { message }
        })
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
