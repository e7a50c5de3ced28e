//! Databases as older managers left them, brought up to date.

use std::sync::Arc;

use campusgrid_core::ask::Ask;
use campusgrid_core::grid::Grid;
use campusgrid_core::input::{Input, Joined, Request, WorkerEvent};
use campusgrid_core::job::{EndedTasks, Job};
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{JobId, SessionId, UserId, VoucherId, WorkerId};
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::rest;
use campusgrid_protocol::rules::Rules;
use campusgrid_protocol::task::{Ended, Outcome, Stream, TaskSpec, Usage};
use campusgrid_protocol::terms::{Sale, Terms};
use expect_test::expect;

use super::{apply, apply_at, ask, join, joined, report};
use crate::config::Config;
use crate::store::numbering::Numberings;
use crate::store::read_earnings::StoredPaid;
use crate::store::{Store, read, schema};

/// A database as a manager of an older version left it, brought up to date.
fn of_version(version: usize, rows: &str) -> Store {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    for migration in &schema::MIGRATIONS[..version] {
        connection.execute_batch(migration).unwrap();
    }
    connection.execute_batch(rows).unwrap();
    connection.pragma_update(None, "user_version", version).unwrap();
    connection.pragma_update(None, "foreign_keys", "ON").unwrap();
    schema::migrate(&mut connection).unwrap();
    let store = Store { connection, numberings: Numberings::default() };
    assert_eq!(store.fsck().unwrap().broken, Vec::<String>::new());
    store
}

