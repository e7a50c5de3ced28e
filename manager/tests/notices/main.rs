//! People are told what has become of their jobs: real mail through a real SMTP server, real webhooks
//! whose signatures somebody else's code verifies.

#![expect(clippy::print_stderr, reason = "what the processes print belongs to the test's output")]
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../grid/mod.rs"]
mod grid;
mod mail;
mod servers;
mod webhooks;

use campusgrid_protocol::message::{ToManager, ToWorker};
use campusgrid_protocol::task::{Ended, Failure, Outcome};
use serde_json::{Value, json};

use grid::fake::{FakeWorker, introduction};
use grid::{Grid, User};

/// Settings of a test, as environment variables.
type Settings = Vec<(&'static str, &'static str)>;

/// A port or a path, as a setting for the rest of the test's life.
fn setting(value: impl ToString) -> &'static str {
    value.to_string().leak()
}

/// Registers with a mail address.
fn register(grid: &Grid, name: &str, email: &str) -> User {
    let body = json!({"name": name, "password": "correct horse battery", "email": email});
    let nobody = User { name: String::new(), token: String::new() };
    let (status, answer) = grid.post(&nobody, "register", &body);
    assert_eq!(status, 201, "{answer}");
    User { name: name.to_owned(), token: answer["token"].as_str().unwrap().to_owned() }
}

/// Submits a job of so many tasks with these wishes to be told.
fn submit(grid: &Grid, by: &User, name: &str, tasks: u32, notify: &Value) -> u64 {
    let body = json!({
        "kind": "shell", "source": "true", "ram_mib": 64, "time_limit_s": 60,
        "name": name, "tasks": tasks, "notify": notify,
    });
    let (status, answer) = grid.post(by, "jobs", &body);
    assert_eq!(status, 201, "{answer}");
    answer["job"].as_u64().unwrap()
}

/// What is wrong with such a wish.
fn refused(grid: &Grid, by: &User, notify: &Value) -> (String, String) {
    let body = json!({"kind": "shell", "source": "true", "notify": notify});
    let (status, answer) = grid.post(by, "jobs", &body);
    assert_eq!(status, 422, "{answer}");
    let first = &answer["error"]["fields"][0];
    let text = |name: &str| first[name].as_str().unwrap().to_owned();
    (text("field"), text("message"))
}

/// A machine that runs whatever it is given at once.
fn worker(grid: &Grid, owner: &User) -> FakeWorker {
    FakeWorker::join_for(grid, owner, introduction(1))
}

/// Runs so many tasks, of which those before `failed` fail.
fn run(worker: &mut FakeWorker, tasks: u32, failed: u32) {
    let mut left = (tasks, failed);
    worker.beat(&[]);
    while left.0 > 0 {
        let ToWorker::Start { attempt, .. } = worker.receive() else { continue };
        worker.send(&ToManager::Started { attempt });
        let outcome =
            if left.1 > 0 { Outcome::Failed(Failure::ExitCode(3)) } else { Outcome::Succeeded };
        worker.send(&ToManager::Ended(Box::new(Ended::empty(attempt, outcome))));
        left = (left.0 - 1, left.1.saturating_sub(1));
    }
}
