//! Workers of version 3 are in use: their bytes must stay as `goldens/v3` has them, for ever.

use std::sync::Arc;

use crate::frame::decode;
use crate::id::{AttemptId, WorkerId};
use crate::message::{self, Comeback};
use crate::resource::{Isolation, Needs};
use crate::samples::{
    attempt, blob, enrol_answers, enrols, golden, plain_specs, specs, to_manager,
};
use crate::task::{self, Packages, Program};

use super::{BulkToManager, BulkToWorker, TaskSpec, ToWorker, Work};

fn old_specs() -> Vec<TaskSpec> {
    let python = |packages| Work::Python { source: "1".to_owned(), packages };
    let works = [
        python(Packages::None),
        python(Packages::Names { requirements: vec!["numpy".to_owned()], requires_python: None }),
        python(Packages::Hashed { text: "h".to_owned() }),
        python(Packages::UvLock { text: "u".to_owned() }),
        Work::C { source: ";".to_owned(), flags: vec!["-O3".to_owned()] },
        Work::Shell { command: "true".to_owned() },
    ];
    let needs =
        Needs { cpu_millis: 2000, ram_mib: 512, disk_mib: 256, gpus: 1, gpu_memory_mib: 8192 };
    let spec = |work| TaskSpec {
        work,
        needs,
        time_limit_s: 600,
        isolation: Isolation::Docker,
        labels: vec!["R".to_owned()],
        image: Some("default".to_owned()),
        shared_tmp: true,
        tasks: 10_000,
    };
    works.map(spec).into()
}

fn start(spec: TaskSpec) -> ToWorker {
    let lock = Some("numpy==2.1".into());
    ToWorker::Start { attempt: attempt(), spec: Box::new(spec), gpus: vec![3], lock }
}

fn today(spec: Arc<task::TaskSpec>, index: u32) -> message::ToWorker {
    let lock = Some("numpy==2.1".into());
    message::ToWorker::Start { attempt: attempt(), index, spec, gpus: vec![3], lock }
}

fn to_worker() -> Vec<ToWorker> {
    let mut messages = vec![ToWorker::Welcome {
        worker: WorkerId(4),
        heartbeat_ms: 10_000,
        lease_ms: 90_000,
        owner: "ada".to_owned(),
    }];
    messages.extend(old_specs().into_iter().map(start));
    let closing = |comeback| ToWorker::Closing { reason: "?".to_owned(), comeback };
    messages.extend([
        ToWorker::Locked { attempt: attempt(), lock: "numpy==2.1".into() },
        ToWorker::Cancel { attempt: attempt() },
        ToWorker::Drop { attempt: attempt() },
        ToWorker::Stored { attempt: attempt() },
        ToWorker::Renewed { sequence: 9 },
        closing(Comeback::Later),
        closing(Comeback::Never),
        ToWorker::Certificate { certificate: vec![0x30, 0] },
    ]);
    messages
}

fn bulk_to_manager() -> Vec<BulkToManager> {
    vec![
        BulkToManager::Open { attempt: attempt() },
        BulkToManager::Blob(blob()),
        BulkToManager::Chunk(b"hi".to_vec()),
    ]
}

fn bulk_to_worker() -> Vec<BulkToWorker> {
    let reason = || "?".to_owned();
    vec![
        BulkToWorker::Ready,
        BulkToWorker::Received,
        BulkToWorker::Refused { reason: reason() },
        BulkToWorker::Later { reason: reason() },
    ]
}

#[test]
fn the_bytes_of_version_3_stay() {
    assert_eq!(golden(&enrols()), include_str!("../../goldens/v3/enrol.txt"));
    assert_eq!(golden(&enrol_answers()), include_str!("../../goldens/v3/enrol_answer.txt"));
    assert_eq!(golden(&to_manager()), include_str!("../../goldens/v3/to_manager.txt"));
    assert_eq!(golden(&to_worker()), include_str!("../../goldens/v3/to_worker.txt"));
    assert_eq!(golden(&bulk_to_manager()), include_str!("../../goldens/v3/bulk_to_manager.txt"));
    assert_eq!(golden(&bulk_to_worker()), include_str!("../../goldens/v3/bulk_to_worker.txt"));
}

