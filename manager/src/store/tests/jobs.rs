//! Arrays, chains, retries, holds and notices on real SQLite.

use std::collections::BTreeMap;

use campusgrid_core::effect::NoticeKind;
use campusgrid_core::grid::Grid;
use campusgrid_core::input::{Input, NoticeFate, Registration, Request, Submission, WorkerEvent};
use campusgrid_core::job::After;
use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::rest;
use campusgrid_protocol::rest::TaskState;
use campusgrid_protocol::task::{
    Content, Ended, Failure, Log, Outcome, Stream, TaskSpec, WorkerFault,
};
use campusgrid_protocol::terms::{Notify, Terms, When};
use expect_test::expect;
use proptest::prelude::*;

use super::{apply, apply_at, ask, own_a_worker, reader, report, shell, submission, viewer};
use crate::config::Config;
use crate::store::Store;
use crate::store::numbering::Numberings;
use crate::store::progress::CHUNK;
use crate::store::read::{Channel, JobFilter, Reader, StoredLog, TaskFilter, WhichLog};

/// One rich user with a worker of eight cores.
fn rich() -> (Grid, Store) {
    let mut policy = Config::read(None, [], []).unwrap().policy;
    policy.starting_credits = Micros::from_credits(1_000_000_000);
    let mut store = Store::in_memory().unwrap();
    let mut grid = Grid::recover(policy.into(), store.load().unwrap(), Timestamp(1));
    let registration = Registration {
        name: "ada".to_owned(),
        email: Some("ada@campus.example".to_owned()),
        password_hash: "x".to_owned(),
        local: true,
        invitation: None,
    };
    ask(&mut grid, &mut store, Request::Register(registration));
    own_a_worker(&mut grid, &mut store);
    (grid, store)
}

fn array(name: &str, indices: &str) -> Submission {
    let indices: campusgrid_protocol::array::Indices = indices.parse().unwrap();
    let spec = TaskSpec { tasks: indices.len(), ..shell() };
    let terms = Terms { indices, ..Terms::plain(1) };
    Submission { terms, ..submission(name, spec) }
}

fn submit(grid: &mut Grid, store: &mut Store, submission: Submission) {
    ask(grid, store, Request::Submit(Box::new(submission)));
}

fn end(grid: &mut Grid, store: &mut Store, attempt: &str, outcome: Outcome) {
    let ended = Ended::empty(attempt.parse().unwrap(), outcome);
    report(grid, store, WorkerEvent::Ended(Box::new(ended)));
}

fn failed() -> Outcome {
    Outcome::Failed(Failure::ExitCode(3))
}

/// Looks without closing the store.
fn look<T>(store: Store, read: impl FnOnce(&Reader) -> T) -> (Store, T) {
    let reader = reader(store);
    let seen = read(&reader);
    (Store { connection: reader.connection, numberings: Numberings::default() }, seen)
}

fn sound(store: &Store) {
    assert_eq!(store.fsck().unwrap().broken, Vec::<String>::new());
}

