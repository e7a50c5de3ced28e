//! Databases as older managers left them, brought up to date.

use std::sync::Arc;

use campusgrid_core::grid::Grid;
use campusgrid_core::input::Input;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{JobId, UserId, VoucherId, WorkerId};
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::task::TaskSpec;
use expect_test::expect;

use super::apply;
use crate::config::Config;
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
    let store = Store { connection };
    assert_eq!(store.fsck().unwrap().broken, Vec::<String>::new());
    store
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
        let (name, untouched) = (&job.name, job.untouched());
        words.push_str(&format!("{name}: {untouched} untouched, tries {tries:?}\n"));
    }
    apply(&mut grid, &mut store, Input::Tick);
    assert_eq!(store.fsck().unwrap().broken, Vec::<String>::new());
    let open: Vec<u64> = store.load().unwrap().jobs.keys().map(|job| job.0).collect();
    words.push_str(&format!("open after the first tick: {open:?}\n"));

    let reader = read::Reader { connection: store.connection };
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
    let full = "SELECT count(*) FROM job WHERE json_extract(spec, '$.isolation') = 'full'";
    let full: u64 = store.connection.query_row(full, [], |row| row.get(0)).unwrap();
    assert_eq!(full, 0, "nor has any that has ended");
    let reader = read::Reader { connection: store.connection };
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
        open python None [] Python { source: "print('hé')\n", packages: Names { requirements: ["numpy"], requires_python: None } }
        bare python None [] Python { source: "print('hé')\n", packages: None }
        open c None [] C { source: "int main(){}", flags: [] }
        open shell None [] Shell { command: "true" }
        ended python "print('hé')\n" Some(Names { requirements: ["numpy==2.1", "scikit-learn>=1.5; python_version > '3.9'"], requires_python: None }) []
        ended c "int main(){return 0;}" None []
        failed shell "echo \"a\\b\" | cat" None []
    "#]].assert_eq(&words);
}
