//! Drafts: files come, then they are launched, or go.

use campusgrid_protocol::id::JobId;
use campusgrid_protocol::input::INPUTS_MAX;
use campusgrid_protocol::task::Outcome;
use expect_test::expect;

use crate::draft::{DRAFTS_MAX, FILES_OF_USER_MAX};
use crate::effect::{Refusal, Reply};
use crate::input::{FilesOf, Input, Intake, Request, Shut};
use crate::tests::world::{ADA, BOB, EVE, Wish, World, job, worker};

fn launch(job_id: u64, revision: u64) -> Wish {
    let files = FilesOf::Draft { job: JobId(job_id), revision };
    Wish { files, ..job(1, 1).limit_s(1) }
}

#[test]
fn a_draft_gets_files_and_is_launched() {
    let mut world = World::new();
    world.draft(ADA, None);
    world.put(ADA, 1, &["a/b", "c"]);
    world.put(ADA, 1, &["c", "d", "c"]);
    world.ask(Request::RemoveFile { user: ADA, job: JobId(1), path: "d".to_owned() });
    world.ask(Request::RemoveFile { user: ADA, job: JobId(1), path: "d".to_owned() });
    world.note("another change has come between");
    world.submit(&launch(1, 2));
    world.submit(&Wish { owner: BOB, ..launch(1, 3) });
    world.submit(&launch(1, 3).key("k"));
    world.note("only once, and then it is a job");
    world.submit(&launch(1, 3));
    world.submit(&launch(1, 9).key("k"));
    world.put(ADA, 1, &["e"]);
    world.ask(Request::DiscardDraft { user: ADA, job: JobId(1) });
    world.submit(&job(1, 1).limit_s(1));
    world.own(1, &worker(1, 1));
    world.end(1, "1.0#1", Outcome::Succeeded, 0);
    world.put(ADA, 1, &["e"]);
    expect![[r#"
        draft 1 of ada
        draft 1
        draft 1, revision 1: ["a/b", "c"] put, [] removed
        done
        draft 1, revision 2: ["c", "d"] put, [] removed
        done
        draft 1, revision 3: [] put, ["d"] removed
        done
        refused: there is no such thing, or it is not yours
        # another change has come between
        refused: something changed at the same moment; try again
        refused: there is no such thing, or it is not yours
        hold:1: ada -> escrow 8.016667
        job 1, 8.016667 held
        # only once, and then it is a job
        refused: this job is no draft any more
        job 1, 8.016667 held
        refused: this job is no draft any more
        refused: this job is no draft any more
        hold:2: ada -> escrow 8.016667
        job 2, 8.016667 held
        1.0#1 -> worker-1
        pay:1.0:1: escrow -> bob 8
        refund:1.0: escrow -> ada 0.016667
        1.0 succeeded; charged 8
        job 1 is over
        2.0#1 -> worker-1
        to session 1: stored 1.0#1
        refused: this job is no draft any more
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn nobody_else_sees_a_draft() {
    let mut world = World::new();
    world.draft(ADA, None);
    world.put(BOB, 1, &["a"]);
    world.put(ADA, 2, &["a"]);
    world.put(ADA, 0, &["a"]);
    world.ask(Request::RemoveFile { user: BOB, job: JobId(1), path: "d".to_owned() });
    world.ask(Request::DiscardDraft { user: BOB, job: JobId(1) });
    world.submit(&Wish { owner: EVE, ..launch(1, 0) });
    world.cancel(BOB, 1);
    world.note("nor is it a job yet");
    world.cancel(ADA, 1);
    world.ask(Request::SetHold { user: ADA, job: JobId(1), on_hold: true });
    world.ask(Request::SetPriority { user: ADA, job: JobId(1), priority: 1 });
    expect![[r#"
        draft 1 of ada
        draft 1
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        # nor is it a job yet
        refused: this job is a draft: it has to be launched first, or it can be discarded
        refused: this job is a draft: it has to be launched first, or it can be discarded
        refused: this job is a draft: it has to be launched first, or it can be discarded
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn no_file_is_where_another_needs_a_directory() {
    let mut world = World::new();
    world.draft(ADA, None);
    world.put(ADA, 1, &["a/b/c", "ab"]);
    let mut put = |paths: &[&str]| {
        let reply = world.put(ADA, 1, paths);
        let is_taken = matches!(reply, Reply::Refused(Refusal::PathTaken));
        assert!(is_taken || matches!(reply, Reply::Done), "{reply:?}");
        !is_taken
    };
    for paths in [
        &["a"][..],
        &["a/b"],
        &["ab/c"],
        &["a/b/c/d"],
        &["x", "x/y"],
        &["x/y", "x"],
        &["y/z/1", "y/z"],
    ] {
        assert!(!put(paths), "{paths:?}");
    }
    for paths in [&["a/b/d"][..], &["a/b.c"], &["a.b", "a0"], &["a/b/c"], &["x"]] {
        assert!(put(paths), "{paths:?}");
    }
}

#[test]
fn drafts_and_files_have_limits() {
    let mut world = World::new();
    let paths: Vec<String> = (0..INPUTS_MAX).map(|number| number.to_string()).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    for draft in 1..=DRAFTS_MAX {
        assert!(
            matches!(world.draft(ADA, None), Reply::Drafted { job } if job == JobId(draft.into()))
        );
    }
    for draft in 1..=FILES_OF_USER_MAX / INPUTS_MAX {
        assert!(matches!(world.put(ADA, draft as u64, &paths), Reply::Done));
    }
    let more = world.put(ADA, 1, &["one more"]);
    assert!(matches!(more, Reply::Refused(Refusal::TooManyFiles { .. })), "{more:?}");
    assert!(matches!(world.put(ADA, 1, &["0"]), Reply::Done));
    let max = u32::try_from(FILES_OF_USER_MAX).unwrap();
    let more = world.put(ADA, DRAFTS_MAX.into(), &["one more"]);
    assert!(matches!(more, Reply::Refused(Refusal::TooManyFiles { max: found }) if found == max));
    let more = world.draft(ADA, None);
    assert!(matches!(more, Reply::Refused(Refusal::TooManyDrafts { max: DRAFTS_MAX })));
    assert!(matches!(world.draft(BOB, None), Reply::Drafted { .. }));
    world.ask(Request::DiscardDraft { user: ADA, job: JobId(1) });
    assert!(matches!(world.draft(ADA, None), Reply::Drafted { .. }));
}

#[test]
fn what_nobody_touches_goes_and_its_number_does_not_come_again() {
    let mut world = World::new();
    world.draft(ADA, Some("k".to_owned()));
    world.wait_s(1000);
    world.put(ADA, 1, &["a"]);
    world.restart();
    world.wait_s(1799);
    world.draft(ADA, Some("k".to_owned()));
    world.wait_s(1);
    world.restart();
    world.draft(ADA, None);
    world.submit(&launch(1, 1));
    expect![[r#"
        draft 1 of ada
        draft 1
        draft 1, revision 1: ["a"] put, [] removed
        done
        draft 1
        draft 1 is discarded
        draft 2 of ada
        draft 2
        refused: this job is no draft any more
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_key_finds_the_draft_and_nothing_else() {
    let mut world = World::new();
    world.draft(ADA, Some("k".to_owned()));
    world.draft(ADA, Some("k".to_owned()));
    world.draft(BOB, Some("k".to_owned()));
    world.submit(&job(1, 1).key("k"));
    world.submit(&job(1, 1).key("l"));
    world.draft(ADA, Some("l".to_owned()));
    expect![[r#"
        draft 1 of ada
        draft 1
        draft 1
        draft 2 of bob
        draft 2
        refused: this idempotency key stands for another job, 1
        hold:3: ada -> escrow 18
        job 3, 18 held
        refused: this idempotency key stands for another job, 3
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn while_nothing_is_taken_in_no_files_come() {
    let mut world = World::new();
    world.draft(ADA, None);
    world.draft(ADA, None);
    world.put(ADA, 1, &["a"]);
    world.log.clear();
    world.happen(Input::Intake(Intake::Shut(Shut::DiskFull)));
    world.draft(ADA, None);
    world.put(ADA, 1, &["b"]);
    world.submit(&launch(1, 1));
    world.note("but they may go");
    world.ask(Request::RemoveFile { user: ADA, job: JobId(1), path: "a".to_owned() });
    world.ask(Request::DiscardDraft { user: ADA, job: JobId(1) });
    world.ask(Request::EmptyJobs { jobs: vec![JobId(1)] });
    expect![[r#"
        refused: the manager's disk is full, so nothing new is taken in; what runs goes on
        refused: the manager's disk is full, so nothing new is taken in; what runs goes on
        refused: the manager's disk is full, so nothing new is taken in; what runs goes on
        # but they may go
        draft 1, revision 2: [] put, ["a"] removed
        done
        draft 1 is discarded
        done
        job 1 is emptied
        done
    "#]]
    .assert_eq(&world.log);
}
