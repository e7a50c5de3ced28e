//! A small season: what the large one is printed for must hold of it.

use crate::economy::{Economy, Scale};

#[test]
fn owners_are_paid_what_runs_cost_and_a_lie_gains_nothing_among_three() {
    let economy = Economy::play(Scale { owners: 200, jobs: 300 }, 1);
    let (jobs, served) = economy.season().jobs_served();
    assert!(jobs == 300 && served > 150, "{economy}");
    let (cost, price) = economy.season().cost_and_price();
    assert!(price > cost, "{economy}");
    for owners in 3..200 {
        assert_eq!(economy.most_gained(owners), 0, "{owners} owners: {economy}");
    }
    assert!(economy.most_gained(1) > 0 && economy.most_gained(2) > 0, "{economy}");
}

#[test]
fn equal_seeds_lead_to_equal_seasons() {
    let play = || Economy::play(Scale { owners: 30, jobs: 60 }, 7).to_string();
    assert_eq!(play(), play());
}
