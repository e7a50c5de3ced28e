//! Results that count only when machines of two owners agree.

use campusgrid_protocol::id::{UserId, WorkerId};
use campusgrid_protocol::rules::{Limits, Phase};
use campusgrid_protocol::task::{Content, Ended, Failure, Log, Outcome, Usage, WorkerFault};
use expect_test::{Expect, expect};

use crate::input::WorkerEvent;
use crate::money::Micros;
use crate::policy::Policy;
use crate::tests::checkpoints::{save, saved};
use crate::tests::market::{by_itself, per_core_minute};
use crate::tests::sharing::shares;
use crate::tests::world::{ADA, BOB, EVE, Wish, World, attempt, job, policy, worker};

const DAN: UserId = UserId(4);

impl World {
    /// A result that printed something.
    pub(super) fn say(&mut self, session: u64, text: &str, printed: &str, run_s: u64) {
        let usage = Usage { run_ms: run_s * 1000, cpu_ms: 0, ram_peak_mib: 0 };
        let stdout = Log { content: Content::Inline(printed.as_bytes().to_vec()), cut_bytes: 0 };
        let ended = Ended { usage, stdout, ..Ended::empty(attempt(text), Outcome::Succeeded) };
        self.hear(session, WorkerEvent::Ended(Box::new(ended)));
    }
}

/// Bob's machines 1 and 4, Eve's 2 and Dan's 3; Ada has none.
pub(super) fn campus(policy: Policy) -> World {
    let mut world = World::with(policy);
    world.register("dan");
    for (number, owner) in [(1, BOB), (2, EVE), (3, DAN), (4, BOB)] {
        world.own(number, &worker(1, 1).of(owner));
    }
    world.log.clear();
    world
}

/// After a minute of it.
fn submit(world: &mut World, wish: &Wish) {
    world.submit(wish);
    world.start(1, "1.0#1");
    world.pass_s(60);
}

fn verified() -> World {
    let mut world = campus(policy());
    submit(&mut world, &job(1, 1).limit_s(120).deterministic(true));
    world
}

/// A campus whose fees pay for samples: one credit in ten, of which there are fifty.
pub(super) fn sampled() -> World {
    let mut policy = policy();
    (policy.fee_permille, policy.starting_credits) = (100, Micros::from_credits(1000));
    let mut world = campus(policy);
    world.submit(&job(1, 1).limit_s(490 * 60));
    world.start(1, "1.0#1");
    world.now = world.now.plus_ms(490 * 60_000);
    world.end(1, "1.0#1", Outcome::Succeeded, 490 * 60);
    for session in 1..=4 {
        world.heartbeat(session, Vec::new());
    }
    world.log.clear();
    world.submit(&job(1, 1).limit_s(120).deterministic(false));
    world.start(1, "2.0#1");
    world.pass_s(60);
    world
}

fn check(mut world: World, expected: &Expect) {
    world.note_balances();
    for worker in world.grid.workers.values() {
        let record = worker.record;
        world.log.push_str(&format!(
            "worker-{}: {} delivered, {} valid, {} invalid, {} earned\n",
            worker.id,
            record.delivered,
            record.valid,
            record.invalid,
            Micros(record.earned_micros)
        ));
    }
    expected.assert_eq(&world.log);
}

