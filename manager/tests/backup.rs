//! Backups, each proved by destroying the original.

#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod backup_rig;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use backup_rig::{BLOBS, DRAFT, INPUT, KEY, NOW, Rig, SESSION, recover, result};
use campusgrid_core::durable::Durable;
use campusgrid_core::effect::Reply;
use campusgrid_core::input::{Input, WorkerEvent};
use campusgrid_manager::backup::{BackupError, Made, Overwrite, backup, restore};
use campusgrid_manager::data_dir;
use campusgrid_manager::inspect::{Closeness, inspect};
use campusgrid_manager::store::{self, Store};
use campusgrid_protocol::id::{AttemptId, JobId, SessionId, VoucherId};
use campusgrid_protocol::message::ToWorker;

/// In words, and what happens to a directory.
type Harm<'a> = (&'a str, &'a dyn Fn(&Path));

fn is_clean(data_dir: &Path) -> bool {
    let found = inspect(data_dir, Closeness::Content, NOW).unwrap();
    assert_eq!((&found.books.broken, &found.files), (&Vec::new(), &Vec::new()));
    found.unreferred.blobs == 0
}

/// What a restore brings back, as far as it is meant to be the same.
fn same(durable: Durable) -> Durable {
    Durable {
        vouchers: Default::default(),
        last_job: JobId(0),
        last_voucher: VoucherId(0),
        ..durable
    }
}

fn load(data_dir: &Path) -> Durable {
    Store::open(&data_dir.join(store::FILE)).unwrap().load().unwrap()
}

#[test]
fn all_of_it_comes_back() {
    let rig = Rig::new();
    let (data_dir, backup_dir) = (rig.data_dir(), rig.backup_dir());
    let before = rig.grid.durable();
    let key = fs::read(data_dir.join("tls/ca.key")).unwrap();
    // The store is open, and what was committed is still in its log.
    let Made { manifest, kept } = backup(&data_dir, &backup_dir, NOW).unwrap();
    assert_eq!((manifest.blobs, manifest.blob_bytes, kept), (2, 45, 0));
    let Rig { parent: _parent, store, .. } = rig;
    drop(store);
    fs::remove_dir_all(&data_dir).unwrap();

    let restored = restore(&backup_dir, &data_dir, Overwrite::Never, NOW).unwrap();
    assert_eq!((restored.manifest, restored.aside), (manifest, None));
    assert!(is_clean(&data_dir));
    let after = load(&data_dir);
    assert!(after.vouchers.is_empty(), "one that was used up since would be good again");
    assert!(after.last_job.0 > 1_000_000, "numbers that were given out since would be given again");
    assert_eq!(same(after), same(before));
    assert_eq!(fs::read(data_dir.join("tls/ca.key")).unwrap(), key);
    assert_eq!(fs::read(Rig::blob_in(&data_dir, BLOBS[0])).unwrap(), BLOBS[0]);
    assert!(!data_dir.join(data_dir::RESTORING).exists());
}

/// Files of jobs and drafts come with it; what of an upload has come so far does not.
#[test]
fn what_a_draft_brings_comes_back() {
    let mut rig = Rig::new();
    rig.draft();
    let (data_dir, backup_dir) = (rig.data_dir(), rig.backup_dir());
    let before = rig.grid.durable();
    let upload = data_dir.join("blobs/uploads/half");
    fs::create_dir_all(upload.parent().unwrap()).unwrap();
    fs::write(&upload, "numb").unwrap();
    let Made { manifest, .. } = backup(&data_dir, &backup_dir, NOW).unwrap();
    assert_eq!((manifest.blobs, manifest.blob_bytes), (3, 45 + INPUT.len() as u64));
    assert!(!backup_dir.join("blobs/uploads").exists());
    let Rig { parent: _parent, store, .. } = rig;
    drop(store);
    fs::remove_dir_all(&data_dir).unwrap();
    restore(&backup_dir, &data_dir, Overwrite::Never, NOW).unwrap();
    assert!(is_clean(&data_dir));
    let after = load(&data_dir);
    assert_eq!(after.drafts[&DRAFT].files.len(), 1);
    assert_eq!(same(after), same(before));
    assert_eq!(fs::read(Rig::blob_in(&data_dir, INPUT)).unwrap(), INPUT);
}

