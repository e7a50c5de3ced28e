//! `cargo xtask bench`: what the system reaches on this machine, measured on release binaries.

mod array;
mod takeback;

pub(crate) use array::array;
pub(crate) use takeback::takeback;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::account::Account;
use crate::client::{Client, state, trivial_job};
use crate::clock::Stopwatch;
use crate::grid::{self, Door, Manager, Plan, Ports, ShortLived, Worker};
use crate::interrupt::Daemons;
use crate::places::{Places, Profile};
use crate::program;
use crate::setup::{self, Purpose};

const JOBS: usize = 200;
/// Run before the measured ones, as a machine in use would have.
const WARM_UP_JOBS: usize = 10;
const IDLE_SPAN: Duration = Duration::from_secs(30);
/// After joining, until the first work of starting has settled.
const IDLE_SETTLE: Duration = Duration::from_secs(3);
/// Enough for any number of trivial jobs.
const CREDITS: u64 = 1_000_000;

/// A grid of release binaries in a folder of its own, with one user who owns its worker.
struct Bench {
    manager: Manager,
    worker: Worker,
    submitter: Client,
    owner: Client,
    daemons: Daemons,
    // The last field: the folder goes when the daemons have ended.
    folder: ShortLived,
}

impl Bench {
    fn start(places: &Places) -> Result<Self> {
        Self::start_with(places, &[])
    }

    /// The same, with the binaries of more packages.
    fn start_with(places: &Places, packages: &[&str]) -> Result<Self> {
        let daemons = Daemons::watched()?;
        setup::run(places, Purpose::Demo)?;
        grid::build_with(places, Profile::Release, packages)?;
        let folder = ShortLived::make("bench")?;
        let plan = Plan {
            profile: Profile::Release,
            folder: folder.path().to_owned(),
            ports: Ports::free()?,
            starting_credits: Some(CREDITS),
            worker_name: "bench".to_owned(),
        };
        let manager = grid::start_manager(places, plan, &daemons)?;
        let account = Account::with_random_password("owner")?;
        let owner = account.register(&manager.client)?;
        let submitter = Account::with_random_password("submitter")?.register(&manager.client)?;
        let token = manager.join_token(&owner)?;
        let worker = manager.start_worker(places, Door::Token(&token), &daemons)?;
        worker.wait_until_joined(&manager, &owner)?;
        Ok(Self { manager, worker, submitter, owner, daemons, folder })
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.daemons.stop();
    }
}

/// Time from `POST jobs` to the answer that the job has ended, one job after the other.
///
/// # Errors
///
/// When the grid cannot be started or a job does not succeed.
pub(crate) fn latency(places: &Places) -> Result<()> {
    let bench = Bench::start(places)?;
    let job = trivial_job();
    let once = || -> Result<Duration> {
        let clock = Stopwatch::start();
        let number = bench.submitter.submit(&job)?;
        let detail = bench.submitter.wait(number)?;
        let took = clock.elapsed();
        if state(&detail) != "succeeded" {
            bail!("job {number}: {detail}\n{}", bench.worker.log_tail());
        }
        Ok(took)
    };
    for _ in 0..WARM_UP_JOBS {
        once()?;
    }
    let before = load()?;
    let mut times = (0..JOBS).map(|_| once()).collect::<Result<Vec<_>>>()?;
    let after = load()?;
    times.sort();
    println!("{JOBS} jobs of one task `true`, sandboxed, one after the other, on one connection:");
    for (name, per_mille) in [("p50", 500), ("p90", 900), ("p99", 990), ("max", 1000)] {
        println!("{name} {:8.2} ms", percentile(&times, per_mille).as_secs_f64() * 1e3);
    }
    println!("load before {before}, after {after}, on {} cores", cores());
    Ok(())
}

/// Processor and memory of a manager and a worker that have nothing to do.
///
/// # Errors
///
/// When the grid cannot be started or `/proc` cannot be read.
pub(crate) fn idle(places: &Places) -> Result<()> {
    let bench = Bench::start(places)?;
    thread::sleep(IDLE_SETTLE);
    let daemons = [("manager", bench.manager.pid), ("worker", bench.worker.pid)];
    let before = daemons.map(|(_, pid)| Usage::of_tree(pid));
    let clock = Stopwatch::start();
    thread::sleep(IDLE_SPAN);
    let span = clock.elapsed();
    println!("idle for {:.1} s, one worker, on {} cores:", span.as_secs_f32(), cores());
    for ((name, pid), before) in daemons.into_iter().zip(before) {
        let (before, after) = (before?, Usage::of_tree(pid)?);
        let busy = Duration::from_nanos(after.cpu_ns_since(&before));
        let percent = 100.0 * busy.as_secs_f64() / span.as_secs_f64();
        let mib = after.rss_kib / 1024;
        println!(
            "{name:<8} {percent:6.3} % of a core, {mib:4} MiB in {} processes",
            after.processes
        );
    }
    println!("load {}", load()?);
    Ok(())
}

/// The sandbox by itself: a program of its own, so that it is measured as it is released.
///
/// # Errors
///
/// When it does not compile, or this machine cannot confine tasks.
pub(crate) fn sandbox(places: &Places) -> Result<()> {
    let mut words = vec!["run", "--quiet", "--release", "--package", "xtask"];
    words.extend(["--example", "bench-sandbox"]);
    program::run(&mut program::cargo(&places.root, &words))
}

/// The value below which `per_mille` of the sorted times lie (nearest rank).
fn percentile(sorted: &[Duration], per_mille: usize) -> Duration {
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("failed to read /proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// What a process and all that descend from it have used.
#[derive(Debug, Default)]
struct Usage {
    /// By thread: one that ends takes its count with it.
    cpu_ns: BTreeMap<PathBuf, u64>,
    /// Of all together; pages that they share count more than once.
    rss_kib: u64,
    processes: u32,
}

impl Usage {
    fn of_tree(pid: u32) -> Result<Self> {
        let mut all = Self::default();
        all.add(pid).with_context(|| format!("failed to read /proc/{pid}"))?;
        Ok(all)
    }

    fn cpu_ns_since(&self, before: &Self) -> u64 {
        let spent = |(thread, now): (&PathBuf, &u64)| {
            now.saturating_sub(before.cpu_ns.get(thread).copied().unwrap_or(0))
        };
        self.cpu_ns.iter().map(spent).sum()
    }

    fn add(&mut self, pid: u32) -> Result<()> {
        self.processes += 1;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = rss.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        self.rss_kib += kib.unwrap_or(0_u64);
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?.path();
            // Nanoseconds on a processor; `stat` counts in hundredths of a second. A thread or
            // child that has ended by now is none of an idle daemon's.
            let Ok(spent) = fs::read_to_string(thread.join("schedstat")) else { continue };
            let spent = spent.split_whitespace().next().unwrap_or("0").parse()?;
            let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
            self.cpu_ns.insert(thread, spent);
            for child in children.split_whitespace() {
                self.add(child.parse()?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Usage, percentile};

    #[test]
    fn percentiles_are_values_that_occurred() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let at = |per_mille| percentile(&times, per_mille).as_millis();
        assert_eq!([at(500), at(900), at(990), at(1000)], [100, 180, 198, 200]);
        assert_eq!(percentile(&[], 500), Duration::ZERO);
    }

    #[test]
    fn the_own_process_has_used_something() {
        let usage = Usage::of_tree(std::process::id()).unwrap();
        assert!(usage.processes >= 1 && usage.rss_kib > 0, "{usage:?}");
        assert!(usage.cpu_ns_since(&Usage::default()) > 0, "{usage:?}");
    }
}
