//! The `uv` program: told what to do in the workshop, and its failures told apart.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_protocol::lock::{Lock, LockError};
use campusgrid_sandbox::plan::Network;

use super::index::{config_file, local_paths, pip_files, variables_for_uv};
use super::interpreter::Interpreter;
use super::room::AT_ONCE;
use super::telling::Telling;
use super::workshop::{CACHE, Chore, Failed, PACKAGES, Share, UV, Workshop};
use super::{EnvironmentError, EnvironmentsConfig};
use crate::flights::Steps;

/// The environment's name in the directory in which it is built.
pub(super) const ENVIRONMENT: &str = "environment";

const RESOLVE_LIMIT: Duration = Duration::from_secs(180);
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// What uv says when the fault is in what was asked for, and not in the way to the index.
const SUBMITTERS: [&str; 3] =
    ["No solution found when resolving", "Hash mismatch for", "Couldn't parse requirement"];

#[derive(Debug)]
pub(super) struct Uv {
    variables: BTreeMap<String, String>,
    /// The owner's configuration of uv, if there is one.
    config: Option<Vec<u8>>,
    /// What the variables name on this machine.
    local: Vec<PathBuf>,
    share: Share,
}

/// Where one piece of work is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bench<'a> {
    pub(super) workshop: Workshop<'a>,
    pub(super) uv: &'a Path,
    pub(super) interpreter: &'a Interpreter,
    /// What is [`PACKAGES`] inside.
    pub(super) packages: &'a Path,
    /// Not there yet; for what uv says.
    pub(super) results: &'a Path,
    pub(super) steps: &'a Steps,
}

