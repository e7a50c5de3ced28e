//! Real processes, real sockets, real SQLite: what is acknowledged is kept, whatever is killed.

#![expect(clippy::print_stderr, reason = "what the processes print belongs to the test's output")]
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod checkpoints;
mod granted;
mod grid;
mod identities;
mod inputs;
mod old_worker;
mod sharing;

use campusgrid_identity::machine::Trust;
use campusgrid_protocol::frame;
use campusgrid_protocol::hello::{self, ConnectionKind};
use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::message::{Comeback, ToManager, ToWorker};
use campusgrid_protocol::task::{BlobRef, Ended, Outcome, Output, Stream};
use grid::fake::{FakeWorker, closing, introduction};
use grid::line::{Line, Papers};
use grid::{Grid, User, until};
use serde_json::json;

#[test]
fn a_job_runs_and_credits_move() {
    let mut grid = Grid::start("job");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    grid.join_worker("laptop", &bob);
    let job = grid.submit(&ada, "echo to be kept; echo aside >&2; echo data > $OUTPUT_DIR/file");
    let ended = grid.ended(&ada, job);
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(grid.text(&ada, &format!("jobs/{job}/logs?stream=stdout")), "to be kept\n");
    assert_eq!(grid.text(&ada, &format!("jobs/{job}/logs?stream=stderr")), "aside\n");
    assert_eq!(grid.text(&ada, &format!("jobs/{job}/outputs/0/file")), "data\n");
    let charged = ended["charged_micros"].as_i64().unwrap();
    assert!(charged > 0, "{ended}");
    let (_, earned) = grid.get(&bob, "credits");
    assert_eq!(earned["sharing_credit_micros"], charged);
    let (_, spent) = grid.get(&ada, "credits");
    assert_eq!(spent["using_credit_micros"], charged);
    assert_eq!(spent["balance_micros"], 1_000_000_000 - charged);
    grid.fsck();
}

#[test]
fn others_see_nothing_of_a_job() {
    let mut grid = Grid::start("others");
    // The first one registered on this machine is the operator, who sees everything.
    grid.register("operator");
    let (ada, eve) = (grid.register("ada"), grid.register("eve"));
    grid.join_worker("laptop", &ada);
    let job = grid.submit(&ada, "echo secret > $OUTPUT_DIR/secret");
    grid.ended(&ada, job);
    for path in ["", "/tasks", "/logs?stream=stdout", "/outputs", "/outputs/0/secret"] {
        let (status, answer) = grid.get(&eve, &format!("jobs/{job}{path}"));
        assert_eq!(status, 404, "{path}: {answer}");
    }
    let (status, _) = grid.post(&eve, &format!("jobs/{job}/cancel"), &json!({}));
    assert_eq!(status, 404);
}

#[test]
fn a_submit_that_is_too_dear_makes_no_job_and_holds_nothing() {
    let grid = Grid::start("submit");
    let ada = grid.register("ada");
    let dear = json!({ "kind": "shell", "source": "true", "time_limit_s": 600_000 });
    let (status, answer) = grid.post(&ada, "jobs", &dear);
    assert_eq!((status, &answer["error"]["code"]), (402, &json!("insufficient_credits")));
    assert_eq!(answer["error"]["shortfall_micros"], 9_007_500_000_i64);
    let (_, credits) = grid.get(&ada, "credits");
    assert_eq!(
        (&credits["balance_micros"], &credits["held_micros"]),
        (&json!(1_000_000_000), &json!(0))
    );
    let (status, answer) = grid.get(&ada, "jobs");
    assert_eq!((status, answer["items"].as_array().unwrap().len()), (200, 0));
}

/// The heart of the promise: `kill -9` of the manager in the middle of jobs.
#[test]
fn every_acknowledged_job_outlives_the_managers_death() {
    let mut grid = Grid::start("kill");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    grid.join_worker("laptop", &bob);
    let mut jobs = Vec::new();
    for round in 0..4 {
        // Some end before the kill, some during the outage, some wait for the manager's return.
        for _ in 0..4 {
            jobs.push(grid.submit(&ada, &format!("sleep 0.{round}; echo $CAMPUSGRID_JOB_ID")));
        }
        grid.kill_manager();
        grid.start_manager();
    }
    let mut charged = 0;
    for job in jobs {
        let ended = grid.ended(&ada, job);
        assert_eq!(ended["state"], "succeeded", "{ended}");
        assert_eq!(grid.text(&ada, &format!("jobs/{job}/logs?stream=stdout")), format!("{job}\n"));
        charged += ended["charged_micros"].as_i64().unwrap();
    }
    let (_, spent) = grid.get(&ada, "credits");
    assert_eq!(spent["using_credit_micros"], charged);
    assert_eq!(spent["held_micros"], 0);
    let (_, earned) = grid.get(&bob, "credits");
    assert_eq!(earned["sharing_credit_micros"], charged);
    grid.fsck();
}

#[test]
fn a_task_outlives_its_workers_death() {
    let mut grid = Grid::start("worker");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    grid.join_worker("laptop", &bob);
    // The first time it never ends by itself.
    let job = grid.submit(&ada, "[ $CAMPUSGRID_ATTEMPT -gt 1 ] || sleep 1000; echo done");
    runs(&grid, &ada, job);
    grid.workers[0].kill().unwrap();
    grid.workers[0].wait().unwrap();
    grid.start_worker("laptop", &bob).go_on_in_the_background();
    let ended = grid.ended(&ada, job);
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(ended["task_list"][0]["attempts"].as_array().unwrap().len(), 2, "{ended}");
    grid.fsck();
}

