//! A manager whose books break while it runs: it keeps serving, settles nothing, and goes on when they
//! are mended.

#![expect(clippy::print_stderr, reason = "what the processes print belongs to the test's output")]
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod grid;

use std::process::{Command, Output};

use campusgrid_protocol::message::{ToManager, ToWorker};
use campusgrid_protocol::task::{Ended, Outcome};
use grid::Grid;
use grid::fake::{FakeWorker, introduction};
use serde_json::{Value, json};

fn sql(grid: &Grid, statements: &str) {
    let path = grid.manager_dir().join("campusgrid.sqlite");
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection.execute_batch(statements).unwrap();
}

/// What the manager says of itself to everybody.
fn health(grid: &Grid) -> Value {
    let answer = ureq::get(format!("http://127.0.0.1:{}/health", grid.dashboard)).call();
    serde_json::from_str(&answer.unwrap().body_mut().read_to_string().unwrap()).unwrap()
}

fn books(grid: &Grid) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campusgrid-manager"));
    command.arg("books").arg("--data-dir").arg(grid.manager_dir()).output().unwrap()
}

#[test]
fn broken_books_stop_settling_and_nothing_else() {
    let grid = Grid::start("books");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    let job = grid.submit(&ada, "true");
    let ToWorker::Start { attempt, .. } = worker.receive() else { panic!("no start") };
    worker.send(&ToManager::Started { attempt });
    assert!(books(&grid).status.success());

    // Somebody edits the ledger beneath the running manager.
    sql(
        &grid,
        "DROP TRIGGER transfer_never_changes;
         UPDATE transfer SET at = at + 1 WHERE id = 1;",
    );
    let told = books(&grid);
    let words = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(2), "{words}");
    assert!(words.contains("audit chain breaks at transfer 1"), "{words}");
    let body = json!({ "kind": "shell", "source": "true", "ram_mib": 64 });
    let (status, refusal) = grid.post(&ada, "jobs", &body);
    assert_eq!((status, &refusal["error"]["code"]), (503, &json!("books_broken")), "{refusal}");
    // Up to a quarter of a second later.
    grid::until("the health tells it", || health(&grid)["status"] == "degraded");
    // What runs goes on, and its result waits.
    assert_eq!(worker.until_renewed(1, attempt), []);
    worker.send(&ToManager::Ended(Box::new(Ended::empty(attempt, Outcome::Succeeded))));
    assert_eq!(worker.until_renewed(2, attempt), []);
    let (status, running) = grid.get(&ada, &format!("jobs/{job}"));
    assert_eq!((status, &running["ended_at_ms"]), (200, &Value::Null));

    sql(
        &grid,
        "UPDATE transfer SET at = at - 1 WHERE id = 1;
         CREATE TRIGGER transfer_never_changes BEFORE UPDATE ON transfer
         BEGIN SELECT raise(ABORT, 'a transfer never changes'); END;",
    );
    let told = books(&grid);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    worker.send(&ToManager::Ended(Box::new(Ended::empty(attempt, Outcome::Succeeded))));
    assert!(worker.until_renewed(3, attempt).contains(&ToWorker::Stored { attempt }));
    assert_eq!(grid.ended(&ada, job)["state"], "succeeded");
    assert_eq!(grid.post(&ada, "jobs", &body).0, 201);
    grid.fsck();
}

/// What a manager remembers from before an edit, it would write back.
#[test]
fn books_that_were_put_right_beneath_a_manager_stay_shut_until_it_starts_anew() {
    let mut grid = Grid::start("books-memory");
    let ada = grid.register("ada");
    let add = |micros: i64| {
        format!(
            "UPDATE account SET balance = balance + {micros} WHERE id = (SELECT max(id) FROM account);"
        )
    };
    grid.stop_manager();
    sql(&grid, &add(5_000_000));
    grid.start_manager();
    assert_eq!(books(&grid).status.code(), Some(2));
    sql(&grid, &add(-5_000_000));
    let told = books(&grid);
    let words = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(2), "{words}");
    assert!(words.contains("memory and disk differ"), "{words}");
    let body = json!({ "kind": "shell", "source": "true", "ram_mib": 64 });
    assert_eq!(grid.post(&ada, "jobs", &body).0, 503);
    grid.stop_manager();
    grid.start_manager();
    assert!(books(&grid).status.success());
    assert_eq!(health(&grid)["status"], "ok", "it answered before what it says holds");
    assert_eq!(grid.post(&ada, "jobs", &body).0, 201);
    grid.fsck();
}

#[test]
fn books_that_broke_while_nobody_looked_are_found_at_the_start() {
    let mut grid = Grid::start("books-start");
    let ada = grid.register("ada");
    grid.kill_manager();
    sql(
        &grid,
        "DROP TRIGGER transfer_never_changes; UPDATE transfer SET hash = zeroblob(32) WHERE id = 1;",
    );
    grid.start_manager();
    let body = json!({ "kind": "shell", "source": "true", "ram_mib": 64 });
    // The first check runs beside the first requests.
    grid::until("a check finds it", || grid.post(&ada, "jobs", &body).0 != 201);
    let refused = |grid: &Grid| {
        let (status, refusal) = grid.post(&ada, "jobs", &body);
        assert_eq!((status, &refusal["error"]["code"]), (503, &json!("books_broken")), "{refusal}");
    };
    refused(&grid);
    // Then the next start knows, and not only once it has looked itself.
    for _ in 0..3 {
        grid.kill_manager();
        grid.start_manager();
        refused(&grid);
    }
    assert_eq!(grid.get(&ada, "me").0, 200);
}
