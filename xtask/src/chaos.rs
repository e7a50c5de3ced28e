//! `cargo xtask chaos` and `flood`: the program that tries to break a grid, against release binaries.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::grid;
use crate::places::{Places, Profile};

const PACKAGE: &str = "campusgrid-chaos";

/// Builds what is tried and what tries it, and runs that; the options are its own.
///
/// # Errors
///
/// When it cannot be built or started; what it finds is told by the exit status.
pub(crate) fn run(places: &Places, command: &str, options: &[&str]) -> Result<ExitCode> {
    grid::build_with(places, Profile::Release, &[PACKAGE])?;
    let mut chaos = Command::new(places.binary(Profile::Release, PACKAGE));
    let status = chaos.arg(command).args(options).stdin(Stdio::null()).status();
    let status = status.context("failed to start what tries to break a grid")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