/// The bytes of a line of golden bytes.
fn bytes(line: &str) -> Vec<u8> {
    let (_, digits) = line.split_once(' ').unwrap();
    let digits = digits.replace("(32 aa)", &"aa".repeat(32)).replace("(32 bb)", &"bb".repeat(32));
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[test]
fn all_that_such_a_worker_sends_is_understood_and_means_the_same() {
    for line in include_str!("../../goldens/v3/to_manager.txt").lines() {
        let today: message::ToManager = decode(&bytes(line)).unwrap();
        let words = format!("{today:?}");
        let name: String = words.chars().take_while(|c| c.is_alphanumeric()).collect();
        assert!(line.starts_with(&format!("{name} ")), "{line}: {words}");
    }
    let today = bulk_to_manager().into_iter().map(message::BulkToManager::from);
    let expected = [
        message::BulkToManager::Open { attempt: attempt() },
        message::BulkToManager::Blob(blob()),
        message::BulkToManager::Chunk(b"hi".to_vec()),
    ];
    assert!(today.eq(expected));
}

#[test]
fn all_that_such_a_worker_can_be_told_it_is_told() {
    use message::{BulkToWorker as BulkToday, ToWorker as Today};
    let (worker, owner) = (WorkerId(4), "ada".to_owned());
    let mut words = vec![Today::Welcome { worker, heartbeat_ms: 10_000, lease_ms: 90_000, owner }];
    words.extend(plain_specs().into_iter().map(|spec| today(spec, attempt().task.index)));
    let closing = |comeback| Today::Closing { reason: "?".to_owned(), comeback };
    words.extend([
        Today::Locked { attempt: attempt(), lock: "numpy==2.1".into() },
        Today::Cancel { attempt: attempt() },
        Today::Drop { attempt: attempt() },
        Today::Stored { attempt: attempt() },
        Today::Renewed { sequence: 9 },
        closing(Comeback::Later),
        closing(Comeback::Never),
        Today::Certificate { certificate: vec![0x30, 0] },
    ]);
    let told: Vec<_> = words.into_iter().map(|word| ToWorker::from_today(word).unwrap()).collect();
    assert_eq!(told, to_worker());
    let reason = || "?".to_owned();
    let bulk = [
        BulkToday::Ready,
        BulkToday::Received,
        BulkToday::Refused { reason: reason() },
        BulkToday::Later { reason: reason() },
    ];
    let told: Vec<_> =
        bulk.into_iter().map(|word| BulkToWorker::from_today(word).unwrap()).collect();
    assert_eq!(told, bulk_to_worker());
    assert_eq!(BulkToWorker::from_today(BulkToday::Chunk(b"hi".to_vec())), None);
}

/// It would run something else than was asked for, and be paid for it.
#[test]
fn what_such_a_worker_could_not_carry_out_it_is_never_told() {
    let AttemptId { task, .. } = attempt();
    let plain = plain_specs().remove(0);
    assert_eq!(ToWorker::from_today(today(Arc::clone(&plain), task.index + 1)), None);
    let changes: [fn(&mut task::TaskSpec); 6] = [
        |spec| spec.arguments.push(String::new()),
        |spec| spec.inputs = Some(blob()),
        |spec| spec.lines = Some("a".to_owned()),
        |spec| spec.outputs.push("a".to_owned()),
        |spec| spec.warn_s = 1,
        |spec| spec.work = task::Work::Shell { program: Program::Entry("a".to_owned()) },
    ];
    for change in changes {
        let mut spec = task::TaskSpec::clone(&plain);
        change(&mut spec);
        assert_eq!(ToWorker::from_today(today(Arc::new(spec), task.index)), None);
    }
    assert!(specs().len() > plain_specs().len());
    for spec in specs().into_iter().skip(plain_specs().len()) {
        assert_eq!(ToWorker::from_today(today(spec, task.index)), None);
    }
}
