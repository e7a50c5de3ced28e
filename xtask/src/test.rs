//! `cargo xtask test`: all checks, each even if one before it failed, and a summary at the end.

mod deny;
mod runner;
mod schemathesis;
mod vm;

pub(crate) use vm::Trial;

use std::process::ExitCode;

use anyhow::Result;

use crate::browser;
use crate::clock::Stopwatch;
use crate::interrupt::Daemons;
use crate::places::Places;
use crate::program;
use crate::setup;
use crate::summary::{Outcome, Summary};
use crate::tidy;

/// # Errors
///
/// When what the tests need cannot be had; failed checks are told by the exit status.
pub(crate) fn run(places: &Places) -> Result<ExitCode> {
    let daemons = Daemons::watched()?;
    let clock = Stopwatch::start();
    setup::install_packages(setup::Purpose::Test)?;
    setup::try_extra(setup::Extra::Containers);
    setup::uv(places)?;
    let nextest = setup::cargo_nextest(places)?;
    println!("set-up took {:.1} s", clock.elapsed().as_secs_f32());

    let mut summary = Summary::default();
    let cargo = |words: &[&str]| -> Result<Outcome> {
        program::run(&mut program::cargo(&places.root, words))?;
        Ok(Outcome::one_passed())
    };
    summary.part("fmt", || {
        // Only the names: the tool itself makes the differences that it would show.
        cargo(&["fmt", "--all", "--", "--check", "--files-with-diff"])
    });
    summary.part("tidy", || tidy::check(places));
    summary.part("deny", || deny::run(places));
    summary.part("clippy", || {
        let words = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        cargo(&words)
    });
    summary.part("nextest", || runner::nextest(places, &nextest));
    summary.part("doctests", || runner::doctests(places));
    summary.part("schemathesis", || schemathesis::run(places, &daemons));
    summary.part("browser", || browser::test(places, &daemons));

    println!("\n{:.0} s in all\n{summary}", clock.elapsed().as_secs_f32());
    Ok(if summary.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The API against its description alone.
///
/// # Errors
///
/// When it cannot be tried; failed checks are told by the exit status.
pub(crate) fn run_schemathesis(places: &Places) -> Result<ExitCode> {
    let daemons = Daemons::watched()?;
    let mut summary = Summary::default();
    summary.part("schemathesis", || schemathesis::run(places, &daemons));
    println!("\n{summary}");
    Ok(if summary.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// `test --vm`: the tests in the virtual machine alone.
///
/// # Errors
///
/// When they cannot be run; failed checks are told by the exit status.
pub(crate) fn run_vm(places: &Places, trial: Trial) -> Result<ExitCode> {
    let daemons = Daemons::watched()?;
    let mut summary = Summary::default();
    summary.part("vm", || vm::run(places, trial, &daemons));
    println!("\n{summary}");
    Ok(if summary.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
