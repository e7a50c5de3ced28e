//! Workers of version 2 are in use: their bytes must stay as `goldens/v2` has them, for ever.

use crate::frame::decode;
use crate::id::WorkerId;
use crate::message;
use crate::resource::Isolation;
use crate::samples::{attempt, blob, capacity, ends, golden, load, pieces, specs};

use super::{Approval, BulkToManager, BulkToWorker, Join, ToManager, ToWorker};

fn join(owner: Option<&str>, isolation: Isolation) -> ToManager {
    ToManager::Join(Box::new(Join {
        key: [0xaa; 32],
        name: "Zoë's".to_owned(),
        owner: owner.map(str::to_owned),
        capacity: capacity(),
        isolation,
        isolation_notes: vec!["no swap".to_owned()],
        labels: vec!["R".to_owned(), "image:*".to_owned()],
        attempts: vec![attempt()],
    }))
}

fn to_manager() -> Vec<ToManager> {
    let mut messages = vec![
        join(Some("ada"), Isolation::Full),
        join(None, Isolation::Docker),
        join(None, Isolation::Restricted),
        join(None, Isolation::None),
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
    messages.push(ToManager::Leaving);
    messages
}

fn to_worker() -> Vec<ToWorker> {
    let welcome = |approval| ToWorker::Welcome {
        worker: WorkerId(4),
        heartbeat_ms: 10_000,
        lease_ms: 90_000,
        approval,
    };
    let mut messages = vec![
        welcome(Approval::Owned { by: "ada".to_owned() }),
        welcome(Approval::Waiting { code: "ABC".to_owned() }),
        ToWorker::Approved { owner: "ada".to_owned() },
    ];
    messages.extend(specs().into_iter().map(|spec| {
        let lock = Some("numpy==2.1".into());
        ToWorker::Start { attempt: attempt(), spec, gpus: vec![3], lock }
    }));
    messages.extend([
        ToWorker::Locked { attempt: attempt(), lock: "numpy==2.1".into() },
        ToWorker::Cancel { attempt: attempt() },
        ToWorker::Drop { attempt: attempt() },
        ToWorker::Stored { attempt: attempt() },
        ToWorker::Renewed { sequence: 9 },
        ToWorker::Closing { reason: "?".to_owned() },
    ]);
    messages
}

fn bulk_to_manager() -> Vec<BulkToManager> {
    vec![
        BulkToManager::Open { key: [0xaa; 32], attempt: attempt() },
        BulkToManager::Blob(blob()),
        BulkToManager::Chunk(b"hi".to_vec()),
    ]
}

fn bulk_to_worker() -> Vec<BulkToWorker> {
    let reason = "?".to_owned();
    vec![BulkToWorker::Ready, BulkToWorker::Received, BulkToWorker::Refused { reason }]
}

#[test]
fn the_bytes_of_version_2_stay() {
    assert_eq!(golden(&to_manager()), include_str!("../../goldens/v2/to_manager.txt"));
    assert_eq!(golden(&to_worker()), include_str!("../../goldens/v2/to_worker.txt"));
    assert_eq!(golden(&bulk_to_manager()), include_str!("../../goldens/v2/bulk_to_manager.txt"));
    assert_eq!(golden(&bulk_to_worker()), include_str!("../../goldens/v2/bulk_to_worker.txt"));
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
    for line in include_str!("../../goldens/v2/to_manager.txt").lines() {
        let old: ToManager = decode(&bytes(line)).unwrap();
        let today = message::ToManager::from(old);
        let words = format!("{today:?}");
        let name: String = words.chars().take_while(|c| c.is_alphanumeric()).collect();
        assert!(line.starts_with(&format!("{name} ")), "{line}: {words}");
    }
    let message::ToManager::Join(join) = message::ToManager::from(join(None, Isolation::Full))
    else {
        panic!("a join stays a join")
    };
    assert_eq!(
        (join.name.as_str(), join.capacity, join.attempts),
        ("Zoë's", capacity(), vec![attempt()])
    );
    assert_eq!(join.labels, ["R", "image:*"]);
    assert_eq!(join.isolation_notes, ["no swap"]);
    for (end, old) in ends().into_iter().zip(ends()) {
        let today = message::ToManager::from(ToManager::Ended(Box::new(old)));
        assert_eq!(today, message::ToManager::Ended(Box::new(end)));
    }
    for line in include_str!("../../goldens/v2/bulk_to_manager.txt").lines() {
        let old: BulkToManager = decode(&bytes(line)).unwrap();
        drop(message::BulkToManager::from(old));
    }
}

#[test]
fn all_that_such_a_worker_can_be_told_it_is_told() {
    use message::ToWorker as Today;
    let (worker, owner) = (WorkerId(4), "ada".to_owned());
    let told = |today| ToWorker::from_today(today);
    assert_eq!(
        told(Today::Welcome { worker, heartbeat_ms: 10_000, lease_ms: 90_000, owner }),
        Some(to_worker().remove(0))
    );
    let (reason, comeback) = ("?".to_owned(), message::Comeback::Never);
    assert_eq!(
        told(Today::Closing { reason: reason.clone(), comeback }),
        Some(ToWorker::Closing { reason: reason.clone() })
    );
    assert_eq!(told(Today::Certificate { certificate: Vec::new() }), None);
    assert_eq!(BulkToWorker::from_today(message::BulkToWorker::Later { reason }), None);
}
