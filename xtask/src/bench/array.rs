//! `cargo xtask bench array`: a large array by the command, cancelled on the way, with its books to the
//! last micro-credit.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Bench, load};
use crate::clock::Stopwatch;
use crate::command::{self, Shell};
use crate::places::Places;

const TASKS: i64 = 100_000;
/// So many run to their end before the rest is cancelled.
const FINISHED: i64 = 1_000;
const LOOK_STEP: Duration = Duration::from_millis(100);
/// A thousand sandboxed tasks take a few seconds; a slow machine is given more.
const FINISH_LIMIT: Duration = Duration::from_secs(600);
/// What `campusgrid wait` exits with when a job was cancelled.
const CANCELLED: i32 = 123;

/// Submits, waits, cancels, and checks every transfer.
///
/// # Errors
///
/// When the grid cannot be started, or a single micro-credit is elsewhere than it should be.
pub(crate) fn array(places: &Places) -> Result<()> {
    let bench = Bench::start_with(places, &[command::PACKAGE])?;
    let home = bench.folder().join("home");
    let submitter = Shell::open(places, &bench.manager, &bench.submitter, &home)?;
    let owner = Shell::open(places, &bench.manager, &bench.owner, &home)?;
    let before = micros(&submitter.object(&["credits"])?, "balance_micros")?;

    let clock = Stopwatch::start();
    let indices = format!("1-{TASKS}");
    let words = ["submit", "--cmd", "true", "--array", &indices, "--ram", "64M", "--disk", "16M"];
    let submitted = submitter.object(&[&words[..], &["--time", "1m"]].concat())?;
    let accepted = clock.elapsed();
    let job = micros(&submitted, "job")?.to_string();
    let held = micros(&submitted, "held_micros")?;
    println!("{TASKS} tasks accepted in {:.0} ms, command included", accepted.as_secs_f64() * 1e3);
    ensure!(held % TASKS == 0, "each task holds as much: {held} for {TASKS}");

    let clock = Stopwatch::start();
    while micros(&submitter.object(&["show", &job])?, "succeeded")? < FINISHED {
        if clock.elapsed() > FINISH_LIMIT {
            bail!("{FINISHED} tasks did not end in {FINISH_LIMIT:?}\n{}", bench.worker.log_tail());
        }
        thread::sleep(LOOK_STEP);
    }
    let took = clock.elapsed().as_secs_f64();
    println!(
        "{FINISHED} of them ended in {took:.1} s, sandboxed: {:.0} a second",
        FINISHED as f64 / took
    );

    let clock = Stopwatch::start();
    submitter.objects(&["cancel", &job], 0)?;
    println!("cancelled in {:.0} ms, command included", clock.elapsed().as_secs_f64() * 1e3);
    let ended = submitter.objects(&["wait", &job], CANCELLED)?.pop().context("no job")?;
    println!("all of it over {:.1} s after the cancel", clock.elapsed().as_secs_f64());
    check(&ended, &submitter, &owner, before)?;
    println!("load {}", load()?);
    Ok(())
}

/// Holds what the job says against the ledger of both users.
fn check(ended: &Value, submitter: &Shell, owner: &Shell, before: i64) -> Result<()> {
    let of = |name: &str| micros(ended, name);
    let (job, charged, refunded) = (of("job")?, of("charged_micros")?, of("refunded_micros")?);
    let (succeeded, failed, cancelled) = (of("succeeded")?, of("failed")?, of("cancelled")?);
    ensure!(succeeded >= FINISHED && failed == 0, "{succeeded} succeeded, {failed} failed");
    ensure!(succeeded + cancelled == TASKS, "{succeeded} and {cancelled} are not {TASKS}");

    let spent = Ledger::read(submitter, job)?;
    let credits = submitter.object(&["credits"])?;
    let balance = micros(&credits, "balance_micros")?;
    ensure!(micros(&credits, "held_micros")? == 0, "the submitter has an open hold: {credits}");
    ensure!(balance == spent.all, "balance {balance}, transfers {}", spent.all);
    ensure!(spent.hold == -of("held_micros")?, "held {}, told {ended}", -spent.hold);
    ensure!(spent.refunds == refunded, "refunds {}, told {refunded}", spent.refunds);
    ensure!(
        spent.hold + refunded + charged == 0,
        "held {}, refunded {refunded}, charged {charged}",
        -spent.hold
    );
    ensure!(before - balance == charged, "had {before}, has {balance}, charged {charged}");

    let earned = Ledger::read(owner, job)?;
    ensure!(earned.pays == charged, "earned {}, charged {charged}", earned.pays);
    println!(
        "{succeeded} succeeded, {cancelled} cancelled; held {} micro-credits, charged {charged}, refunded \
         {refunded}, left over 0; the owner has earned {} in {} payments",
        -spent.hold, earned.pays, earned.payments
    );
    Ok(())
}

/// What the transfers of a user say of a job. Micro-credits.
#[derive(Debug, Default)]
struct Ledger {
    /// Of every transfer, whatever it is about.
    all: i64,
    hold: i64,
    refunds: i64,
    pays: i64,
    payments: u64,
}

impl Ledger {
    fn read(user: &Shell, job: i64) -> Result<Self> {
        let every = u32::MAX.to_string();
        let mut ledger = Self::default();
        for transfer in user.objects(&["credits", "--transfers", &every], 0)? {
            let amount = micros(&transfer, "amount_micros")?;
            let key = transfer["key"].as_str().context("a transfer has a key")?;
            ledger.take(key, amount, job);
        }
        Ok(ledger)
    }

    fn take(&mut self, key: &str, amount: i64, job: i64) {
        self.all += amount;
        let (kind, rest) = key.split_once(':').unwrap_or((key, ""));
        // `hold:JOB`, `pay:JOB.TASK:ATTEMPT`, `refund:JOB.TASK…`.
        let of_job = rest.split(|c: char| !c.is_ascii_digit()).next();
        if of_job != Some(&job.to_string()) {
            return;
        }
        if kind == "hold" {
            self.hold += amount;
        } else if kind == "pay" {
            self.pays += amount;
            self.payments += 1;
        } else if kind == "refund" {
            self.refunds += amount;
        }
    }
}

fn micros(value: &Value, field: &str) -> Result<i64> {
    value[field].as_i64().with_context(|| format!("no number {field} in {value}"))
}

#[cfg(test)]
mod tests {
    use super::Ledger;

    #[test]
    fn only_transfers_of_the_job_count_as_its() {
        let mut ledger = Ledger::default();
        for (key, amount) in [
            ("grant:1", 1000),
            ("hold:7", -90),
            ("refund:7.3", 10),
            ("refund:7.10-99", 50),
            ("pay:7.3:1", 5),
            ("hold:70", -7),
        ] {
            ledger.take(key, amount, 7);
        }
        let Ledger { all, hold, refunds, pays, payments } = ledger;
        assert_eq!((all, hold, refunds, pays, payments), (968, -90, 60, 5, 1));
    }
}
