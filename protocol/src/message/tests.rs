//! The bytes of every message, so that none changes its form without a new version.

use expect_test::{ExpectFile, expect_file};

use super::{
    BulkToManager, BulkToWorker, Comeback, Enrol, EnrolAnswer, Join, PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN, Proof, ToManager, ToWorker,
};
use crate::id::{VoucherId, VoucherSecret, WorkerId};
use crate::resource::Isolation;
use crate::samples::{attempt, blob, capacity, ends, golden, load, pieces, specs};
use crate::task::{Ended, Outcome, WorkerFault};

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

fn enrols() -> Vec<Enrol> {
    let (id, secret) = (VoucherId(300), VoucherSecret([0xcc; 16]));
    let proofs = [
        Proof::Token { id, secret },
        Proof::Code { owner: Some("ada".to_owned()) },
        Proof::Code { owner: None },
    ];
    let enrol = |proof| Enrol { request: vec![0x30, 0], name: "Zoë's".to_owned(), proof };
    proofs.map(enrol).into()
}

fn enrol_answers() -> Vec<EnrolAnswer> {
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

fn to_manager() -> Vec<ToManager> {
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
    let disk = Outcome::Returned(WorkerFault::Disk { message: "?".to_owned() });
    messages.extend([
        ToManager::Ended(Box::new(Ended::empty(attempt(), disk))),
        ToManager::Leaving,
        ToManager::Renew { request: vec![0x30, 0] },
    ]);
    messages
}

fn to_worker() -> Vec<ToWorker> {
    let mut messages = vec![ToWorker::Welcome {
        worker: WorkerId(4),
        heartbeat_ms: 10_000,
        lease_ms: 90_000,
        owner: "ada".to_owned(),
    }];
    messages.extend(specs().into_iter().map(|spec| {
        let lock = Some("numpy==2.1".into());
        ToWorker::Start { attempt: attempt(), spec, gpus: vec![3], lock }
    }));
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
    vec![
        BulkToWorker::Ready,
        BulkToWorker::Received,
        BulkToWorker::Refused { reason: "?".to_owned() },
        BulkToWorker::Later { reason: "?".to_owned() },
    ]
}

/// If this fails, the wire has changed. Once a version has been let out, its golden bytes stay: copy
/// what changes to a module of that version, raise `PROTOCOL_VERSION`, and begin a directory for it.
#[test]
fn no_message_changes_without_a_new_version() {
    assert_eq!((PROTOCOL_VERSION_MIN, PROTOCOL_VERSION), (2, 3), "begin goldens/v4");
    let check = |file: ExpectFile, golden: String| file.assert_eq(&golden);
    check(expect_file!["../../goldens/v3/enrol.txt"], golden(&enrols()));
    check(expect_file!["../../goldens/v3/enrol_answer.txt"], golden(&enrol_answers()));
    check(expect_file!["../../goldens/v3/to_manager.txt"], golden(&to_manager()));
    check(expect_file!["../../goldens/v3/to_worker.txt"], golden(&to_worker()));
    check(expect_file!["../../goldens/v3/bulk_to_manager.txt"], golden(&bulk_to_manager()));
    check(expect_file!["../../goldens/v3/bulk_to_worker.txt"], golden(&bulk_to_worker()));
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
        ToManager::Renew { .. } => 8,
    };
    assert_eq!(kinds(to_manager().iter().map(kind)), 9);
    let kind = |message: &ToWorker| match message {
        ToWorker::Welcome { .. } => 0,
        ToWorker::Certificate { .. } => 1,
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
        BulkToWorker::Later { .. } => 3,
    };
    assert_eq!(kinds(bulk_to_worker().iter().map(kind)), 4);
    let kind = |message: &EnrolAnswer| match message {
        EnrolAnswer::Waiting { .. } => 0,
        EnrolAnswer::Enrolled { .. } => 1,
        EnrolAnswer::Refused { .. } => 2,
    };
    assert_eq!(kinds(enrol_answers().iter().map(kind)), 3);
    let kind = |message: &Enrol| match message.proof {
        Proof::Token { .. } => 0,
        Proof::Code { .. } => 1,
    };
    assert_eq!(kinds(enrols().iter().map(kind)), 2);
}

fn kinds(found: impl Iterator<Item = u8>) -> usize {
    found.collect::<std::collections::BTreeSet<u8>>().len()
}

#[test]
fn secrets_do_not_reach_a_log() {
    let token = &enrols()[0];
    assert!(!format!("{token:?}").contains("204"), "{token:?}");
    assert_eq!(format!("{:?}", VoucherSecret([0xcc; 16])), "VoucherSecret(…)");
}