/// What runs goes on by the quote of then, and what machines have earned is counted by machine and hour.
#[test]
fn a_database_of_version_4_is_brought_up_to_date() {
    let mut store = of_version(4, include_str!("version_4.sql"));
    let policy = Config::read(None, [], []).unwrap().policy;
    let loaded = store.load().unwrap();
    let now = Timestamp(1_795_378_400_000);
    let mut grid = Grid::recover(Arc::new(policy), loaded.clone(), now);
    assert_eq!(grid.durable(), loaded);
    let mut words = String::new();
    for job in loaded.jobs.values() {
        let Job { name, quote, rate_permille, untouched, .. } = job;
        let deals: Vec<String> = job
            .leases()
            .map(|(attempt, lease)| format!("{attempt} for {}", lease.deal.price))
            .collect();
        assert_eq!(
            (job.terms.sale, job.terms.verify, job.spec.checkpoint_s),
            (Sale::Formula, false, 300)
        );
        words.push_str(&format!("{name}: {quote} {rate_permille} {untouched} {deals:?}\n"));
    }
    let laptop = &loaded.workers[&WorkerId(1)];
    assert_eq!((&*laptop.rules, laptop.ask), (&Rules::default(), Ask::default()));
    words.push_str(&format!("{:?}\n", laptop.record));
    let joined = Joined { key_hash: laptop.key_hash, ..joined(&["5.1#2", "5.4#2"]) };
    let event = WorkerEvent::Joined(Box::new(joined));
    let input = Input::FromWorker { session: SessionId(1), event };
    apply_at(&mut grid, &mut store, now.0, input);
    for attempt in ["5.1#2", "5.4#2"] {
        let ended = Ended::empty(attempt.parse().unwrap(), Outcome::Succeeded);
        let usage = Usage { run_ms: 60_000, ..ended.usage };
        let event = WorkerEvent::Ended(Box::new(Ended { usage, ..ended }));
        let input = Input::FromWorker { session: SessionId(1), event };
        apply_at(&mut grid, &mut store, now.0 + 1, input);
    }
    assert_eq!(store.fsck().unwrap().broken, Vec::<String>::new());
    let reader = super::reader(store);
    let filter = read::JobFilter { limit: 20, ..read::JobFilter::default() };
    for job in reader.jobs(super::viewer(1), &filter).unwrap() {
        let rest::Job { name, state, held_micros, charged_micros, refunded_micros, .. } = job;
        let money = [held_micros, charged_micros, refunded_micros];
        words.push_str(&format!("{name} {state:?} {money:?}\n"));
    }
    for paid in reader.attempts_paid(super::viewer(2), WorkerId(1), None, 20).unwrap().unwrap() {
        let StoredPaid { job, index, attempt, earned, run_ms, .. } = paid;
        words.push_str(&format!("{job}.{index}#{attempt} {earned} for {run_ms} ms\n"));
    }
    for hour in reader.prices(498_700, 100).unwrap() {
        words.push_str(&format!("{hour:?}\n"));
    }
    expect![[r#"
        odd array: 127.5 1000  ["5.1#2 for 127.5", "5.4#2 for 127.5"]
        half cancelled: 10.5 1000 0,3 []
        pauses: 17.5 1000  []
        on hold: 17.5 1000 0-3 []
        Record { delivered: 0, handed_back: 0, lost: 0, bids_failed: 0, valid: 0, invalid: 0, valid_in_row: 0, earned_micros: 52935120 }
        on hold Queued [70000000, 0, 0]
        pauses Running [70000000, 7500034, 9999966]
        half cancelled Running [42000000, 0, 21000000]
        a draft Draft [0, 0, 0]
        waits Cancelled [17500000, 0, 17500000]
        odd array Cancelled [637500000, 32223685, 605276315]
        flooded Failed [35000000, 15000251, 19999749]
        failed c Failed [17500000, 7500634, 9999366]
        ended python Succeeded [17500000, 7500450, 9999550]
        5.9#2 8.394967 for 53698 ms
        5.3#2 8.394967 for 53698 ms
        10.0#1 7.500034 for 2 ms
        5.5#1 7.933684 for 26021 ms
        5.1#1 7.500067 for 4 ms
        3.0#2 7.500134 for 8 ms
        3.0#1 7.500117 for 7 ms
        2.0#1 7.500634 for 38 ms
        1.0#1 7.50045 for 27 ms
        PriceHour { hour: 498716, cpu_charged: Micros(69725054), core_ms: 133503, gpu_charged: Micros(0), gpu_ms: 0 }
    "#]].assert_eq(&words);
}

/// Its arrays get indices, and each of their tasks a letter; what runs goes on.
#[test]
fn a_database_of_version_3_is_brought_up_to_date() {
    let mut store = of_version(3, include_str!("version_3.sql"));
    let policy = Config::read(None, [], []).unwrap().policy;
    let loaded = store.load().unwrap();
    let mut grid = Grid::recover(Arc::new(policy), loaded.clone(), Timestamp(1_700_000_100_000));
    assert_eq!(grid.durable(), loaded);
    let mut words = String::new();
    for job in loaded.jobs.values() {
        let leases: Vec<String> = job.leases().map(|(attempt, _)| attempt.to_string()).collect();
        let (name, untouched, EndedTasks { succeeded, failed, cancelled }) =
            (&job.name, &job.untouched, &job.ended);
        words.push_str(&format!(
            "{name}: {:?} untouched {untouched}, runs {leases:?}, ended {succeeded}/{failed}/{cancelled}\n",
            job.spec.work
        ));
        assert_eq!(*job.terms, Terms::plain(job.spec.tasks));
    }
    join(&mut grid, &mut store, &["3.2#2", "5.2#2", "5.3#1", "6.0#1"]);
    // What runs comes to its end, and what waited and was being cancelled is refunded.
    for attempt in ["3.2#2", "5.2#2", "5.3#1", "6.0#1"] {
        let ended = Ended::empty(attempt.parse().unwrap(), Outcome::Cancelled);
        report(&mut grid, &mut store, WorkerEvent::Ended(Box::new(ended)));
    }
    for job in [4, 5] {
        let job = JobId(job);
        let cancel = Request::Cancel { user: UserId(1), job, tasks: None };
        ask(&mut grid, &mut store, cancel);
    }
    assert_eq!(store.fsck().unwrap().broken, Vec::<String>::new());
    let reader = super::reader(store);
    let viewer = super::viewer(1);
    let filter = read::JobFilter { limit: 10, ..read::JobFilter::default() };
    for job in reader.jobs(viewer, &filter).unwrap() {
        let rest::Job { name, kind, state, tasks, succeeded, failed, cancelled, .. } = job;
        let counts = [tasks, succeeded, failed, cancelled];
        words.push_str(&format!("{name} {kind:?} {state:?} {counts:?}\n"));
        let filter = read::TaskFilter { limit: 10, ..read::TaskFilter::default() };
        let tasks = reader.tasks(viewer, JobId(job.job), filter).unwrap().unwrap();
        for attempt in tasks.iter().flat_map(|task| &task.attempts) {
            let rest::Attempt { end, exit_code, outcome, .. } = attempt;
            words.push_str(&format!("    {end:?} {exit_code:?} {outcome:?}\n"));
        }
    }
    assert_eq!(reader.storage_used(UserId(1)).unwrap(), 300_010);
    let log = |stream| {
        let which = read::WhichLog { index: 0, attempt: Some(1), stream };
        reader.log(viewer, JobId(1), which).unwrap().unwrap()
    };
    words.push_str(&format!("{:?}\n{:?}\n", log(Stream::Stdout), log(Stream::Stderr)));
    expect![[r#"
        open array: Shell { program: Source("echo \"hé\"") } untouched , runs ["3.2#2"], ended 0/1/3-7
        waits: Shell { program: Source("echo \"hé\"") } untouched 0, runs [], ended //
        half run: Shell { program: Source("echo \"hé\"") } untouched 4-8, runs ["5.2#2", "5.3#1"], ended 0/1/
        to be cancelled: Shell { program: Source("echo \"hé\"") } untouched , runs ["6.0#1"], ended //1-3
        to be cancelled Shell Cancelled [4, 0, 0, 4]
            Some(Cancelled) None Some("cancelled")
        half run Shell Failed [9, 1, 1, 7]
            Some(Succeeded) Some(0) Some("succeeded")
            Some(Failed) None Some("ran longer than its limit of 60 s; ask for more time")
            Some(Returned) None Some("the worker was restarted")
            Some(Returned) None Some("the worker's sandbox failed: it stopped the task though nobody had asked")
            Some(Returned) None Some("the worker's sandbox failed: it stopped the task though nobody had asked")
        waits Shell Running [1, 0, 0, 0]
            None None None
        open array Shell Failed [8, 1, 1, 6]
            Some(Succeeded) Some(0) Some("succeeded")
            Some(Failed) Some(139) Some("was ended by signal 11: it used memory that is not its own")
            Some(Returned) None Some("the worker was restarted")
            Some(Cancelled) None Some("cancelled")
            Some(Cancelled) None Some("cancelled")
            Some(Cancelled) None Some("cancelled")
            Some(Cancelled) None Some("cancelled")
        failed c C Failed [1, 0, 1, 0]
            Some(Failed) Some(3) Some("ended with exit code 3")
        ended python Python Succeeded [1, 1, 0, 0]
            Some(Succeeded) Some(0) Some("succeeded")
        Kept { attempt: Some(AttemptId { task: TaskId { job: JobId(1), index: 0 }, number: 1 }), log: Log { content: Inline([104, 101, 108, 108, 111, 10]), cut_bytes: 0 }, task_over: true }
        Kept { attempt: Some(AttemptId { task: TaskId { job: JobId(1), index: 0 }, number: 1 }), log: Log { content: Blob(BlobRef { hash: 0808080808080808080808080808080808080808080808080808080808080808, size_bytes: 300000 }), cut_bytes: 17 }, task_over: true }
    "#]].assert_eq(&words);
}

/// Its machines have no certificates: what ran on them waits again, and what was to be cancelled is.
#[test]
fn a_database_of_version_2_is_brought_up_to_date() {
    let mut store = of_version(2, include_str!("version_2.sql"));
    let policy = Config::read(None, [], []).unwrap().policy;
    let loaded = store.load().unwrap();
    assert!(loaded.workers.is_empty(), "they are to join anew");
    assert_eq!((loaded.last_worker, loaded.last_voucher), (WorkerId(2), VoucherId(0)));
    let mut grid = Grid::recover(Arc::new(policy), loaded.clone(), Timestamp(1_700_000_100_000));
    assert_eq!(grid.durable(), loaded);
    let mut words = String::new();
    for job in loaded.jobs.values() {
        assert_eq!(job.leases().count(), 0);
        let tries: Vec<u32> = job.tasks.values().map(|task| task.tries_left).collect();
        let (name, untouched) = (&job.name, job.untouched.len());
        words.push_str(&format!("{name}: {untouched} untouched, tries {tries:?}\n"));
    }
    apply(&mut grid, &mut store, Input::Tick);
    assert_eq!(store.fsck().unwrap().broken, Vec::<String>::new());
    let open: Vec<u64> = store.load().unwrap().jobs.keys().map(|job| job.0).collect();
    words.push_str(&format!("open after the first tick: {open:?}\n"));

    let reader = super::reader(store);
    let now = Timestamp(1_700_000_100_000);
    let (user, id) = reader.login(&[2; 32], now).unwrap().unwrap();
    let logins = reader.logins_of(user.id, now, None).unwrap();
    words.push_str(&format!("{} has {id:?} of {}\n", user.name, logins.len()));
    let viewer = read::Viewer { user: UserId(1), operator: false };
    let detail = reader.job(viewer, JobId(2)).unwrap().unwrap().detail;
    let attempts = detail.task_list.iter().flat_map(|task| &task.attempts);
    let ends = attempts.map(|attempt| format!("{:?}\n", attempt.outcome));
    words.push_str(&ends.collect::<String>());
    let told = "SELECT group_concat(at || ' ' || kind || ': ' || message, '\n') FROM event
        WHERE message LIKE '%anew%' OR message LIKE '%before%'";
    let told: String = reader.connection.query_row(told, [], |row| row.get(0)).unwrap();
    words.push_str(&told);
    expect![[r#"
        open array: 0 untouched, tries [2, 3]
        cancelled array: 0 untouched, tries [3, 3]
        waits: 1 untouched, tries []
        open after the first tick: [2, 4]
        bob has LoginId(2) of 1
        Some("the worker's sandbox failed: no namespaces")
        Some("the manager was updated, and the worker has to join anew")
        Some("the manager was updated, and the worker has to join anew")
        1700000021000 task.requeued: task 0 waits again: the manager was updated, and its worker has to join anew
        1700000021000 task.requeued: task 1 waits again: the manager was updated, and its worker has to join anew
        1700000021000 task.requeued: task 0 waits again: the manager was updated, and its worker has to join anew
        1700000021000 task.requeued: task 1 waits again: the manager was updated, and its worker has to join anew
        1700000021000 worker.removed: worker 2 removed: it joined before machines had certificates"#]].assert_eq(&words);
}

/// With jobs of each kind that have ended and that have not.
#[test]
fn a_database_of_version_1_is_brought_up_to_date() {
    let store = of_version(1, include_str!("version_1.sql"));
    let policy = Config::read(None, [], []).unwrap().policy;
    let loaded = store.load().unwrap();
    let grid = Grid::recover(Arc::new(policy), loaded.clone(), Timestamp(1_700_000_100_000));
    assert_eq!(grid.durable(), loaded);
    let mut words = String::new();
    for job in loaded.jobs.values() {
        let leases: Vec<_> = job.leases().map(|(attempt, lease)| (attempt, lease.gpus)).collect();
        words.push_str(&format!("{} {:?} {leases:?} {:?}\n", job.name, job.lock, job.spec.work));
        let TaskSpec { labels, image, shared_tmp, isolation, .. } = &*job.spec;
        assert_eq!((labels.len(), image.as_ref(), *shared_tmp), (0, None, false));
        assert_eq!(*isolation, Isolation::Docker);
    }
    let full = "SELECT count(*) FROM job_spec WHERE json_extract(spec, '$.isolation') = 'full'";
    let full: u64 = store.connection.query_row(full, [], |row| row.get(0)).unwrap();
    assert_eq!(full, 0, "nor has any that has ended");
    let reader = super::reader(store);
    let viewer = read::Viewer { user: UserId(1), operator: false };
    for id in 1..=3 {
        let detail = reader.job(viewer, JobId(id)).unwrap().unwrap().detail;
        let attempts = detail.task_list.iter().flat_map(|task| &task.attempts);
        let gpus: Vec<u16> = attempts.flat_map(|attempt| attempt.gpus.clone()).collect();
        assert_eq!((detail.has_lock, gpus), (false, Vec::new()));
        let (name, source) = (detail.job.name, detail.source);
        words.push_str(&format!("{name} {source:?} {:?} {:?}\n", detail.packages, detail.flags));
    }
    expect![[r#"
        open python None [] Python { program: Source("print('hé')\n"), packages: Names { requirements: ["numpy"], requires_python: None } }
        bare python None [] Python { program: Source("print('hé')\n"), packages: None }
        open c None [] C { program: Source("int main(){}"), flags: [] }
        open shell None [] Shell { program: Source("true") }
        ended python "print('hé')\n" Some(Names { requirements: ["numpy==2.1", "scikit-learn>=1.5; python_version > '3.9'"], requires_python: None }) []
        ended c "int main(){return 0;}" None []
        failed shell "echo \"a\\b\" | cat" None []
    "#]].assert_eq(&words);
}
