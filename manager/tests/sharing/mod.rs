//! What machines and their owners say of sharing, and what comes of it.

use campusgrid_protocol::message::{Join, ToManager, ToWorker};
use campusgrid_protocol::rules::{ByHand, Phase, Rules, Wish};
use campusgrid_protocol::task::{Ended, Outcome, WorkerFault};
use serde_json::json;

use crate::grid::fake::{FakeWorker, introduce, introduction, shares};
use crate::grid::{Grid, User, until};

fn put_rules(grid: &Grid, owner: &User, worker: u64, body: &serde_json::Value) {
    let (status, answer) = grid.put(owner, &format!("workers/{worker}/rules"), body);
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn a_machine_that_is_not_shared_gets_nothing_until_it_is() {
    let grid = Grid::start("closed");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let join = Join { shares: shares(Phase::Closed, "on battery since 14:02"), ..introduction(1) };
    let mut worker = FakeWorker::join_for(&grid, &bob, join);
    let job = grid.submit(&ada, "true");
    let attempt = "1.0#1".parse().unwrap();
    worker.beat(&[]);
    assert_eq!(worker.line.receive::<ToWorker>(), ToWorker::Renewed { sequence: 1 });
    let number = worker.papers.worker;
    let shown = |user: &User| grid.get(user, &format!("workers/{number}")).1;
    until("its owner sees why", || shown(&bob)["why"] == "on battery since 14:02");

    worker.send(&ToManager::Shares(Box::new(shares(Phase::Open, ""))));
    assert!(matches!(worker.receive(), ToWorker::Start { .. }));
    worker.send(&ToManager::Started { attempt });
    // It stands still, and keeps its lease.
    worker.send(&ToManager::Shares(Box::new(shares(Phase::Frozen, "in use"))));
    assert_eq!(worker.until_renewed(2, attempt), []);
    let later = grid.submit(&ada, "true");
    assert_eq!(worker.until_renewed(3, attempt), []);
    worker.send(&ToManager::Shares(Box::new(shares(Phase::Open, ""))));
    worker.send(&ToManager::Ended(Box::new(Ended::empty(attempt, Outcome::Succeeded))));
    let mut told = vec![worker.receive(), worker.receive()];
    told.retain(|message| *message != ToWorker::Stored { attempt });
    let [ToWorker::Start { attempt, .. }] = told[..] else { panic!("{told:?}") };
    assert_eq!(grid.ended(&ada, job)["state"], "succeeded");
    worker.send(&ToManager::Ended(Box::new(Ended::empty(attempt, Outcome::Succeeded))));
    assert_eq!(grid.ended(&ada, later)["state"], "succeeded");
    grid.fsck();
}

#[test]
fn what_the_owner_wants_the_machine_is_told_at_once_and_whenever_it_returns() {
    let grid = Grid::start("rules");
    let bob = grid.register("bob");
    let worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    let mut worker = worker;
    let body = json!({"when": {"idle_minutes": 7}, "limits": {"at_once": 1}});
    put_rules(&grid, &bob, worker.papers.worker, &body);
    let expected: Rules = serde_json::from_value(body).unwrap();
    assert_eq!(worker.receive(), ToWorker::Rules(Box::new(expected.clone())));

    let mut line = introduce(grid.port, &worker.papers, introduction(1));
    let welcome = line.receive();
    let ToWorker::Welcome { rules, earned_micros, .. } = welcome else { panic!("{welcome:?}") };
    assert_eq!((*rules, earned_micros), (expected, 0));
}

#[test]
fn a_machine_is_told_what_it_has_earned() {
    let grid = Grid::start("earned");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    let job = grid.submit(&ada, "true");
    let message = worker.receive();
    let ToWorker::Start { attempt, .. } = message else { panic!("{message:?}") };
    worker.send(&ToManager::Started { attempt });
    worker.send(&ToManager::Ended(Box::new(Ended::empty(attempt, Outcome::Succeeded))));
    let earned = worker.earned();
    let charged = grid.ended(&ada, job)["charged_micros"].as_i64().unwrap();
    assert_eq!(earned, charged);
    let mut line = introduce(grid.port, &worker.papers, introduction(1));
    let welcome = line.receive();
    let ToWorker::Welcome { earned_micros, .. } = welcome else { panic!("{welcome:?}") };
    assert_eq!(earned_micros, charged);
}

#[test]
fn a_machine_that_is_taken_out_hands_over_whether_or_not_anybody_waits_for_it() {
    let grid = Grid::start("handover");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let join = Join { shares: shares(Phase::Open, ""), ..introduction(1) };
    let mut worker = FakeWorker::join_for(&grid, &bob, join);
    let job = grid.submit(&ada, "true");
    let message = worker.receive();
    let ToWorker::Start { attempt, .. } = message else { panic!("{message:?}") };
    worker.send(&ToManager::Started { attempt });
    let path = format!("workers/{}", worker.papers.worker);
    until("it is known to run it", || grid.get(&bob, &path).1["running"] == 1);
    grid.delete_and_leave(&bob, &path);
    let message = worker.receive();
    let ToWorker::Rules(rules) = message else { panic!("{message:?}") };
    // Or a wish to share would keep it open.
    assert_eq!(rules.by_hand, Some(ByHand { wish: Wish::Pause, until_ms: None }));
    assert!(rules.when.until_ms.is_some());
    worker.send(&ToManager::Shares(Box::new(shares(Phase::Closed, "paused by hand"))));
    let outcome = Outcome::Returned(WorkerFault::Leaving);
    worker.send(&ToManager::Ended(Box::new(Ended::empty(attempt, outcome))));
    until("it is out", || grid.get(&bob, &path).0 == 404);
    assert_eq!(worker.receive(), ToWorker::Stored { attempt });
    let task = grid.get(&ada, &format!("jobs/{job}/tasks")).1["items"][0].clone();
    assert_eq!(task["state"], "queued", "{task}");
    grid.fsck();
}

/// What its owner does is for nobody else to know.
#[test]
fn others_see_whether_a_machine_is_shared_and_not_why() {
    let grid = Grid::start("why");
    grid.register("operator");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let join =
        Join { shares: shares(Phase::Frozen, "zoomcall runs since 21:23"), ..introduction(1) };
    let worker = FakeWorker::join_for(&grid, &bob, join);
    let path = format!("workers/{}", worker.papers.worker);
    until("its owner sees it", || grid.get(&bob, &path).1["phase"] == "frozen");
    assert!(grid.get(&bob, &path).1["since_ms"].is_u64());
    let of_ada = grid.submit(&ada, "true");
    let waiting = |user: &User, job: u64| {
        let words = grid.get(user, &format!("jobs/{job}")).1["waiting"].clone();
        words.as_str().unwrap_or_default().to_owned()
    };
    until("it waits", || waiting(&ada, of_ada).contains("not shared right now"));
    for address in [path, "workers".to_owned(), format!("jobs/{of_ada}")] {
        let seen = grid.get(&ada, &address).1.to_string();
        assert!(!seen.contains("zoom") && !seen.contains("frozen"), "{seen}");
        assert!(!seen.contains("21:23") && !seen.contains(r#""since_ms":1"#), "{seen}");
    }
    let of_bob = grid.submit(&bob, "true");
    until("its owner may know", || waiting(&bob, of_bob).contains("zoomcall"));
}
