//! What the walls cost: `true` in the sandbox beside `true` without, in turn, in one run.
//!
//! Started by `cargo xtask bench sandbox`. A program of its own, so that the sandbox is not
//! compiled into every xtask, and at the settings of a release. Also its own sandbox's helper.

#![expect(clippy::print_stdout, reason = "a command line talks to a person")]

mod clock;
mod confined;
mod figures;
mod plain;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result};
use campusgrid_sandbox::helper::{HELPER_ARGUMENT, helper_main};
use tokio::runtime;

use crate::clock::timed;
use crate::confined::{Confined, Inputs};
use crate::figures::Times;

const ROUNDS: usize = 400;
/// Not measured: the first of everything is slower.
const WARM_UP_ROUNDS: usize = 20;
/// Of an array; each contestant runs it this often, in turn with the others.
const ARRAY_TASKS: usize = 300;
const ARRAY_ROUNDS: usize = 5;
/// Files at the top of what a job brings: each is a link in its tasks' directories.
const FEW_INPUTS: usize = 10;
const MANY_INPUTS: usize = 1000;
const WITH_FEW: &str = "the same, with links to 10 input files";
const WITH_MANY: &str = "the same, with links to 1,000 input files";
/// Median of a sandboxed `true` over that of a plain one.
const TARGET_MS: f64 = 8.0;

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some(HELPER_ARGUMENT) {
        helper_main();
    }
    let folder = std::env::temp_dir().join(format!("campusgrid-bench-sandbox-{}", process::id()));
    fs::create_dir(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let measured = runtime.context("failed to start a runtime")?.block_on(measure(&folder));
    fs::remove_dir_all(&folder)
        .with_context(|| format!("failed to remove {}", folder.display()))?;
    measured
}

async fn measure(folder: &Path) -> Result<()> {
    let subjects = Subjects::find(folder).await?;
    let before = load()?;
    let mut single = Single::default();
    for round in 0..WARM_UP_ROUNDS {
        subjects.round(&mut Single::default(), round).await?;
    }
    for round in WARM_UP_ROUNDS..WARM_UP_ROUNDS + ROUNDS {
        subjects.round(&mut single, round).await?;
    }
    println!("`true`, {ROUNDS} rounds, each of all of these in turn, in ms:");
    single.print();
    let mut array = Array::default();
    for round in 0..ARRAY_ROUNDS {
        subjects.array_round(&mut array, round).await?;
    }
    println!("\nan array of {ARRAY_TASKS} tasks `true`, {ARRAY_ROUNDS} rounds in turn, tasks/s:");
    array.print();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("\nload before {before}, after {}, on {cores} cores", load()?);
    single.print_verdict();
    Ok(())
}

/// All that is compared.
struct Subjects {
    static_true: Option<PathBuf>,
    bwrap: Option<PathBuf>,
    /// Two, so that one's tasks never find what the other's have left warm.
    cold: Confined,
    warm: Confined,
    few: Inputs,
    many: Inputs,
}

/// How long one of each took.
#[derive(Default)]
struct Single {
    arithmetic: Times,
    dynamic: Times,
    fixed: Times,
    bwrap: Times,
    cold: Times,
    warm: Times,
    few: Times,
    many: Times,
}

/// How long an array of each took.
#[derive(Default)]
struct Array {
    xargs: Times,
    one_lane: Times,
    two_lanes: Times,
}

impl Subjects {
    async fn find(folder: &Path) -> Result<Self> {
        let found = |result: Result<PathBuf>| {
            result.inspect_err(|error| println!("left out: {error:#}")).ok()
        };
        let [cold, warm] = ["cold", "warm"].map(|name| folder.join(name));
        for folder in [&cold, &warm] {
            fs::create_dir(folder).context("failed to make a folder")?;
        }
        let warm = Confined::new(&warm).await?;
        let [few, many] = [FEW_INPUTS, MANY_INPUTS].map(|files| warm.lay_out(files));
        Ok(Self {
            few: few?,
            many: many?,
            static_true: found(plain::static_true(folder)),
            bwrap: found(plain::bwrap()),
            cold: Confined::new(&cold).await?,
            warm,
        })
    }

