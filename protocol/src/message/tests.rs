//! The bytes of every message, so that none changes its form without a new version.

use std::sync::Arc;

use expect_test::expect;

use super::{
    Approval, BulkToManager, BulkToWorker, Join, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, ToManager,
    ToWorker,
};
use crate::frame::{decode, encode};
use crate::id::{AttemptId, BlobHash, JobId, TaskId, WorkerId, WorkerKey};
use crate::resource::{Capacity, Gpu, GpuLoad, Isolation, Load, Needs};
use crate::task::{
    BlobRef, Content, Ended, Failure, Log, Outcome, Output, Packages, Stream, TaskSpec, Usage,
    Work, WorkerFault,
};

fn attempt() -> AttemptId {
    AttemptId { task: TaskId { job: JobId(300), index: 7 }, number: 2 }
}

fn blob() -> BlobRef {
    BlobRef { hash: BlobHash([0xbb; 32]), size_bytes: 70_000 }
}

fn join(owner: Option<&str>, isolation: Isolation) -> ToManager {
    ToManager::Join(Box::new(Join {
        key: WorkerKey([0xaa; 32]),
        name: "Zoë's".to_owned(),
        owner: owner.map(str::to_owned),
        capacity: Capacity {
            cpu_millis: 8000,
            ram_mib: 16_384,
            disk_mib: 100_000,
            gpus: vec![Gpu {
                model: "T4".to_owned(),
                memory_mib: 15_360,
                driver: "550.54".to_owned(),
            }],
        },
        isolation,
        isolation_notes: vec!["no swap".to_owned()],
        labels: vec!["R".to_owned(), "image:*".to_owned()],
        attempts: vec![attempt()],
    }))
}

fn ended(outcome: Outcome) -> ToManager {
    ToManager::Ended(Box::new(Ended::empty(attempt(), outcome)))
}

fn whole_end() -> ToManager {
    ToManager::Ended(Box::new(Ended {
        attempt: attempt(),
        outcome: Outcome::Succeeded,
        usage: Usage { run_ms: 1000, cpu_ms: 900, ram_peak_mib: 64 },
        stdout: Log { content: Content::Inline(b"hi".to_vec()), cut_bytes: 0 },
        stderr: Log { content: Content::Blob(blob()), cut_bytes: 5 },
        outputs: vec![Output { path: "a/b".to_owned(), blob: blob() }],
        left_behind: "c".to_owned(),
    }))
}

fn to_manager() -> Vec<ToManager> {
    let text = || "?".to_owned();
    let gpu =
        GpuLoad { busy_permille: 900, memory_used_mib: 4096, temperature_c: 71, processes: 2 };
    let load = Load { cpu_busy_permille: 500, ram_used_mib: 1024, gpus: vec![gpu] };
    let mut messages = vec![
        join(Some("ada"), Isolation::Full),
        join(None, Isolation::Docker),
        join(None, Isolation::Restricted),
        join(None, Isolation::None),
        ToManager::Heartbeat { sequence: 9, attempts: vec![attempt()], load },
        ToManager::Preparing { attempt: attempt(), step: text() },
        ToManager::Locked { attempt: attempt(), lock: "numpy==2.1".to_owned() },
        ToManager::Started { attempt: attempt() },
        ToManager::LogPiece {
            attempt: attempt(),
            stream: Stream::Stdout,
            offset_bytes: 65_536,
            bytes: b"hi".to_vec(),
        },
        ToManager::LogPiece {
            attempt: attempt(),
            stream: Stream::Stderr,
            offset_bytes: 0,
            bytes: Vec::new(),
        },
        whole_end(),
        ended(Outcome::Cancelled),
    ];
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
    messages.extend(failures.map(|failure| ended(Outcome::Failed(failure))));
    let faults = [
        WorkerFault::Sandbox { message: text() },
        WorkerFault::Environment { message: text() },
        WorkerFault::Engine { message: text() },
        WorkerFault::Gpu { message: text() },
        WorkerFault::LeaseOver,
        WorkerFault::Restarted,
        WorkerFault::Leaving,
    ];
    messages.extend(faults.map(|fault| ended(Outcome::Returned(fault))));
    messages.push(ToManager::Leaving);
    messages
}

fn start(work: Work) -> ToWorker {
    let needs =
        Needs { cpu_millis: 2000, ram_mib: 512, disk_mib: 256, gpus: 1, gpu_memory_mib: 8192 };
    let spec = TaskSpec {
        work,
        needs,
        time_limit_s: 600,
        isolation: Isolation::Docker,
        labels: vec!["R".to_owned()],
        image: Some("default".to_owned()),
        shared_tmp: true,
        tasks: 10_000,
    };
    let (gpus, lock) = (vec![3], Some("numpy==2.1".into()));
    ToWorker::Start { attempt: attempt(), spec: Arc::new(spec), gpus, lock }
}

