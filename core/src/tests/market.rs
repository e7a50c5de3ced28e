//! Jobs that are sold by bids: who may bid, who gets them, who pays what when a bid is not kept.

use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use campusgrid_protocol::rules::{Limits, Whose};
use campusgrid_protocol::task::{Outcome, WorkerFault};
use campusgrid_protocol::terms::Sale;
use expect_test::{Expect, expect};

use crate::ask::Ask;
use crate::effect::{Refusal, Reply};
use crate::input::Request;
use crate::money::Micros;
use crate::pricing::Prices;
use crate::tests::world::{
    ADA, BOB, EVE, Machine, Wish, World, attempts, job, open_shares, policy, worker,
};

impl World {
    /// A bid in credits for machine `worker`, which is to start within five minutes.
    pub(super) fn bid(&mut self, user: UserId, job: u64, worker: u64, credits: u32) -> Reply {
        self.ask(Request::Bid {
            user,
            job: JobId(job),
            worker: WorkerId(worker),
            price: Micros::from_credits(credits),
            start_within_s: 300,
        })
    }

    pub(super) fn withdraw_bid(&mut self, user: UserId, job: u64, worker: u64) -> Reply {
        let (job, worker) = (JobId(job), WorkerId(worker));
        self.ask(Request::WithdrawBid { user, job, worker })
    }

    pub(super) fn accept(&mut self, user: UserId, job: u64, worker: u64, credits: u32) -> Reply {
        self.ask(Request::Accept {
            user,
            job: JobId(job),
            worker: WorkerId(worker),
            price: Micros::from_credits(credits),
        })
    }

    pub(super) fn set_ask(&mut self, user: UserId, worker: u64, ask: Ask) -> Reply {
        self.ask(Request::SetAsk { user, worker: WorkerId(worker), ask })
    }
}

/// Prices of so many credits a minute for each core, and nothing else.
pub(super) fn per_core_minute(credits: u32) -> Prices {
    Prices { core_minute: Micros::from_credits(credits), ..Prices::default() }
}

pub(super) fn by_itself(prices: Option<Prices>) -> Ask {
    Ask { prices, automatic: true }
}

/// Ada's job of one core, one GiB and ten minutes, sold by hand.
pub(super) fn by_hand() -> Wish {
    job(1, 1).sold(Sale::Hand)
}

/// As [`by_hand`], sold for at most so much to the best bid after a minute.
pub(super) fn by_rule(credits: u32) -> Wish {
    let max_price_micros = Micros::from_credits(credits).0;
    job(1, 1).sold(Sale::Rule { max_price_micros, close_after_s: 60 })
}

/// Bob's machine 1, Eve's machine 2, and such a job of Ada's.
pub(super) fn open(wish: &Wish) -> World {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.own(2, &worker(2, 2).of(EVE));
    world.submit(wish);
    world.log.clear();
    world
}

pub(super) fn check(mut world: World, expected: &Expect) {
    world.note_balances();
    expected.assert_eq(&world.log);
}

