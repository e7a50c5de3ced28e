//! Messages of every kind, for tests of all versions. What a version has in common with others is made
//! here; a sample that changes changes their golden bytes.

use std::sync::Arc;

use crate::frame::{decode, encode};
use crate::id::{AttemptId, BlobHash, JobId, TaskId, VoucherId, VoucherSecret, WorkerId};
use crate::message::{Enrol, EnrolAnswer, Join, Proof, ToManager};
use crate::resource::{Capacity, Gpu, GpuLoad, Isolation, Load, Needs};
use crate::task::{
    BlobRef, Content, Ended, Failure, Log, Outcome, Output, Packages, Program, Stream, TaskSpec,
    Usage, Work, WorkerFault,
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

/// Ends of every kind that version 3 knows.
fn ends() -> Vec<Ended> {
    let text = || "?".to_owned();
    let whole = Ended {
        attempt: attempt(),
        outcome: Outcome::Succeeded,
        usage: Usage { run_ms: 1000, cpu_ms: 900, ram_peak_mib: 64 },
        stdout: Log { content: Content::Inline(b"hi".to_vec()), cut_bytes: 0 },
        stderr: Log { content: Content::Blob(blob()), cut_bytes: 5 },
        outputs: vec![Output { path: "a/b".to_owned(), blob: blob() }],
        left_behind: "c".to_owned(),
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
    ];
    let failed = failures.map(Outcome::Failed).into_iter();
    let returned = faults.map(Outcome::Returned);
    let others = [Outcome::Cancelled].into_iter().chain(failed).chain(returned);
    [whole].into_iter().chain(others.map(|outcome| Ended::empty(attempt(), outcome))).collect()
}

fn join(isolation: Isolation) -> ToManager {
    ToManager::Join(Box::new(Join {
        name: "Zoë's".to_owned(),
        capacity: capacity(),
        isolation,
        isolation_notes: vec!["no swap".to_owned()],
        labels: vec!["R".to_owned(), "image:*".to_owned()],
        attempts: vec![attempt()],
    }))
}

/// What workers of version 3 send on their control connections, and of version 4 as well.
pub(crate) fn to_manager() -> Vec<ToManager> {
    let mut messages = vec![
        join(Isolation::Full),
        join(Isolation::Docker),
        join(Isolation::Restricted),
        join(Isolation::None),
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
    messages.extend(ends().into_iter().map(|ended| ToManager::Ended(Box::new(ended))));
    messages.extend([ToManager::Leaving, ToManager::Renew { request: vec![0x30, 0] }]);
    messages
}

/// What machines of versions 3 and 4 ask when they have no certificate yet.
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

/// What machines of versions 3 and 4 are told then.
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

/// Tasks of every kind that version 3 knows.
pub(crate) fn plain_specs() -> Vec<Arc<TaskSpec>> {
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

/// Tasks of every kind, those that version 3 knows first.
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
