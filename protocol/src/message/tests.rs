//! The bytes of every message, so that none changes its form without a new version.

use std::sync::Arc;

use expect_test::{ExpectFile, expect_file};

use super::{
    BulkToManager, BulkToWorker, Comeback, Enrol, EnrolAnswer, PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN, Proof, ToManager, ToWorker,
};
use crate::id::{VoucherSecret, WorkerId};
use crate::resource::Isolation;
use crate::rules::Shares;
use crate::samples::{self, attempt, blob, enrol_answers, enrols, golden, saved, specs};
use crate::task::{Ended, Outcome, Saved, TaskSpec, WorkerFault};

fn to_manager() -> Vec<ToManager> {
    let [open, frozen, closed] = samples::shares();
    let join = |isolation, shares: &Shares| {
        ToManager::Join(Box::new(samples::join(isolation, shares.clone())))
    };
    let ended = |ended| ToManager::Ended(Box::new(ended));
    let leaving = Outcome::Returned(WorkerFault::Leaving);
    let handed_back = Ended { checkpoint: Some(saved()), ..Ended::empty(attempt(), leaving) };
    let mut messages = vec![
        join(Isolation::Full, &open),
        join(Isolation::Docker, &frozen),
        join(Isolation::Restricted, &closed),
        join(Isolation::None, &open),
    ];
    messages.extend(samples::while_it_runs());
    messages.push(ToManager::Checkpoint { attempt: attempt(), saved: saved() });
    messages.extend([open, frozen, closed].map(|shares| ToManager::Shares(Box::new(shares))));
    messages.extend(samples::ends().into_iter().map(ended));
    messages.extend([
        ended(handed_back),
        ToManager::Leaving,
        ToManager::Renew { request: vec![0x30, 0] },
    ]);
    messages
}

fn start(spec: Arc<TaskSpec>, checkpoint: Option<Saved>) -> ToWorker {
    ToWorker::Start {
        attempt: attempt(),
        index: 300,
        spec,
        gpus: vec![3],
        lock: Some("numpy==2.1".into()),
        checkpoint,
        whose: "bob".to_owned(),
        name: "fit".to_owned(),
    }
}

fn to_worker() -> Vec<ToWorker> {
    let welcome = |rules| ToWorker::Welcome {
        worker: WorkerId(4),
        heartbeat_ms: 10_000,
        lease_ms: 90_000,
        owner: "ada".to_owned(),
        rules: Box::new(rules),
        earned_micros: -5,
    };
    let mut messages: Vec<_> = samples::rules().map(welcome).into();
    messages.extend(samples::rules().map(|rules| ToWorker::Rules(Box::new(rules))));
    messages.push(ToWorker::Earned { micros: 70_000 });
    messages.extend(specs().into_iter().map(|spec| start(spec, None)));
    messages.extend(specs().into_iter().take(1).map(|spec| start(spec, Some(saved()))));
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
        BulkToManager::Fetch { blob: blob(), offset_bytes: 65_536 },
    ]
}

fn bulk_to_worker() -> Vec<BulkToWorker> {
    vec![
        BulkToWorker::Ready,
        BulkToWorker::Received,
        BulkToWorker::Chunk(b"hi".to_vec()),
        BulkToWorker::Refused { reason: "?".to_owned() },
        BulkToWorker::Later { reason: "?".to_owned() },
    ]
}

/// If this fails, the wire has changed. Once a version has been let out, its golden bytes stay: copy
/// what changes to a module of that version, raise `PROTOCOL_VERSION`, and begin a directory for it.
#[test]
fn no_message_changes_without_a_new_version() {
    assert_eq!((PROTOCOL_VERSION_MIN, PROTOCOL_VERSION), (4, 5), "begin goldens/v6");
    let check = |file: ExpectFile, golden: String| file.assert_eq(&golden);
    check(expect_file!["../../goldens/v5/enrol.txt"], golden(&enrols()));
    check(expect_file!["../../goldens/v5/enrol_answer.txt"], golden(&enrol_answers()));
    check(expect_file!["../../goldens/v5/to_manager.txt"], golden(&to_manager()));
    check(expect_file!["../../goldens/v5/to_worker.txt"], golden(&to_worker()));
    check(expect_file!["../../goldens/v5/bulk_to_manager.txt"], golden(&bulk_to_manager()));
    check(expect_file!["../../goldens/v5/bulk_to_worker.txt"], golden(&bulk_to_worker()));
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
        ToManager::Checkpoint { .. } => 9,
        ToManager::Shares(_) => 10,
    };
    assert_eq!(kinds(to_manager().iter().map(kind)), 11);
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
        ToWorker::Rules(_) => 9,
        ToWorker::Earned { .. } => 10,
    };
    assert_eq!(kinds(to_worker().iter().map(kind)), 11);
    let kind = |message: &BulkToManager| match message {
        BulkToManager::Open { .. } => 0,
        BulkToManager::Blob(_) => 1,
        BulkToManager::Chunk(_) => 2,
        BulkToManager::Fetch { .. } => 3,
    };
    assert_eq!(kinds(bulk_to_manager().iter().map(kind)), 4);
    let kind = |message: &BulkToWorker| match message {
        BulkToWorker::Ready => 0,
        BulkToWorker::Received => 1,
        BulkToWorker::Refused { .. } => 2,
        BulkToWorker::Later { .. } => 3,
        BulkToWorker::Chunk(_) => 4,
    };
    assert_eq!(kinds(bulk_to_worker().iter().map(kind)), 5);
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
