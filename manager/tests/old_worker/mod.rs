//! A worker of protocol 3, as its bytes are for ever.

use campusgrid_protocol::hello::HELLO_BYTES;
use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::message::{ToManager, ToWorker as Today};
use campusgrid_protocol::resource::Load;
use campusgrid_protocol::task::{BlobRef, Ended, LABEL_4, Outcome, Output};
use campusgrid_protocol::v3::{BulkToManager, BulkToWorker, ToWorker, Work};
use serde_json::json;

use crate::grid::Grid;
use crate::grid::fake::{FakeWorker, introduction};
use crate::grid::line::{Line, Papers};

/// Opens a connection of a kind as version 3 does.
fn open(grid: &Grid, papers: &Papers, kind: u8) -> Line {
    let mut line = Line::dial(grid.port, papers.trust(), Some(papers.identity())).unwrap();
    let mut hello = [0; HELLO_BYTES];
    hello[..9].copy_from_slice(b"CGRD\x03\0\x03\0\0");
    hello[8] = kind;
    assert_eq!(line.greet(&hello).unwrap(), *b"CGRD\x03\0\x04\0\x03\0\0\0\0\0\0\0");
    line
}

fn join(labels: Vec<String>, attempts: Vec<AttemptId>) -> ToManager {
    ToManager::Join(Box::new(campusgrid_protocol::message::Join {
        labels,
        attempts,
        ..introduction(3)
    }))
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

#[test]
fn a_worker_of_the_version_before_joins_runs_a_task_and_delivers() {
    let mut grid = Grid::start("v3");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let papers = Papers::of(&grid, &bob, "old");
    let mut line = open(&grid, &papers, 1);
    line.send(&join(Vec::new(), Vec::new()));
    assert_eq!(welcomed(&mut line), (papers.worker, "bob".to_owned()));
    let job = grid.submit(&ada, "echo data > $OUTPUT_DIR/file");
    let message: ToWorker = line.receive();
    let ToWorker::Start { attempt, spec, .. } = message else { panic!("{message:?}") };
    assert_eq!(spec.needs.ram_mib, 64);
    let command = "echo data > $OUTPUT_DIR/file".to_owned();
    assert_eq!(spec.work, Work::Shell { command });
    line.send(&ToManager::Started { attempt });
    line.send(&ToManager::Heartbeat {
        sequence: 7,
        attempts: vec![attempt],
        load: Load::default(),
    });
    assert_eq!(line.receive::<ToWorker>(), ToWorker::Renewed { sequence: 7 });

    // It comes back to a manager that was restarted, and goes on.
    grid.kill_manager();
    grid.start_manager();
    let mut line = open(&grid, &papers, 1);
    line.send(&join(Vec::new(), vec![attempt]));
    assert_eq!(welcomed(&mut line).0, papers.worker);

    let mut bulk = open(&grid, &papers, 2);
    bulk.send(&BulkToManager::Open { attempt });
    assert_eq!(bulk.receive::<BulkToWorker>(), BulkToWorker::Ready);
    bulk.send(&BulkToManager::Blob(blob(b"data\n")));
    assert_eq!(bulk.receive::<BulkToWorker>(), BulkToWorker::Ready);
    bulk.send(&BulkToManager::Chunk(b"data\n".to_vec()));
    assert_eq!(bulk.receive::<BulkToWorker>(), BulkToWorker::Received);

    let output = Output { path: "file".to_owned(), blob: blob(b"data\n") };
    let end = Ended { outputs: vec![output], ..Ended::empty(attempt, Outcome::Succeeded) };
    line.send(&ToManager::Ended(Box::new(end)));
    assert_eq!(line.receive::<ToWorker>(), ToWorker::Stored { attempt });
    assert_eq!(grid.ended(&ada, job)["state"], "succeeded");
    assert_eq!(grid.text(&ada, &format!("jobs/{job}/outputs/0/file")), "data\n");

    assert_eq!(grid.delete(&bob, &format!("workers/{}", papers.worker)), 204);
    assert!(matches!(line.receive(), ToWorker::Closing { .. }));
    assert!(line.is_closed());
    grid.fsck();
}

/// It would take a task's position for its index, whatever it says of itself.
#[test]
fn what_it_could_not_carry_out_goes_to_others() {
    let grid = Grid::start("v3-labels");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let papers = Papers::of(&grid, &bob, "old");
    let mut old = open(&grid, &papers, 1);
    old.send(&join(vec![LABEL_4.to_owned()], Vec::new()));
    welcomed(&mut old);
    old.send(&ToManager::Heartbeat { sequence: 1, attempts: Vec::new(), load: Load::default() });
    let array = json!({"kind": "shell", "source": "true", "array": "5-6"});
    let (status, answer) = grid.post(&ada, "jobs", &array);
    assert_eq!(status, 201, "{answer}");
    let mut new = FakeWorker::join_for(&grid, &bob, introduction(4));
    for index in [5, 6] {
        let message = new.receive();
        let Today::Start { index: told, .. } = message else { panic!("{message:?}") };
        assert_eq!(told, index);
    }
    old.send(&ToManager::Heartbeat { sequence: 2, attempts: Vec::new(), load: Load::default() });
    for sequence in [1, 2] {
        assert_eq!(old.receive::<ToWorker>(), ToWorker::Renewed { sequence });
    }
}

#[test]
fn it_cannot_ask_for_what_its_version_does_not_know() {
    let grid = Grid::start("v3-words");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let papers = Papers::of(&grid, &bob, "old");
    let mut line = open(&grid, &papers, 1);
    line.send(&join(Vec::new(), Vec::new()));
    welcomed(&mut line);
    grid.submit(&ada, "true");
    let message: ToWorker = line.receive();
    let ToWorker::Start { attempt, .. } = message else { panic!("{message:?}") };
    let mut bulk = open(&grid, &papers, 2);
    bulk.send(&BulkToManager::Open { attempt });
    assert_eq!(bulk.receive::<BulkToWorker>(), BulkToWorker::Ready);
    let fetch =
        campusgrid_protocol::message::BulkToManager::Fetch { blob: blob(b"data"), offset_bytes: 0 };
    bulk.send(&fetch);
    assert!(matches!(bulk.receive(), BulkToWorker::Later { .. }));
    assert!(bulk.is_closed());
}
