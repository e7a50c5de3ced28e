//! Whatever is broken about a data directory is found, and said in words.

#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

#[expect(dead_code, reason = "the tests of backups use the rest of it")]
mod backup_rig;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use backup_rig::{BLOBS, NOW, Rig};
use campusgrid_core::time::Timestamp;
use campusgrid_manager::inspect::{Closeness, Inspection, inspect, prune};
use campusgrid_manager::store;

/// What is found, of the books and then of the files.
fn found(data_dir: &Path, closeness: Closeness) -> Vec<String> {
    let Inspection { books, files, .. } = inspect(data_dir, closeness, NOW).unwrap();
    books.broken.into_iter().chain(files).collect()
}

fn sql(data_dir: &Path, statements: &str) {
    let connection = rusqlite::Connection::open(data_dir.join(store::FILE)).unwrap();
    connection.pragma_update(None, "foreign_keys", "OFF").unwrap();
    connection.pragma_update(None, "ignore_check_constraints", "ON").unwrap();
    connection.execute_batch(statements).unwrap();
}

/// A data directory that was left in order, after something has happened to it.
#[track_caller]
fn check(harm: impl FnOnce(&Path), closeness: Closeness, words: &[&str]) {
    let rig = Rig::new();
    let data_dir = rig.data_dir();
    let Rig { parent: _parent, store, .. } = rig;
    store.checkpoint().unwrap();
    drop(store);
    assert_eq!(found(&data_dir, Closeness::Content), [""; 0]);
    harm(&data_dir);
    let found = found(&data_dir, closeness);
    for words in words {
        assert!(found.iter().any(|found| found.contains(words)), "no {words:?} in {found:#?}");
    }
    assert!(!found.is_empty());
}

#[track_caller]
fn check_sql(statements: &str, words: &[&str]) {
    check(|data_dir| sql(data_dir, statements), Closeness::Hourly, words);
}

const UNGUARD: &str = "DROP TRIGGER transfer_never_changes; DROP TRIGGER transfer_never_goes;";

#[test]
fn a_row_of_the_ledger_that_was_changed_is_found() {
    let edit = format!("{UNGUARD} UPDATE transfer SET amount = amount + 1 WHERE id = 3;");
    check_sql(&edit, &["audit chain breaks at transfer 3", "its transfers say", "guard"]);
    let shift = format!("{UNGUARD} UPDATE transfer SET at = at + 1 WHERE id = 2;");
    check_sql(&shift, &["audit chain breaks at transfer 2"]);
    let rename = format!("{UNGUARD} UPDATE transfer SET key = 'grant:9' WHERE id = 1;");
    check_sql(&rename, &["audit chain breaks at transfer 1"]);
}

#[test]
fn a_row_of_the_ledger_that_is_gone_is_found() {
    let first = format!("{UNGUARD} DELETE FROM transfer WHERE id = 1;");
    check_sql(&first, &["audit chain breaks at transfer 2"]);
    let last = format!("{UNGUARD} DELETE FROM transfer WHERE id = (SELECT max(id) FROM transfer);");
    check_sql(&last, &["its transfers say"]);
}

#[test]
fn the_guards_of_the_ledger_are_missed() {
    check_sql("DROP TRIGGER transfer_never_goes;", &["guard transfer_never_goes"]);
}

#[test]
fn money_from_nowhere_is_found() {
    check_sql(
        "UPDATE account SET balance = balance + 1 WHERE id = 1001;",
        &["sum to 1, not to 0", "account 1001 has"],
    );
    check_sql("UPDATE account SET earned = earned + 1 WHERE id = 1002;", &["has earned"]);
    check_sql("UPDATE account SET spent = spent + 1 WHERE id = 1001;", &["has spent"]);
}