    async fn round(&self, times: &mut Single, round: usize) -> Result<()> {
        times.arithmetic.add(timed(async { black_box(arithmetic()) }).await.0);
        let (took, ran) = timed(async { plain::run(Path::new(plain::TRUE), &[]) }).await;
        ran?;
        times.dynamic.add(took);
        if let Some(program) = &self.static_true {
            let (took, ran) = timed(async { plain::run(program, &[]) }).await;
            ran?;
            times.fixed.add(took);
        }
        if let Some(bwrap) = &self.bwrap {
            let (took, ran) = timed(async { plain::run_bwrap(bwrap) }).await;
            ran?;
            times.bwrap.add(took);
        }
        let name = format!("{round}");
        for (confined, family, times) in
            [(&self.cold, None, &mut times.cold), (&self.warm, Some("bench"), &mut times.warm)]
        {
            let plan = confined.prepare(&name, family)?;
            let (took, ran) = timed(confined.run(plan)).await;
            ran?;
            times.add(took);
            confined.clear(&name)?;
        }
        for (family, inputs, times) in
            [("few", &self.few, &mut times.few), ("many", &self.many, &mut times.many)]
        {
            let plan = self.warm.prepare_with(&name, family, inputs)?;
            let (took, ran) = timed(self.warm.run(plan)).await;
            ran?;
            times.add(took);
            self.warm.clear(&name)?;
        }
        Ok(())
    }

    async fn array_round(&self, times: &mut Array, round: usize) -> Result<()> {
        let (took, ran) = timed(async { plain::run_xargs(ARRAY_TASKS, 2) }).await;
        ran?;
        times.xargs.add(took);
        let family = format!("array-{round}");
        let (took, ran) = timed(self.lane(&format!("{round}-one"), &family, ARRAY_TASKS)).await;
        ran?;
        times.one_lane.add(took);
        let family = format!("pair-{round}");
        let half = ARRAY_TASKS / 2;
        let [first, second] = [format!("{round}-a"), format!("{round}-b")];
        let (took, ran) = timed(async {
            tokio::try_join!(
                self.lane(&first, &family, half),
                self.lane(&second, &family, ARRAY_TASKS - half),
            )
        })
        .await;
        ran?;
        times.two_lanes.add(took);
        Ok(())
    }

    /// Tasks of one family, one after the other.
    async fn lane(&self, names: &str, family: &str, tasks: usize) -> Result<()> {
        for number in 0..tasks {
            let name = format!("{names}-{number}");
            let plan = self.warm.prepare(&name, Some(family))?;
            self.warm.run(plan).await?;
            self.warm.clear(&name)?;
        }
        Ok(())
    }
}

impl Single {
    fn print(&self) {
        println!("{:<44} {:>8} {:>8} {:>8}", "", "median", "p10", "p90");
        for (what, times) in [
            ("posix_spawn and wait", &self.dynamic),
            ("posix_spawn and wait, statically linked", &self.fixed),
            ("bwrap --unshare-all --ro-bind / /", &self.bwrap),
            ("sandboxed, of no family", &self.cold),
            ("sandboxed, of the family of the one before", &self.warm),
            (WITH_FEW, &self.few),
            (WITH_MANY, &self.many),
            ("machine noise: the same arithmetic each time", &self.arithmetic),
        ] {
            if !times.is_empty() {
                println!("{what:<44} {times}");
            }
        }
    }

    fn print_verdict(&self) {
        let over = |times: &Times| times.median_ms() - self.dynamic.median_ms();
        let (cold, warm) = (over(&self.cold), over(&self.warm));
        let verdict = if cold <= TARGET_MS { "met" } else { "MISSED" };
        println!(
            "sandboxed true costs {cold:.2} ms over posix_spawn (target {TARGET_MS:.0}): \
             {verdict}; {warm:.2} ms in a warm sandbox"
        );
    }
}

impl Array {
    fn print(&self) {
        println!("{:<44} {:>8} {:>8} {:>8}", "", "median", "slowest", "fastest");
        for (what, times) in [
            ("xargs -P 2, no walls", &self.xargs),
            ("sandboxed, one at a time", &self.one_lane),
            ("sandboxed, two at a time", &self.two_lanes),
        ] {
            let per_second = |percent| ARRAY_TASKS as f64 * 1e3 / times.percentile_ms(percent);
            let [slowest, median, fastest] = [100, 50, 0].map(per_second);
            println!("{what:<44} {median:8.0} {slowest:8.0} {fastest:8.0}");
        }
    }
}

/// About a millisecond of work that waits for nothing: how much its time varies is how much the
/// machine was disturbed.
fn arithmetic() -> u64 {
    (0..1_000_000_u64).fold(1, |value, step| black_box(value).wrapping_mul(31) ^ step)
}

fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("failed to read /proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}
