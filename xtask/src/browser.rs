//! The dashboard in a real browser against real processes, and the picture of it in the README.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::account::Account;
use crate::grid::{self, Door, Manager, Plan, Ports, ShortLived, Worker};
use crate::interrupt::Daemons;
use crate::places::{Places, Profile};
use crate::program;
use crate::setup::{self, CHROMIUMS, Purpose};
use crate::summary::Outcome;

/// The one picture that belongs to the tree.
const PICTURE: &str = "docs/pictures/dashboard.png";

/// The browser test alone.
///
/// # Errors
///
/// When it cannot be run; a step that failed is told by the exit status.
pub(crate) fn run(places: &Places) -> Result<ExitCode> {
    let daemons = Daemons::watched()?;
    setup::run(places, Purpose::Demo)?;
    let outcome = test(places, &daemons)?;
    if outcome.passed == 0 {
        println!("{}", outcome.skipped.join("\n"));
    }
    Ok(if outcome.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Drives the dashboard through a user's first hour.
///
/// # Errors
///
/// When the grid or the browser cannot be started.
pub(crate) fn test(places: &Places, daemons: &Daemons) -> Result<Outcome> {
    let Some(chromium) = chromium() else {
        return Ok(Outcome::skipped(format!("no browser: none of {}", CHROMIUMS.join(", "))));
    };
    let tests = places.root.join("tests/browser");
    let mut install = Command::new("npm");
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&tests);
    if let Err(error) = program::quiet(&mut install) {
        return Ok(Outcome::skipped(format!("playwright-core cannot be had: {error:#}")));
    }
    grid::build(places, Profile::Debug)?;
    let folder = ShortLived::make("browser")?;
    let outcome = drive(places, &folder, daemons, &chromium, "dashboard.mjs");
    daemons.stop();
    outcome
}

/// Takes `docs/pictures/dashboard.png` anew.
///
/// # Errors
///
/// When anything in between fails.
pub(crate) fn screenshot(places: &Places) -> Result<()> {
    let daemons = Daemons::watched()?;
    setup::run(places, Purpose::Test)?;
    let chromium = chromium().context("no browser is installed")?;
    let tests = places.root.join("tests/browser");
    program::quiet(Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(&tests))?;
    grid::build(places, Profile::Debug)?;
    let folder = ShortLived::make("screenshot")?;
    let outcome = drive(places, &folder, &daemons, &chromium, "screenshot.mjs");
    daemons.stop();
    if outcome?.failed > 0 {
        bail!("the picture could not be taken");
    }
    Ok(())
}

fn chromium() -> Option<String> {
    let found = CHROMIUMS.iter().find_map(|name| program::on_path(name))?;
    found.to_str().map(str::to_owned)
}

fn drive(
    places: &Places,
    folder: &ShortLived,
    daemons: &Daemons,
    chromium: &str,
    script: &str,
) -> Result<Outcome> {
    let plan = Plan {
        profile: Profile::Debug,
        folder: folder.path().to_owned(),
        ports: Ports::free()?,
        // What a new user usually has is too little for an array.
        starting_credits: Some(1000),
        worker_name: "library-pc-7".to_owned(),
    };
    let manager = grid::start_manager(places, plan, daemons)?;
    let owner = Account::with_random_password("olivia")?;
    let worker = manager.start_worker(places, Door::Code(&owner.name), daemons)?;
    let code = worker.code()?;
    let mut node = Command::new("node");
    node.arg(places.root.join("tests/browser").join(script)).current_dir(&places.root);
    node.env("DASHBOARD_URL", &manager.url).env("CHROMIUM", chromium);
    node.env("OWNER_NAME", &owner.name).env("OWNER_PASSWORD", &owner.password);
    node.env("APPROVAL_CODE", &code).env("PICTURES", places.target.join("browser"));
    node.env("PICTURE", places.root.join(PICTURE));
    let outcome = counted(&mut node)?;
    if outcome.failed > 0 {
        eprintln!("{}", logs(&manager, &worker));
    }
    Ok(outcome)
}

fn logs(manager: &Manager, worker: &Worker) -> String {
    format!("the manager said:\n{}the worker said:\n{}", manager.log_tail(), worker.log_tail())
}

/// Runs a script that says `ok …`, `FAILED …` or `skipped …` of each of its steps.
fn counted(node: &mut Command) -> Result<Outcome> {
    let child = node.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let output = child.context("failed to start node")?.wait_with_output();
    let output = output.context("failed to wait for node")?;
    let mut outcome = Outcome::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        println!("{line}");
        if line.starts_with("ok ") {
            outcome.passed += 1;
        } else if line.starts_with("FAILED ") {
            outcome.failed += 1;
        } else if let Some(why) = line.strip_prefix("skipped ") {
            outcome.skipped.push(why.to_owned());
        }
    }
    if outcome.failed == 0 && (outcome.passed == 0 || !output.status.success()) {
        eprintln!("the script ended with {}", output.status);
        outcome.failed = 1;
    }
    Ok(outcome)
}
