//! Workers that say too much, and what they are told.

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{VoucherId, VoucherSecret};
use campusgrid_protocol::message::{Join, LABELS_MAX, Proof};
use campusgrid_protocol::resource::{Capacity, Gpu, GpuLoad, Isolation, Load, Speed};
use campusgrid_protocol::rules::{Kind, Limits, Phase, RULE_NAMES_MAX, Shares, Whose};
use campusgrid_protocol::task::{Ended, Failure, Outcome, WorkerFault};

use super::{FleetError, WORDS_MAX};

fn gpu() -> Gpu {
    Gpu { model: "T4".to_owned(), memory_mib: 15_360, driver: "550.54".to_owned() }
}

fn proper() -> Join {
    Join {
        name: "laptop".to_owned(),
        capacity: Capacity { cpu_millis: 8000, ram_mib: 1, disk_mib: 1, gpus: vec![gpu(); 2] },
        isolation: Isolation::Full,
        isolation_notes: Vec::new(),
        labels: vec!["R".to_owned(), "image:docker.io/*".to_owned()],
        attempts: Vec::new(),
        speed: Speed { core_permille: 1000, all_permille: 8000 },
        shares: shares(Phase::Open),
    }
}

fn shares(phase: Phase) -> Shares {
    Shares { phase, why: "in use".to_owned(), since_ms: 5, limits: Limits::default() }
}

const NOW: Timestamp = Timestamp(1000);

/// A proper introduction, spoilt by `spoil`.
fn joining(spoil: impl FnOnce(&mut Join)) -> String {
    let mut join = proper();
    spoil(&mut join);
    said(super::join(&mut join, NOW))
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
    for label in ["*", "p*", "a b", "image:**", "<b>", "a\n", "\u{202e}"] {
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
fn notes_are_short_and_can_be_read() {
    let mut join = proper();
    join.isolation_notes = vec!["é".repeat(20_000), "no\u{202e} swap\n".to_owned()];
    super::join(&mut join, NOW).unwrap();
    assert_eq!(join.isolation_notes, ["é".repeat(200), "no swap".to_owned()]);
}

#[test]
fn a_machine_is_not_a_thousand_times_as_fast() {
    let mut join = proper();
    join.speed = Speed { core_permille: u32::MAX, all_permille: u32::MAX };
    super::join(&mut join, NOW).unwrap();
    assert_eq!(join.speed, Speed { core_permille: 100_000, all_permille: 800_000 });
    join.capacity.cpu_millis = 4_096_000;
    join.speed.all_permille = u32::MAX;
    super::join(&mut join, NOW).unwrap();
    assert_eq!(join.speed.all_permille, 409_600_000);
}

#[test]
fn what_is_said_of_sharing_is_short_and_can_be_read() {
    let of = |names: &[String]| Limits { whose: Whose::Of(names.to_vec()), ..Limits::default() };
    let frozen = Shares {
        why: format!("on\u{202e} battery\n{}", "é".repeat(20_000)),
        since_ms: u64::MAX,
        limits: Limits {
            core_percent: 0,
            kinds: vec![Kind::C, Kind::Python, Kind::C],
            ..of(&["ada".to_owned()])
        },
        ..shares(Phase::Frozen)
    };
    let kept = super::shares(frozen, NOW).unwrap();
    assert_eq!(kept.why, format!("on battery{}", "é".repeat(190)));
    assert_eq!((kept.since_ms, kept.limits.core_percent), (1000, 1));
    assert_eq!(kept.limits.kinds, [Kind::Python, Kind::C]);
    assert_eq!(super::shares(shares(Phase::Open), NOW).unwrap().why, "");

    let said = |limits| {
        let shares = Shares { limits, ..shares(Phase::Closed) };
        said(super::shares(shares, NOW).map(drop))
    };
    assert_eq!(said(of(&vec!["ada".to_owned(); RULE_NAMES_MAX])), "fine");
    let many = said(of(&vec!["ada".to_owned(); RULE_NAMES_MAX + 1]));
    assert_eq!(many, "the worker sent 51 users, more than 50");
    for name in ["", "a\n", "\u{202e}"] {
        let words = said(of(&[name.to_owned()]));
        assert!(words.starts_with("the worker sent a user's name "), "{name:?}: {words}");
    }
}

#[test]
fn an_enrolment_is_of_a_decent_form() {
    let token = || Proof::Token { id: VoucherId(1), secret: VoucherSecret([1; 16]) };
    let code = |owner: &str| Proof::Code { owner: Some(owner.to_owned()) };
    let asking = |bytes, name: &str, proof| said(super::enrolment(&vec![0; bytes], name, &proof));
    assert_eq!(asking(4096, "laptop", token()), "fine");
    assert_eq!(asking(1, "Zoë's", code("ada")), "fine");
    assert_eq!(asking(1, "laptop", Proof::Code { owner: None }), "fine");
    let long = "the worker sent a request for a certificate of 4097 bytes";
    assert_eq!(asking(4097, "laptop", token()), long);
    for name in ["", "a\n", "\u{202e}", "\u{1b}[2J"] {
        let words = asking(1, name, token());
        assert!(words.starts_with("the worker sent a worker's name "), "{name:?}: {words}");
        let words = asking(1, "laptop", code(name));
        assert!(words.starts_with("the worker sent an owner's name "), "{name:?}: {words}");
    }
}

#[test]
fn a_load_is_that_of_the_gpus_there_are() {
    let load = |gpus| Load { cpu_busy_permille: 7, ram_used_mib: 8, gpus };
    let of = |gpus| load(vec![GpuLoad { processes: 1, ..GpuLoad::default() }; gpus]);
    for kept in [0, 2] {
        assert_eq!(super::load(of(kept), 2), of(kept));
    }
    for found in [1, 3, 100_000] {
        assert_eq!(super::load(of(found), 2), of(0));
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