/// A backup that an older manager has made, or that is made before the first start of a newer one.
#[test]
fn a_backup_of_an_older_version_comes_back_up_to_date() {
    let rig = Rig::new();
    let (data_dir, backup_dir) = (rig.data_dir(), rig.backup_dir());
    let Rig { parent: _parent, store, .. } = rig;
    drop(store);
    fs::remove_dir_all(data_dir.join("blobs")).unwrap();
    let database = data_dir.join(store::FILE);
    for end in ["", "-wal", "-shm"] {
        drop(fs::remove_file(format!("{}{end}", database.display())));
    }
    let connection = rusqlite::Connection::open(&database).unwrap();
    for sql in [
        include_str!("../src/store/migrations/0001_grid.sql"),
        include_str!("../src/store/migrations/0002_sandboxes.sql"),
        include_str!("../src/store/migrations/0003_identities.sql"),
        include_str!("../src/store/tests/version_3.sql"),
        "PRAGMA user_version = 3; DELETE FROM output; DELETE FROM log;",
    ] {
        connection.execute_batch(sql).unwrap();
    }
    drop(connection);
    backup(&data_dir, &backup_dir, NOW).unwrap();
    fs::remove_dir_all(&data_dir).unwrap();
    restore(&backup_dir, &data_dir, Overwrite::Never, NOW).unwrap();
    assert!(is_clean(&data_dir));
    assert_eq!(load(&data_dir).jobs.len(), 4);
}

#[test]
fn nobody_else_may_read_a_backup() {
    let rig = Rig::new();
    backup(&rig.data_dir(), &rig.backup_dir(), NOW).unwrap();
    let open_to_others = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
    for path in ["", "tls", "tls/ca.key", "manifest.json", "blobs"] {
        assert_eq!(open_to_others(&rig.backup_dir().join(path)), 0, "{path}");
    }
    assert_eq!(open_to_others(&Rig::blob_in(&rig.backup_dir(), BLOBS[0])), 0);
}

/// Every way to lose a data directory, and the same way back.
#[test]
fn whatever_is_destroyed_is_put_right() {
    let database = |data_dir: &Path| data_dir.join(store::FILE);
    let harms: [Harm<'_>; 8] = [
        ("everything is gone", &|data_dir| fs::remove_dir_all(data_dir).unwrap()),
        ("the database is gone", &|data_dir| fs::remove_file(database(data_dir)).unwrap()),
        ("the log is gone", &|data_dir| {
            fs::remove_file(data_dir.join(format!("{}-wal", store::FILE))).unwrap();
        }),
        ("the database is cut", &|data_dir| {
            let file = fs::File::options().write(true).open(database(data_dir)).unwrap();
            file.set_len(5000).unwrap();
        }),
        ("the database is overwritten", &|data_dir| {
            fs::write(database(data_dir), [7; 10_000]).unwrap();
        }),
        ("a transfer was edited", &|data_dir| {
            let connection = rusqlite::Connection::open(database(data_dir)).unwrap();
            let edit = "DROP TRIGGER transfer_never_changes; UPDATE transfer SET amount = 1";
            connection.execute_batch(edit).unwrap();
        }),
        ("a blob was overwritten in its place", &|data_dir| {
            fs::write(Rig::blob_in(data_dir, BLOBS[0]), "something else, written").unwrap();
        }),
        ("the authority is gone", &|data_dir| fs::remove_dir_all(data_dir.join("tls")).unwrap()),
    ];
    for (what, harm) in harms {
        let rig = Rig::new();
        let (data_dir, backup_dir) = (rig.data_dir(), rig.backup_dir());
        let before = same(rig.grid.durable());
        backup(&data_dir, &backup_dir, NOW).unwrap();
        let Rig { parent: _parent, store, .. } = rig;
        // As by kill -9: the log is not emptied into the database.
        std::mem::forget(store);
        harm(&data_dir);
        let is_empty = !data_dir.exists();
        if !is_empty {
            let refused = restore(&backup_dir, &data_dir, Overwrite::Never, NOW);
            assert!(matches!(refused, Err(BackupError::NotEmpty { .. })), "{what}: {refused:?}");
        }
        let restored = restore(&backup_dir, &data_dir, Overwrite::Force, NOW).unwrap();
        assert_eq!(restored.aside.is_none(), is_empty, "{what}");
        assert!(is_clean(&data_dir), "{what}");
        assert_eq!(same(load(&data_dir)), before, "{what}");
        // Again, as after a second misfortune; what was moved aside stays where it is.
        drop(restore(&backup_dir, &data_dir, Overwrite::Force, NOW.plus_ms(1)).unwrap());
        assert!(restored.aside.is_none_or(|aside| aside.exists()));
        assert!(is_clean(&data_dir), "{what}");
    }
}

