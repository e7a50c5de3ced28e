//! What a sandboxed `true` costs beside a plain one, alone, warm, and as an array on two lanes.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "it is a measurement, not a product")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use campusgrid_sandbox::clock::Stopwatch;
use campusgrid_sandbox::plan::{Exit, Limits, Network, Plan, Step};
use campusgrid_sandbox::sandbox::{Confinement, Sandbox, SandboxConfig};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 200;

fn plan(results: &Path, family: Option<&str>) -> Plan {
    Plan {
        name: "bench".to_owned(),
        files: Vec::new(),
        steps: vec![Step { argv: vec!["true".to_owned()], wall: Duration::from_secs(20) }],
        environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        read_only: Vec::new(),
        read_write: Vec::new(),
        devices: Vec::new(),
        network: Network::None,
        family: family.map(str::to_owned),
        shared_tmp: false,
        limits: Limits {
            cpu_millis: 1000,
            ram_mib: 128,
            scratch_mib: 16,
            scratch_files: 500,
            file_mib: 16,
            processes: 32,
            log_keep_bytes: 4096,
            log_flood_bytes: 65536,
            outputs: 10,
            outputs_bytes: 65536,
            grace: Duration::from_millis(100),
        },
        results: results.to_path_buf(),
    }
}

async fn run(sandbox: &Sandbox, scratch: &Path, number: usize, family: Option<&str>) {
    let results = scratch.join(format!("results-{number}"));
    fs::create_dir(&results).unwrap();
    let (progress, _nobody) = mpsc::channel(4);
    let plan = plan(&results, family);
    let report = sandbox.run(plan, progress, CancellationToken::new()).await.unwrap();
    assert_eq!(report.exit, Exit::Code(0));
    fs::remove_dir_all(&results).unwrap();
}

/// Processor time of this process.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = |time: TimeVal| (time.tv_sec() * 1_000_000 + time.tv_usec()).cast_unsigned();
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

fn tell(what: &str, mut times: Vec<Duration>) {
    if times.is_empty() {
        return;
    }
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1000.0;
    println!("{what:40} median {:6.2} ms   p90 {:6.2} ms", at(50), at(90));
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let scratch = std::env::temp_dir().join(format!("campusgrid-bench-{}", std::process::id()));
    let config = SandboxConfig {
        confinement: Confinement::Full,
        helper: PathBuf::from(env!("CARGO_BIN_EXE_campusgrid-sandbox-helper")),
        scratch: scratch.clone(),
        first_job_uid: 60000,
        allow_restricted: false,
    };
    let (sandbox, strength) = Sandbox::probe(config).await;
    let sandbox = sandbox.unwrap_or_else(|| panic!("{:?}", strength.notes));

    let only_arrays = std::env::args().any(|argument| argument == "arrays");
    let rounds = if only_arrays { 0 } else { ROUNDS };
    let mut plain = Vec::new();
    for _ in 0..rounds {
        let start = Stopwatch::start();
        assert!(Command::new("/usr/bin/true").env_clear().status().unwrap().success());
        plain.push(start.passed());
    }
    tell("posix_spawn of true", plain);

    for (what, pause, family) in [
        ("sandboxed, a new lane each, at leisure", 40, None),
        ("sandboxed, a new lane each, back to back", 0, None),
        ("sandboxed, warm lane, at leisure", 20, Some("bench")),
        ("sandboxed, warm lane, back to back", 0, Some("bench")),
    ] {
        let mut times = Vec::new();
        for number in 0..rounds {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let start = Stopwatch::start();
            run(&sandbox, &scratch, number, family).await;
            times.push(start.passed());
        }
        tell(what, times);
    }

    for lanes in [1, 2, 4] {
        let used = cpu();
        let start = Stopwatch::start();
        let each = 1000 / lanes;
        let lane = |lane: usize| {
            let (sandbox, scratch) = (&sandbox, &scratch);
            async move {
                for number in 0..each {
                    run(sandbox, scratch, lane * 1000 + number, Some("array")).await;
                }
            }
        };
        match lanes {
            1 => lane(0).await,
            2 => drop(tokio::join!(lane(0), lane(1))),
            _ => drop(tokio::join!(lane(0), lane(1), lane(2), lane(3))),
        }
        let rate = 1000.0 / start.passed().as_secs_f64();
        let ms = (cpu() - used).as_secs_f64();
        println!(
            "array of 1000 on {lanes} lanes {rate:18.0} tasks/s   daemon's cpu {ms:.3} ms each"
        );
    }
    drop(sandbox);
    fs::remove_dir_all(&scratch).unwrap();
}