#[test]
fn two_machines_that_agree_are_paid_both() {
    let mut world = verified();
    world.say(1, "1.0#1", "42", 60);
    world.start(2, "1.0#2");
    world.pass_s(30);
    world.say(2, "1.0#2", "42", 30);
    check(
        world,
        &expect![[r#"
            hold:1: ada -> escrow 30
            1.0#1 -> worker-1
            job 1, 30 held
            1.0#1 waits for another's result
            1.0#2 -> worker-2
            to session 1: stored 1.0#1
            pay:1.0:1: escrow -> bob 9
            pay:1.0:2: escrow -> eve 8.5
            refund:1.0: escrow -> ada 12.5
            1.0 succeeded; charged 17.5
            job 1 is over
            to session 2: stored 1.0#2
            ada 82.5, bob 109, eve 108.5, escrow 0
            worker-1: 1 delivered, 1 valid, 0 invalid, 9 earned
            worker-2: 1 delivered, 1 valid, 0 invalid, 8.5 earned
            worker-3: 0 delivered, 0 valid, 0 invalid, 0 earned
            worker-4: 0 delivered, 0 valid, 0 invalid, 0 earned
        "#]],
    );
}

#[test]
fn a_third_decides_and_the_liar_is_not_paid() {
    let mut world = verified();
    world.say(1, "1.0#1", "43", 60);
    world.start(2, "1.0#2");
    world.pass_s(20);
    world.say(2, "1.0#2", "42", 20);
    world.start(3, "1.0#3");
    world.pass_s(20);
    world.say(3, "1.0#3", "42", 20);
    check(
        world,
        &expect![[r#"
            hold:1: ada -> escrow 30
            1.0#1 -> worker-1
            job 1, 30 held
            1.0#1 waits for another's result
            1.0#2 -> worker-2
            to session 1: stored 1.0#1
            1.0#2 waits for another's result
            1.0#3 -> worker-3
            to session 2: stored 1.0#2
            pay:1.0:2: escrow -> eve 8.333334
            pay:1.0:3: escrow -> user-4 8.333334
            fee:1.0:1: escrow -> fee 9
            refund:1.0: escrow -> ada 4.333332
            1.0 succeeded; charged 25.666668
            job 1 is over
            to session 3: stored 1.0#3
            ada 74.333332, bob 100, eve 108.333334, escrow 0, fee 9
            worker-1: 1 delivered, 0 valid, 1 invalid, 0 earned
            worker-2: 1 delivered, 1 valid, 0 invalid, 8.333334 earned
            worker-3: 1 delivered, 1 valid, 0 invalid, 8.333334 earned
            worker-4: 0 delivered, 0 valid, 0 invalid, 0 earned
        "#]],
    );
}

#[test]
fn three_different_results_are_the_jobs_own_fault() {
    let mut world = verified();
    for (session, printed) in [(1, "1"), (2, "2"), (3, "3")] {
        let text = format!("1.0#{session}");
        world.start(session, &text);
        world.pass_s(10);
        world.say(session, &text, printed, 10);
    }
    check(
        world,
        &expect![[r#"
            hold:1: ada -> escrow 30
            1.0#1 -> worker-1
            job 1, 30 held
            1.0#1 waits for another's result
            1.0#2 -> worker-2
            to session 1: stored 1.0#1
            1.0#2 waits for another's result
            1.0#3 -> worker-3
            to session 2: stored 1.0#2
            pay:1.0:1: escrow -> bob 8.166667
            pay:1.0:2: escrow -> eve 8.166667
            pay:1.0:3: escrow -> user-4 8.166667
            refund:1.0: escrow -> ada 5.499999
            1.0 failed: three machines came to three different results: the job is not deterministic; all three were charged; charged 24.500001
            job 1 is over
            to session 3: stored 1.0#3
            ada 75.499999, bob 108.166667, eve 108.166667, escrow 0
            worker-1: 1 delivered, 0 valid, 0 invalid, 8.166667 earned
            worker-2: 1 delivered, 0 valid, 0 invalid, 8.166667 earned
            worker-3: 1 delivered, 0 valid, 0 invalid, 8.166667 earned
            worker-4: 0 delivered, 0 valid, 0 invalid, 0 earned
        "#]],
    );
}

#[test]
fn failing_alike_is_a_result_too() {
    let mut world = verified();
    world.end(1, "1.0#1", Outcome::Failed(Failure::ExitCode(3)), 60);
    world.start(2, "1.0#2");
    world.pass_s(30);
    world.end(2, "1.0#2", Outcome::Failed(Failure::ExitCode(3)), 30);
    check(
        world,
        &expect![[r#"
            hold:1: ada -> escrow 30
            1.0#1 -> worker-1
            job 1, 30 held
            1.0#1 waits for another's result
            1.0#2 -> worker-2
            to session 1: stored 1.0#1
            pay:1.0:1: escrow -> bob 9
            pay:1.0:2: escrow -> eve 8.5
            refund:1.0: escrow -> ada 12.5
            1.0 failed: ended with exit code 3; charged 17.5
            job 1 is over
            to session 2: stored 1.0#2
            ada 82.5, bob 109, eve 108.5, escrow 0
            worker-1: 1 delivered, 1 valid, 0 invalid, 9 earned
            worker-2: 1 delivered, 1 valid, 0 invalid, 8.5 earned
            worker-3: 0 delivered, 0 valid, 0 invalid, 0 earned
            worker-4: 0 delivered, 0 valid, 0 invalid, 0 earned
        "#]],
    );
}

#[test]
fn a_result_that_nobody_confirms_waits_and_its_machine_is_paid_all_the_same() {
    let mut world = campus(policy());
    for number in [2, 3] {
        let owner = world.grid.workers[&WorkerId(number)].owner;
        let worker = WorkerId(number);
        world.ask(crate::input::Request::RemoveWorker { user: owner, worker });
    }
    world.log.clear();
    submit(&mut world, &job(1, 1).limit_s(120).deterministic(true));
    world.say(1, "1.0#1", "42", 60);
    world.note_waiting();
    world.cancel(ADA, 1);
    check(
        world,
        &expect![[r#"
        hold:1: ada -> escrow 30
        1.0#1 -> worker-1
        job 1, 30 held
        1.0#1 waits for another's result
        to session 1: stored 1.0#1
        waits: its result is checked, by a machine of somebody who has had no part in it so far; it goes on when one connects or takes such jobs
        pay:1.0:1: escrow -> bob 9
        refund:1.0: escrow -> ada 21
        1.0 cancelled; charged 9
        job 1 is over
        done
        ada 91, bob 109, eve 100, escrow 0
        worker-1: 1 delivered, 0 valid, 0 invalid, 9 earned
        worker-4: 0 delivered, 0 valid, 0 invalid, 0 earned
    "#]],
    );
}

#[test]
fn a_sample_is_paid_from_fees() {
    let mut world = sampled();
    world.say(1, "2.0#1", "42", 60);
    world.note_balances();
    world.start(2, "2.0#2");
    world.pass_s(60);
    world.say(2, "2.0#2", "42", 60);
    check(
        world,
        &expect![[r#"
            hold:2: ada -> escrow 10
            2.0#1 -> worker-1
            job 2, 10 held
            hold:audit:2.0: fee -> escrow 20
            2.0#1 waits for another's result
            2.0#2 -> worker-2
            to session 1: stored 2.0#1
            ada 492, bob 1448.2, eve 1000, escrow 30, fee 29.8
            pay:2.0:1: escrow -> bob 8.1
            fee:2.0:1: escrow -> fee 0.9
            pay:2.0:2: escrow -> eve 9
            refund:2.0: escrow -> ada 1
            refund:audit:2.0: escrow -> fee 11
            2.0 succeeded; charged 9
            job 2 is over
            to session 2: stored 2.0#2
            ada 493, bob 1456.3, eve 1009, escrow 0, fee 41.7
            worker-1: 2 delivered, 1 valid, 0 invalid, 456.3 earned
            worker-2: 1 delivered, 1 valid, 0 invalid, 9 earned
            worker-3: 0 delivered, 0 valid, 0 invalid, 0 earned
            worker-4: 0 delivered, 0 valid, 0 invalid, 0 earned
        "#]],
    );
}

#[test]
fn a_sample_that_contradicts_has_a_third_decide() {
    let mut world = sampled();
    world.say(1, "2.0#1", "43", 60);
    for session in [2, 3] {
        let text = format!("2.0#{session}");
        world.start(session, &text);
        world.pass_s(60);
        world.say(session, &text, "42", 60);
    }
    check(
        world,
        &expect![[r#"
            hold:2: ada -> escrow 10
            2.0#1 -> worker-1
            job 2, 10 held
            hold:audit:2.0: fee -> escrow 20
            2.0#1 waits for another's result
            2.0#2 -> worker-2
            to session 1: stored 2.0#1
            2.0#2 waits for another's result
            2.0#3 -> worker-3
            to session 2: stored 2.0#2
            pay:2.0:2: escrow -> eve 8.1
            fee:2.0:2: escrow -> fee 0.9
            pay:2.0:3: escrow -> user-4 9
            refund:2.0: escrow -> ada 1
            refund:audit:2.0: escrow -> fee 11
            2.0 succeeded; charged 9
            job 2 is over
            to session 3: stored 2.0#3
            ada 493, bob 1448.2, eve 1008.1, escrow 0, fee 41.7
            worker-1: 2 delivered, 0 valid, 1 invalid, 448.2 earned
            worker-2: 1 delivered, 1 valid, 0 invalid, 8.1 earned
            worker-3: 1 delivered, 1 valid, 0 invalid, 9 earned
            worker-4: 0 delivered, 0 valid, 0 invalid, 0 earned
        "#]],
    );
}

#[test]
fn a_sample_that_nobody_takes_counts_after_a_while() {
    let mut world = sampled();
    world.submit(&job(1, 1).by(EVE).limit_s(6000));
    world.submit(&job(1, 1).by(EVE).limit_s(6000));
    world.log.clear();
    world.say(1, "2.0#1", "42", 60);
    for session in 2..=4 {
        world.hear(session, WorkerEvent::Gone);
    }
    world.note("ten minutes");
    world.restart();
    world.wait_s(599);
    world.wait_s(1);
    check(
        world,
        &expect![[r#"
            hold:audit:2.0: fee -> escrow 20
            2.0#1 waits for another's result
            to session 1: stored 2.0#1
            # ten minutes
            3.0#1 waits again, 3 tries left: lost over an outage of the manager: the worker was out of touch for too long
            4.0#1 waits again, 3 tries left: lost over an outage of the manager: the worker was out of touch for too long
            pay:2.0:1: escrow -> bob 8.1
            fee:2.0:1: escrow -> fee 0.9
            refund:2.0: escrow -> ada 1
            refund:audit:2.0: escrow -> fee 20
            2.0 succeeded by attempt 1; charged 9
            job 2 is over
            ada 493, bob 1456.3, eve 784, escrow 216, fee 50.7
            worker-1: 2 delivered, 0 valid, 0 invalid, 456.3 earned
            worker-2: 0 delivered, 0 valid, 0 invalid, 0 earned
            worker-3: 0 delivered, 0 valid, 0 invalid, 0 earned
            worker-4: 0 delivered, 0 valid, 0 invalid, 0 earned
        "#]],
    );
}

/// Whether the result of the sampled task is checked when it comes.
fn is_checked(mut world: World) -> bool {
    world.say(1, "2.0#1", "42", 60);
    world.log.contains("hold:audit:2.0")
}

#[test]
fn a_sample_is_checked_where_another_could_run_it_right_now() {
    assert!(is_checked(sampled()));
    for of_others in [Phase::Frozen, Phase::Closed] {
        let mut world = sampled();
        for session in [2, 3] {
            world.hear(session, shares(of_others, "in use", Limits::default()));
        }
        assert!(!is_checked(world), "{of_others:?}");
    }
    let mut world = sampled();
    for (number, owner) in [(2, EVE), (3, DAN)] {
        world.set_ask(owner, number, by_itself(Some(per_core_minute(100))));
    }
    assert!(!is_checked(world), "they are too dear");
}

#[test]
fn a_submitter_has_no_more_checked_than_they_have_paid_in_fees() {
    let mut world = sampled();
    // Dan has paid nothing in fees, and those that there are are Ada's.
    world.submit(&job(1, 1).limit_s(120).deterministic(false).by(DAN));
    world.start(2, "3.0#1");
    world.log.clear();
    world.say(2, "3.0#1", "42", 0);
    assert!(
        world.log.contains("3.0 succeeded") && !world.log.contains("hold:audit"),
        "{}",
        world.log
    );
    // 49.8 less 20, and again, and back what was not needed.
    world.say(1, "2.0#1", "42", 60);
    let fees = |world: &World| world.grid.fees_of[&ADA].to_string();
    assert_eq!(fees(&world), "29.8");
    world.start(2, "2.0#2");
    world.pass_s(60);
    world.say(2, "2.0#2", "42", 60);
    // Besides what her fee was, 0.9, and Dan's are not hers.
    assert_eq!(fees(&world), "41.7");
    // What was paid before a start is not known after it.
    world.restart();
    assert!(world.grid.fees_of.is_empty());
}

#[test]
fn what_went_on_from_a_checkpoint_is_no_sample() {
    let mut world = sampled();
    save(&mut world, 1, "2.0#1", saved(1, 30));
    world.end(1, "2.0#1", Outcome::Returned(WorkerFault::Leaving), 60);
    world.start(2, "2.0#2");
    world.pass_s(60);
    world.say(2, "2.0#2", "43", 60);
    assert!(world.log.contains("2.0 succeeded; charged 7\n"), "{}", world.log);
    assert!(!world.log.contains("hold:audit"), "{}", world.log);
    // But what has saved something itself is one.
    let mut world = sampled();
    save(&mut world, 1, "2.0#1", saved(1, 30));
    assert!(is_checked(world));
}

#[test]
fn what_is_to_be_cancelled_does_not_succeed_unconfirmed() {
    for outcome in [Outcome::Succeeded, Outcome::Failed(Failure::ExitCode(1))] {
        let mut world = verified();
        world.cancel(ADA, 1);
        world.log.clear();
        world.end(1, "1.0#1", outcome, 60);
        assert!(world.log.contains("1.0 cancelled; charged 9\n"), "{}", world.log);
    }
}

/// A second opinion is asked of Eve's machine, and Dan's is there too.
fn second_opinion() -> World {
    let mut world = verified();
    world.say(1, "1.0#1", "42", 60);
    world
}

#[test]
fn whoever_gives_a_second_opinion_back_does_not_get_it_again_at_once() {
    for fault in [WorkerFault::Engine { message: "no engine".to_owned() }, WorkerFault::Leaving] {
        let mut world = second_opinion();
        // It shares, so its owner has stopped just this.
        world.hear(2, shares(Phase::Open, "", Limits::default()));
        world.log.clear();
        world.end(2, "1.0#2", Outcome::Returned(fault), 0);
        assert!(world.log.contains("1.0#3 -> worker-3\n"), "{}", world.log);
    }
}

#[test]
fn machines_with_a_long_row_are_checked_less_and_less() {
    let mut policy = policy();
    (policy.fee_permille, policy.starting_credits) = (500, Micros::from_credits(1_000_000));
    let mut world = campus(policy);
    let mut checked = [0; 4];
    for round in 0..400_u64 {
        world.submit(&job(1, 1).limit_s(1).deterministic(false));
        for _ in 0..2 {
            let running: Vec<_> =
                world.grid.jobs.values().flat_map(|job| job.leases().collect::<Vec<_>>()).collect();
            let Some((attempt, lease)) = running.first().copied() else { break };
            if attempt.number == 2 {
                checked[usize::try_from(round / 100).unwrap()] += 1;
            }
            world.say(lease.worker.0, &attempt.to_string(), "42", 1);
        }
        world.log.clear();
        for session in 1..=4 {
            world.heartbeat(session, Vec::new());
        }
    }
    let [first, later @ ..] = checked;
    assert!(first > 25 && later.iter().all(|&checked| 0 < checked && checked < 20), "{checked:?}");
}
