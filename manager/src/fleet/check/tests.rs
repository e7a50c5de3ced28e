//! Workers that say too much, and what they are told.

use campusgrid_protocol::id::WorkerKey;
use campusgrid_protocol::message::{Join, LABELS_MAX, LOCK_MAX_BYTES};
use campusgrid_protocol::resource::{Capacity, Gpu, GpuLoad, Isolation, Load};
use campusgrid_protocol::task::{Ended, Failure, Outcome, WorkerFault};

use super::{FleetError, WORDS_MAX};

fn gpu() -> Gpu {
    Gpu { model: "T4".to_owned(), memory_mib: 15_360, driver: "550.54".to_owned() }
}

/// A proper introduction, spoilt by `spoil`.
fn joining(spoil: impl FnOnce(&mut Join)) -> String {
    let mut join = Join {
        key: WorkerKey([1; 32]),
        name: "laptop".to_owned(),
        owner: None,
        capacity: Capacity { cpu_millis: 8000, ram_mib: 1, disk_mib: 1, gpus: vec![gpu(); 2] },
        isolation: Isolation::Full,
        isolation_notes: Vec::new(),
        labels: vec!["R".to_owned(), "image:docker.io/*".to_owned()],
        attempts: Vec::new(),
    };
    spoil(&mut join);
    said(super::join(&join))
}

fn said(result: Result<(), FleetError>) -> String {
    result.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
}

#[test]
fn an_introduction_is_of_a_decent_size() {
    let absurd = "the worker sent an absurd capacity";
    assert_eq!(joining(|_| {}), "fine");
    assert_eq!(joining(|join| join.labels = vec!["R".to_owned(); LABELS_MAX]), "fine");
    assert_eq!(
        joining(|join| join.labels = vec!["R".to_owned(); LABELS_MAX + 1]),
        "the worker sent 201 labels, more than 200"
    );
    for label in ["*", "a b", "image:**", "<b>", "a\n", "\u{202e}"] {
        let words = joining(|join| join.labels.push(label.to_owned()));
        assert!(words.starts_with("the worker sent a label must "), "{label:?}: {words}");
    }
    assert_eq!(joining(|join| join.capacity.gpus = vec![gpu(); 64]), "fine");
    assert_eq!(joining(|join| join.capacity.gpus = vec![gpu(); 65]), absurd);
    assert_eq!(joining(|join| join.capacity.gpus[1].driver = "5\n5".to_owned()), absurd);
    assert_eq!(joining(|join| join.capacity.gpus[1].driver = "5".repeat(65)), absurd);
    assert_eq!(joining(|join| join.capacity.gpus[1].model = String::new()), absurd);
    assert_eq!(joining(|join| join.capacity.gpus[1].memory_mib = u32::MAX), absurd);
}

#[test]
fn a_load_is_that_of_the_gpus_there_are() {
    let load = |gpus| Load { gpus: vec![GpuLoad::default(); gpus], ..Load::default() };
    assert_eq!(said(super::load(&load(0), 2)), "fine");
    assert_eq!(said(super::load(&load(2), 2)), "fine");
    for found in [1, 3, 100_000] {
        let words = format!("the worker sent the load of {found} GPUs, of which it has 2");
        assert_eq!(said(super::load(&load(found), 2)), words);
    }
}

#[test]
fn a_lock_is_plain_text() {
    let longest = "a".repeat(LOCK_MAX_BYTES);
    for lock in ["", "numpy==2.1 --hash=sha256:00\nscipy==1\n", "# für alle", &longest] {
        assert_eq!(said(super::lock(lock)), "fine");
    }
    for lock in ["a\0", "a\r\n", "a\tb", "\u{1b}[2J", "a\u{85}b", &(longest + "a")] {
        assert!(super::lock(lock).is_err(), "{:?}", &lock[..5.min(lock.len())]);
    }
}

#[test]
fn no_explanation_is_a_book() {
    let attempt = "1.0#1".parse().unwrap();
    let all = |message: String| {
        let again = || message.clone();
        [
            Outcome::Failed(Failure::Requirements { message: again() }),
            Outcome::Failed(Failure::Image { message: again() }),
            Outcome::Returned(WorkerFault::Sandbox { message: again() }),
            Outcome::Returned(WorkerFault::Environment { message: again() }),
            Outcome::Returned(WorkerFault::Engine { message: again() }),
            Outcome::Returned(WorkerFault::Gpu { message }),
        ]
    };
    for outcome in all("x".repeat(WORDS_MAX)) {
        assert_eq!(said(super::ended(&Ended::empty(attempt, outcome))), "fine");
    }
    for outcome in all("x".repeat(WORDS_MAX + 1)) {
        let words = said(super::ended(&Ended::empty(attempt, outcome)));
        assert_eq!(words, "the worker sent an explanation of 65537 bytes");
    }
}
