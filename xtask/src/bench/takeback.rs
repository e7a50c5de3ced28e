//! `cargo xtask bench takeback`: how much work is lost on a machine that its owner takes back again and
//! again, with and without checkpoints. A minute is a second here.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Bench, load};
use crate::client::{Client, number};
use crate::clock::Stopwatch;
use crate::places::Places;

/// The machine is shared for so long, then its owner wants it.
const SHARED: Duration = Duration::from_secs(10);
/// How long the owner keeps it. Seconds.
const KEPT_S: u64 = 2;
const ROUNDS: u32 = 5;
/// How long one task takes if it is left alone. Seconds.
const LENGTHS_S: [u64; 3] = [4, 8, 30];
/// What was under way has ended, and its end has been told.
const SETTLE: Duration = Duration::from_secs(3);

/// A step is a tenth of a second of work; with a checkpoint, a task goes on after the last one done.
const PROGRAM: &str = r#"
import os, sys, time
steps, keeps = int(sys.argv[1]) * 10, sys.argv[2] == "keep"
path = os.path.join(os.environ["CHECKPOINT_DIR"], "at")
at = 0
if keeps and os.path.exists(path):
    at = int(open(path).read())
while at < steps:
    time.sleep(0.1)
    at += 1
    if keeps:
        with open(path + ".new", "w") as file:
            file.write(str(at))
        os.rename(path + ".new", path)
"#;

/// Takes the machine back in a rhythm, and adds up what came of what ran.
///
/// # Errors
///
/// When the grid cannot be started, or nothing ran.
pub(crate) fn takeback(places: &Places) -> Result<()> {
    let bench = Bench::start(places)?;
    let workers = bench.owner.get("workers")?;
    let worker = number(
        workers.get(0).or_else(|| workers["items"].get(0)).context("no machine")?,
        "worker",
    )?;
    println!(
        "taken back every {} s for {KEPT_S} s, {ROUNDS} times; a second stands for a minute:",
        SHARED.as_secs()
    );
    println!("task      without checkpoints         with checkpoints");
    for length_s in LENGTHS_S {
        let lost = run(&bench, worker, length_s, "lose")?;
        let kept = run(&bench, worker, length_s, "keep")?;
        println!("{length_s:3} min   {lost}   {kept}");
    }
    println!("load {}", load()?);
    Ok(())
}

/// What came of the work of one job, for people.
fn run(bench: &Bench, worker: u64, length_s: u64, mode: &str) -> Result<String> {
    let job = bench.submitter.submit(&json!({
        "kind": "python", "name": "takeback", "source": PROGRAM, "tasks": 100,
        "arguments": [length_s.to_string(), mode], "ram_mib": 64, "disk_mib": 16,
        "time_limit_s": length_s * 10, "checkpoint_s": 5,
    }))?;
    for _ in 0..ROUNDS {
        let clock = Stopwatch::start();
        thread::sleep(SHARED.saturating_sub(clock.elapsed()));
        let pause = json!({ "wish": "pause", "for_s": KEPT_S });
        bench.owner.post(&format!("workers/{worker}/by-hand"), &pause)?;
        thread::sleep(Duration::from_secs(KEPT_S));
    }
    bench.submitter.post(&format!("jobs/{job}/cancel"), &json!({}))?;
    bench.submitter.wait(job)?;
    thread::sleep(SETTLE);
    let Work { spent_ms, useful_ms } = work(&bench.submitter, job, length_s * 1000)?;
    ensure!(spent_ms > 0, "nothing ran\n{}", bench.worker.log_tail());
    let lost_ms = spent_ms.saturating_sub(useful_ms);
    Ok(format!(
        "{:5.1} s of {:5.1} s lost ({:3} %)",
        lost_ms as f64 / 1e3,
        spent_ms as f64 / 1e3,
        100 * lost_ms / spent_ms
    ))
}

/// Running time, milliseconds.
struct Work {
    spent_ms: u64,
    /// Of tasks that succeeded, each once.
    useful_ms: u64,
}

fn work(user: &Client, job: u64, length_ms: u64) -> Result<Work> {
    let mut work = Work { spent_ms: 0, useful_ms: 0 };
    let mut from = 0;
    loop {
        let page = user.get(&format!("jobs/{job}/tasks?from={from}"))?;
        for task in page["items"].as_array().context("no list of tasks")? {
            work.add(task, length_ms);
        }
        match page["next"].as_u64() {
            Some(next) => from = next,
            None => return Ok(work),
        }
    }
}

impl Work {
    fn add(&mut self, task: &Value, length_ms: u64) {
        // What the cancel at the end has cut off is nobody's loss.
        let attempts = task["attempts"].as_array().into_iter().flatten();
        let done = attempts.filter(|attempt| attempt["end"] != "cancelled");
        let spent_ms: u64 = done.filter_map(|attempt| attempt["run_ms"].as_u64()).sum();
        self.spent_ms += spent_ms;
        let saved_ms = task["saved_ms"].as_u64().unwrap_or(0);
        self.useful_ms +=
            if task["state"] == "succeeded" { length_ms.min(spent_ms) } else { saved_ms };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Work;

    #[test]
    fn what_is_saved_or_succeeded_is_not_lost() {
        let mut work = Work { spent_ms: 0, useful_ms: 0 };
        let ended = |end: &str, run_ms: u64| json!({ "end": end, "run_ms": run_ms });
        let attempts = [ended("returned", 3000), ended("succeeded", 4100)];
        work.add(&json!({ "state": "succeeded", "attempts": attempts }), 4000);
        work.add(&json!({ "state": "queued", "attempts": [ended("returned", 900)] }), 4000);
        let attempts = [ended("returned", 2000), ended("cancelled", 700)];
        work.add(&json!({ "state": "cancelled", "saved_ms": 1900, "attempts": attempts }), 4000);
        assert_eq!((work.spent_ms, work.useful_ms), (10_000, 5_900));
    }
}
