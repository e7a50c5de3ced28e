//! The store against real SQLite: every statement is prepared and its plan read, migrations keep
//! their text, and the ledger's rows cannot be changed.

mod campus;
mod files;
mod jobs;
mod market;
mod people;
mod random;
mod runs;
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;

use campusgrid_core::effect::{Change, Effects};
use campusgrid_core::grid::Grid;
use campusgrid_core::input::{
    Enrolment, EnrolmentProof, FilesOf, Input, Intake, Joined, Registration, Request, Shut,
    Submission, Ticket, WorkerEvent,
};
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{JobId, SessionId, UserId, WorkerId};
use campusgrid_protocol::resource::{Capacity, Gpu, Isolation, Needs};
use campusgrid_protocol::task::{
    Ended, LABEL_4, Outcome, Packages, Program, TaskSpec, Work, WorkerFault,
};
use campusgrid_protocol::terms::Terms;

use super::{
    Store, backup, batch, fsck, load, load_jobs, numbering, progress, read, read_bids,
    read_details, read_earnings, read_files, read_jobs, read_left, read_map, read_market,
    read_notices, read_people, read_tasks, schema, write, write_jobs, write_market, write_people,
    write_runs, write_tasks,
};
use crate::config::Config;

/// Tables that grow without end, and so must never be read from end to end for a page or a change.
const GROWING: [&str; 25] = [
    "transfer",
    "job",
    "job_spec",
    "progress",
    "file",
    "draft",
    "waits_for",
    "notice",
    "task",
    "attempt",
    "log",
    "output",
    "event",
    "login",
    "user",
    "api_token",
    "voucher",
    "bid",
    "checkpoint_file",
    "earning",
    "identity",
    "market",
    "price_hour",
    "vote",
    "vote_output",
];

/// Statements that read a whole table on purpose.
const WHOLE: [&str; 4] = ["JOBS_OF_ALL", "LEADERS", "OPERATORS", "VOUCHERS_OF_ALL"];

/// What is read for pages and written for changes.
const HOT: [&[(&str, &str)]; 21] = [
    write::STATEMENTS,
    write_jobs::STATEMENTS,
    write_market::STATEMENTS,
    write_people::STATEMENTS,
    write_runs::STATEMENTS,
    write_tasks::STATEMENTS,
    batch::STATEMENTS,
    progress::STATEMENTS,
    numbering::STATEMENTS,
    read::STATEMENTS,
    read_bids::STATEMENTS,
    read_details::STATEMENTS,
    read_earnings::STATEMENTS,
    read_files::STATEMENTS,
    read_jobs::STATEMENTS,
    read_left::STATEMENTS,
    read_map::STATEMENTS,
    read_market::STATEMENTS,
    read_notices::STATEMENTS,
    read_people::STATEMENTS,
    read_tasks::STATEMENTS,
];