fn python(packages: Packages) -> ToWorker {
    start(Work::Python { source: "1".to_owned(), packages })
}

fn to_worker() -> Vec<ToWorker> {
    let welcome = |approval| ToWorker::Welcome {
        worker: WorkerId(4),
        heartbeat_ms: 10_000,
        lease_ms: 90_000,
        approval,
    };
    vec![
        welcome(Approval::Owned { by: "ada".to_owned() }),
        welcome(Approval::Waiting { code: "ABC".to_owned() }),
        ToWorker::Approved { owner: "ada".to_owned() },
        python(Packages::None),
        python(Packages::Names { requirements: vec!["numpy".to_owned()], requires_python: None }),
        python(Packages::Hashed { text: "h".to_owned() }),
        python(Packages::UvLock { text: "u".to_owned() }),
        start(Work::C { source: ";".to_owned(), flags: vec!["-O3".to_owned()] }),
        start(Work::Shell { command: "true".to_owned() }),
        ToWorker::Locked { attempt: attempt(), lock: "numpy==2.1".into() },
        ToWorker::Cancel { attempt: attempt() },
        ToWorker::Drop { attempt: attempt() },
        ToWorker::Stored { attempt: attempt() },
        ToWorker::Renewed { sequence: 9 },
        ToWorker::Closing { reason: "?".to_owned() },
    ]
}

fn bulk_to_manager() -> Vec<BulkToManager> {
    vec![
        BulkToManager::Open { key: WorkerKey([0xaa; 32]), attempt: attempt() },
        BulkToManager::Blob(blob()),
        BulkToManager::Chunk(b"hi".to_vec()),
    ]
}

fn bulk_to_worker() -> Vec<BulkToWorker> {
    vec![
        BulkToWorker::Ready,
        BulkToWorker::Received,
        BulkToWorker::Refused { reason: "?".to_owned() },
    ]
}

/// One line a message: its bytes in hexadecimal, runs of 32 equal ones shortened, then its words.
/// Fails as well where a message does not come back as it went out.
fn golden<M>(messages: &[M]) -> String
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

