//! Workers of version 4 are in use: their bytes must stay as `goldens/v4` has them, for ever.

use crate::frame::decode;
use crate::id::WorkerId;
use crate::message::{self, Comeback};
use crate::resource::{Isolation, Speed};
use crate::rules::{Phase, Rules};
use crate::samples::{
    self, attempt, enrol_answers, enrols, golden, saved, shares, specs, while_it_runs,
};
use crate::task;

use super::{Ended, Join, TaskSpec, ToManager, ToWorker};

/// A message of today that version 4 has words for, in those words.
fn old(message: message::ToManager) -> ToManager {
    use message::ToManager as Today;
    match message {
        Today::Join(join) => ToManager::Join(Box::new(Join {
            name: join.name,
            capacity: join.capacity,
            isolation: join.isolation,
            isolation_notes: join.isolation_notes,
            labels: join.labels,
            attempts: join.attempts,
        })),
        Today::Heartbeat { sequence, attempts, load } => {
            ToManager::Heartbeat { sequence, attempts, load }
        }
        Today::Preparing { attempt, step } => ToManager::Preparing { attempt, step },
        Today::Locked { attempt, lock } => ToManager::Locked { attempt, lock },
        Today::Started { attempt } => ToManager::Started { attempt },
        Today::LogPiece { attempt, stream, offset_bytes, bytes } => {
            ToManager::LogPiece { attempt, stream, offset_bytes, bytes }
        }
        Today::Ended(ended) => ToManager::Ended(Box::new(Ended {
            attempt: ended.attempt,
            outcome: ended.outcome,
            usage: ended.usage,
            stdout: ended.stdout,
            stderr: ended.stderr,
            outputs: ended.outputs,
            left_behind: ended.left_behind,
        })),
        Today::Leaving => ToManager::Leaving,
        Today::Renew { request } => ToManager::Renew { request },
        Today::Checkpoint { .. } | Today::Shares(_) => panic!("version 4 has no words for it"),
    }
}

/// What such workers send, in the words of today, in the order of its golden bytes.
fn today_to_manager() -> Vec<message::ToManager> {
    let [open, ..] = shares();
    let isolations = [Isolation::Full, Isolation::Docker, Isolation::Restricted, Isolation::None];
    let joins = isolations.map(|isolation| samples::join(isolation, open.clone()));
    let is_of_inputs = |ended: &task::Ended| {
        use task::{Failure, Outcome, WorkerFault};
        matches!(
            ended.outcome,
            Outcome::Failed(Failure::Inputs { .. }) | Outcome::Returned(WorkerFault::Inputs { .. })
        )
    };
    let (last, ends): (Vec<_>, Vec<_>) = samples::ends().into_iter().partition(is_of_inputs);
    let ended = |ended| message::ToManager::Ended(Box::new(ended));
    let over = [message::ToManager::Leaving, message::ToManager::Renew { request: vec![0x30, 0] }];
    let joins = joins.into_iter().map(|join| message::ToManager::Join(Box::new(join)));
    let ends = ends.into_iter().map(ended).chain(over).chain(last.into_iter().map(ended));
    joins.chain(while_it_runs()).chain(ends).collect()
}

fn to_manager() -> Vec<ToManager> {
    today_to_manager().into_iter().map(old).collect()
}

/// What such workers are told, in the words of today.
fn today_to_worker() -> Vec<message::ToWorker> {
    use message::ToWorker as Today;
    let mut messages = vec![Today::Welcome {
        worker: WorkerId(4),
        heartbeat_ms: 10_000,
        lease_ms: 90_000,
        owner: "ada".to_owned(),
        rules: Box::new(Rules::default()),
        earned_micros: 7,
    }];
    messages.extend(specs().into_iter().map(|spec| Today::Start {
        attempt: attempt(),
        index: 300,
        spec,
        gpus: vec![3],
        lock: Some("numpy==2.1".into()),
        checkpoint: Some(saved()),
        whose: "bob".to_owned(),
        name: "fit".to_owned(),
    }));
    let closing = |comeback| Today::Closing { reason: "?".to_owned(), comeback };
    messages.extend([
        Today::Locked { attempt: attempt(), lock: "numpy==2.1".into() },
        Today::Cancel { attempt: attempt() },
        Today::Drop { attempt: attempt() },
        Today::Stored { attempt: attempt() },
        Today::Renewed { sequence: 9 },
        closing(Comeback::Later),
        closing(Comeback::Never),
        Today::Certificate { certificate: vec![0x30, 0] },
    ]);
    messages
}

fn to_worker() -> Vec<ToWorker> {
    let start = |spec: TaskSpec| ToWorker::Start {
        attempt: attempt(),
        index: 300,
        spec: Box::new(spec),
        gpus: vec![3],
        lock: Some("numpy==2.1".into()),
    };
    let mut messages = vec![ToWorker::Welcome {
        worker: WorkerId(4),
        heartbeat_ms: 10_000,
        lease_ms: 90_000,
        owner: "ada".to_owned(),
    }];
    messages.extend(specs().into_iter().map(|spec| start((&*spec).into())));
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

#[test]
fn the_bytes_of_version_4_stay() {
    assert_eq!(golden(&enrols()), include_str!("../../goldens/v4/enrol.txt"));
    assert_eq!(golden(&enrol_answers()), include_str!("../../goldens/v4/enrol_answer.txt"));
    assert_eq!(golden(&to_manager()), include_str!("../../goldens/v4/to_manager.txt"));
    assert_eq!(golden(&to_worker()), include_str!("../../goldens/v4/to_worker.txt"));
}

/// Such workers' bulk connections are read as today's are: what their bytes mean has not changed.
#[test]
fn bulk_messages_are_still_those_of_version_4() {
    let (four, five) = (
        include_str!("../../goldens/v4/bulk_to_manager.txt"),
        include_str!("../../goldens/v5/bulk_to_manager.txt"),
    );
    assert_eq!(four, five);
    let (four, five) = (
        include_str!("../../goldens/v4/bulk_to_worker.txt"),
        include_str!("../../goldens/v5/bulk_to_worker.txt"),
    );
    assert_eq!(four, five);
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
    let lines: Vec<_> = include_str!("../../goldens/v4/to_manager.txt").lines().collect();
    let expected = today_to_manager();
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.into_iter().zip(expected) {
        let found = message::ToManager::from(decode::<ToManager>(&bytes(line)).unwrap());
        match (found, expected) {
            (message::ToManager::Join(mut found), message::ToManager::Join(expected)) => {
                assert_eq!(found.shares.phase, Phase::Open);
                assert_eq!(found.speed, Speed { core_permille: 0, all_permille: 0 });
                (found.speed, found.shares) = (expected.speed, expected.shares.clone());
                assert_eq!(found, expected);
            }
            (found, expected) => assert_eq!(found, expected),
        }
    }
}

#[test]
fn all_that_such_a_worker_can_be_told_it_is_told() {
    let told: Vec<_> =
        today_to_worker().into_iter().map(|word| ToWorker::from_today(word).unwrap()).collect();
    assert_eq!(told, to_worker());
}

#[test]
fn what_such_a_worker_has_no_words_for_it_is_not_told() {
    let rules = message::ToWorker::Rules(Box::default());
    assert_eq!(ToWorker::from_today(rules), None);
    assert_eq!(ToWorker::from_today(message::ToWorker::Earned { micros: 7 }), None);
}
