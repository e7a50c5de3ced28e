//! In which order the jobs of one user and of several start.

use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::task::Outcome;
use expect_test::{Expect, expect};

use crate::input::{FilesOf, Request};
use crate::tests::world::{ADA, BOB, EVE, Wish, World, job, worker};

/// Submits jobs while nothing is there to run them, then a machine for one task comes; tells in which
/// order they started.
fn check(wishes: &[Wish], expected: Expect) {
    let mut world = World::new();
    for wish in wishes {
        world.submit(wish);
    }
    expected.assert_eq(&order(&mut world));
}

/// Runs all that there is, one after the other.
fn order(world: &mut World) -> String {
    world.own(1, &worker(2, 2).of(EVE));
    let mut started = Vec::new();
    let running = |world: &World| {
        world.grid.jobs.values().flat_map(|job| job.leases()).next().map(|(attempt, _)| attempt)
    };
    while let Some(attempt) = running(world) {
        started.push(attempt.task.to_string());
        world.end(1, &attempt.to_string(), Outcome::Succeeded, 0);
    }
    started.join(" ")
}

fn of(user: UserId) -> Wish {
    job(2, 2).limit_s(1).by(user)
}

#[test]
fn among_ones_own_jobs_the_highest_goes_first() {
    check(
        &[of(ADA), of(ADA).priority(-1), of(ADA).priority(5).tasks(2), of(ADA).priority(5)],
        expect!["3.0 3.1 4.0 1.0 2.0"],
    );
}

#[test]
fn jobs_of_different_shapes_are_compared_too() {
    let small = job(1, 1).limit_s(1);
    check(
        &[of(ADA), small.clone().priority(1), of(ADA).gpus(0, 0).disk(7)],
        expect!["2.0 1.0 3.0"],
    );
}

#[test]
fn nobody_gets_before_others_by_priorities() {
    check(
        &[of(ADA).priority(-5), of(BOB), of(ADA).priority(100), of(BOB)],
        expect!["2.0 3.0 1.0 4.0"],
    );
    check(
        &[of(ADA), of(BOB).priority(100), of(ADA), of(BOB).priority(-100)],
        expect!["1.0 2.0 3.0 4.0"],
    );
}

#[test]
fn a_priority_may_change() {
    let mut world = World::new();
    for _ in 0..3 {
        world.submit(&of(ADA));
    }
    world.ask(Request::SetPriority { user: ADA, job: JobId(3), priority: 1 });
    world.ask(Request::SetPriority { user: BOB, job: JobId(2), priority: 9 });
    world.ask(Request::SetPriority { user: ADA, job: JobId(1), priority: -1 });
    expect!["3.0 2.0 1.0"].assert_eq(&order(&mut world));
    expect![[r#"
        hold:1: ada -> escrow 11.016667
        job 1, 11.016667 held
        hold:2: ada -> escrow 11.016667
        job 2, 11.016667 held
        hold:3: ada -> escrow 11.016667
        job 3, 11.016667 held
        job 3 has priority 1
        done
        refused: there is no such thing, or it is not yours"#]]
    .assert_eq(&world.log.lines().take(9).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_draft_has_the_place_of_its_launch() {
    let mut world = World::new();
    world.draft(ADA, None);
    world.submit(&of(BOB));
    world.wait_s(1);
    let files = FilesOf::Draft { job: JobId(1), revision: 0 };
    world.submit(&Wish { files, ..of(ADA) });
    expect!["2.0 1.0"].assert_eq(&order(&mut world));
}
