//! A backup beside a running manager, the death of the manager and of its disk, and everybody's return.

#![expect(clippy::print_stderr, reason = "what the processes print belongs to the test's output")]
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod grid;

use std::path::Path;
use std::process::Command;

use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::message::{BulkToManager, BulkToWorker, Join, ToManager, ToWorker};
use campusgrid_protocol::task::{BlobRef, Ended, Outcome, Output};
use grid::fake::{FakeWorker, introduction};
use grid::line::Line;
use grid::{Grid, User};
use serde_json::json;

#[track_caller]
fn command(data_dir: &Path, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campusgrid-manager"));
    let output = command.args(arguments).arg("--data-dir").arg(data_dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn start_of(worker: &mut FakeWorker) -> AttemptId {
    let ToWorker::Start { attempt, .. } = worker.receive() else { panic!("no start") };
    worker.send(&ToManager::Started { attempt });
    attempt
}

/// Sends an output's content, then the result.
fn end(grid: &Grid, worker: &mut FakeWorker, attempt: AttemptId, content: &[u8]) {
    let hash = BlobHash(*blake3::hash(content).as_bytes());
    let blob = BlobRef { hash, size_bytes: content.len() as u64 };
    let mut bulk = Line::open(grid.port, &worker.papers, ConnectionKind::Bulk).unwrap();
    bulk.send(&BulkToManager::Open { attempt });
    assert_eq!(bulk.receive::<BulkToWorker>(), BulkToWorker::Ready);
    bulk.send(&BulkToManager::Blob(blob));
    if bulk.receive::<BulkToWorker>() == BulkToWorker::Ready {
        bulk.send(&BulkToManager::Chunk(content.to_vec()));
        assert_eq!(bulk.receive::<BulkToWorker>(), BulkToWorker::Received);
    }
    let outputs = vec![Output { path: "out.txt".to_owned(), blob }];
    let ended = Ended { outputs, ..Ended::empty(attempt, Outcome::Succeeded) };
    worker.send(&ToManager::Ended(Box::new(ended)));
    assert_eq!(worker.receive(), ToWorker::Stored { attempt });
}

fn log_in(grid: &Grid, name: &str) -> User {
    let nobody = User { name: String::new(), token: String::new() };
    let body = json!({ "name": name, "password": "correct horse battery" });
    let (status, answer) = grid.post(&nobody, "login", &body);
    assert_eq!(status, 200, "{answer}");
    User { name: name.to_owned(), token: answer["token"].as_str().unwrap().to_owned() }
}

#[test]
fn a_grid_returns_from_its_backup() {
    let mut grid = Grid::start("backup");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    let done = grid.submit(&ada, "true");
    let attempt = start_of(&mut worker);
    end(&grid, &mut worker, attempt, b"found before");
    let runs = grid.submit(&ada, "true");
    let running = start_of(&mut worker);

    let (data_dir, backup) = (grid.manager_dir(), grid.manager_dir().with_extension("backup"));
    let to = backup.to_str().unwrap().to_owned();
    command(&data_dir, &["backup", &to]);
    // Clients go on while the next backup takes the first one's place.
    std::thread::scope(|scope| {
        let backups = scope.spawn(|| (0..3).for_each(|_| command(&data_dir, &["backup", &to])));
        while !backups.is_finished() {
            grid.submit(&bob, "true");
        }
    });
    command(&data_dir, &["backup", &to]);
    let unknown = grid.submit(&ada, "true");
    let lost: AttemptId = format!("{unknown}.0#1").parse().unwrap();

    grid.kill_manager();
    std::fs::remove_dir_all(&data_dir).unwrap();
    command(&data_dir, &["restore", &to]);
    grid.start_manager();
    let is_logged_in = grid.get(&ada, "me").0 == 200;
    assert!(!is_logged_in, "a login that may have been revoked since is good");
    let ada = log_in(&grid, "ada");
    // The same authority, so that the machine is known; it still has what the backup knows, and more.
    let join = Join { attempts: vec![running, lost], ..introduction(1) };
    let mut worker = worker.reconnect(grid.port, join);
    assert_eq!(worker.receive(), ToWorker::Drop { attempt: lost });
    let (status, answer) = grid.get(&ada, &format!("jobs/{unknown}"));
    assert_eq!(status, 404, "{answer}");
    worker.send(&ToManager::Ended(Box::new(Ended::empty(lost, Outcome::Succeeded))));
    worker.send(&ToManager::Ended(Box::new(Ended::empty(running, Outcome::Succeeded))));
    let mut stored = Vec::new();
    while stored.len() < 2 {
        // Bob's jobs start meanwhile.
        if let ToWorker::Stored { attempt } = worker.receive() {
            stored.push(attempt);
        }
    }
    assert_eq!(stored, [lost, running]);
    assert_eq!(grid.ended(&ada, runs)["state"], "succeeded");
    assert_eq!(grid.text(&ada, &format!("jobs/{done}/outputs/0/out.txt")), "found before");
    assert!(grid.submit(&ada, "true") > 1_000_000, "a number is given out twice");
    grid.fsck();
    command(&data_dir, &["fsck", "--content"]);
    std::fs::remove_dir_all(backup).unwrap();
}

/// The same with a real worker, whose task runs on through all of it.
#[test]
fn a_worker_returns_to_a_restored_manager_with_what_it_runs() {
    let mut grid = Grid::start("backup-worker");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    grid.join_worker("laptop", &bob);
    let job = grid.submit(&ada, "sleep 5; echo through it all");
    // Once it has started.
    while grid.get(&ada, &format!("jobs/{job}")).1["state"] != "running" {}
    let (data_dir, backup) = (grid.manager_dir(), grid.manager_dir().with_extension("backup"));
    let to = backup.to_str().unwrap().to_owned();
    command(&data_dir, &["backup", &to]);
    grid.kill_manager();
    std::fs::remove_dir_all(&data_dir).unwrap();
    command(&data_dir, &["restore", &to]);
    grid.start_manager();
    let ada = log_in(&grid, "ada");
    let ended = grid.ended(&ada, job);
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(ended["task_list"][0]["attempts"].as_array().unwrap().len(), 1, "{ended}");
    let log = grid.text(&ada, &format!("jobs/{job}/logs?stream=stdout"));
    assert_eq!(log, "through it all\n");
    grid.fsck();
    std::fs::remove_dir_all(backup).unwrap();
}
