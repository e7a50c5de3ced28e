//! What tasks save to go on from: who is believed, who is paid, and what the next machine gets.

use campusgrid_protocol::id::{BlobHash, SessionId, WorkerId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::rules::{Limits, Phase};
use campusgrid_protocol::task::{BlobRef, Failure, Outcome, Saved, WorkerFault};
use expect_test::expect;

use crate::effect::{Change, Effects};
use crate::input::{Input, Joined, WorkerEvent};
use crate::job::Task;
use crate::money::Micros;
use crate::tests::sharing::shares;
use crate::tests::world::{ADA, BOB, EVE, World, attempt, job, join, worker};

/// Something whose manifest is told apart by `mark`, after so many seconds of running.
pub(super) fn saved(mark: u8, run_s: u64) -> Saved {
    let manifest = BlobRef { hash: BlobHash([mark; 32]), size_bytes: 100 };
    Saved { manifest, run_ms: run_s * 1000 }
}

pub(super) fn save(world: &mut World, session: u64, text: &str, saved: Saved) -> Effects {
    let blob = BlobRef { hash: BlobHash([9; 32]), size_bytes: 1 };
    let file = InputFile { path: "state".to_owned(), blob, executable: false };
    let event = WorkerEvent::Checkpoint { attempt: attempt(text), saved, files: vec![file] };
    world.happen(Input::FromWorker { session: SessionId(session), event })
}

fn is_saved(effects: &Effects) -> bool {
    effects.changes.iter().any(|change| matches!(change, Change::CheckpointSaved { .. }))
}

fn task(world: &World) -> &Task {
    let job = world.grid.jobs.values().next().unwrap();
    job.tasks.values().next().unwrap()
}

/// A job of ten minutes that runs on bob's machine.
fn running() -> World {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.hear(1, shares(Phase::Open, "", Limits::default()));
    world.submit(&job(1, 1));
    world.start(1, "1.0#1");
    world.log.clear();
    world
}

/// The owner wants the machine back.
fn hand_back(world: &mut World, session: u64, text: &str, run_s: u64) {
    world.hear(session, shares(Phase::Closed, "in use", Limits::default()));
    world.end(session, text, Outcome::Returned(WorkerFault::Leaving), run_s);
}

#[test]
fn the_minutes_that_a_checkpoint_covers_are_paid_and_the_rest_elsewhere() {
    let mut world = running();
    world.wait_s(60);
    world.heartbeat(1, vec![attempt("1.0#1")]);
    assert!(is_saved(&save(&mut world, 1, "1.0#1", saved(1, 60))));
    world.wait_s(30);
    hand_back(&mut world, 1, "1.0#1", 90);
    // One of ten minutes, of 18 credits.
    assert_eq!(world.balance(BOB), Micros(101_800_000));
    assert_eq!(task(&world).paid, Micros(1_800_000));
    assert_eq!(task(&world).paid_ms, 60_000);
    world.own(2, &worker(1, 1).of(EVE));
    let job = world.grid.jobs.values().next().unwrap();
    assert_eq!(job.leases().next().unwrap().1.worker, WorkerId(2));
    world.start(2, "1.0#2");
    world.wait_s(60);
    world.heartbeat(2, vec![attempt("1.0#2")]);
    world.wait_s(60);
    world.end(2, "1.0#2", Outcome::Succeeded, 120);
    // Three minutes in all: 5 + 2 + 1 at the start, and one each.
    assert_eq!(world.balance(EVE), Micros(109_200_000));
    assert_eq!(world.balance(ADA), Micros::from_credits(89));
}

#[test]
fn whoever_saves_first_does_not_earn_the_start() {
    let mut world = running();
    world.wait_s(1);
    save(&mut world, 1, "1.0#1", saved(1, 1));
    hand_back(&mut world, 1, "1.0#1", 1);
    assert_eq!(world.balance(BOB), Micros(100_030_000));
    world.own(2, &worker(1, 1).of(EVE));
    world.start(2, "1.0#2");
    world.pass_s(599);
    world.end(2, "1.0#2", Outcome::Succeeded, 599);
    assert_eq!(world.balance(EVE), Micros(117_970_000));
    assert_eq!(world.balance(ADA), Micros::from_credits(82));
}

#[test]
fn the_next_machine_is_told_what_there_is_and_an_older_one_begins_anew() {
    let mut world = running();
    world.wait_s(60);
    save(&mut world, 1, "1.0#1", saved(1, 60));
    hand_back(&mut world, 1, "1.0#1", 60);
    world.let_in(2, EVE);
    let join_2 = join(2, &worker(1, 1), Vec::new());
    let joined = |joined| Input::FromWorker {
        session: SessionId(2),
        event: WorkerEvent::Joined(Box::new(joined)),
    };
    let here = Joined { shares: None, ..join_2 };
    let effects = world.happen(joined(here));
    let told = |effects: &Effects| {
        effects.sends.iter().find_map(|(_, message)| {
            let ToWorker::Start { checkpoint, .. } = message else { return None };
            Some(*checkpoint)
        })
    };
    assert_eq!(told(&effects), Some(None));
    assert_eq!((task(&world).checkpoint, task(&world).paid_ms), (None, 0));
    assert_eq!(task(&world).paid, Micros(1_800_000));
    world.start(2, "1.0#2");
    for _ in 0..10 {
        world.wait_s(60);
        world.heartbeat(2, vec![attempt("1.0#2")]);
    }
    world.end(2, "1.0#2", Outcome::Succeeded, 600);
    // No more than the quote in all.
    assert_eq!(world.balance(ADA), Micros::from_credits(100 - 18));
    assert_eq!(world.balance(EVE), Micros(116_200_000));
}

#[test]
fn a_machine_is_believed_as_far_as_the_managers_clock_allows() {
    let mut world = running();
    world.wait_s(30);
    save(&mut world, 1, "1.0#1", saved(1, 500));
    assert_eq!(task(&world).checkpoint, Some(saved(1, 30)));
    assert!(!is_saved(&save(&mut world, 1, "1.0#1", saved(1, 500))), "it was said before");
    world.wait_s(30);
    save(&mut world, 1, "1.0#1", saved(2, 40));
    hand_back(&mut world, 1, "1.0#1", 60);
    assert_eq!(task(&world).paid_ms, 40_000);
    world.own(2, &worker(1, 1).of(EVE));
    world.start(2, "1.0#2");
    world.wait_s(10);
    save(&mut world, 2, "1.0#2", saved(3, 10));
    assert_eq!(task(&world).checkpoint, Some(saved(3, 40)), "it goes on from there");
    save(&mut world, 2, "1.0#2", saved(4, u64::MAX / 1000));
    assert_eq!(task(&world).checkpoint, Some(saved(4, 50)));
}

#[test]
fn what_cannot_be_is_not_saved() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.own(2, &worker(1, 1));
    world.submit(&job(1, 1));
    assert!(!is_saved(&save(&mut world, 1, "1.0#1", saved(1, 1))), "its clock does not run");
    world.start(1, "1.0#1");
    assert!(!is_saved(&save(&mut world, 2, "1.0#1", saved(1, 1))), "it runs elsewhere");
    assert!(!is_saved(&save(&mut world, 1, "1.0#2", saved(1, 1))), "there is no such attempt");
    assert!(!is_saved(&save(&mut world, 1, "7.0#1", saved(1, 1))), "nor such a job");
    assert!(!is_saved(&save(&mut world, 9, "1.0#1", saved(1, 1))), "nor such a session");
    assert!(is_saved(&save(&mut world, 1, "1.0#1", saved(1, 1))));
    let mut job = job(1, 1);
    job.terms.verify = true;
    job.terms.deterministic = true;
    world.submit(&job);
    world.start(2, "2.0#1");
    assert!(!is_saved(&save(&mut world, 2, "2.0#1", saved(1, 1))), "a result is one machine's");
}

