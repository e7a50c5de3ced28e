//! Machines that ask to be let in: with a token, with a code, and with neither.

use campusgrid_identity::machine::{MachineKey, Trust};
use campusgrid_identity::token::JoinToken;
use campusgrid_protocol::id::{VoucherId, VoucherSecret};
use campusgrid_protocol::message::{Enrol, EnrolAnswer, Proof};
use serde_json::{Value, json};

use crate::grid::fake::{FakeWorker, introduction};
use crate::grid::line::{Line, Papers, ask, asking, by, enrol};
use crate::grid::{Grid, User};

const NOT_GOOD: &str =
    "this token or invitation was used up, has ended or was revoked, or never was";

/// A machine that was let in.
pub(super) struct LetIn {
    pub(super) certificate: Vec<u8>,
    pub(super) worker: u64,
    pub(super) owner: String,
}

fn let_in(answer: EnrolAnswer) -> LetIn {
    let EnrolAnswer::Enrolled { certificate, worker, owner } = answer else { panic!("{answer:?}") };
    LetIn { certificate, worker: worker.0, owner }
}

/// Asks with a token that must be good.
pub(super) fn enrolled(grid: &Grid, enrol: &Enrol) -> LetIn {
    let_in(ask(grid.port, Trust::FirstUse, enrol))
}

/// Asks; why it is not let in.
fn refused(grid: &Grid, enrol: &Enrol) -> String {
    let answer = ask(grid.port, Trust::FirstUse, enrol);
    let EnrolAnswer::Refused { reason } = answer else { panic!("{answer:?}") };
    reason
}

fn key() -> MachineKey {
    MachineKey::make().unwrap()
}

/// A machine that shows a code, and the code.
fn waiting(grid: &Grid, key: &MachineKey, owner: Option<&str>) -> (Line, String) {
    let proof = Proof::Code { owner: owner.map(str::to_owned) };
    let mut line = asking(grid.port, Trust::FirstUse, &enrol(key, "laptop", proof));
    let answer = line.receive();
    let EnrolAnswer::Waiting { code } = answer else { panic!("{answer:?}") };
    (line, code)
}

fn approve(grid: &Grid, user: &User, code: &str) -> (u16, Value) {
    grid.post(user, "workers/approve", &json!({ "code": code }))
}

/// Waits until the dashboard shows these machines as waiting; it may be a quarter of a second behind.
fn wait_for(grid: &Grid, user: &User, rows: &Value) {
    for _ in 0..10_000 {
        if grid.get(user, "workers/waiting").1 == *rows {
            return;
        }
    }
    panic!("{rows} are not shown, but {}", grid.get(user, "workers/waiting").1);
}

#[test]
fn a_token_is_good_once_unless_it_says_otherwise() {
    let grid = Grid::start("token");
    let bob = grid.register("bob");
    let token = grid.join_token(&bob);
    assert_eq!(token.fingerprint, grid.fingerprint(&bob));
    let (first, second) = (key(), key());
    assert_eq!(enrolled(&grid, &enrol(&first, "one", by(&token))).owner, "bob");
    assert_eq!(refused(&grid, &enrol(&second, "two", by(&token))), NOT_GOOD);

    let (status, made) = grid.post(&bob, "workers/tokens", &json!({ "uses": 2 }));
    assert_eq!(status, 201, "{made}");
    let token: JoinToken = made["token"].as_str().unwrap().parse().unwrap();
    enrolled(&grid, &enrol(&second, "two", by(&token)));
    enrolled(&grid, &enrol(&key(), "three", by(&token)));
    assert_eq!(refused(&grid, &enrol(&key(), "four", by(&token))), NOT_GOOD);
}

#[test]
fn a_token_that_was_revoked_or_guessed_or_is_over_is_good_for_nothing() {
    let mut grid = Grid::start("revoked");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let token = grid.join_token(&bob);
    let guessed = JoinToken { secret: VoucherSecret([7; 16]), ..token };
    assert_eq!(refused(&grid, &enrol(&key(), "laptop", by(&guessed))), NOT_GOOD);
    let other = JoinToken { id: VoucherId(token.id.0 + 1), ..token };
    assert_eq!(refused(&grid, &enrol(&key(), "laptop", by(&other))), NOT_GOOD);

    let path = format!("workers/tokens/{}", token.id.0);
    assert_eq!(grid.delete(&grid.register("eve"), &path), 404, "it is not theirs");
    assert_eq!(grid.delete(&bob, &path), 204);
    assert_eq!(refused(&grid, &enrol(&key(), "laptop", by(&token))), NOT_GOOD);

    let late = grid.join_token(&ada);
    grid.kill_manager();
    let database =
        rusqlite::Connection::open(grid.manager_dir().join("campusgrid.sqlite")).unwrap();
    database.execute("UPDATE voucher SET until = made_at + 1", ()).unwrap();
    drop(database);
    grid.start_manager();
    assert_eq!(refused(&grid, &enrol(&key(), "laptop", by(&late))), NOT_GOOD);
}

