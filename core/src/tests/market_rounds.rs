//! Bids that machines place by themselves, rounds that are put off, and how many bids one owner may have.

use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rules::{Limits, Phase, Shares};
use expect_test::expect;

use crate::effect::{Refusal, Reply};
use crate::input::{Input, Intake, Shut, WorkerEvent};
use crate::tests::market::{by_hand, by_itself, by_rule, check, open, per_core_minute};
use crate::tests::world::{ADA, BOB, EVE, World, join, open_shares, worker};

fn say(world: &mut World, session: u64, shares: Shares) {
    world.hear(session, WorkerEvent::Shares(Box::new(shares)));
}

/// Of a machine that takes jobs of a minute at most.
fn short() -> Shares {
    Shares { limits: Limits { longest_s: Some(60), ..Limits::default() }, ..open_shares() }
}

fn bidders(world: &World, job: u64) -> Vec<u64> {
    let market = world.grid.jobs[&JobId(job)].market.as_ref().unwrap();
    market.bids.keys().map(|worker| worker.0).collect()
}

#[test]
fn a_machine_bids_anew_when_its_limits_change_and_not_with_its_phase() {
    let mut world = open(&by_hand());
    world.set_ask(BOB, 1, by_itself(None));
    world.withdraw_bid(BOB, 1, 1);
    say(&mut world, 1, Shares { phase: Phase::Frozen, ..open_shares() });
    say(&mut world, 1, open_shares());
    assert!(bidders(&world, 1).is_empty());
    let limits = Limits { longest_s: Some(6000), ..Limits::default() };
    say(&mut world, 1, Shares { limits, ..open_shares() });
    assert_eq!(bidders(&world, 1), [1]);
}