#[test]
fn a_task_that_was_edited_is_found() {
    check_sql("UPDATE task SET charged = charged + 1 WHERE job = 1;", &["task 1.0 is succeeded"]);
    check_sql("UPDATE task SET state = 'failed' WHERE job = 1;", &["job 1 counts 1 succeeded"]);
    check_sql(
        "UPDATE task SET state = 'queued', ended_at = NULL WHERE job = 1;",
        &["job 1 has ended, its task 0 has not"],
    );
    check_sql("UPDATE task SET state = 'queued' WHERE job = 2;", &["its attempts say otherwise"]);
    check_sql("UPDATE task SET attempts = 2 WHERE job = 2;", &["its attempts say otherwise"]);
    check_sql(
        "DELETE FROM progress WHERE job = 2;",
        &["task 2.0 is leased, and in a row with others"],
    );
    check_sql(
        "UPDATE progress SET states = 'f' WHERE job = 1;",
        &["task 1.0 is succeeded, and in a"],
    );
    check_sql(
        "UPDATE task SET state = 'cancelled' WHERE job = 1;",
        &["job 1 counts 0 cancelled, fewer than its tasks say"],
    );
    check_sql(
        "UPDATE job SET state = 'running', ended_at = NULL WHERE id = 1;",
        &["job 1 is running and has ended 1 of 1 tasks"],
    );
    check_sql("UPDATE job SET quote = quote + 1 WHERE id = 3;", &["escrow has", "job 3 has"]);
    check_sql("UPDATE total SET tasks_ended = 7;", &["the total of ended tasks is 7"]);
    check_sql("DELETE FROM worker;", &["refers to nothing in worker"]);
    check_sql("DELETE FROM task WHERE job = 1;", &["is about task 1.0, which is not there"]);
}

/// What was acknowledged and would never run: its hold would stay for ever, and nobody would look for it.
#[test]
fn a_task_that_was_lost_is_found() {
    // Nothing says that it waits, and nothing that it has ended.
    let begun = "INSERT INTO progress (job, chunk, states) VALUES (3, 0, 'b');";
    let lost = ["its tasks in a row say otherwise"];
    check_sql(begun, &lost);
    // One that has been tried, and waits to be tried again.
    let requeued = format!(
        "{begun} UPDATE job SET state = 'running' WHERE id = 3;
        INSERT INTO task (job, idx, attempts, tries_left, runs_left, state)
        VALUES (3, 0, 1, 2, 1, 'queued');
        INSERT INTO attempt (job, idx, number, worker, leased_at, ended_at, outcome, ending) VALUES
        (3, 0, 1, (SELECT min(id) FROM worker), 1800000000000, 1800000000000, 'lost', 'returned');"
    );
    let rig = Rig::new();
    sql(&rig.data_dir(), &requeued);
    assert_eq!(found(&rig.data_dir(), Closeness::Hourly), [""; 0]);
    check_sql(
        &format!("{requeued} DELETE FROM attempt WHERE job = 3; DELETE FROM task WHERE job = 3;"),
        &lost,
    );
}

#[test]
fn a_blob_that_is_missing_or_damaged_is_found() {
    let gone = |data_dir: &Path| fs::remove_file(Rig::blob_in(data_dir, BLOBS[0])).unwrap();
    check(gone, Closeness::Hourly, &["(output found.txt of task 1.0) is missing"]);
    let cut = |data_dir: &Path| fs::write(Rig::blob_in(data_dir, BLOBS[1]), "cut").unwrap();
    check(cut, Closeness::Hourly, &["(stdout of attempt 1.0#1) has 3 bytes, not 23"]);
    let flip = |data_dir: &Path| flip(&Rig::blob_in(data_dir, BLOBS[0]), 5);
    check(flip, Closeness::Content, &["is damaged: its content has another hash"]);
    let all = |data_dir: &Path| fs::remove_dir_all(data_dir.join("blobs")).unwrap();
    check(all, Closeness::Files, &["found.txt", "stdout of attempt 1.0#1"]);
}

/// Turns one byte over.
fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

#[test]
fn a_lost_authority_is_found() {
    let gone = |data_dir: &Path| fs::remove_file(data_dir.join("tls/ca.key")).unwrap();
    check(gone, Closeness::Hourly, &["tls/ca.key is missing"]);
}

