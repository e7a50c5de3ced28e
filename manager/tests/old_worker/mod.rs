//! A worker of protocol 4, as its bytes are for ever.

use campusgrid_protocol::hello::HELLO_BYTES;
use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::input::{InputFile, Manifest};
use campusgrid_protocol::message::{self, BulkToManager, BulkToWorker};
use campusgrid_protocol::resource::Load;
use campusgrid_protocol::rules::Phase;
use campusgrid_protocol::task::{
    self, BlobRef, Content, Log, Outcome, Output, Program, Saved, Usage, Work, WorkerFault,
};
use campusgrid_protocol::v4::{Ended, Join, ToManager, ToWorker};
use serde_json::json;

use crate::grid::Grid;
use crate::grid::fake::{FakeWorker, introduction, shares};
use crate::grid::line::{Line, Papers};

/// Opens a connection of a kind as version 4 does.
fn open(grid: &Grid, papers: &Papers, kind: u8) -> Line {
    let mut line = Line::dial(grid.port, papers.trust(), Some(papers.identity())).unwrap();
    let mut hello = [0; HELLO_BYTES];
    hello[..9].copy_from_slice(b"CGRD\x04\0\x04\0\0");
    hello[8] = kind;
    assert_eq!(line.greet(&hello).unwrap(), *b"CGRD\x04\0\x05\0\x04\0\0\0\0\0\0\0");
    line
}

fn join(attempts: Vec<AttemptId>) -> ToManager {
    let today = introduction(3);
    ToManager::Join(Box::new(Join {
        name: today.name,
        capacity: today.capacity,
        isolation: today.isolation,
        isolation_notes: today.isolation_notes,
        labels: today.labels,
        attempts,
    }))
}

fn ended(attempt: AttemptId, outputs: Vec<Output>) -> ToManager {
    let nothing = || Log { content: Content::Inline(Vec::new()), cut_bytes: 0 };
    ToManager::Ended(Box::new(Ended {
        attempt,
        outcome: Outcome::Succeeded,
        usage: Usage::default(),
        stdout: nothing(),
        stderr: nothing(),
        outputs,
        left_behind: String::new(),
    }))
}

fn beat(sequence: u64, attempts: Vec<AttemptId>) -> ToManager {
    ToManager::Heartbeat { sequence, attempts, load: Load::default() }
}

fn welcomed(line: &mut Line) -> (u64, String) {
    let message: ToWorker = line.receive();
    let ToWorker::Welcome { worker, owner, .. } = message else { panic!("{message:?}") };
    (worker.0, owner)
}

fn blob(content: &[u8]) -> BlobRef {
    let hash = BlobHash(*blake3::hash(content).as_bytes());
    BlobRef { hash, size_bytes: content.len() as u64 }
}

fn send(line: &mut Line, content: &[u8]) -> BlobRef {
    line.send(&BulkToManager::Blob(blob(content)));
    assert_eq!(line.receive::<BulkToWorker>(), BulkToWorker::Ready);
    line.send(&BulkToManager::Chunk(content.to_vec()));
    assert_eq!(line.receive::<BulkToWorker>(), BulkToWorker::Received);
    blob(content)
}

#[test]
fn a_worker_of_the_version_before_joins_runs_a_task_and_delivers() {
    let mut grid = Grid::start("v4");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let papers = Papers::of(&grid, &bob, "old");
    let mut line = open(&grid, &papers, 1);
    line.send(&join(Vec::new()));
    assert_eq!(welcomed(&mut line), (papers.worker, "bob".to_owned()));
    let job = grid.submit(&ada, "echo data > $OUTPUT_DIR/file");
    let message: ToWorker = line.receive();
    let ToWorker::Start { attempt, spec, .. } = message else { panic!("{message:?}") };
    assert_eq!(spec.needs.ram_mib, 64);
    let program = Program::Source("echo data > $OUTPUT_DIR/file".to_owned());
    assert_eq!(spec.work, Work::Shell { program });
    line.send(&ToManager::Started { attempt });
    line.send(&beat(7, vec![attempt]));
    assert_eq!(line.receive::<ToWorker>(), ToWorker::Renewed { sequence: 7 });

    // It comes back to a manager that was restarted, and goes on.
    grid.kill_manager();
    grid.start_manager();
    let mut line = open(&grid, &papers, 1);
    line.send(&join(vec![attempt]));
    assert_eq!(welcomed(&mut line).0, papers.worker);

    let mut bulk = open(&grid, &papers, 2);
    bulk.send(&BulkToManager::Open { attempt });
    assert_eq!(bulk.receive::<BulkToWorker>(), BulkToWorker::Ready);
    let output = Output { path: "file".to_owned(), blob: send(&mut bulk, b"data\n") };
    line.send(&ended(attempt, vec![output]));
    assert_eq!(line.receive::<ToWorker>(), ToWorker::Stored { attempt });
    assert_eq!(grid.ended(&ada, job)["state"], "succeeded");
    assert_eq!(grid.text(&ada, &format!("jobs/{job}/outputs/0/file")), "data\n");

    assert_eq!(grid.delete(&bob, &format!("workers/{}", papers.worker)), 204);
    assert!(matches!(line.receive(), ToWorker::Closing { .. }));
    assert!(line.is_closed());
    grid.fsck();
}

