//! A worker of protocol 2, behind something that does TLS for it, as its bytes are for ever.

use campusgrid_protocol::hello::HELLO_BYTES;
use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::message::ToWorker as Today;
use campusgrid_protocol::resource::{Capacity, Isolation, Load};
use campusgrid_protocol::task::{BlobRef, Ended, Outcome, Output};
use campusgrid_protocol::v2::{Approval, BulkToManager, BulkToWorker, Join, ToManager, ToWorker};

use crate::grid::Grid;
use crate::grid::line::{Line, Papers};

/// Opens a connection of a kind as version 2 does, inside TLS.
fn open(grid: &Grid, papers: &Papers, kind: u8) -> Line {
    let mut line = Line::dial(grid.port, papers.trust(), Some(papers.identity())).unwrap();
    let mut hello = [0; HELLO_BYTES];
    hello[..9].copy_from_slice(b"CGRD\x02\0\x02\0\0");
    hello[8] = kind;
    assert_eq!(line.greet(&hello).unwrap(), *b"CGRD\x02\0\x03\0\x02\0\0\0\0\0\0\0");
    line
}

fn join(attempts: Vec<AttemptId>) -> ToManager {
    ToManager::Join(Box::new(Join {
        key: [9; 32],
        name: "old".to_owned(),
        owner: Some("somebody".to_owned()),
        capacity: Capacity { cpu_millis: 8000, ram_mib: 8000, disk_mib: 8000, gpus: Vec::new() },
        isolation: Isolation::Full,
        isolation_notes: Vec::new(),
        labels: Vec::new(),
        attempts,
    }))
}

fn welcomed(line: &mut Line) -> (u64, String) {
    let message: ToWorker = line.receive();
    let ToWorker::Welcome { worker, approval: Approval::Owned { by }, .. } = message else {
        panic!("{message:?}")
    };
    (worker.0, by)
}

fn blob(content: &[u8]) -> BlobRef {
    let hash = BlobHash(*blake3::hash(content).as_bytes());
    BlobRef { hash, size_bytes: content.len() as u64 }
}

#[test]
fn a_worker_of_the_version_before_joins_runs_a_task_and_delivers() {
    let mut grid = Grid::start("v2");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let papers = Papers::of(&grid, &bob, "proxy");
    let mut line = open(&grid, &papers, 1);
    line.send(&join(Vec::new()));
    // Who it is, the certificate says, and not what it claims.
    assert_eq!(welcomed(&mut line), (papers.worker, "bob".to_owned()));
    let job = grid.submit(&ada, "echo data > $OUTPUT_DIR/file");
    let message: ToWorker = line.receive();
    let ToWorker::Start { attempt, spec, .. } = message else { panic!("{message:?}") };
    assert_eq!(spec.needs.ram_mib, 64);
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
    line.send(&join(vec![attempt]));
    assert_eq!(welcomed(&mut line).0, papers.worker);

    let mut bulk = open(&grid, &papers, 2);
    bulk.send(&BulkToManager::Open { key: [9; 32], attempt });
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

#[test]
fn it_cannot_ask_for_what_its_version_does_not_know() {
    let grid = Grid::start("v2-kinds");
    let papers = Papers::of(&grid, &grid.register("bob"), "proxy");
    let mut line = Line::dial(grid.port, papers.trust(), Some(papers.identity())).unwrap();
    let mut hello = [0; HELLO_BYTES];
    hello[..9].copy_from_slice(b"CGRD\x02\0\x02\0\x03");
    assert_eq!(line.greet(&hello).unwrap(), *b"CGRD\x02\0\x03\0\0\0\0\0\0\0\0\0");
    assert!(line.is_closed());
    let mut line = open(&grid, &papers, 1);
    line.send_bytes(&[4, 0, 0, 0, 8, 2, 0x30, 0]); // A renewal, as version 3 writes it.
    assert!(matches!(line.receive(), ToWorker::Closing { .. }));
    let today = ToWorker::from_today(Today::Certificate { certificate: Vec::new() });
    assert_eq!(today, None);
}