#[test]
fn a_database_that_is_no_longer_one_is_told_in_words() {
    let cut = |length: u64| {
        move |data_dir: &Path| {
            let file = fs::File::options().write(true).open(data_dir.join(store::FILE)).unwrap();
            file.set_len(length).unwrap();
        }
    };
    for length in [1, 100, 4096, 5000, 40_960, 100_000] {
        check(cut(length), Closeness::Hourly, &["database"]);
    }
    let nonsense = |data_dir: &Path| fs::write(data_dir.join(store::FILE), [7; 9000]).unwrap();
    check(nonsense, Closeness::Hourly, &["no database"]);
    let header = |data_dir: &Path| flip(&data_dir.join(store::FILE), 3);
    check(header, Closeness::Hourly, &["no database"]);
}

/// Whatever byte of the file turns over: there are words, or nothing that was told has changed.
#[test]
fn a_flipped_byte_of_the_database_never_makes_the_check_fail() {
    let rig = Rig::new();
    let data_dir = rig.data_dir();
    let Rig { parent: _parent, store, .. } = rig;
    store.checkpoint().unwrap();
    let before = format!("{:?}", store.load().unwrap());
    drop(store);
    let database = data_dir.join(store::FILE);
    let whole = fs::read(&database).unwrap();
    let mut caught = 0;
    for at in (0..whole.len()).step_by(997) {
        let mut harmed = whole.clone();
        harmed[at] = !harmed[at];
        fs::write(&database, &harmed).unwrap();
        let found = match inspect(&data_dir, Closeness::Files, NOW) {
            Ok(found) => found.books.broken,
            Err(error) => vec![error.to_string()],
        };
        caught += usize::from(!found.is_empty());
        if found.is_empty()
            && let Ok(store) = store::Store::open(&database)
            && let Ok(loaded) = store.load()
        {
            assert_eq!(
                format!("{loaded:?}"),
                before,
                "byte {at} changes the grid and is not found"
            );
        }
        for end in ["-wal", "-shm"] {
            drop(fs::remove_file(data_dir.join(format!("{}{end}", store::FILE))));
        }
    }
    assert!(caught > 0);
}

#[test]
fn a_grid_without_an_operator_is_noted_and_goes_on() {
    let rig = Rig::new();
    sql(&rig.data_dir(), "UPDATE user SET role = 'member';");
    let Inspection { books, files, .. } = inspect(&rig.data_dir(), Closeness::Hourly, NOW).unwrap();
    assert_eq!((books.broken, files), (Vec::new(), Vec::new()));
    assert!(books.notes[0].contains("nobody is an operator"), "{:?}", books.notes);
    sql(
        &rig.data_dir(),
        "UPDATE user SET role = 'operator'; UPDATE voucher SET until = until * 2;",
    );
    let Inspection { books, .. } = inspect(&rig.data_dir(), Closeness::Hourly, NOW).unwrap();
    assert!(books.notes[0].contains("voucher 1 is good for longer"), "{:?}", books.notes);
}

#[test]
fn a_directory_without_a_database_is_another() {
    let directory = tempfile::tempdir().unwrap();
    let error = inspect(directory.path(), Closeness::Hourly, NOW).unwrap_err().to_string();
    assert!(error.contains("is this the right --data-dir?"), "{error}");
}

#[test]
fn only_old_blobs_that_nothing_refers_to_are_removed() {
    let rig = Rig::new();
    let data_dir = rig.data_dir();
    let (old, fresh) = (b"given up long ago".as_slice(), b"its result is on its way".as_slice());
    let written = |content: &[u8], age: Duration| {
        let path = Rig::blob_in(&data_dir, content);
        fs::write(&path, content).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW.0) - age;
        fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
        path
    };
    let day = Duration::from_secs(24 * 60 * 60);
    let (old, fresh) = (written(old, 40 * day), written(fresh, 20 * day));
    let foreign = data_dir.join("blobs/00/readme");
    fs::write(&foreign, "").unwrap();
    let found = inspect(&data_dir, Closeness::Content, NOW).unwrap();
    assert_eq!((found.blobs, found.unreferred.blobs, found.unreferred.bytes), (2, 2, 41));
    assert_eq!(prune(&found).unwrap(), 1);
    assert!(!old.exists() && fresh.exists() && foreign.exists());
    let later = Timestamp(NOW.0 + 20 * 24 * 60 * 60 * 1000);
    let found = inspect(&data_dir, Closeness::Content, later).unwrap();
    assert_eq!((prune(&found).unwrap(), found.files), (1, Vec::new()));
}