#[test]
fn another_machine_of_an_owner_bids_when_the_first_one_cannot() {
    let mut world = open(&by_hand());
    world.own(3, &worker(1, 1).of(EVE));
    world.log.clear();
    world.set_ask(EVE, 2, by_itself(Some(per_core_minute(1))));
    world.set_ask(EVE, 3, by_itself(Some(per_core_minute(2))));
    world.note("too long for the first");
    say(&mut world, 2, short());
    say(&mut world, 2, open_shares());
    world.note("the first is gone");
    world.hear(2, WorkerEvent::Gone);
    world.hear(3, WorkerEvent::Gone);
    world.join(7, join(3, &worker(1, 1).of(EVE), Vec::new()));
    world.join(8, join(2, &worker(2, 2).of(EVE), Vec::new()));
    check(
        world,
        &expect![[r#"
            worker-2 asks for its own price, by itself
            worker-2 bids 10 on job 1, by itself
            done
            worker-3 asks for its own price, by itself
            done
            # too long for the first
            bid of worker-2 on job 1: Withdrawn
            worker-3 bids 20 on job 1, by itself
            bid of worker-3 on job 1: Withdrawn
            worker-2 bids 10 on job 1, by itself
            # the first is gone
            bid of worker-2 on job 1: Withdrawn
            worker-3 bids 20 on job 1, by itself
            to session 7: welcome, worker-3 of eve
            bid of worker-3 on job 1: Withdrawn
            worker-2 bids 10 on job 1, by itself
            to session 8: welcome, worker-2 of eve
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn what_was_not_bid_while_nothing_was_settled_is_bid_afterwards() {
    let mut world = open(&by_hand());
    world.bid(EVE, 1, 2, 9);
    world.submit(&by_hand());
    world.accept(ADA, 1, 2, 9);
    world.submit(&by_rule(20));
    world.bid(EVE, 3, 2, 9);
    world.log.clear();
    world.happen(Input::Intake(Intake::Shut(Shut::DiskFull)));
    world.set_ask(BOB, 1, by_itself(None));
    world.pass_s(400);
    world.note("open again: nothing has failed or closed");
    world.happen(Input::Intake(Intake::Open));
    world.happen(Input::Tick);
    world.start(2, "1.0#1");
    world.note("closed");
    world.pass_s(91);
    check(
        world,
        &expect![[r#"
            worker-1 asks for the formula, by itself
            done
            # open again: nothing has failed or closed
            worker-1 bids 18 on job 2, by itself
            job 1 is worker-2's for 9, which runs it; quote 9
            # closed
            bid of worker-2 on job 3: Accepted
            job 3 is worker-2's for 9, within 300 s; quote 20
            3.0#1 -> worker-2
            ada 71, bob 100, eve 100, escrow 29
        "#]],
    );
}

#[test]
fn after_an_outage_rounds_close_one_after_the_other() {
    let mut world = open(&by_rule(20));
    world.submit(&by_rule(20));
    world.now = world.now.plus_ms(3_600_000);
    world.restart();
    let end = |job| world.grid.markets.ends.end(&JobId(job)).unwrap();
    let lease_over = world.now.plus_ms(90_000);
    assert!(lease_over < end(1) && end(1) < end(2) && end(2) < lease_over.plus_ms(60_000));
}

#[test]
fn under_seal_one_bid_of_an_owner_stands() {
    let mut world = open(&by_rule(20));
    world.own(3, &worker(1, 1).of(EVE));
    world.log.clear();
    world.bid(EVE, 1, 2, 9);
    world.bid(BOB, 1, 1, 9);
    world.bid(EVE, 1, 3, 11);
    check(
        world,
        &expect![[r#"
            worker-2 bids 9 on job 1
            done
            worker-1 bids 9 on job 1
            done
            bid of worker-2 on job 1: Withdrawn
            worker-3 bids 11 on job 1
            done
            ada 80, bob 100, eve 100, escrow 20
        "#]],
    );
}

#[test]
fn an_owner_has_five_bids_on_a_job_at_most() {
    let mut world = open(&by_hand());
    for number in 3..=7 {
        world.own(number, &worker(1, 1).of(EVE));
    }
    for number in 2..=6 {
        assert!(matches!(world.bid(EVE, 1, number, 9), Reply::Done));
    }
    let reply = world.bid(EVE, 1, 7, 9);
    assert!(matches!(reply, Reply::Refused(Refusal::TooManyBids { max: 5 })), "{reply:?}");
    assert!(matches!(world.bid(EVE, 1, 6, 8), Reply::Done));
    assert!(matches!(world.bid(BOB, 1, 1, 9), Reply::Done));
    world.withdraw_bid(EVE, 1, 2);
    assert!(matches!(world.bid(EVE, 1, 7, 9), Reply::Done));
}

#[test]
fn a_round_waits_for_machines_that_cannot_begin_right_now() {
    let mut world = open(&by_rule(20));
    world.bid(BOB, 1, 1, 9);
    say(&mut world, 1, Shares { phase: Phase::Frozen, ..open_shares() });
    world.pass_s(60);
    world.note("put off");
    say(&mut world, 1, open_shares());
    world.pass_s(90);
    check(
        world,
        &expect![[r#"
            worker-1 bids 9 on job 1
            done
            # put off
            bid of worker-1 on job 1: Accepted
            job 1 is worker-1's for 9, within 300 s; quote 20
            1.0#1 -> worker-1
            ada 80, bob 100, eve 100, escrow 20
        "#]],
    );
}

#[test]
fn bids_after_the_announced_end_do_not_count() {
    let mut world = open(&by_rule(20));
    world.bid(BOB, 1, 1, 9);
    world.now = world.now.plus_ms(3_600_000);
    world.restart();
    world.own_again(2, &worker(2, 2).of(EVE));
    let why = world.grid.snapshot().stalled.remove(&JobId(1)).unwrap().to_string();
    assert_eq!(why, "takes no more bids; it closes when machines have had time to come back");
    let reply = world.bid(EVE, 1, 2, 3);
    assert!(matches!(reply, Reply::Refused(Refusal::NotOpen)), "{reply:?}");
}

#[test]
fn a_bid_of_a_machine_that_is_away_is_accepted_when_it_is_back() {
    let mut world = open(&by_hand());
    world.bid(BOB, 1, 1, 9);
    say(&mut world, 1, Shares { phase: Phase::Closed, ..open_shares() });
    let reply = world.accept(ADA, 1, 1, 9);
    assert!(matches!(reply, Reply::Refused(Refusal::MachineAway)), "{reply:?}");
    say(&mut world, 1, open_shares());
    assert!(matches!(world.accept(ADA, 1, 1, 9), Reply::Done));
}

#[test]
fn a_round_does_not_wait_for_ever() {
    let mut world = open(&by_rule(20));
    world.bid(BOB, 1, 1, 9);
    say(&mut world, 1, Shares { phase: Phase::Frozen, ..open_shares() });
    world.pass_s(60 + 10 * 90 - 1);
    world.note("the last time");
    world.pass_s(1);
    check(
        world,
        &expect![[r#"
        worker-1 bids 9 on job 1
        done
        # the last time
        1.0 cancelled, none of 1 bids was at most 20 credits and of a machine that could begin, however often it was waited for one
        refund:1.0-0: escrow -> ada 20
        bid of worker-1 on job 1: Over
        job 1 is over
        ada 100, bob 100, eve 100, escrow 0
    "#]],
    );
}

#[test]
fn a_machine_does_not_bid_by_itself_on_what_it_has_not_started() {
    let mut world = open(&by_hand());
    world.set_ask(BOB, 1, by_itself(None));
    world.accept(ADA, 1, 1, 18);
    world.pass_s(300);
    world.note("neither at once nor when it is back");
    world.hear(1, WorkerEvent::Gone);
    world.join(7, join(1, &worker(1, 1), Vec::new()));
    world.set_ask(BOB, 1, by_itself(Some(per_core_minute(1))));
    world.note("by hand it may");
    world.bid(BOB, 1, 1, 5);
    check(
        world,
        &expect![[r#"
            worker-1 asks for the formula, by itself
            worker-1 bids 18 on job 1, by itself
            done
            hold:1: ada -> escrow 18
            bid of worker-1 on job 1: Accepted
            job 1 is worker-1's for 18, within 300 s; quote 18
            1.0#1 -> worker-1
            done
            1.0#1 waits again, 3 tries left: the machine has not started it in time
            bid of worker-1 on job 1: Failed
            refund:1:round0: escrow -> ada 18
            job 1 is open again, round 1, quote 0: the machine has not started it in time
            to session 1: drop 1.0#1
            # neither at once nor when it is back
            to session 7: welcome, worker-1 of bob
            worker-1 asks for its own price, by itself
            done
            # by hand it may
            worker-1 bids 5 on job 1
            done
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}
