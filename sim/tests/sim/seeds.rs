//! Worlds without a planted bug, in which no oracle may find anything.
//!
//! `cargo xtask sim --seeds 20000` plays more of them, `CAMPUSGRID_SIM_SEED=17` one in this test.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use campusgrid_manager::store::{Depth, Store, fsck};
use campusgrid_sim::oracle::Report;
use campusgrid_sim::world;

use crate::play;

/// Of each push; a night has 20,000.
const SEEDS: u64 = 300;

/// What must have happened somewhere in the worlds of a push, or they prove little.
const MUST_HAPPEN: [&str; 91] = [
    "ask set",
    "attempt paid",
    "bid accepted",
    "bid by ask",
    "bid failed",
    "bid over",
    "bid placed",
    "bid refused",
    "bid withdrawn",
    "checkpoint dropped",
    "checkpoint saved",
    "job opened again",
    "owner came",
    "owner left",
    "owner stayed",
    "result checked",
    "rules respected",
    "rules set",
    "task stopped by its owner",
    "went on from a checkpoint",
    "attempt leased",
    "batch",
    "books broken",
    "chain broken",
    "chain met",
    "certificate lapsed",
    "certificate out of date",
    "clock set",
    "deadline over",
    "draft changed",
    "draft discarded",
    "draft launched",
    "draft made",
    "gpu granted",
    "hold set",
    "job cancelled",
    "job cancelled while shut",
    "job held",
    "job locked",
    "job submitted",
    "join",
    "join overtaken",
    "label required",
    "leases renewed after a pause",
    "link cut",
    "link half open",
    "link stalled",
    "machine enrolled",
    "machine let in by token",
    "machine turned away",
    "manager died after commit",
    "manager died before commit",
    "manager died between batches",
    "manager stood still",
    "manager's disk full",
    "manager's disk slow",
    "notice due",
    "person let in by invitation",
    "power lost while writing",
    "refused",
    "returned by a broken machine",
    "priority set",
    "role set",
    "run",
    "run failed",
    "slow commit",
    "start lost",
    "start with a lock",
    "submit key forgotten",
    "task cancelled",
    "task failed",
    "task requeued",
    "task roused",
    "task succeeded",
    "tasks cancelled",
    "torn end put aside",
    "untouched cancelled",
    "voucher over",
    "voucher revoked",
    "worker broken",
    "worker crashed",
    "worker dismissed",
    "worker left",
    "worker lost power",
    "worker released",
    "worker removed",
    "worker renamed",
    "worker set aside",
    "worker suspended",
    "worker taken down by a task",
    "worker's disk slow",
];

#[test]
fn seeds_pass() {
    if let Some(seed) = variable("CAMPUSGRID_SIM_SEED") {
        println!("{:#?}", pass_seed(seed));
        return;
    }
    let (next, report) = (AtomicU64::new(0), Mutex::new(BTreeMap::<&str, u64>::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        return;
                    }
                    for (what, count) in pass_seed(seed) {
                        *report.lock().unwrap().entry(what).or_default() += count;
                    }
                }
            });
        }
    });
    let report = report.into_inner().unwrap();
    println!("{report:#?}");
    let missing: Vec<_> = MUST_HAPPEN.iter().filter(|what| !report.contains_key(*what)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
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
        let findings = fsck(&path, Depth::Whole).unwrap();
        assert!(findings.transfers > 0);
        assert_eq!(findings.broken, Vec::<String>::new());
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
