//! Who is let in and who is not, over real sockets.

mod doors;
mod greedy;
mod joining;

use std::time::{Duration, SystemTime};

use campusgrid_identity::authority::{Authority, MACHINE_LIFE};
use campusgrid_identity::machine::{Identity, MachineKey, Term, is_certificate_refused, key_hash};
use campusgrid_identity::request::ProvenKey;
use campusgrid_protocol::hello::{self, ConnectionKind};
use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::message::{BulkToManager, BulkToWorker, Comeback, ToManager, ToWorker};
use campusgrid_protocol::task::{BlobRef, Ended, Outcome, Output};

use crate::grid::Grid;
use crate::grid::fake::{FakeWorker, closing, introduce, introduction};
use crate::grid::line::{Line, Papers, by, enrol};

/// The manager's own authority, in the hands of the test.
fn authority(grid: &Grid) -> Authority {
    Authority::load_or_make(&grid.manager_dir().join("tls"), now()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "certificates are judged by real time")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A certificate for these papers' key, whoever issues it and when.
fn certificate(authority: &Authority, papers: &Papers, at: SystemTime) -> Vec<u8> {
    let request = papers.key.request("fake").unwrap();
    let key = ProvenKey::from_request(&request).unwrap();
    authority.issue(&key, "fake", at, MACHINE_LIFE).unwrap().der
}

/// Blobs of an attempt: what the manager says first.
fn offer(port: u16, papers: &Papers, attempt: &str) -> (Line, BulkToWorker) {
    let mut line = Line::open(port, papers, ConnectionKind::Bulk).unwrap();
    line.send(&BulkToManager::Open { attempt: attempt.parse().unwrap() });
    let answer = line.receive();
    (line, answer)
}

fn blob(content: &[u8]) -> BlobRef {
    let hash = BlobHash(*blake3::hash(content).as_bytes());
    BlobRef { hash, size_bytes: content.len() as u64 }
}

#[test]
fn a_certificate_out_of_date_or_of_another_manager_lets_nobody_in() {
    let (grid, other) = (Grid::start("lapsed"), Grid::start("foreign"));
    let bob = grid.register("bob");
    other.register("bob");
    let papers = Papers::of(&grid, &bob, "fake");
    let over = now() - MACHINE_LIFE - Duration::from_secs(60);
    for (authority, at, good) in [
        (authority(&grid), now(), true),
        (authority(&grid), over, false),
        (authority(&grid), now() + MACHINE_LIFE, false),
        (authority(&other), now(), false),
    ] {
        let certificate = certificate(&authority, &papers, at);
        let identity = Identity { certificate: &certificate, key: &papers.key };
        // TLS 1.3 is done on this side before the manager has looked at the certificate.
        let mut line = Line::dial(grid.port, papers.trust(), Some(identity)).unwrap();
        match line.greet(&hello::from_worker(ConnectionKind::Control)) {
            Ok(_) => assert!(good),
            Err(error) => assert!(!good && is_certificate_refused(&error), "{error:?}"),
        }
    }
}

#[test]
fn without_a_certificate_there_is_no_work_and_no_upload() {
    let grid = Grid::start("nobody");
    let fingerprint = grid.fingerprint(&grid.register("bob"));
    let trust = campusgrid_identity::machine::Trust::Pinned(fingerprint);
    let words = "a certificate is needed for this: the machine has to join first";
    let mut control = Line::dial(grid.port, trust, None).unwrap();
    control.greet(&hello::from_worker(ConnectionKind::Control)).unwrap();
    assert_eq!(closing(control.receive()), (words.to_owned(), Comeback::Later));
    assert!(control.is_closed());
    let mut bulk = Line::dial(grid.port, trust, None).unwrap();
    bulk.greet(&hello::from_worker(ConnectionKind::Bulk)).unwrap();
    assert_eq!(bulk.receive::<BulkToWorker>(), BulkToWorker::Later { reason: words.to_owned() });
    assert!(bulk.is_closed());
}

#[test]
fn a_machine_that_returns_is_the_same_and_one_that_was_removed_does_not() {
    let mut grid = Grid::start("removed");
    grid.register("operator");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    grid.kill_manager();
    grid.start_manager();
    // The papers' number is looked at with each welcome.
    let mut worker = worker.reconnect(grid.port, introduction(1));
    let number = worker.papers.worker;
    grid.submit(&ada, "true");
    assert!(matches!(worker.receive(), ToWorker::Start { .. }));

    assert_eq!(grid.delete(&ada, &format!("workers/{number}")), 404);
    assert_eq!(grid.delete(&bob, &format!("workers/{number}")), 204);
    let mut last = worker.receive();
    if matches!(last, ToWorker::Drop { .. }) {
        last = worker.receive(); // What ran there runs elsewhere.
    }
    let (reason, comeback) = closing(last);
    assert_eq!(comeback, Comeback::Never, "{reason}");
    assert!(worker.line.is_closed());

    // Its certificate is in date still.
    let FakeWorker { papers, .. } = worker;
    let mut line = introduce(grid.port, &papers, introduction(1));
    let (reason, comeback) = closing(line.receive());
    assert_eq!(comeback, Comeback::Never, "{reason}");
    assert!(line.is_closed());
    let (_, answer) = offer(grid.port, &papers, "1.0#1");
    assert!(matches!(answer, BulkToWorker::Later { .. } | BulkToWorker::Refused { .. }));

    // Whoever has a token may bring it back, as a new machine.
    let token = grid.join_token(&ada);
    let again = joining::enrolled(&grid, &enrol(&papers.key, "fake-1", by(&token)));
    assert_eq!(again.owner, "ada");
    assert!(again.worker > number);
    let papers = Papers { certificate: again.certificate, worker: again.worker, ..papers };
    assert_eq!(FakeWorker::connect(grid.port, papers, introduction(1)).1, "ada");
}

#[test]
fn of_two_sessions_of_a_machine_the_newer_stays() {
    let grid = Grid::start("twice");
    let bob = grid.register("bob");
    let mut older = FakeWorker::join_for(&grid, &bob, introduction(1));
    let mut newer = introduce(grid.port, &older.papers, introduction(1));
    assert!(matches!(newer.receive(), ToWorker::Welcome { .. }));
    let (reason, comeback) = closing(older.receive());
    assert_eq!(comeback, Comeback::Never, "{reason}");
    assert!(older.line.is_closed());
    grid.submit(&bob, "true");
    assert!(matches!(newer.receive(), ToWorker::Start { .. }));
}

#[test]
fn a_certificate_is_renewed_for_its_own_key_only() {
    let grid = Grid::start("renewal");
    let bob = grid.register("bob");
    let mut worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    let request = worker.papers.key.request("whatever").unwrap();
    worker.send(&ToManager::Renew { request });
    let message = worker.receive();
    let ToWorker::Certificate { certificate } = message else { panic!("{message:?}") };
    assert_eq!(key_hash(&certificate).unwrap(), worker.papers.key.hash());
    let terms = [&worker.papers.certificate, &certificate].map(|der| Term::of(der).unwrap());
    assert!(terms[1].until >= terms[0].until);

    let FakeWorker { papers, .. } = worker;
    let papers = Papers { certificate, ..papers };
    let (mut worker, _) = FakeWorker::connect(grid.port, papers, introduction(1));
    let request = MachineKey::make().unwrap().request("fake-1").unwrap();
    worker.send(&ToManager::Renew { request });
    let words = "the worker sent a renewal for another key".to_owned();
    assert_eq!(closing(worker.receive()), (words, Comeback::Later));
}

#[test]
fn who_does_not_renew_is_let_go_and_who_does_stays() {
    let grid = Grid::start_with("life", &[("CAMPUSGRID_MANAGER_CERTIFICATE_LIFE_S", "600")]);
    let bob = grid.register("bob");
    let authority = authority(&grid);
    let connect = |number| {
        let papers = Papers::of(&grid, &bob, "fake");
        // A tenth more: it is good before it was made.
        assert_eq!(life(&papers.certificate), Duration::from_secs(660));
        let request = papers.key.request("fake").unwrap();
        let key = ProvenKey::from_request(&request).unwrap();
        let short = authority.issue(&key, "fake", now(), Duration::from_secs(3)).unwrap().der;
        let papers = Papers { certificate: short, ..papers };
        FakeWorker::connect(grid.port, papers, introduction(number)).0
    };
    let (mut renewing, mut lazy) = (connect(1), connect(2));
    let request = renewing.papers.key.request("fake").unwrap();
    renewing.send(&ToManager::Renew { request });
    let message = renewing.receive();
    let ToWorker::Certificate { certificate } = message else { panic!("{message:?}") };
    assert_eq!(life(&certificate), Duration::from_secs(660));

    let words = "the machine's certificate is out of date".to_owned();
    assert_eq!(closing(lazy.receive()), (words, Comeback::Later));
    assert!(lazy.line.is_closed());
    let attempt = "9.0#1".parse().unwrap();
    renewing.send(&ToManager::Locked { attempt, lock: String::new() });
    assert_eq!(renewing.receive(), ToWorker::Drop { attempt }, "it is listened to");
}

fn life(certificate: &[u8]) -> Duration {
    let term = Term::of(certificate).unwrap();
    term.until.duration_since(term.from).unwrap()
}

#[test]
fn what_an_attempt_leaves_is_bounded_by_what_it_was_given() {
    let grid = Grid::start("budget");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    let mut other = FakeWorker::join_for(&grid, &bob, introduction(2));
    other.send(&ToManager::Leaving);
    let body = serde_json::json!({"kind": "shell", "source": "true", "disk_mib": 64});
    let (status, answer) = grid.post(&ada, "jobs", &body);
    assert_eq!(status, 201, "{answer}");
    let message = worker.receive();
    let ToWorker::Start { attempt, .. } = message else { panic!("{message:?}") };
    let attempt_text = attempt.to_string();

    let refused = |answer: &BulkToWorker| matches!(answer, BulkToWorker::Refused { .. });
    assert!(refused(&offer(grid.port, &other.papers, &attempt_text).1), "another's attempt");
    assert!(refused(&offer(grid.port, &worker.papers, "77.0#1").1), "no attempt");

    let (mut line, answer) = offer(grid.port, &worker.papers, &attempt_text);
    assert_eq!(answer, BulkToWorker::Ready);
    let content = b"left behind";
    line.send(&BulkToManager::Blob(blob(content)));
    assert_eq!(line.receive::<BulkToWorker>(), BulkToWorker::Ready);
    line.send(&BulkToManager::Chunk(content.to_vec()));
    assert_eq!(line.receive::<BulkToWorker>(), BulkToWorker::Received);
    // 64 MiB of scratch space, two checkpoints of it, and two logs of 64 MiB each at most.
    let large = BlobRef { hash: BlobHash([1; 32]), size_bytes: 321 << 20 };
    line.send(&BulkToManager::Blob(large));
    assert!(refused(&line.receive()));
    assert!(line.is_closed());

    let output = Output { path: "file".to_owned(), blob: blob(content) };
    let end = Ended { outputs: vec![output], ..Ended::empty(attempt, Outcome::Succeeded) };
    worker.send(&ToManager::Ended(Box::new(end)));
    assert_eq!(worker.receive(), ToWorker::Stored { attempt });
    let ended = grid.ended(&ada, attempt.task.job.0);
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(grid.text(&ada, "jobs/1/outputs/0/file"), "left behind");
    assert!(refused(&offer(grid.port, &worker.papers, &attempt_text).1), "it is over");
}