#[test]
fn every_statement_is_valid() {
    let store = Store::in_memory().unwrap();
    let cold = [
        load::STATEMENTS,
        load_jobs::STATEMENTS,
        fsck::STATEMENTS,
        fsck::holds::STATEMENTS,
        fsck::jobs::STATEMENTS,
        fsck::market::STATEMENTS,
        backup::STATEMENTS,
    ];
    for (name, sql) in cold.into_iter().chain(HOT).flatten() {
        if let Err(error) = store.connection.prepare(sql) {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn no_page_and_no_change_reads_a_growing_table_from_end_to_end() {
    let store = Store::in_memory().unwrap();
    for (name, sql) in HOT.into_iter().flatten().filter(|(name, _)| !WHOLE.contains(name)) {
        let mut plan = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nulls = vec![rusqlite::types::Null; plan.parameter_count()];
        let steps = plan.query_map(rusqlite::params_from_iter(nulls), |row| row.get(3)).unwrap();
        for step in steps {
            let step: String = step.unwrap();
            let scanned = GROWING.iter().find(|table| step == format!("SCAN {table}"));
            assert_eq!(scanned, None, "{name}: {step}");
        }
    }
}

/// Never edit a migration that has been released: add one.
#[test]
fn migrations_are_what_they_were() {
    let hashes: Vec<String> = schema::MIGRATIONS
        .iter()
        .map(|sql| blake3::hash(sql.as_bytes()).to_hex()[..16].to_owned())
        .collect();
    assert_eq!(
        hashes,
        [
            "7e78b02c56ace1d3",
            "4f2323e821d87e11",
            "3987725ff91588ef",
            "b7ad0bf17cdc5b12",
            "3d19b0f4e303bf86"
        ]
    );
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let path = std::env::temp_dir().join(format!("cg-newer-{}.sqlite", std::process::id()));
    let store = Store::open(&path).unwrap();
    store.connection.pragma_update(None, "user_version", 999).unwrap();
    drop(store);
    let error = Store::open(&path).unwrap_err().to_string();
    std::fs::remove_file(path).unwrap();
    assert_eq!(error, "database is of schema version 999, this binary knows up to 5");
}

fn shell() -> TaskSpec {
    TaskSpec {
        work: Work::Shell { program: Program::Source("true".to_owned()) },
        needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 16, gpus: 0, gpu_memory_mib: 0 },
        time_limit_s: 60,
        isolation: Isolation::Full,
        labels: Vec::new(),
        image: None,
        shared_tmp: false,
        tasks: 1,
        arguments: Vec::new(),
        inputs: None,
        lines: None,
        outputs: Vec::new(),
        warn_s: 0,
        checkpoint_s: 300,
    }
}

/// On plain terms, by the first user.
fn submission(name: &str, spec: TaskSpec) -> Submission {
    Submission {
        user: UserId(1),
        key: None,
        name: name.to_owned(),
        terms: Terms::plain(spec.tasks),
        spec,
        priority: 0,
        on_hold: false,
        after: Vec::new(),
        ended: BTreeMap::new(),
        files: FilesOf::None,
    }
}

fn reader(store: Store) -> read::Reader {
    read::Reader { connection: store.connection, keep_ms: Some(1000) }
}

fn viewer(user: u64) -> read::Viewer {
    read::Viewer { user: UserId(user), operator: false }
}

/// A store with one user, who has submitted one job.
fn one_job() -> (Grid, Store) {
    let policy = Config::read(None, [], []).unwrap().policy;
    let mut store = Store::in_memory().unwrap();
    let mut grid = Grid::recover(Arc::new(policy), store.load().unwrap(), Timestamp(1));
    let spec = TaskSpec { tasks: 2, ..shell() };
    let registration = Registration {
        name: "ada".to_owned(),
        email: None,
        password_hash: "x".to_owned(),
        local: true,
        invitation: None,
    };
    let submission = Submission { key: Some("k".to_owned()), ..submission("job", spec) };
    let mut effects = Effects::default();
    for request in [Request::Register(registration), Request::Submit(Box::new(submission))] {
        let input = Input::Request { ticket: Ticket(0), request };
        grid.handle(Timestamp(2), input, &mut effects);
    }
    store.commit(&effects.changes).unwrap();
    (grid, store)
}

#[test]
fn what_is_loaded_is_what_was_in_memory() {
    let (grid, store) = one_job();
    assert_eq!(store.load().unwrap(), grid.durable());
}

/// A worker of eight cores and two GPUs is approved and joins.
fn own_a_worker(grid: &mut Grid, store: &mut Store) {
    let proof = EnrolmentProof::Code { code: "CODE".to_owned(), claimed_owner: None };
    ask(grid, store, Request::Enrol(enrolment([7; 32], proof)));
    let approve = Request::ApproveWorker { user: UserId(1), code: "CODE".to_owned() };
    ask(grid, store, approve);
    join(grid, store, &[]);
}

/// The worker comes back, and runs these attempts.
fn join(grid: &mut Grid, store: &mut Store, attempts: &[&str]) {
    report(grid, store, WorkerEvent::Joined(Box::new(joined(attempts))));
}

fn joined(attempts: &[&str]) -> Joined {
    let gpu = || Gpu { model: "T4".to_owned(), memory_mib: 8000, driver: "550".to_owned() };
    let gpus = vec![gpu(), gpu()];
    Joined {
        key_hash: [7; 32],
        name: "laptop".to_owned(),
        capacity: Capacity { cpu_millis: 8000, ram_mib: 8000, disk_mib: 8000, gpus },
        isolation: Isolation::Full,
        isolation_notes: Vec::new(),
        labels: vec![LABEL_4.to_owned()],
        attempts: attempts.iter().map(|attempt| attempt.parse().unwrap()).collect(),
        speed: None,
        shares: None,
    }
}

fn enrolment(key_hash: [u8; 32], proof: EnrolmentProof) -> Enrolment {
    let (name, address) = ("laptop".to_owned(), "10.0.0.1".to_owned());
    Enrolment { session: SessionId(100), key_hash, name, address, proof }
}

fn ask(grid: &mut Grid, store: &mut Store, request: Request) {
    apply(grid, store, Input::Request { ticket: Ticket(0), request });
}

fn report(grid: &mut Grid, store: &mut Store, event: WorkerEvent) {
    apply(grid, store, Input::FromWorker { session: SessionId(1), event });
}

fn apply(grid: &mut Grid, store: &mut Store, input: Input) {
    apply_at(grid, store, 3, input);
}

fn apply_at(grid: &mut Grid, store: &mut Store, at: u64, input: Input) {
    let mut effects = Effects::default();
    grid.handle(Timestamp(at), input, &mut effects);
    grid.dispatch(&mut effects);
    store.commit(&effects.changes).unwrap();
    assert_eq!(store.load().unwrap(), grid.durable());
}

#[test]
fn a_lock_and_granted_gpus_are_kept_and_shown() {
    let (mut grid, mut store) = one_job();
    own_a_worker(&mut grid, &mut store);
    let packages =
        Packages::Names { requirements: vec!["numpy".to_owned()], requires_python: None };
    let needs = Needs { cpu_millis: 1000, ram_mib: 1, disk_mib: 1, gpus: 2, gpu_memory_mib: 0 };
    let work = Work::Python { program: Program::Source("1".to_owned()), packages };
    let spec = TaskSpec { work, needs, ..shell() };
    ask(&mut grid, &mut store, Request::Submit(Box::new(submission("locked", spec))));
    let attempt = "2.0#1".parse().unwrap();
    let lock = format!("numpy==2.1 --hash=sha256:{}\n", "0".repeat(64));
    report(&mut grid, &mut store, WorkerEvent::Locked { attempt, lock: lock.clone() });
    let loaded = store.load().unwrap();
    assert_eq!(loaded, grid.durable());
    let job = &loaded.jobs[&JobId(2)];
    assert_eq!(job.lock.as_deref(), Some(&*lock));
    let leases: Vec<String> = job.leases().map(|(_, lease)| lease.gpus.to_string()).collect();
    assert_eq!(leases, ["0,1"]);

    let reader = reader(store);
    let shown = reader.job(viewer(1), JobId(2)).unwrap().unwrap().detail;
    assert!(shown.has_lock);
    assert_eq!(shown.task_list[0].attempts[0].gpus, [0, 1]);
    assert_eq!(reader.lock(viewer(1), JobId(2)).unwrap(), Some(lock));
    assert_eq!(reader.lock(viewer(1), JobId(1)).unwrap(), None);
    assert_eq!(reader.lock(viewer(2), JobId(2)).unwrap(), None, "of somebody else");
    assert!(!reader.job(viewer(1), JobId(1)).unwrap().unwrap().detail.has_lock);
}

#[test]
fn what_was_set_aside_lost_and_cancelled_meanwhile_is_kept() {
    let (mut grid, mut store) = one_job();
    own_a_worker(&mut grid, &mut store);
    // Each of another shape, since a machine gets nothing for a while of one that it has given back.
    let submit = |ram_mib| {
        let spec = TaskSpec { needs: Needs { ram_mib, ..shell().needs }, ..shell() };
        Request::Submit(Box::new(submission("job", spec)))
    };
    report(&mut grid, &mut store, WorkerEvent::Started { attempt: "1.0#1".parse().unwrap() });
    let lost = Ended::empty("1.0#1".parse().unwrap(), Outcome::Returned(WorkerFault::Restarted));
    report(&mut grid, &mut store, WorkerEvent::Ended(Box::new(lost)));
    let losses = store.load().unwrap().jobs[&JobId(1)].tasks[&0].losses;
    assert_eq!(losses.to_string(), "1#1");
    for job in 1..=3 {
        if job > 1 {
            ask(&mut grid, &mut store, submit(100 * job));
        }
        let message = "no namespaces".to_owned();
        let fault = Outcome::Returned(WorkerFault::Sandbox { message });
        let attempt = if job == 1 { "1.1#1".to_owned() } else { format!("{job}.0#1") };
        let ended = Ended::empty(attempt.parse().unwrap(), fault);
        report(&mut grid, &mut store, WorkerEvent::Ended(Box::new(ended)));
    }
    let reason = store.load().unwrap().workers[&WorkerId(1)].set_aside.clone();
    assert!(reason.unwrap().ends_with("the worker's sandbox failed: no namespaces"));
    apply(&mut grid, &mut store, Input::Intake(Intake::Shut(Shut::DiskFull)));
    ask(&mut grid, &mut store, Request::Cancel { user: UserId(1), job: JobId(3), tasks: None });
    assert!(store.load().unwrap().jobs[&JobId(3)].cancelling);
    ask(&mut grid, &mut store, Request::ReleaseWorker { user: UserId(1), worker: WorkerId(1) });
    apply(&mut grid, &mut store, Input::Intake(Intake::Open));
    assert_eq!(store.fsck().unwrap().broken, Vec::<String>::new());
    assert!(!store.load().unwrap().jobs.contains_key(&JobId(3)));
}

#[test]
fn the_books_balance_and_a_planted_mistake_is_found() {
    for (mistake, finding) in [
        ("SELECT 1", ""),
        ("UPDATE account SET balance = balance + 1 WHERE id = 1001", "sum to 1, not to 0"),
        ("UPDATE account SET balance = balance + 1 WHERE id = 2", "escrow has 17000001"),
        ("UPDATE job SET open_runs = 1", "escrow has 17000000, the open holds sum to 8500000"),
        ("UPDATE account SET earned = 5 WHERE id = 1001", "has earned 5, its payments say 0"),
        ("UPDATE account SET spent = 5 WHERE id = 1001", "has spent 5, its jobs say 0"),
        ("UPDATE total SET tasks_ended = 5", "is 5, the jobs say 0"),
        ("UPDATE job SET charged = 5", "is charged 5, its payments sum to 0"),
        (
            "DROP TRIGGER transfer_never_changes; UPDATE transfer SET at = at + 1 WHERE id = 1",
            "the audit chain breaks at transfer 1 (grant:1)",
        ),
        (
            "DROP TRIGGER transfer_never_goes; DELETE FROM transfer WHERE id = 1",
            "breaks at transfer 2",
        ),
    ] {
        let (_, store) = one_job();
        store.connection.execute_batch(mistake).unwrap();
        let broken = store.fsck().unwrap().broken;
        if finding.is_empty() {
            assert_eq!(broken, Vec::<String>::new());
        } else {
            let found = broken.iter().any(|line| line.contains(finding));
            assert!(found, "{mistake}: {finding:?} is not in {broken:?}");
        }
    }
}

#[test]
fn transfers_never_change_and_never_go() {
    let (_, store) = one_job();
    for (sql, reason) in [
        ("UPDATE transfer SET amount = 1", "a transfer never changes"),
        ("DELETE FROM transfer", "a transfer is never deleted"),
        (
            "INSERT OR REPLACE INTO transfer (id, key, debit, credit, amount, at, job, hash)
                SELECT id, key, debit, credit, amount + 1, at, job, hash FROM transfer",
            "a transfer is never deleted",
        ),
        ("UPDATE account SET balance = -1 WHERE id = 1001", "CHECK constraint failed"),
    ] {
        let error = store.connection.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains(reason), "{sql}: {error}");
    }
}

#[test]
fn a_batch_is_written_whole_or_not_at_all() {
    let (grid, mut store) = one_job();
    let before = store.load().unwrap();
    let account = Change::Account {
        id: campusgrid_core::ledger::AccountId::Fee,
        account: campusgrid_core::ledger::Account::default(),
    };
    let login = people::login([1; 32], Timestamp(9));
    let twice = Change::LoginOpened { login, at: Timestamp(1) };
    let error = store.commit(&[account, twice.clone(), twice]).unwrap_err().to_string();
    assert_eq!(error, "failed to commit a batch of 3 changes");
    assert_eq!(store.load().unwrap(), before);
    assert_eq!(before, grid.durable());
}
