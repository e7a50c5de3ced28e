//! The simulation's tests: worlds in which nothing may be found, and worlds with a planted bug that
//! must be.

#![expect(clippy::print_stdout, reason = "shown with the test: seeds, counts, what caught a bug")]

mod planted;
mod seeds;

use campusgrid_manager::store::Store;
use campusgrid_sim::oracle::{Finding, Report};
use campusgrid_sim::saboteur::Bug;
use campusgrid_sim::world;

/// Plays the world of a seed on a database in memory.
fn play(seed: u64, bug: Option<Bug>) -> Result<Report, Finding> {
    let store = Store::in_memory().expect("a database in memory needs nothing");
    world::run(seed, store, bug)
}