/// It has no words for rules and earnings, and reads a frame that it does not know as damage.
#[test]
fn it_is_told_nothing_that_it_has_no_words_for() {
    let grid = Grid::start("v4-words");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let papers = Papers::of(&grid, &bob, "old");
    let mut line = open(&grid, &papers, 1);
    line.send(&join(Vec::new()));
    welcomed(&mut line);
    let body = json!({"when": {"idle_minutes": 7}});
    let (status, answer) = grid.put(&bob, &format!("workers/{}/rules", papers.worker), &body);
    assert_eq!(status, 200, "{answer}");
    let job = grid.submit(&ada, "true");
    let message: ToWorker = line.receive();
    let ToWorker::Start { attempt, .. } = message else { panic!("{message:?}") };
    line.send(&ToManager::Started { attempt });
    line.send(&ended(attempt, Vec::new()));
    assert_eq!(line.receive::<ToWorker>(), ToWorker::Stored { attempt });
    assert_eq!(grid.ended(&ada, job)["state"], "succeeded");
    line.send(&beat(1, Vec::new()));
    assert_eq!(line.receive::<ToWorker>(), ToWorker::Renewed { sequence: 1 });
}

#[test]
fn a_task_that_has_saved_something_begins_anew_on_it() {
    let grid = Grid::start("v4-anew");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut new = FakeWorker::join_for(&grid, &bob, introduction(1));
    let job = grid.submit(&ada, "true");
    let message = new.receive();
    let message::ToWorker::Start { attempt, .. } = message else { panic!("{message:?}") };
    new.send(&message::ToManager::Started { attempt });
    let mut bulk =
        Line::open(grid.port, &new.papers, campusgrid_protocol::hello::ConnectionKind::Bulk)
            .unwrap();
    bulk.send(&BulkToManager::Open { attempt });
    assert_eq!(bulk.receive::<BulkToWorker>(), BulkToWorker::Ready);
    let state = send(&mut bulk, b"state");
    let file = InputFile { path: "state".to_owned(), blob: state, executable: false };
    let manifest = send(&mut bulk, &Manifest::check(vec![file]).unwrap().encode());
    let closed = shares(Phase::Closed, "in use");
    new.send(&message::ToManager::Shares(Box::new(closed)));
    let empty = task::Ended::empty(attempt, Outcome::Returned(WorkerFault::Leaving));
    let checkpoint = Some(Saved { manifest, run_ms: 5 });
    new.send(&message::ToManager::Ended(Box::new(task::Ended { checkpoint, ..empty })));
    assert_eq!(new.receive(), message::ToWorker::Stored { attempt });

    let papers = Papers::of(&grid, &bob, "old");
    let mut line = open(&grid, &papers, 1);
    line.send(&join(Vec::new()));
    welcomed(&mut line);
    let message: ToWorker = line.receive();
    let ToWorker::Start { attempt, .. } = message else { panic!("{message:?}") };
    line.send(&ToManager::Started { attempt });
    let mut bulk = open(&grid, &papers, 2);
    bulk.send(&BulkToManager::Open { attempt });
    assert_eq!(bulk.receive::<BulkToWorker>(), BulkToWorker::Ready);
    bulk.send(&BulkToManager::Fetch { blob: state, offset_bytes: 0 });
    assert!(matches!(bulk.receive(), BulkToWorker::Refused { .. }));
    line.send(&ended(attempt, Vec::new()));
    assert_eq!(line.receive::<ToWorker>(), ToWorker::Stored { attempt });
    assert_eq!(grid.ended(&ada, job)["state"], "succeeded");
    grid.fsck();
}
