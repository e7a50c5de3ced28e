//! Messages of every kind, for tests of all versions. What a version has in common with others is made
//! here; a sample that changes changes their golden bytes.

use std::sync::Arc;

use crate::frame::{decode, encode};
use crate::id::{AttemptId, BlobHash, JobId, TaskId, VoucherId, VoucherSecret, WorkerId};
use crate::message::{Enrol, EnrolAnswer, Join, Proof, ToManager};
use crate::resource::{Capacity, Gpu, GpuLoad, Isolation, Load, Needs, Speed};
use crate::rules::{
    ByHand, Conditions, Days, Kind, Limits, Phase, Power, Rules, Shares, Span, Whose, Wish,
};
use crate::task::{
    BlobRef, Content, Ended, Failure, Log, Outcome, Output, Packages, Program, Saved, Stream,
    TaskSpec, Usage, Work, WorkerFault,
};

pub(crate) fn attempt() -> AttemptId {
    AttemptId { task: TaskId { job: JobId(300), index: 7 }, number: 2 }
}

pub(crate) fn blob() -> BlobRef {
    BlobRef { hash: BlobHash([0xbb; 32]), size_bytes: 70_000 }
}

fn capacity() -> Capacity {
    Capacity {
        cpu_millis: 8000,
        ram_mib: 16_384,
        disk_mib: 100_000,
        gpus: vec![Gpu { model: "T4".to_owned(), memory_mib: 15_360, driver: "550.54".to_owned() }],
    }
}

fn load() -> Load {
    let gpu =
        GpuLoad { busy_permille: 900, memory_used_mib: 4096, temperature_c: 71, processes: 2 };
    Load { cpu_busy_permille: 500, ram_used_mib: 1024, gpus: vec![gpu] }
}

/// Both streams' pieces of a log: where they begin, and what they are.
fn pieces() -> [(Stream, u64, Vec<u8>); 2] {
    [(Stream::Stdout, 65_536, b"hi".to_vec()), (Stream::Stderr, 0, Vec::new())]
}

pub(crate) fn saved() -> Saved {
    Saved { manifest: blob(), run_ms: 300_000 }
}

pub(crate) fn limits() -> Limits {
    Limits {
        cores: Some(4),
        core_percent: 50,
        ram_mib: Some(8192),
        disk_mib: Some(20_000),
        gpus: Some(0),
        network_kib_s: Some(1024),
        at_once: Some(2),
        longest_s: Some(3600),
        whose: Whose::Of(vec!["ada".to_owned()]),
        kinds: vec![Kind::Python, Kind::C, Kind::Shell, Kind::Container],
    }
}

/// What a machine says of its sharing, in every phase.
pub(crate) fn shares() -> [Shares; 3] {
    let shares = |phase, why: &str, limits| Shares {
        phase,
        why: why.to_owned(),
        since_ms: 1_700_000_000_000,
        limits,
    };
    [
        shares(Phase::Open, "", Limits::default()),
        shares(Phase::Frozen, "in use", limits()),
        shares(Phase::Closed, "on battery", Limits { whose: Whose::Mine, ..Limits::default() }),
    ]
}

/// Rules with every kind of feed and of wish.
pub(crate) fn rules() -> [Rules; 3] {
    let when = Conditions {
        enabled: true,
        idle_minutes: 10,
        hours: vec![Span { days: Days(0b001_1111), from: 1320, to: 420 }],
        zone: "Europe/Berlin".to_owned(),
        power: Power::Above(80),
        metered: true,
        programs: vec!["zoom".to_owned()],
        others_load_percent: 30,
        temperature_c: 85,
        until_ms: Some(1_700_000_000_000),
        grace_s: 90,
        checkpoint_s: 20,
    };
    let any = Conditions { power: Power::Any, ..Conditions::default() };
    let by_hand = |wish, until_ms| Some(ByHand { wish, until_ms });
    [
        Rules::default(),
        Rules { when, limits: limits(), by_hand: by_hand(Wish::Pause, Some(1_700_000_000_000)) },
        Rules { when: any, by_hand: by_hand(Wish::Share, None), ..Rules::default() },
    ]
}

/// Ends of every kind. Those that version 4 knows come first.
pub(crate) fn ends() -> Vec<Ended> {
    let text = || "?".to_owned();
    let whole = Ended {
        attempt: attempt(),
        outcome: Outcome::Succeeded,
        usage: Usage { run_ms: 1000, cpu_ms: 900, ram_peak_mib: 64 },
        stdout: Log { content: Content::Inline(b"hi".to_vec()), cut_bytes: 0 },
        stderr: Log { content: Content::Blob(blob()), cut_bytes: 5 },
        outputs: vec![Output { path: "a/b".to_owned(), blob: blob() }],
        left_behind: "c".to_owned(),
        checkpoint: None,
    };
    let failures = [
        Failure::ExitCode(-1),
        Failure::Signal(9),
        Failure::OutOfMemory { limit_mib: 512 },
        Failure::TimeLimit { limit_s: 600 },
        Failure::ScratchFull { limit_mib: 256 },
        Failure::TooManyFiles { limit: 1000 },
        Failure::FileTooLarge { limit_mib: 64 },
        Failure::Processes { limit: 128 },
        Failure::OutputFlood { limit_mib: 8 },
        Failure::CompileError { code: 1 },
        Failure::Requirements { message: text() },
        Failure::Image { message: text() },
        Failure::Inputs { message: text() },
    ];
    let faults = [
        WorkerFault::Sandbox { message: text() },
        WorkerFault::Environment { message: text() },
        WorkerFault::Engine { message: text() },
        WorkerFault::Gpu { message: text() },
        WorkerFault::LeaseOver,
        WorkerFault::Restarted,
        WorkerFault::Leaving,
        WorkerFault::Disk { message: text() },
        WorkerFault::Inputs { message: text() },
    ];
    let failed = failures.map(Outcome::Failed).into_iter();
    let returned = faults.map(Outcome::Returned);
    let others = [Outcome::Cancelled].into_iter().chain(failed).chain(returned);
    [whole].into_iter().chain(others.map(|outcome| Ended::empty(attempt(), outcome))).collect()
}