impl Uv {
    pub(super) fn new(config: &EnvironmentsConfig) -> Self {
        let files: Vec<String> = pip_files(&config.variables)
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .collect();
        let mut variables = variables_for_uv(&config.variables, &files);
        let local = local_paths(&variables);
        let fixed = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("HOME", "/job"),
            ("XDG_CONFIG_HOME", "/job/config"),
            ("LANG", "C.UTF-8"),
            ("NO_COLOR", "1"),
            ("UV_PYTHON_DOWNLOADS", "never"),
            // Linked files would be shared with the cache, which later builds may change.
            ("UV_LINK_MODE", "copy"),
        ];
        variables.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
        variables.insert("UV_CACHE_DIR".to_owned(), format!("{PACKAGES}/{CACHE}"));
        // Laptops of a campus trust its own authority; uv by itself would not.
        variables.entry("UV_SYSTEM_CERTS".to_owned()).or_insert_with(|| "1".to_owned());
        Self {
            variables,
            config: config_file(&config.variables).and_then(|file| fs::read(file).ok()),
            local,
            share: Share::of(config.cpu_millis, config.ram_mib, AT_ONCE),
        }
    }

    /// Resolves requirements to exact wheels with their hashes, for all machines with Linux and
    /// this minor version of Python 3 or a later one.
    ///
    /// A wheel for machines like this one must exist; for others it is taken where it does.
    pub(super) async fn compile(
        &self,
        bench: Bench<'_>,
        requirements: &str,
        oldest_minor: u32,
    ) -> Result<Lock, EnvironmentError> {
        let project = format!(
            "[tool.uv]\nenvironments = [\"sys_platform == 'linux'\"]\n\
             required-environments = [\"sys_platform == 'linux' and platform_machine == '{}'\"]\n",
            std::env::consts::ARCH
        );
        let oldest = format!("3.{oldest_minor}");
        let mut chore = self.chore(bench, "resolving", RESOLVE_LIMIT);
        chore.argv.extend(words(["pip", "compile", "--universal", "--only-binary", ":all:"]));
        chore.argv.extend(words(["--generate-hashes", "--no-header", "--no-annotate"]));
        chore.argv.extend(words([
            "--python",
            &bench.interpreter.path,
            "--python-version",
            &oldest,
        ]));
        chore.argv.push("requirements.in".to_owned());
        chore.files.push(("requirements.in".to_owned(), requirements.as_bytes().to_vec()));
        chore.files.push(("pyproject.toml".to_owned(), project.into_bytes()));
        let text = bench.workshop.run(chore, |_| {}).await.map_err(tell_apart)?;
        Lock::check(&text).map_err(|error| not_a_lock("what they came to", &error))
    }

    /// Turns a `uv.lock` that was read into a lock of ours. Nothing is asked of any index.
    pub(super) async fn export(
        &self,
        bench: Bench<'_>,
        uv_lock: &str,
        pyproject: &str,
    ) -> Result<Lock, EnvironmentError> {
        let mut chore = self.chore(bench, "exporting", RESOLVE_LIMIT);
        (chore.network, chore.packages) = (Network::None, None);
        chore.argv.extend(words(["--no-cache", "export", "--frozen", "--offline"]));
        chore.argv.extend(words(["--no-emit-project", "--no-default-groups"]));
        chore.argv.extend(words(["--format", "requirements-txt", "--no-header", "--no-annotate"]));
        chore.argv.extend(words(["--python", &bench.interpreter.path]));
        chore.files.push(("uv.lock".to_owned(), uv_lock.as_bytes().to_vec()));
        chore.files.push(("pyproject.toml".to_owned(), pyproject.as_bytes().to_vec()));
        let text = bench.workshop.run(chore, |_| {}).await.map_err(|failed| match failed {
            Failed::Said { message, .. } => EnvironmentError::Requirements { message },
            failed @ (Failed::Cut { .. } | Failed::Surroundings(_)) => failed.of_machine(),
        })?;
        Lock::check(&text).map_err(|error| not_a_lock("uv.lock", &error))
    }

    /// Builds the environment of a lock in the directory `name` of what can be changed.
    ///
    /// Nothing of a stranger runs here, where there is a network: only wheels are taken, and
    /// bytecode is compiled by the bare interpreter. uv would have it compiled by that of the
    /// environment, which runs lines of `*.pth` files at its start.
    pub(super) async fn build(
        &self,
        bench: Bench<'_>,
        name: &str,
        lock: &Lock,
    ) -> Result<(), EnvironmentError> {
        let inside = format!("{PACKAGES}/{name}/{ENVIRONMENT}");
        let mut telling = Telling::new(lock.packages());
        bench.steps.send_replace(telling.words());
        let mut venv = self.chore(bench, "preparing", BUILD_LIMIT);
        venv.argv.extend(words(["venv", "--python", &bench.interpreter.path, "--relocatable"]));
        venv.argv.extend(words(["--no-project", &inside]));
        bench.workshop.run(venv, |_| {}).await.map_err(Failed::of_machine)?;

        let mut sync = self.chore(bench, "installing", BUILD_LIMIT);
        sync.argv.extend(words(["pip", "sync", "--python", &format!("{inside}/bin/python3")]));
        sync.argv.extend(words(["--require-hashes", "--only-binary", ":all:", "requirements.txt"]));
        sync.files.push(("requirements.txt".to_owned(), lock.text().as_bytes().to_vec()));
        let heard = |line: &str| {
            if telling.hear(line) {
                bench.steps.send_replace(telling.words());
            }
        };
        bench.workshop.run(sync, heard).await.map_err(tell_apart)?;

        bench.steps.send_replace(format!("compiling {}", telling.packages()));
        // What a stranger wrote is read here, so there is nothing to be had: no variables, no cache.
        let (own, none) = (bench.packages.join(name), BTreeMap::new());
        let inside = format!("{PACKAGES}/{ENVIRONMENT}");
        let mut compile = self.chore(bench, "compiling", BUILD_LIMIT);
        (compile.environment, compile.packages) = (&none, Some(own.as_path()));
        (compile.files, compile.read_only) = (Vec::new(), Vec::new());
        compile.argv = words([&bench.interpreter.path, "-I", "-S", "-m", "compileall", "-q", "-q"]);
        compile.argv.extend(words(["-j", "0", "-s", &inside, "-p", "/env"]));
        compile.argv.push(format!("{inside}/lib"));
        match bench.workshop.run(compile, |_| {}).await {
            // Packages hold files that no Python of today can read; nobody imports them.
            Ok(_) | Err(Failed::Said { .. }) => Ok(()),
            Err(failed @ (Failed::Cut { .. } | Failed::Surroundings(_))) => {
                Err(failed.of_machine())
            }
        }
    }

    /// uv with its variables, and nothing to do yet.
    fn chore<'a>(&'a self, bench: Bench<'a>, what: &'static str, limit: Duration) -> Chore<'a> {
        let mut read_only = vec![(bench.uv.to_owned(), PathBuf::from(UV))];
        read_only.extend(self.local.iter().map(|path| (path.clone(), path.clone())));
        let config = self.config.clone();
        Chore {
            what,
            files: config.map(|text| ("config/uv/uv.toml".to_owned(), text)).into_iter().collect(),
            argv: vec![UV.to_owned()],
            limit,
            share: self.share,
            network: Network::Host,
            environment: &self.variables,
            read_only,
            packages: Some(bench.packages),
            results: bench.results,
        }
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// Who answers for a failure of uv that had to do with packages.
fn tell_apart(failed: Failed) -> EnvironmentError {
    match failed {
        Failed::Said { message, .. } if SUBMITTERS.iter().any(|said| message.contains(said)) => {
            EnvironmentError::Requirements { message }
        }
        failed @ (Failed::Said { .. } | Failed::Cut { .. } | Failed::Surroundings(_)) => {
            failed.of_machine()
        }
    }
}

fn not_a_lock(whose: &str, error: &LockError) -> EnvironmentError {
    EnvironmentError::Requirements { message: format!("{whose} cannot be used: {error}") }
}
