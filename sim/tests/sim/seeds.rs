//! Worlds without a planted bug, in which no oracle may find anything.
//!
//! `CAMPUSGRID_SIM_SEEDS=20000` plays more of them, `CAMPUSGRID_SIM_SEED=17` one.

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use campusgrid_manager::store::{Store, fsck};
use campusgrid_sim::oracle::Report;
use campusgrid_sim::world;

use crate::play;

/// Of each push; a night has 20,000.
const SEEDS: u64 = 300;

/// Tests that share the seeds, so that all cores are used.
const SHARES: u64 = 4;

/// What must have happened somewhere in the worlds of a push, or they prove little.
const MUST_HAPPEN: [&str; 30] = [
    "attempt leased",
    "batch",
    "gpu granted",
    "job cancelled",
    "job locked",
    "job submitted",
    "join",
    "join overtaken",
    "label required",
    "link cut",
    "link stalled",
    "manager died after commit",
    "manager died before commit",
    "manager died between batches",
    "refused",
    "run",
    "start lost",
    "start with a lock",
    "submit key forgotten",
    "task cancelled",
    "task failed",
    "task requeued",
    "task succeeded",
    "untouched cancelled",
    "worker crashed",
    "worker left",
    "worker lost power",
    "worker removed",
    "worker renamed",
    "worker suspended",
];

mod seeds_pass {
    #[test]
    fn first_share() {
        super::pass(0);
    }

    #[test]
    fn second_share() {
        super::pass(1);
    }

    #[test]
    fn third_share() {
        super::pass(2);
    }

    #[test]
    fn fourth_share() {
        super::pass(3);
    }
}

#[test]
fn a_seed_makes_the_same_world_every_time() {
    for seed in 0..5 {
        assert_eq!(play(seed, None).unwrap(), play(seed, None).unwrap());
    }
}

#[test]
fn a_database_on_a_real_disk_makes_the_same_world() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..3 {
        let path = folder.path().join(format!("{seed}.sqlite"));
        let report = world::run(seed, Store::open(&path).unwrap(), None).unwrap();
        assert_eq!(report, play(seed, None).unwrap());
        let findings = fsck(&path).unwrap();
        assert!(findings.transfers > 0);
        assert_eq!(findings.broken, Vec::<String>::new());
    }
}

/// Plays one share of the seeds.
#[track_caller]
fn pass(share: u64) {
    if let Some(seed) = variable("CAMPUSGRID_SIM_SEED") {
        if seed % SHARES == share {
            println!("{:#?}", pass_seed(seed));
        }
        return;
    }
    let seeds = variable("CAMPUSGRID_SIM_SEEDS").unwrap_or(SEEDS);
    let mut report: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in (share..seeds).step_by(usize::try_from(SHARES).expect("few")) {
        for (what, count) in pass_seed(seed) {
            *report.entry(what).or_default() += count;
        }
    }
    println!("{report:#?}");
    if seeds >= SEEDS {
        let missing: Vec<_> =
            MUST_HAPPEN.iter().filter(|what| !report.contains_key(*what)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}

#[track_caller]
fn pass_seed(seed: u64) -> Report {
    let again =
        format!("CAMPUSGRID_SIM_SEED={seed} cargo nextest run -p campusgrid-sim seeds_pass");
    match catch_unwind(|| play(seed, None)) {
        Ok(Ok(report)) => report,
        Ok(Err(finding)) => panic!("seed {seed}: {finding}\nagain: {again}"),
        Err(_) => panic!("seed {seed} panicked, see above\nagain: {again}"),
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