pub(crate) fn join(isolation: Isolation, shares: Shares) -> Join {
    Join {
        name: "Zoë's".to_owned(),
        capacity: capacity(),
        isolation,
        isolation_notes: vec!["no swap".to_owned()],
        labels: vec!["R".to_owned(), "image:*".to_owned()],
        attempts: vec![attempt()],
        speed: Speed { core_permille: 1200, all_permille: 5400 },
        shares,
    }
}

/// Of a machine's heartbeats and of what it says while a task runs.
pub(crate) fn while_it_runs() -> Vec<ToManager> {
    let mut messages = vec![
        ToManager::Heartbeat { sequence: 9, attempts: vec![attempt()], load: load() },
        ToManager::Preparing { attempt: attempt(), step: "?".to_owned() },
        ToManager::Locked { attempt: attempt(), lock: "numpy==2.1".to_owned() },
        ToManager::Started { attempt: attempt() },
    ];
    messages.extend(pieces().map(|(stream, offset_bytes, bytes)| ToManager::LogPiece {
        attempt: attempt(),
        stream,
        offset_bytes,
        bytes,
    }));
    messages
}

/// What machines of versions 4 and 5 ask when they have no certificate yet.
pub(crate) fn enrols() -> Vec<Enrol> {
    let (id, secret) = (VoucherId(300), VoucherSecret([0xcc; 16]));
    let proofs = [
        Proof::Token { id, secret },
        Proof::Code { owner: Some("ada".to_owned()) },
        Proof::Code { owner: None },
    ];
    let enrol = |proof| Enrol { request: vec![0x30, 0], name: "Zoë's".to_owned(), proof };
    proofs.map(enrol).into()
}

/// What machines of versions 4 and 5 are told then.
pub(crate) fn enrol_answers() -> Vec<EnrolAnswer> {
    vec![
        EnrolAnswer::Waiting { code: "ABC".to_owned() },
        EnrolAnswer::Enrolled {
            certificate: vec![0x30, 0],
            worker: WorkerId(4),
            owner: "ada".to_owned(),
        },
        EnrolAnswer::Refused { reason: "?".to_owned() },
    ]
}

/// Tasks of every kind, without files.
fn plain_specs() -> Vec<Arc<TaskSpec>> {
    let source = |text: &str| Program::Source(text.to_owned());
    let python = |packages| Work::Python { program: source("1"), packages };
    let works = [
        python(Packages::None),
        python(Packages::Names { requirements: vec!["numpy".to_owned()], requires_python: None }),
        python(Packages::Hashed { text: "h".to_owned() }),
        python(Packages::UvLock { text: "u".to_owned() }),
        Work::C { program: source(";"), flags: vec!["-O3".to_owned()] },
        Work::Shell { program: source("true") },
    ];
    works.into_iter().map(|work| Arc::new(spec(work))).collect()
}

/// Tasks of every kind, those without files first.
pub(crate) fn specs() -> Vec<Arc<TaskSpec>> {
    let text = |text: &str| text.to_owned();
    let entry = || Program::Entry(text("a/b"));
    let with_files = |work| TaskSpec {
        inputs: Some(blob()),
        lines: Some(text("l")),
        arguments: vec![text("{index}"), String::new()],
        outputs: vec![text("**/*.csv")],
        warn_s: 60,
        ..spec(work)
    };
    let works = [
        Work::Python { program: entry(), packages: Packages::None },
        Work::C { program: entry(), flags: Vec::new() },
        Work::Shell { program: entry() },
    ];
    let others = works.into_iter().map(|work| Arc::new(with_files(work)));
    plain_specs().into_iter().chain(others).collect()
}

fn spec(work: Work) -> TaskSpec {
    let needs =
        Needs { cpu_millis: 2000, ram_mib: 512, disk_mib: 256, gpus: 1, gpu_memory_mib: 8192 };
    TaskSpec {
        work,
        needs,
        time_limit_s: 600,
        isolation: Isolation::Docker,
        labels: vec!["R".to_owned()],
        image: Some("default".to_owned()),
        shared_tmp: true,
        tasks: 10_000,
        arguments: Vec::new(),
        inputs: None,
        lines: None,
        outputs: Vec::new(),
        warn_s: 0,
        checkpoint_s: 300,
    }
}

/// One line a message: its name, then its bytes in hexadecimal with runs of 32 equal ones shortened.
/// Fails as well where a message does not come back as it went out.
pub(crate) fn golden<M>(messages: &[M]) -> String
where
    M: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    messages
        .iter()
        .map(|message| {
            let bytes = encode(message).unwrap();
            assert_eq!(&decode::<M>(&bytes).unwrap(), message);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let hex = hex.replace(&"aa".repeat(32), "(32 aa)").replace(&"bb".repeat(32), "(32 bb)");
            let words = format!("{message:?}");
            let name: String = words.chars().take_while(|c| c.is_alphanumeric()).collect();
            format!("{name} {hex}\n")
        })
        .collect()
}