/// If this fails, the wire has changed: raise `PROTOCOL_VERSION`, then accept the new bytes.
#[test]
fn no_message_changes_without_a_new_version() {
    let versions = format!("speaks {PROTOCOL_VERSION}, understands from {PROTOCOL_VERSION_MIN}\n");
    let all = [
        versions,
        "to the manager\n".to_owned(),
        golden(&to_manager()),
        "to a worker\n".to_owned(),
        golden(&to_worker()),
        "bulk, to the manager\n".to_owned(),
        golden(&bulk_to_manager()),
        "bulk, to a worker\n".to_owned(),
        golden(&bulk_to_worker()),
    ];
    expect![[r#"
        speaks 2, understands from 2
        to the manager
        Join 00(32 aa)065a6fc3ab27730103616461fb401ffb0040fca086010001025434fb003c063535302e35340301076e6f207377617002015207696d6167653a2a01fb2c010702
        Join 00(32 aa)065a6fc3ab277300fb401ffb0040fca086010001025434fb003c063535302e35340201076e6f207377617002015207696d6167653a2a01fb2c010702
        Join 00(32 aa)065a6fc3ab277300fb401ffb0040fca086010001025434fb003c063535302e35340101076e6f207377617002015207696d6167653a2a01fb2c010702
        Join 00(32 aa)065a6fc3ab277300fb401ffb0040fca086010001025434fb003c063535302e35340001076e6f207377617002015207696d6167653a2a01fb2c010702
        Heartbeat 010901fb2c010702fbf401fb000401fb8403fb00104702
        Preparing 02fb2c010702013f
        Locked 03fb2c0107020a6e756d70793d3d322e31
        Started 04fb2c010702
        LogPiece 05fb2c01070200fc00000100026869
        LogPiece 05fb2c010702010000
        Ended 06fb2c01070200fbe803fb840340000268690001(32 bb)fc70110100050103612f62(32 bb)fc701101000163
        Ended 06fb2c010702020000000000000000000000
        Ended 06fb2c0107020100010000000000000000000000
        Ended 06fb2c0107020101120000000000000000000000
        Ended 06fb2c0107020102fb00020000000000000000000000
        Ended 06fb2c0107020103fb58020000000000000000000000
        Ended 06fb2c0107020104fb00010000000000000000000000
        Ended 06fb2c0107020105fbe8030000000000000000000000
        Ended 06fb2c0107020106400000000000000000000000
        Ended 06fb2c0107020107800000000000000000000000
        Ended 06fb2c0107020108080000000000000000000000
        Ended 06fb2c0107020109020000000000000000000000
        Ended 06fb2c010702010a013f0000000000000000000000
        Ended 06fb2c010702010b013f0000000000000000000000
        Ended 06fb2c0107020300013f0000000000000000000000
        Ended 06fb2c0107020301013f0000000000000000000000
        Ended 06fb2c0107020302013f0000000000000000000000
        Ended 06fb2c0107020303013f0000000000000000000000
        Ended 06fb2c01070203040000000000000000000000
        Ended 06fb2c01070203050000000000000000000000
        Ended 06fb2c01070203060000000000000000000000
        Leaving 07
        to a worker
        Welcome 0004fb1027fc905f01000003616461
        Welcome 0004fb1027fc905f01000103414243
        Approved 0103616461
        Start 02fb2c01070200013100fbd007fb0002fb000101fb0020fb580202010152010764656661756c7401fb10270103010a6e756d70793d3d322e31
        Start 02fb2c0107020001310101056e756d707900fbd007fb0002fb000101fb0020fb580202010152010764656661756c7401fb10270103010a6e756d70793d3d322e31
        Start 02fb2c010702000131020168fbd007fb0002fb000101fb0020fb580202010152010764656661756c7401fb10270103010a6e756d70793d3d322e31
        Start 02fb2c010702000131030175fbd007fb0002fb000101fb0020fb580202010152010764656661756c7401fb10270103010a6e756d70793d3d322e31
        Start 02fb2c01070201013b01032d4f33fbd007fb0002fb000101fb0020fb580202010152010764656661756c7401fb10270103010a6e756d70793d3d322e31
        Start 02fb2c010702020474727565fbd007fb0002fb000101fb0020fb580202010152010764656661756c7401fb10270103010a6e756d70793d3d322e31
        Locked 03fb2c0107020a6e756d70793d3d322e31
        Cancel 04fb2c010702
        Drop 05fb2c010702
        Stored 06fb2c010702
        Renewed 0709
        Closing 08013f
        bulk, to the manager
        Open 00(32 aa)fb2c010702
        Blob 01(32 bb)fc70110100
        Chunk 02026869
        bulk, to a worker
        Ready 00
        Received 01
        Refused 02013f
    "#]].assert_eq(&all.concat());
}

/// The samples above have to grow with the messages; these matches do not compile until they do.
#[test]
fn every_kind_of_message_has_golden_bytes() {
    let kind = |message: &ToManager| match message {
        ToManager::Join(_) => 0,
        ToManager::Heartbeat { .. } => 1,
        ToManager::Preparing { .. } => 2,
        ToManager::Locked { .. } => 3,
        ToManager::Started { .. } => 4,
        ToManager::LogPiece { .. } => 5,
        ToManager::Ended(_) => 6,
        ToManager::Leaving => 7,
    };
    assert_eq!(kinds(to_manager().iter().map(kind)), 8);
    let kind = |message: &ToWorker| match message {
        ToWorker::Welcome { .. } => 0,
        ToWorker::Approved { .. } => 1,
        ToWorker::Start { .. } => 2,
        ToWorker::Locked { .. } => 3,
        ToWorker::Cancel { .. } => 4,
        ToWorker::Drop { .. } => 5,
        ToWorker::Stored { .. } => 6,
        ToWorker::Renewed { .. } => 7,
        ToWorker::Closing { .. } => 8,
    };
    assert_eq!(kinds(to_worker().iter().map(kind)), 9);
    let kind = |message: &BulkToManager| match message {
        BulkToManager::Open { .. } => 0,
        BulkToManager::Blob(_) => 1,
        BulkToManager::Chunk(_) => 2,
    };
    assert_eq!(kinds(bulk_to_manager().iter().map(kind)), 3);
    let kind = |message: &BulkToWorker| match message {
        BulkToWorker::Ready => 0,
        BulkToWorker::Received => 1,
        BulkToWorker::Refused { .. } => 2,
    };
    assert_eq!(kinds(bulk_to_worker().iter().map(kind)), 3);
}

fn kinds(found: impl Iterator<Item = u8>) -> usize {
    found.collect::<std::collections::BTreeSet<u8>>().len()
}

#[test]
fn secrets_do_not_reach_a_log() {
    assert!(!format!("{:?}", join(None, Isolation::Full)).contains("170"));
    assert_eq!(format!("{:?}", WorkerKey([0xaa; 32])), "WorkerKey(…)");
}
