//! What the README names: `cargo xtask demo`, `test`, `tidy`, `bench`, `setup` and `screenshot`.
//!
//! Nothing here is part of the product; the product's binaries are run as a user would run them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to a person")]

mod account;
mod bench;
mod browser;
mod chaos;
mod client;
mod clock;
mod command;
mod daemon;
mod demo;
mod fuzz;
mod grid;
mod images;
mod interrupt;
mod places;
mod program;
mod setup;
mod sim;
mod summary;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::places::Places;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  demo [--once] [--data-dir DIR]  build, start a manager and a worker, run the example jobs, serve
  test                            set up what tests need and run all of them
  test --vm                       test the sandbox in a virtual machine, with cgroup v2
  test --vm hostile               run the hostile programs there, through a real worker
  fuzz [--seconds N] [TARGET…]    feed hostile bytes to each target (or those named) for N seconds
  chaos [--kills N] [--seed S]    kill and cut off a whole grid N times, check what was acknowledged
  flood [--workers N]             let N workers return at once to a manager that was killed
  sim [--seeds N] [--from S]      play N made-up worlds from seed S on, with faults, on all cores
  sim market [--seed S]           let 200 owners bid on 2,000 jobs, print what that comes to
  browser                         run the browser test alone
  schemathesis                    try the API against its description alone
  tidy                            check the rules of style that no other tool knows
  setup                           install what the demo needs
  setup test                      install what the tests need as well
  bench latency                   time from submitting a job to seeing its result
  bench sandbox                   what a sandboxed task costs over a plain process
  bench array                     100,000 tasks by the command, cancelled on the way, to the micro-credit
  bench takeback                  work lost on a machine that its owner takes back again and again
  bench idle                      processor and memory that idle daemons use
  images                          build container images of the manager and the worker
  screenshot                      take docs/pictures/dashboard.png anew";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<ExitCode> {
    let places = Places::find()?;
    match words {
        ["demo", options @ ..] => demo::run(&places, &demo::Options::parse(options)?),
        ["test"] => test::run(&places),
        ["test", "--vm"] => test::run_vm(&places, test::Trial::Sandbox),
        ["test", "--vm", "hostile"] => test::run_vm(&places, test::Trial::Hostile),
        ["sim", options @ ..] => sim::run(&places, options),
        ["fuzz", options @ ..] => fuzz::run(&places, &fuzz::Options::parse(options)?),
        ["chaos", options @ ..] => chaos::run(&places, "storm", options),
        ["flood", options @ ..] => chaos::run(&places, "flood", options),
        ["browser"] => browser::run(&places),
        ["schemathesis"] => test::run_schemathesis(&places),
        ["tidy"] => tidy::run(&places),
        ["setup"] => setup::run(&places, setup::Purpose::Demo).map(|()| ExitCode::SUCCESS),
        ["setup", "test"] => setup::run(&places, setup::Purpose::Test).map(|()| ExitCode::SUCCESS),
        ["bench", "latency"] => bench::latency(&places).map(|()| ExitCode::SUCCESS),
        ["bench", "sandbox"] => bench::sandbox(&places).map(|()| ExitCode::SUCCESS),
        ["bench", "array"] => bench::array(&places).map(|()| ExitCode::SUCCESS),
        ["bench", "takeback"] => bench::takeback(&places).map(|()| ExitCode::SUCCESS),
        ["bench", "idle"] => bench::idle(&places).map(|()| ExitCode::SUCCESS),
        ["images"] => images::build(&places).map(|()| ExitCode::SUCCESS),
        ["screenshot"] => browser::screenshot(&places).map(|()| ExitCode::SUCCESS),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("unknown command: {}\n\n{USAGE}", other.join(" ")),
    }
}