#[test]
fn a_manager_that_is_asked_to_stop_stops_and_work_goes_on() {
    let mut grid = Grid::start("stop");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    grid.join_worker("laptop", &bob);
    let job = grid.submit(&ada, "sleep 2; echo done");
    runs(&grid, &ada, job);
    let (status, took) = grid.stop_manager();
    assert!(status.success(), "{status}");
    assert!(took.as_secs() < 10, "{took:?}");
    grid.start_manager();
    let ended = grid.ended(&ada, job);
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(ended["task_list"][0]["attempts"].as_array().unwrap().len(), 1, "{ended}");
    grid.fsck();
}

#[test]
fn bad_frames_end_their_own_connection_and_nothing_else() {
    let mut grid = Grid::start("frames");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let hello = hello::from_worker(ConnectionKind::Control);
    let mut other_version = hello;
    other_version[4..8].copy_from_slice(&[200, 0, 201, 0]);
    let mut other_kind = hello;
    other_kind[8] = 77;
    for hello in [other_version, other_kind] {
        let mut line = Line::dial(grid.port, Trust::FirstUse, None).unwrap();
        assert_eq!(line.greet(&hello).unwrap(), hello::from_manager(0));
        assert!(line.is_closed());
    }
    let mut line = Line::dial(grid.port, Trust::FirstUse, None).unwrap();
    assert!(line.greet(b"GET / HTTP/1.1\r\n").is_err(), "another protocol");

    let papers = Papers::of(&grid, &bob, "fake");
    let framed = |payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        [&length, payload].concat()
    };
    let not_a_join = frame::encode(&ToManager::Leaving).unwrap();
    let no_first = "the first message was not the one that this kind of connection begins with";
    let no_frame = "a frame is not in order";
    for (bytes, words) in [
        (framed(&[255; 100]), Some(no_frame)),
        (framed(&[&not_a_join[..], &[0]].concat()), Some(no_frame)),
        (framed(&not_a_join), Some(no_first)),
        (vec![255; 4], None), // A frame of 4 GiB.
    ] {
        let mut line = Line::open(grid.port, &papers, ConnectionKind::Control).unwrap();
        line.send_bytes(&bytes);
        if let Some(words) = words {
            assert_eq!(closing(line.receive()), (words.to_owned(), Comeback::Later));
        }
        assert!(line.is_closed());
    }
    grid.join_worker("laptop", &bob);
    let job = grid.submit(&ada, "true");
    assert_eq!(grid.ended(&ada, job)["state"], "succeeded");
}

#[test]
fn a_lying_worker_is_believed_about_nothing_that_it_was_not_given() {
    let grid = Grid::start("lies");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut fake = FakeWorker::join_for(&grid, &bob, introduction(7));
    let attempt = "1.0#1".parse().unwrap();
    let forged = ToManager::LogPiece {
        attempt,
        stream: Stream::Stdout,
        offset_bytes: 0,
        bytes: b"forged".to_vec(),
    };
    fake.send(&forged); // The attempt is yet to come.
    let job = grid.submit(&ada, "echo true");
    assert!(matches!(fake.receive(), ToWorker::Start { .. }));
    assert_eq!(grid.text(&ada, &format!("jobs/{job}/logs?stream=stdout")), "");

    // Results that cannot be stored: settled, confirmed, and not heard of again.
    let blob = BlobRef { hash: BlobHash([1; 32]), size_bytes: 5 };
    let output = |path: &str| Output { path: path.to_owned(), blob };
    for (number, outputs, left_behind) in [
        (1, Vec::new(), "x".repeat(70_000)),
        (2, vec![output("never-sent")], String::new()),
        (3, vec![output("../out")], String::new()),
    ] {
        let attempt = format!("1.0#{number}").parse().unwrap();
        let empty = Ended::empty(attempt, Outcome::Succeeded);
        // Before it has started, a machine that returns a task gets it again only after a while.
        fake.send(&ToManager::Started { attempt });
        fake.send(&ToManager::Ended(Box::new(Ended { outputs, left_behind, ..empty })));
        assert_eq!(fake.receive(), ToWorker::Stored { attempt });
        assert!(matches!(fake.receive(), ToWorker::Start { .. }));
    }
    let (status, _) = grid.post(&ada, &format!("jobs/{job}/cancel"), &json!({}));
    assert_eq!(status, 204);
    let attempt = "1.0#4".parse().unwrap();
    assert_eq!(fake.receive(), ToWorker::Cancel { attempt });
    fake.send(&ToManager::Ended(Box::new(Ended::empty(attempt, Outcome::Cancelled))));
    let ended = grid.ended(&ada, job);
    assert_eq!((&ended["state"], &ended["charged_micros"]), (&json!("cancelled"), &json!(0)));
    grid.fsck();
}

/// Waits until a job's only task runs.
fn runs(grid: &Grid, user: &User, job: u64) {
    until("the task runs", || {
        let (_, job) = grid.get(user, &format!("jobs/{job}"));
        job["task_list"][0]["state"] == "running"
    });
}
