//! Plays many worlds on all cores and says what happened in them: `cargo xtask sim`; or one season of the
//! market: `cargo xtask sim market`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to a person")]

mod clock;
mod summary;

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use campusgrid_manager::store::Store;
use campusgrid_sim::economy::{Economy, Scale};
use campusgrid_sim::oracle::{Finding, Report};
use campusgrid_sim::world;

use crate::clock::Stopwatch;
use crate::summary::Summary;

const USAGE: &str = "usage: campusgrid-sim [--seeds N] [--from S]
       campusgrid-sim market [--seed S]";

/// As in every test run.
const SEEDS: u64 = 300;

/// Owners and jobs of the season that is printed.
const SEASON: Scale = Scale { owners: 200, jobs: 2000 };

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|word| word == "market").is_some() {
        let Some([seed]) = numbers(words, [("--seed", 0)]) else {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        };
        println!("{}", Economy::play(SEASON, seed));
        return ExitCode::SUCCESS;
    }
    let Some([seeds, from]) = numbers(words, [("--seeds", SEEDS), ("--from", 0)]) else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    name_seeds_of_panics();
    if play_all(from, seeds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The values of these options, or what each is without.
fn numbers<const N: usize>(
    mut words: impl Iterator<Item = String>,
    options: [(&str, u64); N],
) -> Option<[u64; N]> {
    let mut numbers = options.map(|(_, default)| default);
    while let Some(word) = words.next() {
        let place = options.iter().position(|(known, _)| *known == word)?;
        numbers[place] = words.next()?.parse().ok()?;
    }
    Some(numbers)
}

/// Plays the worlds of these seeds until one fails; whether none did.
fn play_all(from: u64, seeds: u64) -> bool {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicU64::new(from), AtomicBool::new(false));
    let summary = Mutex::new(Summary::default());
    let watch = Stopwatch::start();
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    let result = play(seed);
                    let mut summary = summary.lock().expect("nobody panics with it");
                    if !summary.take(seed, result) {
                        failed.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let summary = summary.into_inner().expect("nobody panics with it");
    println!("{}", summary.words(watch.elapsed(), cores));
    !failed.into_inner()
}

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// Plays one world on a database in memory.
fn play(seed: u64) -> Result<Report, Finding> {
    SEED.set(seed);
    let store = Store::in_memory().expect("a database in memory needs nothing");
    world::run(seed, store, None)
}

/// A panic ends this process, and says before which seed it was.
fn name_seeds_of_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        let seed = SEED.get();
        eprintln!("seed {seed} panicked; again: {}", summary::again(seed));
    }));
}
