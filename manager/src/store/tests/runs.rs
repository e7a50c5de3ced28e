//! Checkpoints, pay, and results that are checked, on real SQLite.

use campusgrid_core::input::{Request, Submission, WorkerEvent};
use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_core::votes::Votes;
use campusgrid_protocol::id::{BlobHash, JobId, TaskId, UserId, WorkerId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::task::{
    BlobRef, Ended, Outcome, Output, Saved, TaskSpec, Usage, WorkerFault,
};
use campusgrid_protocol::terms::Terms;
use expect_test::expect;

use super::campus::Campus;
use super::{shell, submission, viewer};

const TASK: TaskId = TaskId { job: JobId(1), index: 0 };

fn blob(number: u8) -> BlobRef {
    BlobRef { hash: BlobHash([number; 32]), size_bytes: u64::from(number) }
}

/// After so much running time, with a list and one file of their own.
fn saved(attempt: &str, run_ms: u64, number: u8) -> WorkerEvent {
    let file = InputFile { path: "state".to_owned(), blob: blob(number + 1), executable: false };
    let saved = Saved { manifest: blob(number), run_ms };
    WorkerEvent::Checkpoint { attempt: attempt.parse().unwrap(), saved, files: vec![file] }
}

/// For ten minutes at most.
fn long(terms: Terms) -> Submission {
    Submission { terms, ..submission("long", TaskSpec { time_limit_s: 600, ..shell() }) }
}

#[test]
fn what_a_checkpoint_covers_is_paid_and_found_again() {
    let mut campus = Campus::new();
    campus.submit(long(Terms::plain(1)));
    campus.start(1, "1.0#1");
    campus.wait(120_000);
    campus.report(1, saved("1.0#1", 60_000, 10));
    campus.report(1, saved("1.0#1", 120_000, 20));
    let of = |campus: &mut Campus| campus.look(|reader| reader.checkpoint_of(TASK).unwrap());
    assert_eq!(of(&mut campus), Some(Saved { manifest: blob(20), run_ms: 120_000 }));
    let has = |number: u8| {
        move |reader: &crate::store::read::Reader| {
            let is_referred = reader.is_referred(blob(number).hash).unwrap();
            let found = reader.checkpoint_blob(TASK, blob(number).hash).unwrap();
            assert_eq!(found.is_some(), is_referred);
            is_referred
        }
    };
    let kept = [10, 11, 20, 21].map(|number| campus.look(has(number)));
    assert_eq!(kept, [false, false, true, true], "the first is superseded");
    assert_eq!(campus.look(|reader| reader.storage_used(UserId(1)).unwrap()), 21);
    campus.end(1, "1.0#1", Outcome::Returned(WorkerFault::Leaving), 30_000);
    let loaded = campus.store.load().unwrap();
    let task = &loaded.jobs[&JobId(1)].tasks[&0];
    assert_eq!(task.paid_ms, 120_000);
    assert!(task.paid > Micros::ZERO);
    let credits = campus.look(|reader| reader.credits(UserId(1), 1000).unwrap());
    assert_eq!(credits.held_micros, loaded.jobs[&JobId(1)].quote.0 - task.paid.0);
    let row = campus.look(|reader| reader.job(viewer(1), JobId(1)).unwrap().unwrap().detail);
    assert_eq!((row.job.charged_micros, row.job.refunded_micros), (task.paid.0, 0));
    assert_eq!(row.task_list[0].saved_ms, 120_000);
    let next = &row.task_list[0].attempts[1];
    assert_eq!((next.number, next.price_micros > 0), (2, true));
    let attempt = format!("1.0#{}", next.number);
    let worker = u8::try_from(next.worker).unwrap();
    campus.start(worker, &attempt);
    campus.end(worker, &attempt, Outcome::Succeeded, 60_000);
    let earned = |user| {
        move |reader: &crate::store::read::Reader| {
            reader.earnings(UserId(user), Timestamp(1_000_000)).unwrap().remove(0)
        }
    };
    let (bob, carol) = (campus.look(earned(2)), campus.look(earned(3)));
    let row = campus.look(|reader| reader.job(viewer(1), JobId(1)).unwrap().unwrap().detail.job);
    assert_eq!(row.held_micros, row.charged_micros + row.refunded_micros);
    let sum = bob.ever + carol.ever;
    assert_eq!((sum.0, bob.today, bob.week), (row.charged_micros, bob.ever, bob.ever));
    assert_eq!(of(&mut campus), None, "nothing goes on from it");
    assert_eq!(campus.look(|reader| reader.storage_used(UserId(1)).unwrap()), 0);
    let prices = campus.look(|reader| reader.prices(0, 24).unwrap());
    assert_eq!((prices[0].cpu_charged.0, prices[0].core_ms), (row.charged_micros, 180_000));
    let bobs = viewer(2);
    let paid = |reader: &crate::store::read::Reader| {
        let paid = reader.attempts_paid(bobs, WorkerId(1), None, 10).unwrap().unwrap();
        assert!(reader.attempts_paid(viewer(3), WorkerId(1), None, 10).unwrap().is_none());
        let by_hour = reader.earnings_by_hour(bobs, WorkerId(1), 0, 24).unwrap().unwrap();
        (paid, by_hour)
    };
    let (paid, by_hour) = campus.look(paid);
    let last = paid.last().unwrap();
    assert_eq!((last.attempt, last.run_ms, last.at), (1, 120_000, Timestamp(151_000)));
    assert_eq!(by_hour, [(0, bob.ever)]);
}

#[test]
fn a_failed_run_begins_anew() {
    let mut campus = Campus::new();
    campus.submit(long(Terms { retries: 1, ..Terms::plain(1) }));
    campus.start(1, "1.0#1");
    campus.wait(60_000);
    campus.report(1, saved("1.0#1", 60_000, 10));
    let failure = campusgrid_protocol::task::Failure::ExitCode(1);
    campus.end(1, "1.0#1", Outcome::Failed(failure), 60_000);
    assert_eq!(campus.look(|reader| reader.checkpoint_of(TASK).unwrap()), None);
    let task = campus.store.load().unwrap().jobs[&JobId(1)].tasks[&0];
    assert_eq!((task.paid, task.paid_ms, task.checkpoint), (Micros::ZERO, 0, None));
}

/// Its program prints nothing and leaves a file.
fn result(attempt: &str, number: u8) -> WorkerEvent {
    let outputs = vec![Output { path: "out".to_owned(), blob: blob(number) }];
    let ended = Ended::empty(attempt.parse().unwrap(), Outcome::Succeeded);
    let usage = Usage { run_ms: 1000, ..ended.usage };
    WorkerEvent::Ended(Box::new(Ended { outputs, usage, ..ended }))
}

/// The attempt that runs, and its machine.
fn running(campus: &Campus, job: u64) -> (String, u8) {
    let loaded = campus.store.load().unwrap();
    let (attempt, lease) = loaded.jobs[&JobId(job)].leases().next().expect("one runs");
    (attempt.to_string(), u8::try_from(lease.worker.0).unwrap())
}

#[test]
fn a_result_is_kept_until_another_machine_agrees() {
    let mut campus = Campus::new();
    campus.submit(long(Terms { verify: true, deterministic: true, ..Terms::plain(1) }));
    let (first, worker) = running(&campus, 1);
    campus.start(worker, &first);
    campus.wait(1000);
    campus.report(worker, result(&first, 40));
    let task = campus.store.load().unwrap().jobs[&JobId(1)].tasks[&0];
    let Votes::One(vote) = task.votes else { panic!("{:?}", task.votes) };
    assert_eq!((vote.attempt, vote.worker), (1, WorkerId(worker.into())));
    let shown = campus.look(|reader| reader.job(viewer(1), JobId(1)).unwrap().unwrap().detail);
    let shown = &shown.task_list[0];
    assert_eq!((shown.checking, shown.outputs.len()), (1, 0), "it does not count yet");
    assert!(campus.look(|reader| reader.is_referred(blob(40).hash).unwrap()), "but it may");
    let (second, other) = running(&campus, 1);
    assert_ne!(worker, other);
    campus.start(other, &second);
    campus.wait(1000);
    campus.report(other, result(&second, 40));
    let row = campus.look(|reader| reader.job(viewer(1), JobId(1)).unwrap().unwrap().detail);
    assert_eq!((row.job.succeeded, row.task_list[0].outputs.len()), (1, 1));
    assert_eq!(row.task_list[0].checking, 0);
    assert_eq!(campus.look(|reader| reader.storage_used(UserId(1)).unwrap()), 40);
    let records = campus.store.load().unwrap().workers;
    assert!(records.values().all(|worker| worker.record.valid == 1));
    let charged: Vec<i64> =
        row.task_list[0].attempts.iter().map(|attempt| attempt.charged_micros).collect();
    assert_eq!(charged.iter().sum::<i64>(), row.job.charged_micros);
    assert!(charged.iter().all(|charged| *charged > 0), "both are paid");
    expect![[r#"
        job.submitted: 1 tasks submitted
        task.leased: task 0 given to worker 1
        attempt.started: task 0 started
        task.checking: task 0 is to be compared with another machine's result
        task.leased: task 0 given to worker 2
        attempt.started: task 0 started
        task.ended: task 0: succeeded
        job.ended: all tasks have ended"#]]
    .assert_eq(&campus.told(1));
}

#[test]
fn a_job_that_comes_to_three_results_says_so() {
    let mut campus = Campus::new();
    campus.register("dave");
    campus.enrol(3);
    campus.submit(long(Terms { verify: true, deterministic: true, ..Terms::plain(1) }));
    for number in [40, 50, 60] {
        let (attempt, worker) = running(&campus, 1);
        campus.start(worker, &attempt);
        campus.wait(1000);
        campus.report(worker, result(&attempt, number));
    }
    let row = campus.look(|reader| reader.job(viewer(1), JobId(1)).unwrap().unwrap().detail);
    let why = "three machines came to three different results: the job is not deterministic; all \
               three were charged";
    assert_eq!((row.note.as_str(), row.task_list[0].reason.as_str()), (why, why));
    let attempts = &row.task_list[0].attempts;
    assert!(attempts.iter().all(|attempt| attempt.run_ms == 1000 && attempt.charged_micros > 0));
}

#[test]
fn what_was_handed_back_ran_as_long_as_its_machine_said() {
    let mut campus = Campus::new();
    campus.submit(long(Terms::plain(1)));
    let (first, worker) = running(&campus, 1);
    campus.start(worker, &first);
    campus.end(worker, &first, Outcome::Returned(WorkerFault::Leaving), 30_000);
    let row = campus.look(|reader| reader.job(viewer(1), JobId(1)).unwrap().unwrap().detail);
    assert_eq!((row.task_list[0].attempts[0].run_ms, row.note.as_str()), (30_000, ""));
}

/// Fees have gathered, so that a sample of what new machines do is checked; nobody confirms it.
#[test]
fn a_sample_that_nobody_confirms_counts_with_what_it_left() {
    let mut campus = Campus::with_fee(1000);
    campus.submit(submission("pays fees", TaskSpec { time_limit_s: 3600, ..shell() }));
    campus.start(1, "1.0#1");
    campus.end(1, "1.0#1", Outcome::Succeeded, 3_600_000);
    campus.register("dave");
    campus.enrol(3);
    campus.submit(long(Terms { deterministic: true, ..Terms::plain(1) }));
    let (first, worker) = running(&campus, 2);
    campus.start(worker, &first);
    campus.wait(1000);
    campus.report(worker, result(&first, 40));
    let task = campus.store.load().unwrap().jobs[&JobId(2)].tasks[&0];
    assert!(task.audit > Micros::ZERO, "{task:?}");
    for _ in 0..2 {
        let (_, other) = running(&campus, 2);
        campus.ask(Request::RemoveWorker {
            user: UserId(u64::from(other) + 1),
            worker: WorkerId(other.into()),
        });
    }
    campus.wait(20 * 60 * 1000);
    let row = campus.look(|reader| reader.job(viewer(1), JobId(2)).unwrap().unwrap().detail);
    assert_eq!((row.job.succeeded, row.task_list[0].outputs.len()), (1, 1), "{row:?}");
    assert_eq!(campus.look(|reader| reader.storage_used(UserId(1)).unwrap()), 40);
}

/// Of a task that is checked, and of one that goes on from a checkpoint on its second machine.
#[test]
fn a_planted_mistake_about_runs_is_found() {
    for (mistake, finding) in [
        ("UPDATE attempt SET earned = earned + 1 WHERE pay > 0", "its payment says"),
        ("UPDATE attempt SET pay = 1 WHERE pay > 0", "its payment says"),
        ("UPDATE worker SET earned = earned + 1 WHERE id = 1", "hour by hour"),
        ("UPDATE earning SET micros = micros + 1", "hour by hour"),
        ("DELETE FROM earning", "hour by hour 0"),
        ("UPDATE task SET paid = paid + 1 WHERE job = 1", "of its open runs, its tasks say"),
        ("UPDATE job SET paid = 0", "in escrow, its open tasks hold"),
        ("UPDATE job SET charged = 0", "is charged 0, its payments sum to"),
        ("UPDATE checkpoint_file SET size = size + 1", "bytes that it keeps, and has"),
        ("UPDATE vote SET worker = 3 - worker", "has a result that is checked, and was on worker"),
        ("UPDATE task SET audit = 1 WHERE job = 2", "in escrow, its open tasks hold"),
        (
            "UPDATE task SET checkpoint = NULL, checkpoint_size = NULL, checkpoint_ms = NULL",
            "which has none",
        ),
        (
            "INSERT INTO vote SELECT job, idx, 1, attempt, worker, owner, digest, charge, run_ms FROM vote",
            "is checked by two machines of user",
        ),
    ] {
        let mut campus = Campus::new();
        campus.submit(long(Terms::plain(1)));
        campus.start(1, "1.0#1");
        campus.wait(60_000);
        campus.report(1, saved("1.0#1", 60_000, 10));
        campus.end(1, "1.0#1", Outcome::Returned(WorkerFault::Leaving), 10);
        campus.submit(long(Terms { verify: true, deterministic: true, ..Terms::plain(1) }));
        let (first, worker) = running(&campus, 2);
        campus.start(worker, &first);
        campus.wait(1000);
        campus.report(worker, result(&first, 40));
        campus.store.connection.execute_batch(mistake).unwrap();
        let broken = campus.store.fsck().unwrap().broken;
        let found = broken.iter().any(|line| line.contains(finding));
        assert!(found, "{mistake}: {finding:?} is not in {broken:?}");
    }
}
