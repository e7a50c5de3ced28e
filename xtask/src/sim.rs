//! `cargo xtask sim`: plays many made-up worlds on all cores and tells what happened in them.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::places::Places;
use crate::program;

/// Hands all options on: `--seeds N` and `--from S`; or `market` and `--seed S`, which plays a season of
/// the market and prints it.
///
/// # Errors
///
/// When the simulator cannot be built; a seed that fails is told by the exit status.
pub(crate) fn run(places: &Places, options: &[&str]) -> Result<ExitCode> {
    let words = ["run", "--quiet", "--release", "--locked", "--package", "campusgrid-sim", "--"];
    let mut command = program::cargo(&places.root, &words);
    let status = command.args(options).status();
    let status =
        status.with_context(|| format!("failed to start: {}", program::shown(&command)))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
