//! Holds, deadlines, limits of how many run at once, cancelled ranges, notices.

use campusgrid_protocol::id::JobId;
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::task::{Failure, Outcome, WorkerFault};
use campusgrid_protocol::terms::{Notify, When};
use expect_test::expect;

use crate::input::{Input, Intake, NoticeFate, Request, Shut};
use crate::tests::world::{ADA, BOB, EVE, World, job, worker};

#[test]
fn a_task_gets_the_index_of_its_place() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    let effects = world.submit_with_effects(&job(1, 1).array("7,10-20:5"));
    let is_start = |message: &ToWorker| matches!(message, ToWorker::Start { index: 7, .. });
    assert!(effects.sends.iter().any(|(_, message)| is_start(message)));
    world.end(1, "1.0#1", Outcome::Succeeded, 0);
    assert_eq!(world.grid.jobs[&JobId(1)].untouched.to_string(), "2-3");
}

#[test]
fn only_so_many_run_at_once() {
    let mut world = World::new();
    world.own(1, &worker(4, 4));
    world.submit(&job(1, 1).tasks(5).at_once(2));
    world.submit(&job(1, 1).by(BOB));
    world.note_waiting();
    world.end(1, "1.1#1", Outcome::Returned(WorkerFault::Leaving), 0);
    world.own(2, &worker(4, 4));
    world.end(1, "1.0#1", Outcome::Succeeded, 0);
    world.cancel(ADA, 1);
    expect![[r#"
        hold:1: ada -> escrow 90
        1.0#1 -> worker-1
        1.1#1 -> worker-1
        job 1, 90 held
        hold:2: bob -> escrow 18
        2.0#1 -> worker-1
        job 2, 18 held
        job 1 2 of its tasks run, and no more may at once
        1.1#1 waits again, 3 tries left: the owner took the worker back
        to session 1: stored 1.1#1
        1.1#2 -> worker-2
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 8
        1.2#1 -> worker-2
        to session 1: stored 1.0#1
        1.1#2 is to stop
        1.2#1 is to stop
        1.3-4 cancelled
        refund:1.3-4: escrow -> ada 36
        to session 2: cancel 1.1#2
        to session 2: cancel 1.2#1
        done
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn what_is_held_starts_when_it_is_released() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1).tasks(2).held());
    world.note_waiting();
    let mut set = |user, on_hold| {
        world.ask(Request::SetHold { user, job: JobId(1), on_hold });
    };
    set(EVE, false);
    set(ADA, true);
    set(ADA, false);
    set(ADA, true);
    world.end(1, "1.0#1", Outcome::Succeeded, 0);
    world.note_waiting();
    world.restart();
    world.note_waiting();
    world.cancel(ADA, 1);
    world.ask(Request::SetHold { user: ADA, job: JobId(1), on_hold: false });
    world.ask(Request::SetHold { user: ADA, job: JobId(9), on_hold: false });
    expect![[r#"
        hold:1: ada -> escrow 36
        job 1, 36 held
        job 1 is on hold; it starts once it is released
        refused: there is no such thing, or it is not yours
        done
        job 1 is released
        1.0#1 -> worker-1
        done
        job 1 is on hold
        done
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 10
        1.0 succeeded; charged 8
        to session 1: stored 1.0#1
        job 1 is on hold; it starts once it is released
        job 1 is on hold; it starts once it is released
        1.1 cancelled
        refund:1.1-1: escrow -> ada 18
        job 1 is over
        done
        refused: this job has ended already
        refused: there is no such thing, or it is not yours
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn what_waits_at_the_deadline_is_cancelled_and_what_runs_goes_on() {
    let mut world = World::new();
    world.own(1, &worker(2, 2));
    let failed = || Outcome::Failed(Failure::ExitCode(1));
    world.submit(&job(1, 1).tasks(4).limit_s(60).retries(1, 50).deadline_s(100));
    world.end(1, "1.0#1", failed(), 0);
    world.end(1, "1.1#1", Outcome::Returned(WorkerFault::Leaving), 0);
    world.log.clear();
    world.now = world.now.plus_ms(60_000);
    world.end(1, "1.2#1", failed(), 0);
    world.note("no time for another run");
    world.own(2, &worker(1, 1));
    world.wait_s(40);
    world.note("the deadline is over");
    world.note_balances();
    world.submit(&job(1, 1).deadline_s(100));
    world.hear(2, crate::input::WorkerEvent::Gone);
    world.wait_s(91);
    world.note("what was lost meanwhile does not start again");
    world.note_balances();
    expect![[r#"
        pay:1.2:1: escrow -> bob 8
        refund:1.2: escrow -> ada 10
        1.2 failed: ended with exit code 1; charged 8
        1.0 waits again
        to session 1: stored 1.2#1
        # no time for another run
        1.0#2 -> worker-2
        1.3 cancelled, its deadline was over before it could start
        refund:1.3-3: escrow -> ada 18
        refund:1.1: escrow -> ada 18
        1.1 cancelled, its deadline was over before it could start; charged 0
        # the deadline is over
        ada 75, bob 116, eve 100, escrow 9
        refused: its deadline is over already
        refund:1.0: escrow -> ada 9
        1.0 cancelled, its deadline was over before it could start; charged 0
        job 1 is over
        # what was lost meanwhile does not start again
        ada 84, bob 116, eve 100, escrow 0
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_deadline_waits_while_nothing_is_settled() {
    let mut world = World::new();
    world.submit(&job(1, 1).tasks(2).deadline_s(100));
    world.submit(&job(1, 1).after(1, When::Ok));
    world.happen(Input::Intake(Intake::Shut(Shut::DiskFull)));
    world.log.clear();
    world.wait_s(100);
    assert_eq!(world.grid.next_deadline(), None, "or the driver would never sleep");
    world.note("open again");
    world.happen(Input::Intake(Intake::Open));
    expect![[r#"
        # open again
        1.0-1 cancelled, its deadline was over before it could start
        refund:1.0-1: escrow -> ada 36
        job 1 is over
        2.0 cancelled, job 1, which it was to follow, has not succeeded, so it can never start
        refund:2.0-0: escrow -> ada 18
        job 2 is over
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn some_tasks_are_cancelled_and_the_rest_goes_on() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1).tasks(6).limit_s(1));
    world.log.clear();
    world.cancel_tasks(ADA, 1, "0,2-3,5,70-80");
    world.cancel_tasks(ADA, 1, "0,2-3,5");
    world.cancel_tasks(ADA, 1, "90");
    world.cancel_tasks(EVE, 1, "1");
    world.end(1, "1.0#1", Outcome::Cancelled, 0);
    world.end(1, "1.1#1", Outcome::Succeeded, 0);
    world.cancel_tasks(ADA, 1, "4");
    world.end(1, "1.4#1", Outcome::Cancelled, 0);
    expect![[r#"
        1.0#1 is to stop
        1.2-3,5 cancelled
        refund:1.2-5: escrow -> ada 24.050001
        to session 1: cancel 1.0#1
        done
        done
        done
        refused: there is no such thing, or it is not yours
        refund:1.0: escrow -> ada 8.016667
        1.0 cancelled; charged 0
        1.1#1 -> worker-1
        to session 1: stored 1.0#1
        pay:1.1:1: escrow -> bob 8
        refund:1.1: escrow -> ada 0.016667
        1.1 succeeded; charged 8
        1.4#1 -> worker-1
        to session 1: stored 1.1#1
        1.4#1 is to stop
        to session 1: cancel 1.4#1
        done
        refund:1.4: escrow -> ada 8.016667
        1.4 cancelled; charged 0
        job 1 is over
        to session 1: stored 1.4#1
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn everything_of_one_user_is_cancelled() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1).tasks(2).limit_s(1));
    world.submit(&job(1, 1).limit_s(1).after(1, When::Ok));
    world.submit(&job(1, 1).limit_s(1).by(BOB));
    world.draft(ADA, None);
    world.log.clear();
    world.ask(Request::CancelAll { user: ADA });
    world.ask(Request::CancelAll { user: ADA });
    world.ask(Request::CancelAll { user: EVE });
    expect![[r#"
        1.0#1 is to stop
        1.1 cancelled
        refund:1.1-1: escrow -> ada 8.016667
        2.0 cancelled
        refund:2.0-0: escrow -> ada 8.016667
        job 2 is over
        to session 1: cancel 1.0#1
        2 jobs have something cancelled
        0 jobs have something cancelled
        0 jobs have something cancelled
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn those_who_asked_are_told() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    let all = Notify { start: true, end: true, failure: true, mail: true, webhook: None };
    let mut wish = job(1, 1).limit_s(1).tasks(3);
    wish.terms.notify = all.clone();
    world.submit(&wish);
    for (attempt, outcome) in [
        ("1.0#1", Outcome::Failed(Failure::ExitCode(1))),
        ("1.1#1", Outcome::Failed(Failure::ExitCode(1))),
        ("1.2#1", Outcome::Succeeded),
    ] {
        world.end(1, attempt, outcome, 0);
    }
    for notify in [Notify { mail: false, ..all.clone() }, Notify { start: false, ..all }] {
        wish.terms.notify = notify;
        wish = wish.tasks(1);
        world.submit(&wish);
        let attempt = format!("{}.0#1", world.grid.last_job);
        world.end(1, &attempt, Outcome::Succeeded, 0);
    }
    let told: Vec<&str> =
        world.log.lines().filter(|line| line.contains("notice") || line.contains("->")).collect();
    expect![[r#"
        hold:1: ada -> escrow 24.050001
        notice of job 1: Started
        1.0#1 -> worker-1
        notice of job 1: Failed
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 0.016667
        1.1#1 -> worker-1
        pay:1.1:1: escrow -> bob 8
        refund:1.1: escrow -> ada 0.016667
        1.2#1 -> worker-1
        pay:1.2:1: escrow -> bob 8
        refund:1.2: escrow -> ada 0.016667
        notice of job 1: Ended
        hold:2: ada -> escrow 8.016667
        2.0#1 -> worker-1
        pay:2.0:1: escrow -> bob 8
        refund:2.0: escrow -> ada 0.016667
        hold:3: ada -> escrow 8.016667
        3.0#1 -> worker-1
        pay:3.0:1: escrow -> bob 8
        refund:3.0: escrow -> ada 0.016667
        notice of job 3: Ended"#]]
    .assert_eq(&told.join("\n"));
}

#[test]
fn what_is_kept_of_ended_jobs_goes_when_it_is_said() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1).limit_s(1));
    world.end(1, "1.0#1", Outcome::Succeeded, 0);
    world.submit(&job(1, 1).limit_s(1));
    world.draft(ADA, None);
    world.log.clear();
    world.ask(Request::EmptyJobs { jobs: [0, 1, 2, 3, 4].map(JobId).to_vec() });
    let tried =
        vec![(5, NoticeFate::Delivered), (6, NoticeFate::GivenUp { reason: "?".to_owned() })];
    world.ask(Request::NoticesTried { tried });
    for user in [ADA, campusgrid_protocol::id::UserId(9)] {
        world.ask(Request::SetWebhookSecret { user, secret: "s".to_owned() });
    }
    expect![[r#"
        job 1 is emptied
        done
        notice 5: Delivered
        notice 6: GivenUp { reason: "?" }
        done
        a new secret of ada
        done
        refused: there is no such thing, or it is not yours
    "#]]
    .assert_eq(&world.log);
}