/// Its certificate has lapsed over the summer, say.
#[test]
fn a_machine_that_joins_anew_keeps_its_history_and_its_owner() {
    let grid = Grid::start("anew");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let papers = Papers::of(&grid, &bob, "laptop");
    let anew = enrolled(&grid, &enrol(&papers.key, "laptop", by(&grid.join_token(&bob))));
    assert_eq!((anew.worker, anew.owner.as_str()), (papers.worker, "bob"));
    // A token of somebody else's takes nobody's machine away.
    let taken = refused(&grid, &enrol(&papers.key, "laptop", by(&grid.join_token(&ada))));
    assert!(taken.starts_with("this machine is another user's already"), "{taken}");

    let (mut line, code) = waiting(&grid, &papers.key, None);
    assert_eq!(approve(&grid, &ada, &code).0, 404);
    let (status, answer) = approve(&grid, &bob, &code);
    assert_eq!((status, &answer["worker"]), (200, &json!(papers.worker)), "{answer}");
    let anew = let_in(line.receive());
    let papers = Papers { certificate: anew.certificate, ..papers };
    FakeWorker::connect(grid.port, papers, introduction(1));
}

#[test]
fn a_code_lets_a_machine_in_once_its_owner_enters_it() {
    let grid = Grid::start("code");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let key = key();
    let (mut line, code) = waiting(&grid, &key, Some("Bob"));
    assert_eq!(line.fingerprint(), grid.fingerprint(&bob), "both ends show the same");
    let shown = json!([{"name": "laptop", "address": "127.0.0.1", "claimed_owner": "Bob"}]);
    wait_for(&grid, &bob, &shown);
    assert_eq!(approve(&grid, &ada, &code).0, 404, "it names another");
    // It is told again meanwhile, so that both ends know that the other is there.
    assert_eq!(line.receive::<EnrolAnswer>(), EnrolAnswer::Waiting { code: code.clone() });
    assert_eq!(approve(&grid, &bob, &code).0, 200);
    let let_in = let_in(line.receive());
    assert!(line.is_closed());
    assert_eq!(let_in.owner, "bob");
    assert_eq!(approve(&grid, &bob, &code).0, 404, "once");
    let LetIn { certificate, worker, .. } = let_in;
    let papers = Papers { key, certificate, fingerprint: grid.fingerprint(&bob), worker };
    FakeWorker::connect(grid.port, papers, introduction(1));
}

#[test]
fn a_machine_that_has_gone_waits_no_longer() {
    let grid = Grid::start("gone");
    let bob = grid.register("bob");
    let (line, code) = waiting(&grid, &key(), None);
    drop(line);
    wait_for(&grid, &bob, &json!([]));
    assert_eq!(approve(&grid, &bob, &code).0, 404);
}

#[test]
fn a_machine_that_asks_twice_waits_once() {
    let grid = Grid::start("asks-twice");
    let bob = grid.register("bob");
    let key = key();
    let (mut older, old_code) = waiting(&grid, &key, None);
    let (mut newer, code) = waiting(&grid, &key, None);
    assert!(older.is_closed());
    assert_eq!(approve(&grid, &bob, &old_code).0, 404);
    assert_eq!(approve(&grid, &bob, &code).0, 200);
    let_in(newer.receive());
}

#[test]
fn what_a_machine_asks_is_looked_at() {
    let grid = Grid::start("asks");
    let bob = grid.register("bob");
    let token = grid.join_token(&bob);
    let key = key();
    let good = enrol(&key, "laptop", by(&token));
    let mut forged = good.request.clone();
    *forged.last_mut().unwrap() ^= 1;
    let code = |owner: &str| Proof::Code { owner: Some(owner.to_owned()) };
    for (asked, words) in [
        (Enrol { request: forged, ..good.clone() }, "is not signed with its own key"),
        (Enrol { request: vec![0; 5000], ..good.clone() }, "a request for a certificate of 5000"),
        (Enrol { request: Vec::new(), ..good.clone() }, "this is no request for a certificate"),
        (Enrol { name: "a\n".to_owned(), ..good.clone() }, "a worker's name"),
        (Enrol { name: "x".repeat(1000), ..good.clone() }, "a worker's name"),
        (Enrol { proof: code("a\u{202e}b"), ..good.clone() }, "an owner's name"),
    ] {
        let reason = refused(&grid, &asked);
        assert!(reason.contains(words), "{words}: {reason}");
    }
    // None of these has used the token up; nor does asking again when the answer was lost.
    let first = enrolled(&grid, &good);
    assert_eq!(enrolled(&grid, &good).worker, first.worker);
}

#[test]
fn strangers_cannot_fill_the_list_of_those_who_wait() {
    let grid = Grid::start("crowd");
    let bob = grid.register("bob");
    let mut lines = Vec::new();
    let reason = loop {
        let proof = Proof::Code { owner: None };
        let mut line = asking(grid.port, Trust::FirstUse, &enrol(&key(), "laptop", proof));
        match line.receive() {
            EnrolAnswer::Waiting { .. } => lines.push(line),
            EnrolAnswer::Refused { reason } => break reason,
            answer @ EnrolAnswer::Enrolled { .. } => panic!("{answer:?}"),
        }
    };
    assert!((10..100).contains(&lines.len()), "{}", lines.len());
    assert_eq!(reason, "too many machines wait for approval; try again later");
    // A token helps, however many wait.
    FakeWorker::join_for(&grid, &bob, introduction(1));
}
