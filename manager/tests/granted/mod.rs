//! What a machine offers, what it is granted and what its packages come to, over real sockets.

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::{Comeback, Join, LABELS_MAX, ToManager, ToWorker};
use campusgrid_protocol::resource::{Capacity, GpuLoad, Isolation, Load};
use campusgrid_protocol::task::{Ended, Outcome, WorkerFault};
use serde_json::{Value, json};

use crate::grid::fake::{FakeWorker, closing, gpu, introduction};
use crate::grid::{Grid, User};

/// A submit of a job of one core with these fields on top; yields its number.
fn submit(grid: &Grid, user: &User, fields: Value) -> u64 {
    let (status, answer) = grid.post(user, "jobs", &body(fields));
    assert_eq!(status, 201, "{answer}");
    answer["job"].as_u64().unwrap()
}

fn body(fields: Value) -> Value {
    let mut body = json!({"kind": "shell", "source": "true", "ram_mib": 64, "time_limit_s": 60});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn id(text: &str) -> AttemptId {
    text.parse().unwrap()
}

/// The next message, which starts something: what, with which GPUs and which lock.
fn started(worker: &mut FakeWorker) -> (String, Vec<u16>, Option<String>) {
    let message = worker.receive();
    let ToWorker::Start { attempt, gpus, lock, .. } = message else { panic!("{message:?}") };
    (attempt.to_string(), gpus, lock.map(|lock| lock.to_string()))
}

fn ends(worker: &mut FakeWorker, text: &str, outcome: Outcome) {
    worker.send(&ToManager::Ended(Box::new(Ended::empty(id(text), outcome))));
    assert_eq!(worker.receive(), ToWorker::Stored { attempt: id(text) });
}

fn says_lock(worker: &mut FakeWorker, text: &str, lock: &str) -> ToWorker {
    worker.send(&ToManager::Locked { attempt: id(text), lock: lock.to_owned() });
    worker.receive()
}

#[test]
fn a_wish_that_no_machine_could_meet_is_refused_by_its_field() {
    let grid = Grid::start("wishes");
    let ada = grid.register("ada");
    for (fields, field) in [
        (json!({"labels": ["image:*"]}), "labels"),
        (json!({"labels": ["a b"]}), "labels"),
        (json!({"labels": vec!["R"; 21]}), "labels"),
        (json!({"image": "gcc:latest"}), "image"),
        (json!({"image": format!("../x@sha256:{}", "0".repeat(64))}), "image"),
        (json!({"image": "default", "isolation": "full"}), "isolation"),
        (json!({"flags": ["-O3"]}), "flags"),
        (json!({"kind": "c", "flags": ["-fplugin=x"]}), "flags"),
        (json!({"uv_lock": "version = 1"}), "uv_lock"),
    ] {
        let (status, answer) = grid.post(&ada, "jobs", &body(fields.clone()));
        assert_eq!((status, &answer["error"]["code"]), (422, &json!("invalid_fields")), "{fields}");
        assert_eq!(answer["error"]["fields"][0]["field"], field, "{answer}");
    }
    let (status, answer) = grid.post(&ada, "jobs", &body(json!({"isolation": "some"})));
    assert_eq!(status, 422, "{answer}");
    let (_, credits) = grid.get(&ada, "credits");
    assert_eq!(credits["held_micros"], 0);
}

#[test]
fn a_job_waits_for_a_machine_that_offers_what_it_requires() {
    let grid = Grid::start("labels");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut plain = FakeWorker::join_for(&grid, &bob, introduction(1));
    let job = submit(&grid, &ada, json!({"labels": ["R", "python3.12"]}));
    let mut waiting = Value::Null;
    while waiting.is_null() {
        (_, waiting) = grid.get(&ada, &format!("jobs/{job}"));
        waiting = waiting["waiting"].take();
    }
    let words = "no connected worker offers R; it starts as soon as one that does connects";
    assert_eq!(waiting, words);

    let labels = ["R", "python3.12", "image:default"].map(str::to_owned).to_vec();
    let able = Join { labels, isolation: Isolation::Docker, ..introduction(2) };
    let mut able = FakeWorker::join_for(&grid, &bob, able);
    assert_eq!(started(&mut able).0, "1.0#1");
    able.beat(&[id("1.0#1")]);
    plain.beat(&[]);
    submit(&grid, &ada, json!({"image": "default"}));
    let message = able.receive();
    let ToWorker::Start { spec, .. } = message else { panic!("{message:?}") };
    assert_eq!(
        (spec.image.as_deref(), &*spec.labels),
        (Some("default"), &["image:default".to_owned()][..])
    );
    submit(&grid, &ada, json!({"isolation": "full"}));
    assert_eq!(started(&mut plain).0, "3.0#1", "the other confines less");
}

#[test]
fn gpus_are_granted_by_number_and_stay_so_when_the_manager_dies() {
    let mut grid = Grid::start("gpus");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let machine = || {
        let gpus = vec![gpu(8000), gpu(16_000), gpu(8000)];
        Join { capacity: Capacity { gpus, ..introduction(1).capacity }, ..introduction(1) }
    };
    let mut worker = FakeWorker::join_for(&grid, &bob, machine());
    submit(&grid, &ada, json!({"gpus": 1}));
    assert_eq!(started(&mut worker).1, [0]);
    submit(&grid, &ada, json!({"gpus": 1, "gpu_memory_mib": 10_000}));
    assert_eq!(started(&mut worker).1, [1]);

    grid.kill_manager();
    grid.start_manager();
    let attempts = vec![id("1.0#1"), id("2.0#1")];
    let mut worker = worker.reconnect(grid.port, Join { attempts, ..machine() });
    submit(&grid, &ada, json!({"gpus": 1}));
    assert_eq!(started(&mut worker).1, [2]);
    submit(&grid, &ada, json!({"gpus": 2}));
    worker.beat(&[id("1.0#1"), id("2.0#1"), id("3.0#1")]);
    ends(&mut worker, "1.0#1", Outcome::Succeeded);
    let gone = Outcome::Returned(WorkerFault::Restarted);
    worker.send(&ToManager::Ended(Box::new(Ended::empty(id("2.0#1"), gone))));
    // What came back is at its old place, before the one that needs two.
    let told = [worker.receive(), worker.receive()];
    let stored = ToWorker::Stored { attempt: id("2.0#1") };
    assert!(told.contains(&stored), "{told:?}");
    let again = |message: &ToWorker| matches!(message, ToWorker::Start { attempt, gpus, .. } if *attempt == id("2.0#2") && *gpus == [1]);
    assert!(told.iter().any(again), "{told:?}");
    ends(&mut worker, "3.0#1", Outcome::Succeeded);
    assert_eq!(started(&mut worker).1, [0, 2]);
    let (_, job) = grid.get(&ada, "jobs/2");
    let attempts = job["task_list"][0]["attempts"].clone();
    assert_eq!((&attempts[0]["gpus"], &attempts[1]["gpus"]), (&json!([1]), &json!([1])));
    grid.fsck();
}

fn lock_of(version: &str) -> String {
    format!("numpy=={version} --hash=sha256:{}\n", "0".repeat(64))
}

#[test]
fn the_first_lock_is_everybodys_and_outlives_the_manager() {
    let mut grid = Grid::start("locks");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut one = FakeWorker::join_for(&grid, &bob, introduction(1));
    let mut two = FakeWorker::join_for(&grid, &bob, introduction(2));
    let python =
        json!({"kind": "python", "source": "1", "requirements": ["numpy"], "cores": 8, "tasks": 3});
    let job = submit(&grid, &ada, python);
    assert_eq!(started(&mut one), ("1.0#1".to_owned(), Vec::new(), None));
    assert_eq!(started(&mut two), ("1.1#1".to_owned(), Vec::new(), None));

    let drop = ToWorker::Drop { attempt: id("1.0#1") };
    assert_eq!(says_lock(&mut two, "1.0#1", &lock_of("1")), drop, "of somebody else's attempt");
    let first = &*lock_of("2.1");
    let told = |text: &str| ToWorker::Locked { attempt: id(text), lock: first.into() };
    let continued = first.replace(" --", " \\\n    --");
    assert_eq!(says_lock(&mut two, "1.1#1", &continued), told("1.1#1"), "it is written anew");
    assert_eq!(says_lock(&mut one, "1.0#1", &lock_of("2.0")), told("1.0#1"));
    let (_, detail) = grid.get(&ada, &format!("jobs/{job}"));
    assert_eq!(detail["has_lock"], true);
    assert_eq!(grid.text(&ada, &format!("jobs/{job}/lock")), first);

    grid.kill_manager();
    grid.start_manager();
    let attempts = vec![id("1.0#1")];
    let mut one = one.reconnect(grid.port, Join { attempts, ..introduction(1) });
    assert_eq!(says_lock(&mut one, "1.0#1", &lock_of("1.0")), told("1.0#1"));
    ends(&mut one, "1.0#1", Outcome::Succeeded);
    assert_eq!(started(&mut one), ("1.2#1".to_owned(), Vec::new(), Some(first.to_owned())));
}

#[test]
fn a_lock_that_cannot_be_the_jobs_is_the_workers_fault_and_another_is_asked() {
    let grid = Grid::start("lock-form");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    let python = json!({"kind": "python", "source": "1", "requirements": ["numpy"]});
    let job = submit(&grid, &ada, python);
    assert_eq!(started(&mut worker).0, "1.0#1");
    let answer = says_lock(&mut worker, "1.0#1", "--index-url=https://evil.example");
    assert_eq!(answer, ToWorker::Drop { attempt: id("1.0#1") });
    let mut other = FakeWorker::join_for(&grid, &bob, introduction(2));
    assert_eq!(started(&mut other), ("1.0#2".to_owned(), Vec::new(), None));
    let (_, detail) = grid.get(&ada, &format!("jobs/{job}"));
    let outcome = detail["task_list"][0]["attempts"][0]["outcome"].as_str().unwrap().to_owned();
    let words =
        "its list of packages was refused: line 1, '--index-url=https://evil.example', is not";
    assert!(outcome.contains(words), "{outcome}");
    grid.fsck();
}

#[test]
fn a_machine_that_says_too_much_is_not_listened_to() {
    let grid = Grid::start("too-much");
    let bob = grid.register("bob");
    let many = vec!["R".to_owned(); LABELS_MAX + 1];
    assert!(FakeWorker::is_refused(&grid, &bob, Join { labels: many, ..introduction(1) }));
    let all = vec!["*".to_owned()];
    assert!(FakeWorker::is_refused(&grid, &bob, Join { labels: all, ..introduction(1) }));
    let gpus = vec![gpu(1); 65];
    let capacity = Capacity { gpus, ..introduction(1).capacity };
    assert!(FakeWorker::is_refused(&grid, &bob, Join { capacity, ..introduction(1) }));
    let mut worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    worker.send(&ToManager::Join(Box::new(introduction(1))));
    let said = closing(worker.receive());
    assert_eq!(said, ("the worker sent a second join".to_owned(), Comeback::Later));
    assert!(worker.line.is_closed());
}

/// The driver of a laptop may lose a GPU, and its owner may play.
#[test]
fn what_a_machine_says_of_its_gpus_is_believed_as_far_as_it_can_be() {
    let grid = Grid::start("gpu-loads");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let capacity = Capacity { gpus: vec![gpu(8000)], ..introduction(1).capacity };
    let mut worker = FakeWorker::join_for(&grid, &bob, Join { capacity, ..introduction(1) });
    let beat = |processes: &[u16]| {
        let of_gpu = |&processes: &u16| GpuLoad { processes, ..GpuLoad::default() };
        let load = Load { gpus: processes.iter().map(of_gpu).collect(), ..Load::default() };
        ToManager::Heartbeat { sequence: 1, attempts: Vec::new(), load }
    };
    worker.send(&beat(&[1]));
    // Its answer comes after the heartbeat has been heard.
    assert_eq!(says_lock(&mut worker, "9.0#1", ""), ToWorker::Drop { attempt: id("9.0#1") });
    submit(&grid, &ada, json!({"gpus": 1}));
    submit(&grid, &ada, json!({}));
    assert_eq!(started(&mut worker).0, "2.0#1", "its owner uses the GPU");
    worker.send(&beat(&[1, 1]));
    assert_eq!(started(&mut worker), ("1.0#1".to_owned(), vec![0], None), "of two, it has one");
}