#[test]
fn a_damaged_backup_is_refused_and_nothing_is_touched() {
    let manifest = |backup: &Path| backup.join("manifest.json");
    let edit = |path: PathBuf, from: &str, to: &str| {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    let harms: [Harm<'_>; 10] = [
        ("is not what was backed up", &|backup| {
            fs::write(Rig::blob_in(backup, BLOBS[0]), "what the job has fouND").unwrap();
        }),
        ("cannot be read", &|backup| fs::remove_file(Rig::blob_in(backup, BLOBS[1])).unwrap()),
        ("campusgrid.sqlite is not what was backed up", &|backup| {
            let path = backup.join(store::FILE);
            let mut bytes = fs::read(&path).unwrap();
            bytes[5000] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("campusgrid.sqlite cannot be read", &|backup| {
            fs::remove_file(backup.join(store::FILE)).unwrap();
        }),
        ("tls/ca.key is not what was backed up", &|backup| {
            fs::write(backup.join("tls/ca.key"), "another key").unwrap();
        }),
        ("it has no manifest", &|backup| fs::remove_file(manifest(backup)).unwrap()),
        ("makes no sense", &|backup| fs::write(manifest(backup), "{\"format\": 1").unwrap()),
        ("is of format 9", &|backup| edit(manifest(backup), "\"format\": 1", "\"format\": 9")),
        ("which no backup has", &|backup| edit(manifest(backup), "tls/ca.key", "tls/../../x")),
        ("which no backup has", &|backup| edit(manifest(backup), "tls/ca.key", "/etc/x")),
    ];
    for (words, harm) in harms {
        let rig = Rig::new();
        let (data_dir, backup_dir) = (rig.data_dir(), rig.backup_dir());
        backup(&data_dir, &backup_dir, NOW).unwrap();
        harm(&backup_dir);
        let elsewhere = rig.parent.path().join("elsewhere");
        for (place, overwrite) in [(&elsewhere, Overwrite::Never), (&data_dir, Overwrite::Force)] {
            let error = restore(&backup_dir, place, overwrite, NOW).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(is_clean(&data_dir));
        let names = fs::read_dir(&elsewhere).map(|names| names.count()).unwrap_or_default();
        assert!(names <= 1, "{names} files are left in {}", elsewhere.display()); // The lock.
        assert!(!rig.parent.path().join("x").exists());
    }
}

#[test]
fn a_live_manager_is_not_overwritten() {
    let rig = Rig::new();
    backup(&rig.data_dir(), &rig.backup_dir(), NOW).unwrap();
    let lock = data_dir::open(&rig.data_dir()).unwrap();
    let refused = restore(&rig.backup_dir(), &rig.data_dir(), Overwrite::Force, NOW);
    assert!(matches!(refused, Err(BackupError::Live { .. })), "{refused:?}");
    drop(lock);
    restore(&rig.backup_dir(), &rig.data_dir(), Overwrite::Force, NOW).unwrap();
}

#[test]
fn a_restore_that_was_cut_short_keeps_managers_away_until_it_is_done() {
    let rig = Rig::new();
    backup(&rig.data_dir(), &rig.backup_dir(), NOW).unwrap();
    fs::create_dir(rig.data_dir().join(data_dir::RESTORING)).unwrap();
    fs::remove_file(rig.data_dir().join(store::FILE)).unwrap();
    let refused = data_dir::open(&rig.data_dir());
    assert!(matches!(refused, Err(data_dir::DataDirError::HalfRestored { .. })), "{refused:?}");
    restore(&rig.backup_dir(), &rig.data_dir(), Overwrite::Force, NOW).unwrap();
    drop(data_dir::open(&rig.data_dir()).unwrap());
    assert!(is_clean(&rig.data_dir()));
}

#[test]
fn a_later_backup_takes_the_place_of_an_earlier_and_keeps_its_blobs() {
    let mut rig = Rig::new();
    let (data_dir, backup_dir) = (rig.data_dir(), rig.backup_dir());
    backup(&data_dir, &backup_dir, NOW).unwrap();
    let file = |content| fs::metadata(Rig::blob_in(&backup_dir, content)).unwrap();
    let first = file(BLOBS[0]).ino();
    assert_ne!(first, fs::metadata(Rig::blob_in(&data_dir, BLOBS[0])).unwrap().ino(), "shared");
    rig.submit("one more");
    // What has rotted in the earlier backup is copied anew.
    fs::write(Rig::blob_in(&backup_dir, BLOBS[1]), "rotten").unwrap();
    let made = backup(&data_dir, &backup_dir, NOW.plus_ms(1)).unwrap();
    assert_eq!((made.kept, made.manifest.blobs, file(BLOBS[0]).ino()), (1, 2, first));
    assert_eq!(file(BLOBS[0]).nlink(), 1, "the earlier backup is still somewhere");
    // The data, the backup, and the lock of its name.
    assert_eq!(fs::read_dir(rig.parent.path()).unwrap().count(), 3);
    let before = same(rig.grid.durable());
    fs::remove_dir_all(&data_dir).unwrap();
    restore(&backup_dir, &data_dir, Overwrite::Never, NOW).unwrap();
    assert!(is_clean(&data_dir));
    assert_eq!(same(load(&data_dir)), before);
}

#[test]
fn what_is_broken_already_is_told_and_replaces_no_good_backup() {
    let rig = Rig::new();
    let (data_dir, backup_dir) = (rig.data_dir(), rig.backup_dir());
    backup(&data_dir, &backup_dir, NOW).unwrap();
    fs::remove_file(Rig::blob_in(&data_dir, BLOBS[0])).unwrap();
    fs::write(Rig::blob_in(&data_dir, BLOBS[1]), "what it said, at lengtH").unwrap();
    let before = same(rig.grid.durable());
    // The earlier one lends its blobs, so that nothing is missing from the new one.
    assert_eq!(backup(&data_dir, &backup_dir, NOW).unwrap().manifest.missing, [""; 0]);

    let beside = rig.parent.path().join("beside");
    let made = backup(&data_dir, &beside, NOW).unwrap();
    assert_eq!(made.manifest.missing.len(), 2);
    let refused = backup(&data_dir, &beside, NOW);
    assert!(matches!(refused, Err(BackupError::WorseThanBefore { .. })), "{refused:?}");
    assert!(!rig.parent.path().join("beside.unfinished").exists());
    let elsewhere = rig.parent.path().join("elsewhere");
    restore(&beside, &elsewhere, Overwrite::Never, NOW).unwrap();
    let found = inspect(&elsewhere, Closeness::Content, NOW).unwrap();
    assert_eq!((found.books.broken.len(), found.files.len()), (0, 2));
    assert_eq!(same(load(&elsewhere)), before);

    fs::remove_file(Rig::blob_in(&backup_dir, BLOBS[0])).unwrap();
    let refused = backup(&data_dir, &backup_dir, NOW);
    assert!(matches!(refused, Err(BackupError::WorseThanBefore { .. })), "{refused:?}");
}

#[test]
fn backups_are_made_where_they_are_of_use() {
    let rig = Rig::new();
    let (data_dir, parent) = (rig.data_dir(), rig.parent.path());
    let inside = backup(&data_dir, &data_dir.join("backup"), NOW);
    assert!(matches!(inside, Err(BackupError::Inside { .. })), "{inside:?}");
    let foreign = parent.join("letters");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter"), "dear").unwrap();
    let refused = backup(&data_dir, &foreign, NOW);
    assert!(matches!(refused, Err(BackupError::Foreign { .. })), "{refused:?}");
    assert_eq!(fs::read(foreign.join("letter")).unwrap(), b"dear");
    // What a run that was killed has left is swept away; one that runs is let alone.
    let unfinished = parent.join("backup.unfinished");
    fs::create_dir_all(unfinished.join("blobs/00")).unwrap();
    fs::write(unfinished.join(store::FILE), "half").unwrap();
    let file = fs::File::create(parent.join("backup.lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let refused = backup(&data_dir, &rig.backup_dir(), NOW);
    assert!(matches!(refused, Err(BackupError::UnderWay { .. })), "{refused:?}");
    assert!(unfinished.join(store::FILE).exists());
    drop(lock);
    fs::create_dir(rig.backup_dir()).unwrap(); // Empty is as good as not there.
    backup(&data_dir, &rig.backup_dir(), NOW).unwrap();
    assert!(!unfinished.exists());
}

#[test]
fn a_backup_beside_a_writer_is_of_one_moment() {
    let mut rig = Rig::new();
    let (data_dir, parent) = (rig.data_dir(), rig.parent.path().to_owned());
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (stop, data_dir) = (&stop, &data_dir);
    std::thread::scope(|scope| {
        let backups = scope.spawn(move || {
            for number in 0..5 {
                let to = parent.join(format!("backup-{number}"));
                let made = backup(data_dir, &to, NOW).unwrap();
                assert_eq!(made.manifest.broken, [""; 0]);
                let elsewhere = parent.join(format!("restored-{number}"));
                restore(&to, &elsewhere, Overwrite::Never, NOW).unwrap();
                assert!(is_clean(&elsewhere));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !stop.load(std::sync::atomic::Ordering::Relaxed) && !backups.is_finished() {
            let Reply::Submitted { job, .. } = rig.submit("meanwhile") else { panic!("no job") };
            let (user, tasks) = (backup_rig::ADA, None);
            let cancel = campusgrid_core::input::Request::Cancel { user, job, tasks };
            rig.step(Input::Request { ticket: campusgrid_core::input::Ticket(1), request: cancel });
        }
        backups.join().unwrap();
    });
}

/// What happened after the backup is unknown to the restored manager, but not to its workers.
#[test]
fn results_that_a_restored_manager_does_not_know_do_no_harm() {
    let mut rig = Rig::new();
    let (data_dir, backup_dir) = (rig.data_dir(), rig.backup_dir());
    backup(&data_dir, &backup_dir, NOW).unwrap();
    // After the backup job 2 ends and job 3 starts; a job 4 comes, and ends on the worker.
    let ended = |attempt: &str| WorkerEvent::Ended(Box::new(result(attempt.parse().unwrap())));
    rig.step(Input::FromWorker { session: SESSION, event: ended("2.0#1") });
    rig.submit("unknown");
    rig.step(Input::FromWorker { session: SESSION, event: ended("3.0#1") });
    let Rig { parent, store, .. } = rig;
    drop(store);
    fs::remove_dir_all(&data_dir).unwrap();
    restore(&backup_dir, &data_dir, Overwrite::Never, NOW).unwrap();

    let store = Store::open(&data_dir.join(store::FILE)).unwrap();
    let grid = recover(&store);
    let mut rig = Rig::again(parent, grid, store);
    let worker = rig.grid.durable().workers.values().next().unwrap().clone();
    assert_eq!(worker.key_hash, KEY, "it is the same machine");
    let attempts: Vec<AttemptId> =
        ["2.0#1", "3.0#1", "4.0#1"].iter().map(|text| text.parse().unwrap()).collect();
    let session = SessionId(20);
    let effects = rig.join(session, attempts.clone());
    let sent: Vec<&ToWorker> = effects.sends.iter().map(|(_, message)| message).collect();
    assert!(matches!(sent[0], ToWorker::Welcome { .. }), "{sent:?}");
    // Job 2 runs on, as far as the backup knows; of the others nobody waits for these attempts.
    for attempt in &attempts[1..] {
        let dropped = ToWorker::Drop { attempt: *attempt };
        assert!(sent.contains(&&dropped), "{attempt}: {sent:?}");
    }
    assert!(!sent.contains(&&ToWorker::Drop { attempt: attempts[0] }), "{sent:?}");
    let before = rig.grid.durable();
    let late = rig.step(Input::FromWorker { session, event: ended("4.0#1") });
    assert_eq!(late.sends, [(session, ToWorker::Stored { attempt: attempts[2] })]);
    assert_eq!((late.changes.len(), rig.grid.durable()), (0, before));
    // A number that was given out after the backup is not given out again.
    let Reply::Submitted { job, .. } = rig.submit("new") else { panic!("no job") };
    assert!(job.0 > 1_000_000, "{job}");
    rig.step(Input::FromWorker { session, event: ended("2.0#1") });
    assert_eq!(rig.store.load().unwrap(), rig.grid.durable());
    assert!(rig.store.fsck().unwrap().broken.is_empty());
}

/// Before an update, when a backup is wanted most, the database is of the version before.
#[test]
fn a_database_of_the_version_before_is_backed_up_and_comes_back_up_to_date() {
    let parent = tempfile::tempdir().unwrap();
    let (data_dir, backup_dir) = (parent.path().join("data"), parent.path().join("backup"));
    fs::create_dir(&data_dir).unwrap();
    let connection = rusqlite::Connection::open(data_dir.join(store::FILE)).unwrap();
    for statements in [
        include_str!("../src/store/migrations/0001_grid.sql"),
        include_str!("../src/store/migrations/0002_sandboxes.sql"),
        include_str!("../src/store/migrations/0003_identities.sql"),
        include_str!("../src/store/migrations/0004_jobs.sql"),
        include_str!("../src/store/tests/version_4.sql"),
        // Its blobs are not here.
        "DELETE FROM output; DELETE FROM log; DELETE FROM file;
        UPDATE job SET stored_bytes = 0, manifest = NULL, manifest_size = NULL,
            emptied_at = ended_at;",
    ] {
        connection.execute_batch(statements).unwrap();
    }
    connection.pragma_update(None, "user_version", 4).unwrap();
    let made = backup(&data_dir, &backup_dir, NOW).unwrap();
    // It has never had an authority; nothing else is missing.
    assert_eq!(made.manifest.broken.len(), 1, "{:?}", made.manifest.broken);
    drop(connection);
    fs::remove_dir_all(&data_dir).unwrap();
    restore(&backup_dir, &data_dir, Overwrite::Never, NOW).unwrap();
    let found = inspect(&data_dir, Closeness::Files, NOW).unwrap();
    assert_eq!(found.books.broken, [""; 0]);
    assert_eq!(load(&data_dir).users.len(), 2);
}
