//! The `campusgrid-chaos` command: storms, floods, and the clients that storms are made of.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to a person")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use campusgrid_chaos::client::{self, ClientConfig};
use campusgrid_chaos::error::ChaosError;
use campusgrid_chaos::flood::{self, FloodConfig};
use campusgrid_chaos::grid::Programs;
use campusgrid_chaos::storm::{self, StormConfig};
use campusgrid_chaos::tamper::Tampering;
use clap::{Parser, Subcommand};

/// The token of a client's login: a command line can be read by everybody.
const TOKEN: &str = "CAMPUSGRID_CHAOS_TOKEN";

/// Lies about what came of a storm, with commas between, for the tests of this program.
const TAMPER: &str = "CAMPUSGRID_CHAOS_TAMPER";

/// Longer than all comes to its end once nothing goes wrong any more: workers may pause for half a
/// minute before they dial again, and what runs is at most some seconds long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Nobody needs to wait for what will not come.
const PATIENCE_WITH_LIARS: Duration = Duration::from_secs(15);

/// Tries to break a grid.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kill, stop and cut off a manager, three workers and their clients, and check what came of it
    Storm {
        /// How often something is killed
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// The same seed is the same storm [default: a new one]
        #[arg(long)]
        seed: Option<u64>,
        /// Where the manager and the worker are [default: beside this program]
        #[arg(long, value_name = "DIR")]
        binaries: Option<PathBuf>,
    },
    /// Let thousands of fake workers return to a manager that was killed, and measure
    Flood {
        #[arg(long, default_value_t = 2000)]
        workers: u32,
        /// How long the manager stays away
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        down: u64,
        /// Where the manager is [default: beside this program]
        #[arg(long, value_name = "DIR")]
        binaries: Option<PathBuf>,
    },
    /// Be a client of a storm until standard input ends
    Client {
        #[arg(long)]
        url: String,
        #[arg(long)]
        name: String,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        journal: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("campusgrid-chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Storm { kills, seed, binaries } => {
            let programs = programs(binaries)?;
            let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
            let folder = format!("campusgrid-chaos-{seed}-{}", std::process::id());
            let folder = std::env::temp_dir().join(folder);
            let tampering = std::env::var(TAMPER).ok();
            let tampering = tampering.map(|text| Tampering::parse_list(&text)).transpose()?;
            let tampering = tampering.unwrap_or_default();
            let patience = if tampering.is_empty() { PATIENCE } else { PATIENCE_WITH_LIARS };
            let config = StormConfig { kills, seed, programs, folder, patience, tampering };
            match storm::run(config) {
                Ok(report) => {
                    println!("{report}");
                    let is_good = report.findings.is_empty();
                    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
                }
                Err(error @ ChaosError::NoSandbox) => {
                    println!("skipped: {error}");
                    Ok(ExitCode::SUCCESS)
                }
                Err(error) => Err(error).with_context(|| format!("in the storm of seed {seed}")),
            }
        }
        Command::Flood { workers, down, binaries } => {
            let folder = format!("campusgrid-flood-{}", std::process::id());
            let folder = std::env::temp_dir().join(folder);
            let (programs, down) = (programs(binaries)?, Duration::from_secs(down));
            let report = flood::run(&FloodConfig { workers, down, programs, folder })?;
            println!("{report}");
            Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Client { url, name, seed, journal } => {
            let token = std::env::var(TOKEN).with_context(|| format!("{TOKEN} is missing"))?;
            client::run(ClientConfig { url, token, journal, seed, name, isolation: None })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn programs(folder: Option<PathBuf>) -> anyhow::Result<Programs> {
    let own = std::env::current_exe().context("failed to find the own program")?;
    let folder = folder.or_else(|| own.parent().map(PathBuf::from));
    Ok(Programs::of(&folder.context("the own program lies nowhere")?, own))
}
