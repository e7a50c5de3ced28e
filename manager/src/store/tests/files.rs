//! Drafts, the files of jobs, and what refers to which content, on real SQLite.

use campusgrid_core::grid::Grid;
use campusgrid_core::input::{FilesOf, NewDraft, Request, Submission, WorkerEvent};
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{BlobHash, JobId, UserId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::rest;
use campusgrid_protocol::task::{
    BlobRef, Content, Ended, Log, Outcome, Output, Program, Stream, TaskSpec, Work,
};

use super::{ask, one_job, own_a_worker, reader, report, shell, submission, viewer};
use crate::store::numbering::Numberings;
use crate::store::read::{JobFilter, Reader, StoredLog, WhichLog};
use crate::store::{Store, fsck};

fn blob(number: u8) -> BlobRef {
    BlobRef { hash: BlobHash([number; 32]), size_bytes: u64::from(number) }
}

fn file(path: &str, number: u8) -> InputFile {
    InputFile { path: path.to_owned(), blob: blob(number), executable: number == 1 }
}

fn put(grid: &mut Grid, store: &mut Store, job: u64, files: Vec<InputFile>) {
    ask(grid, store, Request::PutFiles { user: UserId(1), job: JobId(job), files });
}

fn look<T>(store: &mut Store, read: impl FnOnce(&Reader) -> T) -> T {
    let reader = reader(std::mem::replace(store, Store::in_memory().unwrap()));
    let seen = read(&reader);
    *store = Store { connection: reader.connection, numberings: Numberings::default() };
    seen
}

fn sound(store: &Store) {
    assert_eq!(store.fsck().unwrap().broken, Vec::<String>::new());
}

/// One job, and a draft, number 2, with three files.
fn a_draft() -> (Grid, Store) {
    let (mut grid, mut store) = one_job();
    let submit = r#"{"kind":"shell","entry":"run.sh","draft":true,"priority":3}"#.to_owned();
    let (key, name) = (Some("d".to_owned()), "drafted".to_owned());
    let draft = NewDraft { user: UserId(1), key, name, submit };
    ask(&mut grid, &mut store, Request::Draft(draft));
    let files = vec![file("run.sh", 1), file("data/a.csv", 2), file("data/b.csv", 3)];
    put(&mut grid, &mut store, 2, files);
    (grid, store)
}

#[test]
fn a_draft_gets_files_and_becomes_the_job_of_its_number() {
    let (mut grid, mut store) = a_draft();
    put(&mut grid, &mut store, 2, vec![file("data/b.csv", 4)]);
    let path = "data/a.csv".to_owned();
    ask(&mut grid, &mut store, Request::RemoveFile { user: UserId(1), job: JobId(2), path });
    sound(&store);
    let revision = look(&mut store, |reader| {
        let draft = reader.draft(viewer(1), JobId(2)).unwrap().unwrap();
        assert_eq!((draft.files, draft.bytes, &*draft.name), (2, 5, "drafted"));
        assert!(reader.draft(viewer(2), JobId(2)).unwrap().is_none(), "of somebody else");
        let (revision, files) = reader.all_files(viewer(1), JobId(2)).unwrap().unwrap();
        assert_eq!(files, [file("data/b.csv", 4), file("run.sh", 1)]);
        assert_eq!(revision, draft.revision);
        let page = reader.files(viewer(1), JobId(2), Some("data/b.csv"), 9).unwrap().unwrap();
        assert_eq!(page, [file("run.sh", 1)]);
        assert_eq!(reader.file(viewer(1), JobId(2), "run.sh").unwrap(), Some(file("run.sh", 1)));
        assert_eq!(reader.file(viewer(2), JobId(2), "run.sh").unwrap(), None);
        let detail = reader.job(viewer(1), JobId(2)).unwrap().unwrap().detail;
        assert_eq!(
            (detail.job.state, detail.entry.as_deref()),
            (rest::JobState::Draft, Some("run.sh"))
        );
        assert_eq!((detail.files, detail.files_bytes, detail.job.priority), (2, 5, 3));
        assert_eq!(
            reader.jobs(viewer(1), &JobFilter { limit: 9, ..JobFilter::default() }).unwrap().len(),
            2
        );
        assert_eq!(reader.counts().unwrap().0, 1, "a draft is none yet");
        assert_eq!(reader.storage_used(UserId(1)).unwrap(), 5);
        assert!(
            reader.is_referred(blob(4).hash).unwrap() && !reader.is_referred(blob(2).hash).unwrap()
        );
        assert_eq!(reader.manifest_of(JobId(2)).unwrap(), None);
        revision
    });
    let program = Program::Entry("run.sh".to_owned());
    let spec = TaskSpec { work: Work::Shell { program }, inputs: Some(blob(9)), ..shell() };
    let launch = |revision| Submission {
        files: FilesOf::Draft { job: JobId(2), revision },
        ..submission("launched", spec.clone())
    };
    ask(&mut grid, &mut store, Request::Submit(Box::new(launch(revision + 1))));
    assert!(store.load().unwrap().drafts.contains_key(&JobId(2)), "its files have changed");
    ask(&mut grid, &mut store, Request::Submit(Box::new(launch(revision))));
    sound(&store);
    let loaded = store.load().unwrap();
    assert!(loaded.drafts.is_empty() && loaded.jobs.contains_key(&JobId(2)));
    look(&mut store, |reader| {
        let detail = reader.job(viewer(1), JobId(2)).unwrap().unwrap().detail;
        assert_eq!((detail.job.state, detail.files), (rest::JobState::Queued, 2));
        assert_eq!(reader.manifest_of(JobId(2)).unwrap(), Some(blob(9)));
        assert_eq!(reader.input_of(JobId(2), blob(4).hash).unwrap(), Some(blob(4)));
        assert_eq!(reader.input_of(JobId(1), blob(4).hash).unwrap(), None, "of another job");
        assert!(reader.is_referred(blob(9).hash).unwrap());
        assert_eq!(reader.counts().unwrap().0, 2);
    });
}

#[test]
fn the_number_of_a_discarded_draft_is_not_given_again() {
    let (mut grid, mut store) = a_draft();
    ask(&mut grid, &mut store, Request::DiscardDraft { user: UserId(1), job: JobId(2) });
    sound(&store);
    assert_eq!(store.next_job().unwrap(), 3);
    let rows = "SELECT count(*) FROM file WHERE job = 2";
    assert_eq!(store.connection.query_row(rows, [], |row| row.get::<_, u32>(0)).unwrap(), 0);
    ask(&mut grid, &mut store, Request::Submit(Box::new(submission("next", shell()))));
    assert!(store.load().unwrap().jobs.contains_key(&JobId(3)));
}

/// A job that has run, with a file, an output, a short log and a long one.
fn run_with_files() -> (Grid, Store) {
    let (mut grid, mut store) = a_draft();
    own_a_worker(&mut grid, &mut store);
    let spec = TaskSpec { inputs: Some(blob(9)), ..shell() };
    let revision =
        look(&mut store, |reader| reader.all_files(viewer(1), JobId(2)).unwrap().unwrap().0);
    let files = FilesOf::Draft { job: JobId(2), revision };
    let launched = Submission { files, ..submission("launched", spec) };
    ask(&mut grid, &mut store, Request::Submit(Box::new(launched)));
    let ended = Ended {
        stdout: Log { content: Content::Inline(b"hello".to_vec()), cut_bytes: 0 },
        stderr: Log { content: Content::Blob(blob(20)), cut_bytes: 7 },
        outputs: vec![
            Output { path: "a".to_owned(), blob: blob(30) },
            Output { path: "b".to_owned(), blob: blob(31) },
        ],
        ..Ended::empty("2.0#1".parse().unwrap(), Outcome::Succeeded)
    };
    report(&mut grid, &mut store, WorkerEvent::Ended(Box::new(ended)));
    sound(&store);
    (grid, store)
}

#[test]
fn what_a_job_has_left_goes_when_it_is_emptied() {
    let (mut grid, mut store) = run_with_files();
    let kept = |reader: &Reader| {
        let hashes = [1, 2, 3, 9, 20, 30, 31];
        hashes.map(|number| reader.is_referred(blob(number).hash).unwrap())
    };
    look(&mut store, |reader| {
        assert_eq!(kept(reader), [true; 7]);
        assert_eq!(reader.storage_used(UserId(1)).unwrap(), 1 + 2 + 3 + 20 + 30 + 31);
        let outputs = |after| {
            let page = reader.outputs(viewer(1), JobId(2), after, 9).unwrap().unwrap();
            page.into_iter().map(|output| output.path).collect::<Vec<_>>()
        };
        assert_eq!((outputs(None).len(), outputs(Some((0, "a")))), (2, vec!["b".to_owned()]));
        assert!(outputs(Some((1, ""))).is_empty());
        assert_eq!(reader.outputs_total(viewer(1), JobId(2)).unwrap(), Some((2, 61)));
        assert_eq!(reader.outputs_total(viewer(2), JobId(2)).unwrap(), None);
        assert_eq!(reader.output(viewer(1), JobId(2), 0, "b").unwrap(), Some(blob(31)));
        for (user, blob, has) in [
            (1, blob(2), true),
            (1, blob(30), true),
            (1, blob(20), false),
            (2, blob(2), false),
            (1, BlobRef { size_bytes: 5, ..blob(2) }, false),
        ] {
            assert_eq!(reader.has_content(UserId(user), blob).unwrap(), has, "{user} {blob:?}");
        }
        assert!(reader.jobs_to_empty(Timestamp(3), 9).unwrap().is_empty());
        assert_eq!(reader.jobs_to_empty(Timestamp(4), 9).unwrap(), [JobId(2)]);
    });
    let all = vec![JobId(1), JobId(2), JobId(9)];
    ask(&mut grid, &mut store, Request::EmptyJobs { jobs: all });
    sound(&store);
    look(&mut store, |reader| {
        assert_eq!(kept(reader), [false; 7]);
        assert_eq!(reader.storage_used(UserId(1)).unwrap(), 0);
        let job = reader.job(viewer(1), JobId(2)).unwrap().unwrap();
        assert_eq!((job.emptied, job.detail.job.kept_until_ms, job.detail.files), (true, None, 0));
        let which = WhichLog { index: 0, attempt: None, stream: Stream::Stdout };
        let log = reader.log(viewer(1), JobId(2), which).unwrap();
        assert!(matches!(log, Some(StoredLog::Gone)), "{log:?}");
        assert!(reader.jobs_to_empty(Timestamp(9), 9).unwrap().is_empty());
        assert!(!reader.job(viewer(1), JobId(1)).unwrap().unwrap().emptied, "it is open");
    });
}

#[test]
fn a_job_that_runs_again_has_the_files_of_the_first() {
    let (mut grid, mut store) = run_with_files();
    let spec = look(&mut store, |reader| {
        assert!(reader.spec_of(UserId(2), JobId(2)).unwrap().is_none(), "of somebody else");
        reader.spec_of(UserId(1), JobId(2)).unwrap().unwrap()
    });
    let again = Submission { files: FilesOf::Job(JobId(2)), ..submission(&spec.name, spec.spec) };
    ask(&mut grid, &mut store, Request::Submit(Box::new(again)));
    sound(&store);
    ask(&mut grid, &mut store, Request::EmptyJobs { jobs: vec![JobId(2)] });
    look(&mut store, |reader| {
        let (_, files) = reader.all_files(viewer(1), JobId(3)).unwrap().unwrap();
        assert_eq!(files.len(), 3);
        assert_eq!(reader.manifest_of(JobId(3)).unwrap(), Some(blob(9)));
        assert_eq!(reader.storage_used(UserId(1)).unwrap(), 6);
    });
}

#[test]
fn mistakes_about_files_tasks_and_chains_are_found() {
    for (mistake, finding) in [
        ("SELECT 1", ""),
        (
            "UPDATE job SET stored_bytes = 1 WHERE id = 2",
            "job 2 counts 1 bytes that it keeps, and has 87",
        ),
        ("DELETE FROM file WHERE path = 'run.sh'", "counts 87 bytes that it keeps, and has 86"),
        (
            "UPDATE job SET manifest = NULL, manifest_size = NULL WHERE id = 2",
            "job 2 brings files, and has no list of them",
        ),
        ("UPDATE job SET emptied_at = 9 WHERE id = 2", "was emptied, and still has files or logs"),
        ("UPDATE progress SET states = 'f' WHERE job = 2", "its tasks in a row say otherwise"),
        (
            "UPDATE progress SET states = 'f' WHERE job = 2",
            "is succeeded, and in a row with others",
        ),
        (
            "UPDATE progress SET states = 'ss' WHERE job = 2",
            "row 0 of the tasks of job 2 has 2 of them",
        ),
        ("UPDATE job SET open_runs = 1 WHERE id = 1", "holds 1 runs, its tasks may still have 2"),
        ("UPDATE job SET leased = 0 WHERE id = 1", "counts 0 tasks that are on workers"),
        ("UPDATE task SET runs_left = 2", "may have 2 more runs of 1"),
        ("UPDATE job SET state = 'queued' WHERE id = 1", "job 1 is queued and has ended 0 of 2"),
        ("UPDATE total SET jobs = 9", "the total of jobs is 9, and there are 2"),
        ("INSERT INTO draft VALUES (2, '{}', 0, 0)", "job 2 is launched, and still a draft"),
        ("DELETE FROM job_spec WHERE job = 1", "nothing says what job 1 runs"),
        ("INSERT INTO waits_for VALUES (1, 0, 2, 'ok', 0)", "waits for job 2, which has ended"),
        ("INSERT INTO waits_for VALUES (1, 0, 1, 'ok', 0)", "waits for job 1, which is itself"),
        (
            "INSERT INTO notice (job, kind, channel, at) VALUES (1, 'ended', 'mail', 1)",
            "a notice says of job 1 that it has ended, and it has not",
        ),
        (
            "DROP TRIGGER transfer_never_goes; DELETE FROM transfer WHERE key LIKE 'pay:2.0%'
                OR key LIKE 'refund:2.0%'",
            "in escrow, its open tasks hold 0",
        ),
        ("DELETE FROM file WHERE path = 'x'", ""),
    ] {
        let (_, store) = run_with_files();
        store.connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
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
fn a_backup_takes_what_jobs_and_drafts_bring() {
    let (mut grid, mut store) = run_with_files();
    let (name, submit) = ("second".to_owned(), r#"{"kind":"c"}"#.to_owned());
    ask(
        &mut grid,
        &mut store,
        Request::Draft(NewDraft { user: UserId(1), key: None, name, submit }),
    );
    put(&mut grid, &mut store, 3, vec![file("main.c", 40)]);
    let path = tempfile::tempdir().unwrap().keep().join("copy.sqlite");
    store.connection.execute("VACUUM INTO ?1", [path.to_string_lossy()]).unwrap();
    let mut referred: Vec<String> = fsck::referred_blobs(&path)
        .unwrap()
        .into_iter()
        .map(|referred| format!("{} {}", referred.blob.size_bytes, referred.by))
        .collect();
    referred.sort_unstable();
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    assert_eq!(
        referred,
        [
            "1 file run.sh of job 2",
            "2 file data/a.csv of job 2",
            "20 stderr of attempt 2.0#1",
            "3 file data/b.csv of job 2",
            "30 output a of task 2.0",
            "31 output b of task 2.0",
            "40 file main.c of job 3",
            "9 the list of files of job 2",
        ]
    );
}
