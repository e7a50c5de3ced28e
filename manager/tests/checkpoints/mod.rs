//! What tasks leave to go on from: taken from who runs them, handed to who runs them next.

use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::input::{InputFile, Manifest};
use campusgrid_protocol::message::{BulkToManager, BulkToWorker, Join, ToManager, ToWorker};
use campusgrid_protocol::rules::Phase;
use campusgrid_protocol::task::{BlobRef, Ended, Outcome, Saved, WorkerFault};

use crate::grid::Grid;
use crate::grid::fake::{FakeWorker, introduction, shares};
use crate::grid::line::{Line, Papers};

fn blob(content: &[u8]) -> BlobRef {
    let hash = BlobHash(*blake3::hash(content).as_bytes());
    BlobRef { hash, size_bytes: content.len() as u64 }
}

fn open(grid: &Grid, papers: &Papers, attempt: AttemptId) -> Line {
    let mut line = Line::open(grid.port, papers, ConnectionKind::Bulk).unwrap();
    line.send(&BulkToManager::Open { attempt });
    assert_eq!(line.receive::<BulkToWorker>(), BulkToWorker::Ready);
    line
}

/// Sends a blob, unless it is here.
fn send(line: &mut Line, content: &[u8]) -> BlobRef {
    let blob = blob(content);
    line.send(&BulkToManager::Blob(blob));
    if line.receive::<BulkToWorker>() == BulkToWorker::Ready {
        line.send(&BulkToManager::Chunk(content.to_vec()));
        assert_eq!(line.receive::<BulkToWorker>(), BulkToWorker::Received);
    }
    blob
}

/// A manifest that names these files.
fn manifest(files: &[(&str, BlobRef)]) -> Vec<u8> {
    let file = |&(path, blob): &(&str, BlobRef)| InputFile {
        path: path.to_owned(),
        blob,
        executable: false,
    };
    Manifest::check(files.iter().map(file).collect()).unwrap().encode()
}

/// What comes of a wish for a small blob.
fn fetch(line: &mut Line, blob: BlobRef) -> Option<Vec<u8>> {
    line.send(&BulkToManager::Fetch { blob, offset_bytes: 0 });
    match line.receive() {
        BulkToWorker::Chunk(piece) => Some(piece),
        BulkToWorker::Refused { .. } => None,
        other @ (BulkToWorker::Ready | BulkToWorker::Received | BulkToWorker::Later { .. }) => {
            panic!("{other:?}")
        }
    }
}

/// The next start, and what it goes on from.
fn started(worker: &mut FakeWorker) -> (AttemptId, Option<Saved>) {
    worker.beat(&[]);
    let message = worker.receive();
    let ToWorker::Start { attempt, checkpoint, .. } = message else { panic!("{message:?}") };
    (attempt, checkpoint)
}

