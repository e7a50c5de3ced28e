//! The files that jobs bring, as the machines that run them fetch them.

use std::sync::Arc;

use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::input::Manifest;
use campusgrid_protocol::message::{BulkToManager, BulkToWorker, Join, ToManager, ToWorker};
use campusgrid_protocol::task::{BlobRef, Ended, Outcome, TaskSpec};
use serde_json::json;

use crate::grid::fake::{FakeWorker, introduction};
use crate::grid::line::{Line, Papers};
use crate::grid::{Grid, User};

const PATH: &str = "data/large.bin";

fn blob(content: &[u8]) -> BlobRef {
    let hash = BlobHash(*blake3::hash(content).as_bytes());
    BlobRef { hash, size_bytes: content.len() as u64 }
}

/// A little over three pieces.
fn large() -> Vec<u8> {
    (0..400_000_u32).map(|at| (at % 251) as u8).collect()
}

/// Submits a job with a file.
fn submit(grid: &Grid, by: &User, content: &[u8]) -> u64 {
    let body = json!({"kind": "shell", "source": "true", "draft": true});
    let (status, answer) = grid.post(by, "jobs", &body);
    assert_eq!(status, 201, "{answer}");
    let job = answer["job"].as_u64().unwrap();
    let (status, answer) = grid.put_bytes(by, &format!("jobs/{job}/files/{PATH}"), content);
    assert_eq!(status, 201, "{answer}");
    let (status, answer) = grid.post_nothing(by, &format!("jobs/{job}/launch"));
    assert!(status < 300, "{answer}");
    job
}

fn started(worker: &mut FakeWorker) -> (AttemptId, Arc<TaskSpec>) {
    worker.beat(&[]);
    let message = worker.receive();
    let ToWorker::Start { attempt, spec, .. } = message else { panic!("{message:?}") };
    (attempt, spec)
}

fn open(grid: &Grid, papers: &Papers, attempt: AttemptId) -> Line {
    let mut line = Line::open(grid.port, papers, ConnectionKind::Bulk).unwrap();
    line.send(&BulkToManager::Open { attempt });
    assert_eq!(line.receive::<BulkToWorker>(), BulkToWorker::Ready);
    line
}

/// What is sent of a blob from a place on.
fn fetch(line: &mut Line, blob: BlobRef, offset_bytes: u64) -> Result<Vec<u8>, String> {
    line.send(&BulkToManager::Fetch { blob, offset_bytes });
    let left = usize::try_from(blob.size_bytes - offset_bytes).unwrap();
    let mut all = Vec::new();
    while all.len() < left {
        match line.receive() {
            BulkToWorker::Chunk(piece) => {
                assert!(!piece.is_empty());
                all.extend(piece);
            }
            BulkToWorker::Refused { reason } => return Err(reason),
            other @ (BulkToWorker::Ready | BulkToWorker::Received | BulkToWorker::Later { .. }) => {
                panic!("{other:?}")
            }
        }
    }
    assert_eq!(all.len(), left);
    Ok(all)
}

#[test]
fn who_runs_a_task_gets_what_its_job_brings_and_nothing_else() {
    let grid = Grid::start("inputs");
    let (ada, eve) = (grid.register("ada"), grid.register("eve"));
    let mut worker = FakeWorker::join_for(&grid, &eve, introduction(1));
    submit(&grid, &ada, &large());
    let (attempt, spec) = started(&mut worker);
    let manifest = spec.inputs.unwrap();

    let mut line = open(&grid, &worker.papers, attempt);
    let bytes = fetch(&mut line, manifest, 0).unwrap();
    let manifest = Manifest::decode(&bytes).unwrap();
    let [file] = &manifest.files[..] else { panic!("{manifest:?}") };
    assert_eq!((file.path.as_str(), file.blob), (PATH, blob(&large())));
    assert_eq!(fetch(&mut line, file.blob, 0).unwrap(), large());
    assert_eq!(fetch(&mut line, file.blob, 399_990).unwrap(), large()[399_990..]);
    // Several wishes before the first answer, as one that fetches many small files has them.
    for _ in 0..20 {
        line.send(&BulkToManager::Fetch { blob: file.blob, offset_bytes: 399_999 });
    }
    for _ in 0..20 {
        let last = large()[399_999..].to_vec();
        assert_eq!(line.receive::<BulkToWorker>(), BulkToWorker::Chunk(last));
    }

    // What another job brings is not to be had, whoever knows its hash.
    let secret = b"another's";
    submit(&grid, &ada, secret);
    let refused = fetch(&mut line, blob(secret), 0).unwrap_err();
    assert!(refused.contains("brings no such file"), "{refused}");
    assert!(line.is_closed());
    let mut other_size = file.blob;
    other_size.size_bytes += 1;
    fetch(&mut open(&grid, &worker.papers, attempt), other_size, 0).unwrap_err();

    // Nor by another machine, nor once the attempt is over.
    let strange = FakeWorker::join_for(&grid, &eve, introduction(2));
    let mut line = Line::open(grid.port, &strange.papers, ConnectionKind::Bulk).unwrap();
    line.send(&BulkToManager::Open { attempt });
    assert!(matches!(line.receive(), BulkToWorker::Refused { .. }));
    let mut line = open(&grid, &worker.papers, attempt);
    worker.send(&ToManager::Ended(Box::new(Ended::empty(attempt, Outcome::Succeeded))));
    while worker.receive() != (ToWorker::Stored { attempt }) {}
    fetch(&mut line, file.blob, 0).unwrap_err();
}

#[test]
fn what_is_damaged_or_gone_is_said_in_words_and_a_restart_changes_nothing() {
    let mut grid = Grid::start("damaged");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    submit(&grid, &ada, &large());
    let (attempt, _) = started(&mut worker);
    grid.kill_manager();
    grid.start_manager();
    let join = Join { attempts: vec![attempt], ..introduction(1) };
    let worker = worker.reconnect(grid.port, join);
    let blob = blob(&large());
    assert_eq!(fetch(&mut open(&grid, &worker.papers, attempt), blob, 0).unwrap(), large());

    let name = blob.hash.to_string();
    let path = grid.manager_dir().join("blobs").join(&name[..2]).join(&name[2..]);
    let mut damaged = large();
    damaged[7] ^= 1;
    for (content, words) in [
        (Some(damaged), "is damaged here"),
        (Some(b"short".to_vec()), "is damaged here"),
        (None, "is not here any more"),
    ] {
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let said = fetch(&mut open(&grid, &worker.papers, attempt), blob, 0).unwrap_err();
        assert!(said.contains(words) && said.contains(&name), "{said}");
    }
}