#[test]
fn an_array_is_stored_by_position_and_shown_by_index() {
    let (mut grid, mut store) = rich();
    submit(&mut grid, &mut store, array("odd", "1-3999:2"));
    end(&mut grid, &mut store, "1.0#1", Outcome::Succeeded);
    end(&mut grid, &mut store, "1.2#1", failed());
    report(&mut grid, &mut store, WorkerEvent::Started { attempt: "1.3#1".parse().unwrap() });
    let fault = Outcome::Returned(WorkerFault::Restarted);
    end(&mut grid, &mut store, "1.4#1", fault);
    let tasks = Some("600-602,1000-1999".parse().unwrap());
    let cancel = Request::Cancel { user: UserId(1), job: JobId(1), tasks };
    ask(&mut grid, &mut store, cancel);
    sound(&store);
    let (store, words) = look(store, |reader| {
        let mut words = String::new();
        let filter = |from, limit, state| TaskFilter { from, limit, state };
        for state in [
            None,
            Some(TaskState::Queued),
            Some(TaskState::Preparing),
            Some(TaskState::Running),
            Some(TaskState::Succeeded),
            Some(TaskState::Failed),
            Some(TaskState::Cancelled),
        ] {
            let list = |from| {
                let tasks = reader.tasks(viewer(1), JobId(1), filter(from, 5, state));
                let tasks = tasks.unwrap().unwrap().into_iter();
                assert!(tasks.clone().all(|task| state.is_none_or(|state| task.state == state)));
                tasks.map(|task| (task.index, task.attempts.len())).collect::<Vec<_>>()
            };
            words.push_str(&format!("{state:?}: {:?} {:?}\n", list(0), list(6)));
        }
        let list = |from, state| {
            let tasks = reader.tasks(viewer(1), JobId(1), filter(from, 4, Some(state)));
            tasks.unwrap().unwrap().iter().map(|task| task.index).collect::<Vec<_>>()
        };
        words.push_str(&format!("queued from 1197: {:?}\n", list(1197, TaskState::Queued)));
        words.push_str(&format!("cancelled from 1204: {:?}\n", list(1204, TaskState::Cancelled)));
        for cell in reader.task_map(viewer(1), JobId(1), 4).unwrap().unwrap().cells {
            words.push_str(&format!("{cell:?}\n"));
        }
        words
    });
    expect![[r#"
        None: [(1, 1), (3, 1), (5, 1), (7, 1), (9, 2)] [(7, 1), (9, 2), (11, 1), (13, 1), (15, 1)]
        Some(Queued): [(21, 0), (23, 0), (25, 0), (27, 0), (29, 0)] [(21, 0), (23, 0), (25, 0), (27, 0), (29, 0)]
        Some(Preparing): [(3, 1), (9, 2), (11, 1), (13, 1), (15, 1)] [(9, 2), (11, 1), (13, 1), (15, 1), (17, 1)]
        Some(Running): [(7, 1)] [(7, 1)]
        Some(Succeeded): [(1, 1)] []
        Some(Failed): [(5, 1)] []
        Some(Cancelled): [(1201, 0), (1203, 0), (1205, 0), (2001, 0), (2003, 0)] [(1201, 0), (1203, 0), (1205, 0), (2001, 0), (2003, 0)]
        queued from 1197: [1197, 1199, 1207, 1209]
        cancelled from 1204: [1205, 2001, 2003, 2005]
        Cell { first_index: 1, last_index: 999, queued: 490, running: 8, succeeded: 1, failed: 1, cancelled: 0 }
        Cell { first_index: 1001, last_index: 1999, queued: 497, running: 0, succeeded: 0, failed: 0, cancelled: 3 }
        Cell { first_index: 2001, last_index: 2999, queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 500 }
        Cell { first_index: 3001, last_index: 3999, queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 500 }
    "#]].assert_eq(&words);
    let (_, ()) = look(store, |reader| {
        for cells in [1, 3, 7, 1999, 2000, 5000] {
            let map = reader.task_map(viewer(1), JobId(1), cells).unwrap().unwrap();
            assert_eq!(map.cells.len(), cells.min(2000) as usize);
            let sum: u32 = map.cells.iter().map(rest_sum).sum();
            assert_eq!(sum, 2000, "{cells}");
            assert!(map.cells.windows(2).all(|two| two[0].last_index + 2 == two[1].first_index));
        }
        let some = reader.positions(viewer(1), JobId(1), &"1-5,3999-4005".parse().unwrap());
        assert_eq!(some.unwrap().unwrap().to_string(), "0-2,1999");
        assert!(reader.positions(viewer(2), JobId(1), &Ranges::one(1)).unwrap().is_none());
        assert!(reader.task_map(viewer(2), JobId(1), 4).unwrap().is_none(), "of somebody else");
        // Whatever is told of a crowd, its viewers have one row of each kind, with a number of its own.
        let events = reader.job_events(viewer(1), JobId(1), 0, 100).unwrap();
        let told: Vec<String> =
            events.iter().map(|event| format!("{}: {}", event.kind, event.message)).collect();
        expect![[r#"
            job.submitted: 2000 tasks submitted
            task.ended: task 5 ended
            attempt.started: task 7 started
            task.leased: task 9 given to workers
            task.requeued: task 9 given back by workers
            tasks.cancelled: 1003 waiting tasks cancelled"#]]
        .assert_eq(&told.join("\n"));
        assert!(events.windows(2).all(|two| two[0].id < two[1].id));
    });
}

fn rest_sum(cell: &rest::arrays::Cell) -> u32 {
    cell.queued + cell.running + cell.succeeded + cell.failed + cell.cancelled
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever is done to an array longer than two rows of letters: what is read of it is what is in
    /// memory, task by task.
    #[test]
    fn what_is_read_of_an_array_is_what_is_in_memory(
        steps in proptest::collection::vec((0..4_u8, 0..1300_u32, 0..300_u32), 1..25),
        cells in 1..1400_u32,
        from in 0..1300_u32,
    ) {
        let (mut grid, mut store) = rich();
        submit(&mut grid, &mut store, array("random", "0-1299"));
        for (step, first, more) in steps {
            let running: Vec<String> = grid.durable().jobs.get(&JobId(1)).map_or(Vec::new(), |job| {
                job.leases().map(|(attempt, _)| attempt.to_string()).collect()
            });
            let one = running.get(first as usize % running.len().max(1));
            match (step, one) {
                (0, _) => {
                    let tasks = Some(format!("{first}-{}", (first + more).min(1299)).parse().unwrap());
                    ask(&mut grid, &mut store, Request::Cancel { user: UserId(1), job: JobId(1), tasks });
                }
                (1, Some(attempt)) => end(&mut grid, &mut store, attempt, failed()),
                (_, Some(attempt)) => end(&mut grid, &mut store, attempt, Outcome::Succeeded),
                (_, None) => {}
            }
        }
        sound(&store);
        let durable = grid.durable();
        let job = durable.jobs.get(&JobId(1));
        let (_, ()) = look(store, |reader| {
            let map = reader.task_map(viewer(1), JobId(1), cells).unwrap().unwrap();
            type Count = fn(&rest::arrays::Cell) -> u32;
            let all: [(TaskState, Count, Option<&Ranges>); 4] = [
                (TaskState::Queued, |cell| cell.queued, job.map(|job| &job.untouched)),
                (TaskState::Succeeded, |cell| cell.succeeded, job.map(|job| &job.ended.succeeded)),
                (TaskState::Failed, |cell| cell.failed, job.map(|job| &job.ended.failed)),
                (TaskState::Cancelled, |cell| cell.cancelled, job.map(|job| &job.ended.cancelled)),
            ];
            for (state, count, ranges) in all {
                let Some(ranges) = ranges else { continue };
                for cell in &map.cells {
                    let mut within = Ranges::default();
                    within.insert_range(cell.first_index, cell.last_index);
                    assert_eq!(count(cell), ranges.common(&within).len(), "{state:?} {cell:?}");
                }
                for limit in [7, 2000] {
                    let filter = TaskFilter { from, limit, state: Some(state) };
                    let tasks = reader.tasks(viewer(1), JobId(1), filter).unwrap().unwrap();
                    let read: Vec<u32> = tasks.iter().map(|task| task.index).collect();
                    let wanted = ranges.numbers().filter(|index| *index >= from);
                    assert_eq!(read, wanted.take(limit as usize).collect::<Vec<_>>(), "{state:?}");
                }
            }
        });
    }
}

/// Beside each other, each with its own tasks, across the rows of letters.
#[test]
fn a_million_tasks_take_no_room_until_they_start() {
    let (mut grid, mut store) = rich();
    submit(&mut grid, &mut store, array("million", "0-999999"));
    let rows = "SELECT (SELECT count(*) FROM progress) || ' ' || (SELECT count(*) FROM task)";
    let count = |store: &Store| {
        store.connection.query_row(rows, [], |row| row.get::<_, String>(0)).unwrap()
    };
    assert_eq!(count(&store), "1 8", "only what was given to the worker");
    let some: Ranges = format!("{}-{}", CHUNK - 1, 2 * CHUNK).parse().unwrap();
    let cancel = |tasks| Request::Cancel { user: UserId(1), job: JobId(1), tasks };
    ask(&mut grid, &mut store, cancel(Some(some)));
    assert_eq!(count(&store), "3 8");
    sound(&store);
    ask(&mut grid, &mut store, cancel(None));
    assert_eq!(count(&store), "1954 8");
    sound(&store);
    let (_, map) = look(store, |reader| reader.task_map(viewer(1), JobId(1), 1000));
    let cells = map.unwrap().unwrap().cells;
    assert_eq!((cells[0].running, cells[0].cancelled, cells[999].cancelled), (8, 992, 1000));
}

#[test]
fn what_a_job_waits_for_is_kept_until_it_has_come() {
    let (mut grid, mut store) = rich();
    let held = Submission { on_hold: true, ..array("first", "0-3") };
    submit(&mut grid, &mut store, held);
    let after = |job, when, each| After { job: JobId(job), when, each };
    let waits = vec![after(1, When::Ok, true), after(1, When::Started, false)];
    submit(
        &mut grid,
        &mut store,
        Submission { after: waits, priority: 7, ..array("second", "5-8") },
    );
    sound(&store);
    let (back, second) = look(store, |reader| reader.job(viewer(1), JobId(2)).unwrap().unwrap());
    store = back;
    assert_eq!((second.detail.after.len(), second.detail.job.priority), (2, 7));
    assert_eq!(second.detail.array, "5-8");
    let loaded = store.load().unwrap();
    assert_eq!(loaded.jobs[&JobId(2)].after.len(), 2);
    let release = Request::SetHold { user: UserId(1), job: JobId(1), on_hold: false };
    ask(&mut grid, &mut store, release);
    ask(
        &mut grid,
        &mut store,
        Request::SetPriority { user: UserId(1), job: JobId(2), priority: -3 },
    );
    assert_eq!(store.load().unwrap().jobs[&JobId(2)].after.len(), 1, "the first has started");
    end(&mut grid, &mut store, "1.0#1", Outcome::Succeeded);
    for failing in ["1.1#1", "1.2#1", "1.3#1"] {
        end(&mut grid, &mut store, failing, failed());
    }
    sound(&store);
    let loaded = store.load().unwrap();
    let second = &loaded.jobs[&JobId(2)];
    assert_eq!((second.ended.cancelled.to_string(), second.after.len()), ("1-3".to_owned(), 0));
    end(&mut grid, &mut store, "2.0#1", Outcome::Succeeded);
    sound(&store);
    let (_, ()) = look(store, |reader| {
        let second = reader.job(viewer(1), JobId(2)).unwrap().unwrap().detail;
        assert!(!second.note.is_empty(), "it says why");
        let rest::Job { state, priority, held_micros, charged_micros, refunded_micros, .. } =
            second.job;
        assert_eq!((state, priority), (rest::JobState::Cancelled, -3));
        assert_eq!(held_micros, charged_micros + refunded_micros);
        let all = [JobId(1), JobId(2), JobId(9)];
        let ended = reader.ended_tasks(viewer(1), &all).unwrap();
        let words: Vec<String> = ended
            .iter()
            .map(|(job, ended)| {
                let ended = ended.as_ref().unwrap();
                format!("{job}: {}/{}/{}", ended.succeeded, ended.failed, ended.cancelled)
            })
            .collect();
        assert_eq!(words, ["1: 0/1-3/", "2: 0//1-3"]);
        assert!(reader.ended_tasks(viewer(2), &all).unwrap().is_empty(), "of somebody else");
        let again = |cancelled| {
            let retry = rest::arrays::Retry { cancelled };
            reader.failed_tasks(viewer(1), JobId(2), &retry).unwrap().unwrap().to_string()
        };
        assert_eq!((again(false), again(true)), (String::new(), "1-3".to_owned()));
    });
}

#[test]
fn a_task_that_fails_runs_again_and_each_run_keeps_its_log() {
    let (mut grid, mut store) = rich();
    let terms = Terms { retries: 2, backoff_s: 10, ..Terms::plain(2) };
    submit(&mut grid, &mut store, Submission { terms, ..array("retries", "0-1") });
    let print = |text: &str, outcome, attempt: &str| {
        let content = Content::Inline(text.as_bytes().to_vec());
        let stdout = Log { content, cut_bytes: 0 };
        let ended = Ended { stdout, ..Ended::empty(attempt.parse().unwrap(), outcome) };
        Input::FromWorker {
            session: campusgrid_protocol::id::SessionId(1),
            event: WorkerEvent::Ended(Box::new(ended)),
        }
    };
    let read = |store, attempt| {
        look(store, |reader| {
            reader
                .log(viewer(1), JobId(1), WhichLog { index: 0, attempt, stream: Stream::Stdout })
                .unwrap()
        })
    };
    apply_at(&mut grid, &mut store, 1000, print("one", failed(), "1.0#1"));
    sound(&store);
    let (store_, log) = read(store, None);
    let Some(StoredLog::Kept { attempt, task_over: false, .. }) = log else { panic!("{log:?}") };
    assert_eq!(attempt, Some("1.0#1".parse().unwrap()));
    let (store_, tasks) = look(store_, |reader| {
        let state = Some(TaskState::Pausing);
        reader.tasks(viewer(1), JobId(1), TaskFilter { from: 0, limit: 9, state }).unwrap()
    });
    assert_eq!(tasks.unwrap().len(), 1);
    store = store_;
    apply_at(&mut grid, &mut store, 12_000, Input::Tick);
    let (store_, log) = read(store, None);
    assert!(matches!(log, Some(StoredLog::Live(Some(attempt))) if attempt.number == 2), "{log:?}");
    store = store_;
    apply_at(&mut grid, &mut store, 13_000, print("two", Outcome::Succeeded, "1.0#2"));
    sound(&store);
    let texts = [None, Some(1), Some(2), Some(3)].map(|attempt| {
        let (back, log) = read(std::mem::replace(&mut store, Store::in_memory().unwrap()), attempt);
        store = back;
        log.map(|log| match log {
            StoredLog::Kept {
                log: Log { content: Content::Inline(bytes), .. }, task_over, ..
            } => (String::from_utf8(bytes).unwrap(), task_over),
            other @ (StoredLog::Live(_) | StoredLog::Kept { .. } | StoredLog::Gone) => {
                panic!("{other:?}")
            }
        })
    });
    let text = |text: &str| Some((text.to_owned(), true));
    assert_eq!(texts, [text("two"), text("one"), text("two"), None]);
    let (_, task) = look(store, |reader| {
        let filter = TaskFilter { from: 0, limit: 1, state: None };
        reader.tasks(viewer(1), JobId(1), filter).unwrap().unwrap().remove(0)
    });
    let ends: Vec<_> =
        task.attempts.iter().map(|attempt| (attempt.end, attempt.exit_code)).collect();
    let (bad, good) = (rest::AttemptEnd::Failed, rest::AttemptEnd::Succeeded);
    assert_eq!(ends, [(Some(bad), Some(3)), (Some(good), Some(0))]);
}

#[test]
fn each_notice_is_told_once_in_each_way() {
    let (mut grid, mut store) = rich();
    let notify = Notify {
        start: true,
        end: true,
        failure: true,
        mail: true,
        webhook: Some("https://hooks.example/1".to_owned()),
    };
    let terms = Terms { notify, ..Terms::plain(2) };
    let secret = Request::SetWebhookSecret { user: UserId(1), secret: "whsec_1".to_owned() };
    ask(&mut grid, &mut store, secret);
    submit(&mut grid, &mut store, Submission { terms, ..array("told", "0-1") });
    end(&mut grid, &mut store, "1.0#1", failed());
    end(&mut grid, &mut store, "1.1#1", Outcome::Succeeded);
    sound(&store);
    let due = |store, now| look(store, |reader| reader.notices_due(Timestamp(now), 10).unwrap());
    let (back, notices) = due(store, 3);
    store = back;
    let kinds: Vec<_> = notices
        .iter()
        .map(|notice| (notice.kind, matches!(notice.channel, Channel::Mail { .. })))
        .collect();
    for kind in [NoticeKind::Started, NoticeKind::Failed, NoticeKind::Ended] {
        assert!(kinds.contains(&(kind, true)) && kinds.contains(&(kind, false)), "{kinds:?}");
    }
    assert_eq!(kinds.len(), 6);
    let mail = Channel::Mail { address: Some("ada@campus.example".to_owned()) };
    let (url, secret) = ("https://hooks.example/1".to_owned(), Some("whsec_1".to_owned()));
    let webhook = Channel::Webhook { url, secret };
    assert!(notices.iter().all(|notice| [&mail, &webhook].contains(&&notice.channel)));
    let fates = notices.iter().enumerate().map(|(place, notice)| {
        let fate = match place {
            0 => NoticeFate::PutOff { until: Timestamp(60_000), reason: "refused".to_owned() },
            1 => NoticeFate::GivenUp { reason: "no such host".to_owned() },
            _ => NoticeFate::Delivered,
        };
        (notice.id, fate)
    });
    ask(&mut grid, &mut store, Request::NoticesTried { tried: fates.collect() });
    let (back, notices) = due(store, 59_999);
    assert!(notices.is_empty());
    let (back, next) = look(back, |reader| reader.next_notice_at().unwrap());
    assert_eq!(next, Some(Timestamp(60_000)));
    let (mut store, notices) = due(back, 60_000);
    assert_eq!((notices.len(), notices[0].tries), (1, 1));
    let tried = vec![(notices[0].id, NoticeFate::Delivered)];
    ask(&mut grid, &mut store, Request::NoticesTried { tried });
    let (_, next) = look(store, |reader| reader.next_notice_at().unwrap());
    assert_eq!(next, None);
}

#[test]
fn jobs_are_listed_by_state_kind_and_name() {
    let (mut grid, mut store) = rich();
    for name in ["alpha", "beta", "Alphabet"] {
        submit(&mut grid, &mut store, array(name, "0"));
    }
    end(&mut grid, &mut store, "1.0#1", failed());
    ask(&mut grid, &mut store, Request::Cancel { user: UserId(1), job: JobId(2), tasks: None });
    end(&mut grid, &mut store, "2.0#1", Outcome::Cancelled);
    apply(&mut grid, &mut store, Input::Tick);
    let (_, ()) = look(store, |reader| {
        let list = |filter: JobFilter| {
            let jobs = reader.jobs(viewer(1), &JobFilter { limit: 10, ..filter }).unwrap();
            jobs.iter().map(|job| job.job).collect::<Vec<_>>()
        };
        let all = JobFilter::default;
        let states = |states: &[rest::JobState]| JobFilter { states: states.to_vec(), ..all() };
        let name = |name: &str| JobFilter { name: Some(name.to_owned()), ..all() };
        assert_eq!(list(all()), [3, 2, 1]);
        assert_eq!(list(states(&[rest::JobState::Failed])), [1]);
        assert_eq!(list(states(&[rest::JobState::Running, rest::JobState::Cancelled])), [3, 2]);
        assert_eq!(list(states(&[rest::JobState::Draft])), [0; 0]);
        assert_eq!(list(name("ALPHA")), [3, 1]);
        assert_eq!(list(name("%")), [0; 0], "no pattern");
        assert_eq!(list(JobFilter { before: Some(3), ..all() }), [2, 1]);
        assert_eq!(list(JobFilter { kind: Some(rest::WorkKind::C), ..all() }), [0; 0]);
        let of_others = JobFilter { limit: 10, everyone: true, ..all() };
        assert!(reader.jobs(viewer(2), &of_others).unwrap().is_empty(), "no operator");
        let kept: BTreeMap<u64, Option<u64>> = reader
            .jobs(viewer(1), &JobFilter { limit: 10, ..all() })
            .unwrap()
            .iter()
            .map(|job| (job.job, job.kept_until_ms))
            .collect();
        assert_eq!(kept, BTreeMap::from([(1, Some(1003)), (2, Some(1003)), (3, None)]));
    });
}