#[test]
fn a_task_goes_on_elsewhere_from_what_it_has_saved() {
    let mut grid = Grid::start("saved");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let carol = grid.register("carol");
    let mut first = FakeWorker::join_for(&grid, &bob, introduction(1));
    let job = grid.submit(&ada, "true");
    first.beat(&[]);
    let message = first.receive();
    let ToWorker::Start { attempt, checkpoint, whose, name, .. } = message else {
        panic!("{message:?}")
    };
    assert_eq!((checkpoint, whose.as_str(), name.as_str()), (None, "ada", "untitled"));
    first.send(&ToManager::Started { attempt });

    // Two checkpoints while it runs; the manager dies in between.
    let mut line = open(&grid, &first.papers, attempt);
    let one = send(&mut line, b"step 1");
    let list = send(&mut line, &manifest(&[("state", one)]));
    let saved = Saved { manifest: list, run_ms: 1 };
    first.send(&ToManager::Checkpoint { attempt, saved });
    first.until_renewed(2, attempt);
    grid.kill_manager();
    grid.start_manager();
    let join = Join { attempts: vec![attempt], ..introduction(1) };
    let mut first = first.reconnect(grid.port, join);
    let mut line = open(&grid, &first.papers, attempt);
    let two = send(&mut line, b"step 2");
    let list = send(&mut line, &manifest(&[("deep/state", two)]));
    let saved = Saved { manifest: list, run_ms: 2 };

    // Its owner is back: it is handed back with what it has left.
    first.send(&ToManager::Shares(Box::new(shares(Phase::Closed, "in use"))));
    let leaving = Outcome::Returned(WorkerFault::Leaving);
    let end = Ended { checkpoint: Some(saved), ..Ended::empty(attempt, leaving) };
    first.send(&ToManager::Ended(Box::new(end)));
    assert_eq!(first.receive(), ToWorker::Stored { attempt });

    let mut second = FakeWorker::join_for(&grid, &carol, introduction(2));
    let (next, found) = started(&mut second);
    assert_eq!(found.map(|saved| saved.manifest), Some(list));
    let mut line = open(&grid, &second.papers, next);
    let names = Manifest::decode(&fetch(&mut line, list).unwrap()).unwrap();
    assert_eq!(names.files[0].path, "deep/state");
    assert_eq!(fetch(&mut line, two).unwrap(), b"step 2");
    assert_eq!(fetch(&mut line, one), None, "of the checkpoint before");

    // The same after a restart.
    grid.kill_manager();
    grid.start_manager();
    let join = Join { attempts: vec![next], ..introduction(2) };
    let mut second = second.reconnect(grid.port, join);
    let mut line = open(&grid, &second.papers, next);
    assert_eq!(fetch(&mut line, two).unwrap(), b"step 2");
    second.send(&ToManager::Started { attempt: next });
    second.send(&ToManager::Ended(Box::new(Ended::empty(next, Outcome::Succeeded))));
    assert_eq!(grid.ended(&ada, job)["state"], "succeeded");
    grid.fsck();
}

#[test]
fn what_was_never_sent_is_no_checkpoint() {
    let grid = Grid::start("unsaved");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let (mut small, mut other) = (introduction(1), introduction(2));
    (small.capacity.cpu_millis, other.capacity.cpu_millis) = (1000, 1000);
    let mut worker = FakeWorker::join_for(&grid, &bob, small);
    let mut other = FakeWorker::join_for(&grid, &bob, other);
    let job = grid.submit(&ada, "true");
    grid.submit(&ada, "true");
    let (attempt, _) = started(&mut worker);
    let (elsewhere, _) = started(&mut other);
    let mut of_other = open(&grid, &other.papers, elsewhere);
    let secret = send(&mut of_other, b"another task's");
    worker.send(&ToManager::Started { attempt });

    let mut line = open(&grid, &worker.papers, attempt);
    let unsent = send(&mut line, &manifest(&[("a", blob(b"never sent"))]));
    let strange = send(&mut line, &manifest(&[("a", secret)]));
    let garbage = send(&mut line, b"no manifest");
    let leaving = || Outcome::Returned(WorkerFault::Leaving);
    let wrong = [unsent, strange, garbage, blob(b"no such manifest")];
    for manifest in wrong {
        let saved = Saved { manifest, run_ms: 1 };
        worker.send(&ToManager::Checkpoint { attempt, saved });
    }
    worker.send(&ToManager::Shares(Box::new(shares(Phase::Closed, "in use"))));
    let saved = Saved { manifest: unsent, run_ms: 1 };
    let end = Ended { checkpoint: Some(saved), ..Ended::empty(attempt, leaving()) };
    worker.send(&ToManager::Ended(Box::new(end)));
    assert_eq!(worker.receive(), ToWorker::Stored { attempt });
    other.send(&ToManager::Ended(Box::new(Ended::empty(elsewhere, Outcome::Succeeded))));
    assert_eq!(other.receive(), ToWorker::Stored { attempt: elsewhere });

    let (next, found) = started(&mut other);
    assert_eq!((next.task, found), (attempt.task, None));
    other.send(&ToManager::Ended(Box::new(Ended::empty(next, Outcome::Succeeded))));
    assert_eq!(grid.ended(&ada, job)["state"], "succeeded");
    grid.fsck();
}