#[test]
fn the_accepted_bid_is_held_and_runs_at_once() {
    let mut world = open(&by_hand());
    world.bid(BOB, 1, 1, 9);
    world.bid(EVE, 1, 2, 8);
    world.bid(BOB, 1, 1, 7);
    world.accept(ADA, 1, 1, 7);
    world.start(1, "1.0#1");
    world.wait_s(60);
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    check(
        world,
        &expect![[r#"
            worker-1 bids 9 on job 1
            done
            worker-2 bids 8 on job 1
            done
            worker-1 bids 7 on job 1
            done
            hold:1: ada -> escrow 7
            bid of worker-1 on job 1: Accepted
            bid of worker-2 on job 1: Refused
            job 1 is worker-1's for 7, within 300 s; quote 7
            1.0#1 -> worker-1
            done
            job 1 is worker-1's for 7, which runs it; quote 7
            pay:1.0:1: escrow -> bob 3.5
            refund:1.0: escrow -> ada 3.5
            1.0 succeeded; charged 3.5
            job 1 is over
            to session 1: stored 1.0#1
            ada 96.5, bob 103.5, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn bids_are_refused_with_the_reason() {
    let mut world = open(&by_hand().by(BOB));
    world.submit(&job(1, 1).by(BOB).requires(&["R"]));
    let frozen = |limits| Machine { shares: Some(campusgrid_shares(limits)), ..worker(8, 8) };
    world.own(3, &frozen(Limits { whose: Whose::Mine, ..Limits::default() }).of(EVE));
    world.own(4, &frozen(Limits { longest_s: Some(60), ..Limits::default() }).of(EVE));
    world.own(5, &frozen(Limits { ram_mib: Some(512), ..Limits::default() }).of(EVE));
    world.log.clear();
    for (user, job, worker) in
        [(BOB, 1, 1), (BOB, 1, 2), (EVE, 2, 2), (EVE, 9, 2), (EVE, 1, 3), (EVE, 1, 4), (EVE, 1, 5)]
    {
        let reply = world.bid(user, job, worker, 5);
        assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
    }
    world.withdraw_bid(EVE, 1, 2);
    check(
        world,
        &expect![[r#"
            refused: nobody bids on their own job
            refused: there is no such thing, or it is not yours
            refused: this job takes no bids: it is not on the market, its time for bids is over, or a bid was accepted
            refused: there is no such thing, or it is not yours
            refused: this machine cannot run the job: its owner's rules take no jobs of this submitter
            refused: this machine cannot run the job: its owner's rules take no jobs of so long a time limit
            refused: this machine cannot run the job: it does not share as much as the job needs
            refused: there is no such bid any more, or its price is another by now
            ada 100, bob 82, eve 100, escrow 18
        "#]],
    );
}

fn campusgrid_shares(limits: Limits) -> campusgrid_protocol::rules::Shares {
    campusgrid_protocol::rules::Shares { limits, ..open_shares() }
}

#[test]
fn only_what_stands_as_it_was_seen_is_accepted() {
    let mut world = open(&by_hand());
    world.bid(BOB, 1, 1, 9);
    world.accept(ADA, 1, 1, 8);
    world.accept(ADA, 1, 2, 9);
    world.accept(EVE, 1, 1, 9);
    world.withdraw_bid(BOB, 1, 1);
    world.accept(ADA, 1, 1, 9);
    world.bid(EVE, 1, 2, 101);
    world.accept(ADA, 1, 2, 101);
    check(
        world,
        &expect![[r#"
            worker-1 bids 9 on job 1
            done
            refused: there is no such bid any more, or its price is another by now
            refused: there is no such bid any more, or its price is another by now
            refused: there is no such thing, or it is not yours
            bid of worker-1 on job 1: Withdrawn
            done
            refused: there is no such bid any more, or its price is another by now
            worker-2 bids 101 on job 1
            done
            refused: costs 101 credits, the balance is 100
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_machine_is_not_sold_twice() {
    let mut world = open(&by_hand());
    world.submit(&by_hand());
    world.bid(BOB, 1, 1, 9);
    world.bid(BOB, 2, 1, 9);
    world.accept(ADA, 1, 1, 9);
    world.accept(ADA, 2, 1, 9);
    // Given back, it is still the machine's; and so is the room for it.
    world.end(1, "1.0#1", Outcome::Returned(WorkerFault::Leaving), 0);
    world.accept(ADA, 2, 1, 9);
    check(
        world,
        &expect![[r#"
            job 2, 0 held
            worker-1 bids 9 on job 1
            done
            worker-1 bids 9 on job 2
            done
            hold:1: ada -> escrow 9
            bid of worker-1 on job 1: Accepted
            job 1 is worker-1's for 9, within 300 s; quote 9
            1.0#1 -> worker-1
            done
            refused: this machine has no room for the job right now; its bid stands, accept it later
            1.0#1 waits again, 3 tries left: the owner took the worker back
            job 1 is worker-1's for 9, within 150 s; quote 9
            to session 1: stored 1.0#1
            refused: this machine has no room for the job right now; its bid stands, accept it later
            ada 91, bob 100, eve 100, escrow 9
        "#]],
    );
}

#[test]
fn a_bid_that_is_not_kept_is_refunded_and_the_job_is_open_again() {
    let mut world = open(&by_hand());
    world.bid(BOB, 1, 1, 9);
    world.accept(ADA, 1, 1, 9);
    world.pass_s(300);
    let record = world.grid.workers[&WorkerId(1)].record;
    assert_eq!((record.bids_failed, record.score_permille()), (1, 571));
    world.bid(EVE, 1, 2, 4);
    world.accept(ADA, 1, 2, 4);
    world.start(2, "1.0#2");
    world.wait_s(10);
    world.end(2, "1.0#2", Outcome::Succeeded, 600);
    check(
        world,
        &expect![[r#"
            worker-1 bids 9 on job 1
            done
            hold:1: ada -> escrow 9
            bid of worker-1 on job 1: Accepted
            job 1 is worker-1's for 9, within 300 s; quote 9
            1.0#1 -> worker-1
            done
            1.0#1 waits again, 3 tries left: the machine has not started it in time
            bid of worker-1 on job 1: Failed
            refund:1:round0: escrow -> ada 9
            job 1 is open again, round 1, quote 0: the machine has not started it in time
            to session 1: drop 1.0#1
            worker-2 bids 4 on job 1
            done
            hold:1:round1: ada -> escrow 4
            bid of worker-2 on job 1: Accepted
            job 1 is worker-2's for 4, within 300 s; quote 4
            1.0#2 -> worker-2
            done
            job 1 is worker-2's for 4, which runs it; quote 4
            pay:1.0:2: escrow -> eve 1.814815
            refund:1.0: escrow -> ada 2.185185
            1.0 succeeded; charged 1.814815
            job 1 is over
            to session 2: stored 1.0#2
            ada 98.185185, bob 100, eve 101.814815, escrow 0
        "#]],
    );
}

#[test]
fn what_runs_in_time_has_as_long_as_it_needs() {
    let mut world = open(&by_hand());
    world.bid(BOB, 1, 1, 9);
    world.accept(ADA, 1, 1, 9);
    world.start(1, "1.0#1");
    world.pass_s(480);
    world.log.clear();
    world.end(1, "1.0#1", Outcome::Returned(WorkerFault::Leaving), 480);
    world.wait_s(149);
    world.note("too late");
    world.wait_s(1);
    check(
        world,
        &expect![[r#"
            1.0#1 waits again, 3 tries left: the owner took the worker back
            job 1 is worker-1's for 9, within 150 s; quote 9
            to session 1: stored 1.0#1
            # too late
            bid of worker-1 on job 1: Failed
            refund:1:round0: escrow -> ada 9
            job 1 is open again, round 1, quote 0: the machine has not started it in time
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn machines_bid_by_themselves_if_their_owners_want_it() {
    let mut world = open(&by_hand());
    world.own(3, &worker(1, 1).of(EVE));
    world.log.clear();
    world.set_ask(BOB, 1, by_itself(None));
    world.set_ask(EVE, 2, by_itself(Some(per_core_minute(1))));
    world.note("the cheaper of two machines");
    world.set_ask(EVE, 3, by_itself(Some(per_core_minute(2))));
    world.set_ask(EVE, 3, by_itself(Some(Prices { base: Micros(1), ..Prices::default() })));
    world.note("by hand, which stands");
    world.bid(BOB, 1, 1, 3);
    world.set_ask(BOB, 1, by_itself(Some(per_core_minute(1))));
    world.note("another job");
    world.submit(&by_hand());
    world.set_ask(EVE, 3, Ask::default());
    world.accept(ADA, 1, 1, 3);
    check(
        world,
        &expect![[r#"
            worker-1 asks for the formula, by itself
            worker-1 bids 18 on job 1, by itself
            done
            worker-2 asks for its own price, by itself
            worker-2 bids 10 on job 1, by itself
            done
            # the cheaper of two machines
            worker-3 asks for its own price, by itself
            done
            worker-3 asks for its own price, by itself
            bid of worker-2 on job 1: Withdrawn
            worker-3 bids 0.000001 on job 1, by itself
            done
            # by hand, which stands
            worker-1 bids 3 on job 1
            done
            worker-1 asks for its own price, by itself
            done
            # another job
            worker-3 bids 0.000001 on job 2, by itself
            worker-1 bids 10 on job 2, by itself
            job 2, 0 held
            worker-3 asks for the formula
            bid of worker-3 on job 1: Withdrawn
            bid of worker-3 on job 2: Withdrawn
            worker-2 bids 10 on job 1, by itself
            worker-2 bids 10 on job 2, by itself
            done
            hold:1: ada -> escrow 3
            bid of worker-1 on job 1: Accepted
            bid of worker-2 on job 1: Refused
            job 1 is worker-1's for 3, within 300 s; quote 3
            1.0#1 -> worker-1
            done
            ada 97, bob 100, eve 100, escrow 3
        "#]],
    );
}

#[test]
fn the_second_price_is_paid_when_three_owners_bid_under_seal() {
    let mut world = open(&by_rule(20));
    world.register("dan");
    world.own(3, &worker(1, 1).of(UserId(4)));
    world.log.clear();
    world.bid(BOB, 1, 1, 9);
    world.bid(EVE, 1, 2, 12);
    world.set_ask(UserId(4), 3, by_itself(None));
    world.note("sealed");
    world.accept(ADA, 1, 1, 9);
    world.pass_s(59);
    world.note("closed");
    world.wait_s(1);
    world.start(1, "1.0#1");
    world.wait_s(60);
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    check(
        world,
        &expect![[r#"
            worker-1 bids 9 on job 1
            done
            worker-2 bids 12 on job 1
            done
            worker-3 asks for the formula, by itself
            done
            # sealed
            refused: this job takes no bids: it is not on the market, its time for bids is over, or a bid was accepted
            # closed
            bid of worker-1 on job 1: Accepted
            bid of worker-2 on job 1: Refused
            job 1 is worker-1's for 12, within 300 s; quote 20
            1.0#1 -> worker-1
            job 1 is worker-1's for 12, which runs it; quote 20
            pay:1.0:1: escrow -> bob 6
            refund:1.0: escrow -> ada 14
            1.0 succeeded; charged 6
            job 1 is over
            to session 1: stored 1.0#1
            ada 94, bob 106, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_job_that_nobody_sells_for_its_price_is_cancelled() {
    let mut world = open(&by_rule(8));
    world.bid(BOB, 1, 1, 9);
    world.wait_s(60);
    check(
        world,
        &expect![[r#"
            worker-1 bids 9 on job 1
            done
            1.0 cancelled, none of 1 bids was at most 8 credits
            refund:1.0-0: escrow -> ada 8
            bid of worker-1 on job 1: Over
            job 1 is over
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_sealed_bid_that_is_not_kept_leaves_the_hold_and_opens_anew() {
    let mut world = open(&by_rule(20));
    world.bid(BOB, 1, 1, 9);
    world.pass_s(360);
    world.note("again");
    world.bid(EVE, 1, 2, 12);
    world.pass_s(60);
    world.cancel(ADA, 1);
    world.end(2, "1.0#2", Outcome::Cancelled, 0);
    check(
        world,
        &expect![[r#"
            worker-1 bids 9 on job 1
            done
            bid of worker-1 on job 1: Accepted
            job 1 is worker-1's for 9, within 300 s; quote 20
            1.0#1 -> worker-1
            1.0#1 waits again, 3 tries left: the machine has not started it in time
            bid of worker-1 on job 1: Failed
            job 1 is open again, round 1, quote 20: the machine has not started it in time
            to session 1: drop 1.0#1
            # again
            worker-2 bids 12 on job 1
            done
            bid of worker-2 on job 1: Accepted
            job 1 is worker-2's for 12, within 300 s; quote 20
            1.0#2 -> worker-2
            1.0#2 is to stop
            to session 2: cancel 1.0#2
            done
            refund:1.0: escrow -> ada 20
            1.0 cancelled; charged 0
            job 1 is over
            to session 2: stored 1.0#2
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_removed_machine_bids_no_more_and_fails_what_it_won() {
    let mut world = open(&by_hand());
    world.submit(&by_hand());
    world.bid(BOB, 1, 1, 9);
    world.bid(BOB, 2, 1, 9);
    world.accept(ADA, 1, 1, 9);
    world.log.clear();
    world.ask(Request::RemoveWorker { user: BOB, worker: WorkerId(1) });
    check(
        world,
        &expect![[r#"
            1.0#1 waits again, 3 tries left: the machine was removed
            bid of worker-1 on job 1: Failed
            refund:1:round0: escrow -> ada 9
            job 1 is open again, round 1, quote 0: the machine was removed
            bid of worker-1 on job 2: Withdrawn
            worker-1 is removed
            to session 1: drop 1.0#1
            done
            session 1 ends for good: this worker was removed on the dashboard
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn bids_end_with_their_job() {
    let mut world = open(&by_hand());
    world.bid(BOB, 1, 1, 9);
    world.cancel(ADA, 1);
    world.accept(ADA, 1, 1, 9);
    check(
        world,
        &expect![[r#"
            worker-1 bids 9 on job 1
            done
            1.0 cancelled
            bid of worker-1 on job 1: Over
            job 1 is over
            done
            refused: this job has ended already
            ada 100, bob 100, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn a_job_on_the_market_is_one_run_of_one_task() {
    let mut world = open(&by_hand());
    for wish in [
        by_hand().tasks(2),
        by_hand().retries(1, 0),
        by_hand().deterministic(true),
        by_hand().held(),
        by_hand().after(1, campusgrid_protocol::terms::When::Ok),
    ] {
        let reply = world.submit(&wish);
        assert!(matches!(reply, Reply::Refused(Refusal::OnMarket)), "{reply:?}");
    }
    let hold = Request::SetHold { user: ADA, job: JobId(1), on_hold: true };
    assert!(matches!(world.ask(hold), Reply::Refused(Refusal::OnMarket)));
}

#[test]
fn an_outage_fails_no_bid_and_closes_nothing() {
    let mut world = open(&by_hand());
    world.submit(&by_rule(20));
    world.bid(BOB, 1, 1, 9);
    world.bid(EVE, 2, 2, 9);
    world.accept(ADA, 1, 1, 9);
    world.log.clear();
    world.now = world.now.plus_ms(3_600_000);
    world.restart();
    world.own_again(2, &worker(2, 2).of(EVE));
    world.join(7, crate::tests::world::join(1, &worker(1, 1), attempts(&["1.0#1"])));
    world.start(7, "1.0#1");
    world.pass_s(91);
    check(
        world,
        &expect![[r#"
            to session 3: welcome, worker-2 of eve
            to session 7: welcome, worker-1 of bob
            job 1 is worker-1's for 9, which runs it; quote 9
            bid of worker-2 on job 2: Accepted
            job 2 is worker-2's for 9, within 300 s; quote 20
            2.0#1 -> worker-2
            ada 71, bob 100, eve 100, escrow 29
        "#]],
    );
}

#[test]
fn a_cheaper_ask_is_charged_and_a_dearer_one_gets_nothing() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.set_ask(BOB, 1, Ask { prices: Some(per_core_minute(2)), automatic: false });
    world.log.clear();
    world.submit(&job(1, 1));
    world.set_ask(BOB, 1, Ask { prices: Some(per_core_minute(1)), automatic: false });
    world.start(1, "1.0#1");
    world.note("what was agreed before stays");
    world.set_ask(BOB, 1, Ask::default());
    world.wait_s(60);
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    check(
        world,
        &expect![[r#"
            hold:1: ada -> escrow 18
            job 1, 18 held
            worker-1 asks for its own price
            1.0#1 -> worker-1
            done
            # what was agreed before stays
            worker-1 asks for the formula
            done
            pay:1.0:1: escrow -> bob 1
            refund:1.0: escrow -> ada 17
            1.0 succeeded; charged 1
            job 1 is over
            to session 1: stored 1.0#1
            ada 99, bob 101, eve 100, escrow 0
        "#]],
    );
}

#[test]
fn prices_rise_while_more_waits_than_there_are_machines() {
    let mut policy = policy();
    policy.premium = true;
    policy.starting_credits = Micros::from_credits(1000);
    let mut world = World::with(policy);
    for number in [1, 2] {
        world.own(number, &worker(1, 1));
    }
    world.log.clear();
    // Two run at once; the third finds nothing that waits, the fourth as much as there are machines…
    for _ in 0..8 {
        world.submit(&job(1, 1));
    }
    let rates: Vec<u32> = world.grid.jobs.values().map(|job| job.rate_permille).collect();
    assert_eq!(rates, [1000, 1000, 1000, 1000, 1000, 1500, 2000, 2000]);
}

#[test]
fn starting_credits_are_given_once_for_an_address() {
    let mut policy = policy();
    policy.verified_grants = true;
    let mut world = World::with(policy);
    let verify = |user, letter: u8| Request::Verify { user, identity: [letter; 32] };
    world.note_balances();
    for (user, letter) in [(ADA, 1), (BOB, 1), (ADA, 2), (BOB, 3), (EVE, 2)] {
        world.ask(verify(user, letter));
    }
    check(
        world,
        &expect![[r#"
            ada 0, bob 0, eve 0, escrow 0
            ada has an address
            grant:1: mint -> ada 100
            done
            bob has an address
            done
            ada has an address
            done
            bob has an address
            grant:2: mint -> bob 100
            done
            eve has an address
            done
            ada 100, bob 100, eve 0, escrow 0
        "#]],
    );
}
