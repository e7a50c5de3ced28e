//! What people ask for, and how they are turned down.

use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::task::Outcome;
use expect_test::expect;

use crate::effect::Reply;
use crate::input::{Input, NewLogin, Registration, Request};
use crate::money::Micros;
use crate::policy::Policy;
use crate::tests::world::{ADA, EVE, World, job, policy, worker};

fn local(name: &str) -> Request {
    Request::Register(Registration {
        name: name.to_owned(),
        email: Some("x@example.org".to_owned()),
        password_hash: "argon2".to_owned(),
        local: true,
        invitation: None,
    })
}

#[test]
fn names_that_differ_in_case_only_are_one() {
    let mut world = World::new();
    world.register("Ada");
    world.register("ADA");
    world.register("adam");
    expect![[r#"
          refused: this name is taken
          refused: this name is taken
          grant:4: mint -> user-4 100
          user 4 is adam (Member)
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn the_first_from_the_managers_own_machine_is_the_operator() {
    let mut world = World::new();
    world.ask(local("root"));
    world.ask(local("root2"));
    world.restart();
    world.ask(local("root3"));
    expect![[r#"
          grant:4: mint -> user-4 100
          user 4 is root (Operator)
          grant:5: mint -> user-5 100
          user 5 is root2 (Member)
          grant:6: mint -> user-6 100
          user 6 is root3 (Member)
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn what_the_balance_cannot_cover_is_refused_with_the_shortfall() {
    let mut world = World::new();
    world.submit(&job(1, 1).tasks(6));
    world.note_balances();
    world.submit(&job(1, 1).tasks(5));
    world.submit(&job(1, 1));
    let Reply::Refused(refusal) = world.submit(&job(1, 1)) else { panic!("there is nothing left") };
    let crate::effect::Refusal::Insufficient(short) = refusal else { panic!("{refusal}") };
    assert_eq!((short.amount.0 - short.balance.0, world.balance(ADA).0), (8_000_000, 10_000_000));
    expect![[r#"
        refused: costs 108 credits, the balance is 100
        ada 100, bob 100, eve 100, escrow 0
        hold:1: ada -> escrow 90
        job 1, 90 held
        refused: costs 18 credits, the balance is 10
        refused: costs 18 credits, the balance is 10
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_price_that_is_no_number_is_refused() {
    let mut world = World::new();
    let mut absurd = job(1, 1).tasks(u32::MAX);
    world.submit(&absurd);
    absurd.spec.needs.cpu_millis = u32::MAX;
    absurd.spec.needs.ram_mib = u32::MAX;
    absurd.spec.needs.gpus = u16::MAX;
    world.submit(&absurd.clone().limit_s(u32::MAX));
    let mut dear = policy();
    (dear.prices.minute, dear.rate_permille) = (Micros(i64::MAX), u32::MAX);
    let mut world_of_the_dear = World::with(dear);
    world_of_the_dear.submit(&absurd.clone().limit_s(u32::MAX));
    world_of_the_dear.submit(&absurd.limit_s(u32::MAX).tasks(1));
    world.log.push_str(&world_of_the_dear.log);
    expect![[r#"
          refused: costs 77309411310 credits, the balance is 100
          refused: the price is too large to be a number
          refused: the price is too large to be a number
          refused: costs 9223372036854.775807 credits, the balance is 100
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn jobs_under_way_have_a_limit_for_each_user() {
    let mut world = World::with(Policy { active_jobs_max: 2, ..policy() });
    let tiny = job(1, 1).limit_s(1);
    world.submit(&tiny);
    world.submit(&tiny);
    world.submit(&tiny);
    world.submit(&tiny.clone().by(EVE));
    world.note("after a restart it still counts");
    world.restart();
    world.submit(&tiny);
    world.cancel(ADA, 1);
    world.submit(&tiny);
    expect![[r#"
        hold:1: ada -> escrow 8.016667
        job 1, 8.016667 held
        hold:2: ada -> escrow 8.016667
        job 2, 8.016667 held
        refused: you have 2 jobs under way, which is the limit
        hold:3: eve -> escrow 8.016667
        job 3, 8.016667 held
        # after a restart it still counts
        refused: you have 2 jobs under way, which is the limit
        1.0 cancelled
        refund:1.0-0: escrow -> ada 8.016667
        job 1 is over
        done
        hold:4: ada -> escrow 8.016667
        job 4, 8.016667 held
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_repeated_submit_finds_the_first_job() {
    let mut world = World::new();
    let wish = job(1, 1).key("k");
    world.submit(&wish);
    world.submit(&wish);
    world.note("other people and other keys have jobs of their own");
    world.submit(&wish.clone().by(EVE));
    world.submit(&job(1, 1).key("l"));
    world.note("even when it has ended, or nothing is left to hold");
    world.cancel(ADA, 1);
    world.submit(&job(1, 1).tasks(5));
    world.submit(&wish);
    world.note("and after a restart");
    world.restart();
    world.submit(&wish);
    expect![[r#"
        hold:1: ada -> escrow 18
        job 1, 18 held
        job 1, 18 held
        # other people and other keys have jobs of their own
        hold:2: eve -> escrow 18
        job 2, 18 held
        hold:3: ada -> escrow 18
        job 3, 18 held
        # even when it has ended, or nothing is left to hold
        1.0 cancelled
        refund:1.0-0: escrow -> ada 18
        job 1 is over
        done
        refused: costs 90 credits, the balance is 82
        job 1, 18 held
        # and after a restart
        job 1, 18 held
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_key_stands_for_one_job_only() {
    let mut world = World::new();
    world.submit(&job(1, 1).key("k"));
    world.submit(&job(2, 1).key("k"));
    world.submit(&job(1, 1).key("k"));
    expect![[r#"
        hold:1: ada -> escrow 18
        job 1, 18 held
        refused: this idempotency key stands for another job, 1
        job 1, 18 held
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_key_is_forgotten_after_its_time() {
    let mut world = World::new();
    let wish = job(1, 1).key("k");
    world.submit(&wish);
    world.wait_s(3599);
    assert_eq!(world.grid.next_deadline(), Some(world.now.plus_ms(1000)));
    world.submit(&wish);
    world.wait_s(1);
    world.submit(&wish);
    expect![[r#"
          hold:1: ada -> escrow 18
          job 1, 18 held
          job 1, 18 held
          key k forgotten
          hold:2: ada -> escrow 18
          job 2, 18 held
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_job_is_cancelled_by_its_owner_or_the_operator() {
    let mut world = World::new();
    world.ask(local("root"));
    world.submit(&job(1, 1));
    world.submit(&job(1, 1));
    world.log.clear();
    world.cancel(EVE, 1);
    world.cancel(UserId(99), 1);
    world.cancel(ADA, 3);
    world.cancel(ADA, 0);
    world.ask(Request::Cancel { user: ADA, job: JobId(u64::MAX), tasks: None });
    world.note("by those who may");
    world.cancel(ADA, 1);
    world.cancel(ADA, 1);
    world.cancel(UserId(4), 2);
    expect![[r#"
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        # by those who may
        1.0 cancelled
        refund:1.0-0: escrow -> ada 18
        job 1 is over
        done
        refused: this job has ended already
        2.0 cancelled
        refund:2.0-0: escrow -> ada 18
        job 2 is over
        done
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn cancelling_reaches_what_runs_what_waits_again_and_what_never_started() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.own(2, &worker(1, 1));
    world.submit(&job(1, 1).limit_s(60).tasks(5));
    world.hear(2, crate::input::WorkerEvent::Gone);
    world.wait_s(50);
    world.heartbeat(1, crate::tests::world::attempts(&["1.0#1"]));
    world.wait_s(40);
    world.log.clear();
    world.cancel(ADA, 1);
    world.note("again");
    world.cancel(ADA, 1);
    world.note("the last one ends");
    world.end(1, "1.0#1", Outcome::Cancelled, 0);
    world.note_balances();
    expect![[r#"
        1.0#1 is to stop
        1.2-4 cancelled
        refund:1.2-4: escrow -> ada 27
        refund:1.1: escrow -> ada 9
        1.1 cancelled; charged 0
        to session 1: cancel 1.0#1
        done
        # again
        done
        # the last one ends
        refund:1.0: escrow -> ada 9
        1.0 cancelled; charged 0
        job 1 is over
        to session 1: stored 1.0#1
        ada 100, bob 100, eve 100, escrow 0
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn logins_are_for_the_disk_only() {
    let mut world = World::new();
    let (token_hash, until) = ([7; 32], world.now.plus_ms(1));
    let login = |user| NewLogin { user, token_hash, until, from: "a browser".to_owned() };
    world.ask(Request::OpenLogin(login(ADA)));
    world.ask(Request::OpenLogin(login(UserId(99))));
    world.ask(Request::CloseLogin { token_hash });
    assert_eq!(world.log, "done\nrefused: there is no such thing, or it is not yours\ndone\n");
}

#[test]
fn the_clock_of_the_grid_never_steps_back() {
    let mut world = World::new();
    world.wait_s(10);
    let before = world.grid.snapshot().at;
    world.now = crate::time::Timestamp(5);
    world.happen(Input::Tick);
    assert_eq!(world.grid.snapshot().at, before);
}
