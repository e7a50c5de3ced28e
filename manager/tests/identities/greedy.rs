//! Connections that want more than their share: places, turns, room, and what is not theirs.

use std::io::{ErrorKind, Read};

use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::message::{BulkToManager, BulkToWorker, ToManager, ToWorker};
use campusgrid_protocol::task::{BlobRef, Ended, Outcome, Output};

use super::{blob, offer};
use crate::grid::fake::{FakeWorker, introduction};
use crate::grid::line::{Line, Papers, tcp};
use crate::grid::{Grid, User};

/// Gives the worker a task with this much scratch space.
fn started(grid: &Grid, by: &User, worker: &mut FakeWorker, disk_mib: u32) -> AttemptId {
    let body = serde_json::json!({"kind": "shell", "source": "true", "disk_mib": disk_mib});
    let (status, answer) = grid.post(by, "jobs", &body);
    assert_eq!(status, 201, "{answer}");
    worker.beat(&[]);
    let message = worker.receive();
    let ToWorker::Start { attempt, .. } = message else { panic!("{message:?}") };
    attempt
}

fn announce(line: &mut Line, blob: BlobRef) -> BulkToWorker {
    line.send(&BulkToManager::Blob(blob));
    line.receive()
}

#[test]
fn who_says_nothing_takes_no_turn_from_others() {
    let grid = Grid::start("silent");
    let bob = grid.register("bob");
    let mut silent: Vec<_> = (0..300).map(|_| tcp(grid.port)).collect();
    FakeWorker::join_for(&grid, &bob, introduction(1));
    // They are still patiently waited for, so that nobody had to wait for their end.
    let newest = silent.last_mut().unwrap();
    newest.set_nonblocking(true).unwrap();
    assert_eq!(newest.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_machine_that_was_removed_is_a_stranger_and_leaves_room_to_others() {
    let grid = Grid::start_with("crowd", &[("CAMPUSGRID_MANAGER_CONNECTIONS_MAX", "16")]);
    let bob = grid.register("bob");
    let worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    let Papers { worker: number, .. } = worker.papers;
    assert_eq!(grid.delete(&bob, &format!("workers/{number}")), 204);
    let FakeWorker { papers, .. } = worker;
    let open = |_| Line::open(grid.port, &papers, ConnectionKind::Control);
    let held: Vec<_> = (0..16).map(open).filter_map(Result::ok).collect();
    assert!(!held.is_empty() && held.len() <= 8, "{}", held.len());
}

#[test]
fn a_machine_that_is_removed_sends_no_more_of_what_it_has_begun() {
    let grid = Grid::start("cut");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    let attempt = started(&grid, &ada, &mut worker, 64);
    let (mut line, _) = offer(grid.port, &worker.papers, &attempt.to_string());
    let large = BlobRef { hash: BlobHash([1; 32]), size_bytes: 1 << 20 };
    assert_eq!(announce(&mut line, large), BulkToWorker::Ready);
    let number = worker.papers.worker;
    // What runs there is to have no time to be handed over in; it would not be.
    let rules = serde_json::json!({"when": {"checkpoint_s": 0}});
    assert_eq!(grid.put(&bob, &format!("workers/{number}/rules"), &rules).0, 200);
    assert_eq!(grid.delete(&bob, &format!("workers/{number}")), 204);
    while !matches!(worker.receive(), ToWorker::Closing { .. }) {}
    line.send(&BulkToManager::Chunk(vec![0; 10]));
    let answer: BulkToWorker = line.receive();
    assert!(matches!(answer, BulkToWorker::Later { .. } | BulkToWorker::Refused { .. }));
}

#[test]
fn what_an_attempt_may_leave_is_the_same_after_a_restart() {
    let mut grid = Grid::start("restarted");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    let attempt = started(&grid, &ada, &mut worker, 64);
    grid.kill_manager();
    grid.start_manager();
    // It says that it has 8,000 MiB for tasks, which is not what this one was given.
    let mut join = introduction(1);
    join.attempts = vec![attempt];
    let worker = worker.reconnect(grid.port, join);
    let (mut line, answer) = offer(grid.port, &worker.papers, &attempt.to_string());
    assert_eq!(answer, BulkToWorker::Ready);
    let large = BlobRef { hash: BlobHash([1; 32]), size_bytes: 321 << 20 };
    assert!(matches!(announce(&mut line, large), BulkToWorker::Refused { .. }));
}

#[test]
fn that_a_file_is_here_for_somebody_else_is_not_said_and_no_result_may_refer_to_it() {
    let grid = Grid::start("oracle");
    let (ada, eve) = (grid.register("ada"), grid.register("eve"));
    // With one core, which its task takes, so that the other's task comes to the other's machine.
    let mut small = introduction(1);
    small.capacity.cpu_millis = 1000;
    let mut of_ada = FakeWorker::join_for(&grid, &ada, small);
    let attempt = started(&grid, &ada, &mut of_ada, 64);
    let secret = b"the content of a file of ada's";
    let (mut line, _) = offer(grid.port, &of_ada.papers, &attempt.to_string());
    assert_eq!(announce(&mut line, blob(secret)), BulkToWorker::Ready);
    line.send(&BulkToManager::Chunk(secret.to_vec()));
    assert_eq!(line.receive::<BulkToWorker>(), BulkToWorker::Received);
    assert_eq!(announce(&mut line, blob(secret)), BulkToWorker::Received, "its own is known");

    let mut of_eve = FakeWorker::join_for(&grid, &eve, introduction(2));
    let attempt = started(&grid, &eve, &mut of_eve, 64);
    let (mut line, _) = offer(grid.port, &of_eve.papers, &attempt.to_string());
    assert_eq!(announce(&mut line, blob(secret)), BulkToWorker::Ready, "as if it were new");
    let output = Output { path: "file".to_owned(), blob: blob(secret) };
    let end = Ended { outputs: vec![output], ..Ended::empty(attempt, Outcome::Succeeded) };
    of_eve.send(&ToManager::Ended(Box::new(end)));
    assert_eq!(of_eve.receive(), ToWorker::Stored { attempt });
    let (_, job) = grid.get(&eve, &format!("jobs/{}", attempt.task.job.0));
    assert_ne!(job["state"], "succeeded", "{job}");
}

#[test]
fn what_a_machine_says_of_its_walls_is_for_its_owner() {
    let grid = Grid::start("notes");
    grid.register("operator");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut join = introduction(1);
    join.isolation_notes = vec!["no\u{202e} swap".to_owned(), "x".repeat(20_000)];
    let _worker = FakeWorker::join_for(&grid, &bob, join);
    // What pages show is published a few times a second.
    let notes = |user: &User| {
        let found = || grid.get(user, "workers").1;
        let shown = std::iter::repeat_with(found).find(|list| list[0]["online"] == true);
        shown.unwrap()[0]["isolation_notes"].clone()
    };
    assert_eq!(notes(&bob), serde_json::json!(["no swap", "x".repeat(200)]));
    assert_eq!(notes(&ada), serde_json::json!([]));
}