#[test]
fn a_machine_that_is_lost_is_paid_for_what_it_saved() {
    let mut world = running();
    world.wait_s(60);
    save(&mut world, 1, "1.0#1", saved(1, 60));
    world.wait_s(91);
    expect![[r#"
        1.0#1 has saved 60 s
        pay:1.0:1: escrow -> bob 1.8
        1.0#1 waits again, 2 tries left: the worker was out of touch for too long
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_run_that_has_failed_is_followed_by_one_that_begins_anew() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1).retries(1, 0));
    world.start(1, "1.0#1");
    world.wait_s(60);
    save(&mut world, 1, "1.0#1", saved(1, 60));
    hand_back(&mut world, 1, "1.0#1", 60);
    world.own(2, &worker(1, 1).of(EVE));
    world.start(2, "1.0#2");
    world.wait_s(60);
    world.end(2, "1.0#2", Outcome::Failed(Failure::ExitCode(1)), 60);
    world.wait_s(1);
    let Task { checkpoint, paid, paid_ms, .. } = *task(&world);
    assert_eq!((checkpoint, paid, paid_ms), (None, Micros::ZERO, 0));
    // The first minute was bob's; the second and the rest of the start hers.
    assert_eq!(world.balance(BOB), Micros(101_800_000));
    assert_eq!(world.balance(EVE), Micros(108_200_000));
}

#[test]
fn nobody_is_paid_on_their_own_machine_and_the_minutes_count_as_done() {
    let mut world = World::new();
    world.own(1, &worker(1, 1).of(ADA));
    world.submit(&job(1, 1));
    world.start(1, "1.0#1");
    world.wait_s(60);
    save(&mut world, 1, "1.0#1", saved(1, 60));
    hand_back(&mut world, 1, "1.0#1", 60);
    assert_eq!((task(&world).paid, task(&world).paid_ms), (Micros::ZERO, 60_000));
    world.own(2, &worker(1, 1).of(EVE));
    world.start(2, "1.0#2");
    world.wait_s(60);
    world.end(2, "1.0#2", Outcome::Succeeded, 60);
    assert_eq!(world.balance(EVE), Micros(108_200_000));
}

#[test]
fn a_checkpoint_outlives_the_manager() {
    let mut world = running();
    world.wait_s(60);
    save(&mut world, 1, "1.0#1", saved(1, 60));
    hand_back(&mut world, 1, "1.0#1", 60);
    world.restart();
    assert_eq!(task(&world).checkpoint, Some(saved(1, 60)));
    assert_eq!(task(&world).paid, Micros(1_800_000));
}
