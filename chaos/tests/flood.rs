//! A small flood: many workers at once return to a manager that was killed.

use std::path::Path;
use std::time::Duration;

use campusgrid_chaos::flood::{self, FloodConfig};
use campusgrid_chaos::grid::Programs;

#[test]
fn all_workers_return_to_a_manager_that_was_killed() {
    let own = Path::new(env!("CARGO_BIN_EXE_campusgrid-chaos"));
    let programs = Programs::of(own.parent().unwrap(), own.to_owned());
    assert!(programs.manager.exists(), "{:?} is missing: cargo build --bins", programs.manager);
    let folder = std::env::temp_dir().join(format!("campusgrid-flood-{}", std::process::id()));
    let (workers, down) = (200, Duration::ZERO);
    let report = flood::run(&FloodConfig { workers, down, programs, folder }).unwrap();
    println!("{report}");
    assert!(report.back_in < Duration::from_secs(60));
    assert!(report.dashboard.answers > 0 && report.dashboard.failures == 0);
    // Of a manager that was not optimised, on a machine that runs other tests.
    assert!(report.dashboard.p50 < Duration::from_millis(500));
}
