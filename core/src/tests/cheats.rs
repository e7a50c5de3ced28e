//! What owners have tried, to be paid for more than was done or to keep what they do not run.

use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::task::{Outcome, WorkerFault};
use campusgrid_protocol::terms::Sale;
use expect_test::expect;

use crate::ask::Ask;
use crate::input::WorkerEvent;
use crate::money::Micros;
use crate::pricing::Prices;
use crate::record::Record;
use crate::tests::checking::{campus, sampled};
use crate::tests::checkpoints::{save, saved};
use crate::tests::market::by_itself;
use crate::tests::world::{ADA, BOB, EVE, World, job, policy, worker};

/// A start fee of so many credits, and nothing for time.
fn start_fee(credits: u32) -> Prices {
    Prices { base: Micros::from_credits(credits), ..Prices::default() }
}

#[test]
fn a_start_fee_makes_no_short_run_dearer_than_the_formula() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    // As high as an ordinary job of an hour allows: 8 credits and one for each minute.
    world.set_ask(BOB, 1, Ask { prices: Some(start_fee(60)), automatic: false });
    world.submit(&job(1, 1).limit_s(3600));
    world.start(1, "1.0#1");
    world.wait_s(60);
    world.log.clear();
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    expect![[r#"
        pay:1.0:1: escrow -> bob 9
        refund:1.0: escrow -> ada 59
        1.0 succeeded; charged 9
        job 1 is over
        to session 1: stored 1.0#1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn an_award_is_lost_by_giving_it_back_again_and_again() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1).sold(Sale::Hand));
    world.bid(BOB, 1, 1, 9);
    world.accept(ADA, 1, 1, 9);
    let mut rounds = 0;
    while world.balance(ADA) == Micros::from_credits(91) {
        rounds += 1;
        assert!(rounds < 20, "it is held for ever");
        let attempt = format!("1.0#{rounds}");
        world.start(1, &attempt);
        world.end(1, &attempt, Outcome::Returned(WorkerFault::Leaving), 0);
        // That it stopped by itself keeps the task from the machine for a while.
        world.wait_s(601);
    }
    assert_eq!(world.balance(ADA), Micros::from_credits(100));
}

#[test]
fn an_ask_that_changes_after_its_bid_was_accepted_changes_nothing() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    let by_minute = Prices { minute: Micros::from_credits(1), ..Prices::default() };
    world.set_ask(BOB, 1, by_itself(Some(by_minute)));
    world.submit(&job(1, 1).sold(Sale::Hand));
    world.accept(ADA, 1, 1, 10);
    world.end(1, "1.0#1", Outcome::Returned(WorkerFault::LeaseOver), 0);
    world.set_ask(BOB, 1, by_itself(Some(start_fee(10))));
    world.start(1, "1.0#2");
    world.wait_s(60);
    world.end(1, "1.0#2", Outcome::Succeeded, 60);
    // As the formula grows: 9 of 18 for a minute of ten.
    assert_eq!(world.balance(BOB), Micros::from_credits(105));
}

fn record(world: &World, worker: u64) -> Record {
    world.grid.workers[&WorkerId(worker)].record
}

#[test]
fn a_lie_about_a_sample_costs_nobody_anything() {
    // With a third that says something else again, and without one.
    for third in [None, Some("other garbage")] {
        let mut world = sampled();
        let before = world.balance(EVE);
        world.say(1, "2.0#1", "42", 60);
        world.start(2, "2.0#2");
        if third.is_none() {
            world.hear(3, WorkerEvent::Gone);
        }
        world.say(2, "2.0#2", "garbage", 60);
        if let Some(third) = third {
            world.start(3, "2.0#3");
            world.say(3, "2.0#3", third, 60);
        } else {
            world.wait_s(601);
        }
        let kept = "2.0 succeeded by attempt 1; charged 9\n";
        assert!(world.log.contains(kept), "{}", world.log);
        assert_eq!((world.balance(EVE), record(&world, 1).invalid), (before, 0));
    }
}

#[test]
fn a_sample_needs_two_more_owners() {
    let mut world = sampled();
    world.hear(3, WorkerEvent::Gone);
    world.say(1, "2.0#1", "42", 60);
    assert!(!world.log.contains("hold:audit"), "{}", world.log);
    assert!(world.log.contains("2.0 succeeded; charged 9\n"), "{}", world.log);
}

#[test]
fn what_a_checker_of_a_sample_saves_is_not_paid() {
    let mut world = sampled();
    let before = world.balance(EVE);
    world.say(1, "2.0#1", "42", 60);
    world.start(2, "2.0#2");
    world.pass_s(60);
    save(&mut world, 2, "2.0#2", saved(1, 60));
    world.end(2, "2.0#2", Outcome::Returned(WorkerFault::Leaving), 60);
    assert!(!world.log.contains("pay:2.0:2"), "{}", world.log);
    assert_eq!(world.balance(EVE), before);
}

#[test]
fn a_program_that_prints_by_chance_spoils_no_names_and_costs_three_runs() {
    let mut world = campus(policy());
    for round in 1..=3 {
        let before = world.balance(ADA);
        world.submit(&job(1, 1).limit_s(120).deterministic(true));
        for (number, printed) in [(1, "0"), (2, "1"), (3, "0")] {
            let leases = world.grid.jobs.values().flat_map(|job| job.leases().collect::<Vec<_>>());
            let (attempt, lease) = leases.last().unwrap();
            assert_eq!(attempt.number, number);
            world.start(lease.worker.0, &attempt.to_string());
            world.say(lease.worker.0, &attempt.to_string(), printed, 0);
        }
        assert_eq!(before - world.balance(ADA), Micros::from_credits(24), "round {round}");
        for session in 1..=4 {
            world.heartbeat(session, Vec::new());
        }
    }
    let records = Vec::from_iter((1..=4).map(|worker| record(&world, worker)));
    assert!(records.iter().all(|record| record.invalid <= 1), "{records:?}");
    assert!(records.iter().map(|record| record.invalid).sum::<u32>() < 3, "{records:?}");
}

#[test]
fn jobs_of_one_make_no_great_name() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    for (number, submitter) in (1..=12).map(|number| (number, ADA)).chain([(13, EVE)]) {
        world.submit(&job(1, 1).limit_s(1).by(submitter));
        let attempt = format!("{number}.0#1");
        world.start(1, &attempt);
        world.end(1, &attempt, Outcome::Succeeded, 0);
        world.heartbeat(1, Vec::new());
    }
    assert_eq!(record(&world, 1).delivered, 11);
}

#[test]
fn what_is_sold_for_next_to_nothing_makes_no_name() {
    for (credits, delivered) in [(1, 0), (9, 1)] {
        let mut world = World::new();
        world.own(1, &worker(1, 1));
        world.submit(&job(1, 1).sold(Sale::Hand));
        world.bid(BOB, 1, 1, credits);
        world.accept(ADA, 1, 1, credits);
        world.start(1, "1.0#1");
        world.wait_s(60);
        world.end(1, "1.0#1", Outcome::Succeeded, 60);
        assert_eq!(record(&world, 1).delivered, delivered, "{credits}");
    }
}

#[test]
fn an_automatic_bid_is_charged_by_its_ask() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.set_ask(BOB, 1, by_itself(Some(start_fee(7))));
    world.submit(&job(1, 1).sold(Sale::Hand));
    world.accept(ADA, 1, 1, 7);
    world.start(1, "1.0#1");
    world.wait_s(60);
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    assert_eq!(world.balance(BOB), Micros::from_credits(107));
}
