//! Bids, awards, asks, rules and identities on real SQLite.

use std::sync::Arc;

use campusgrid_core::ask::Ask;
use campusgrid_core::input::{Request, Submission};
use campusgrid_core::money::Micros;
use campusgrid_core::pricing::Prices;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use campusgrid_protocol::rest::market::SoldBy;
use campusgrid_protocol::rules::{ByHand, Conditions, Rules, Wish};
use campusgrid_protocol::task::Outcome;
use campusgrid_protocol::terms::{Sale, Terms};
use expect_test::expect;

use super::campus::Campus;
use super::{shell, submission, viewer};
use crate::store::read::Viewer;
use crate::store::read_market::{BidState, StoredBid};

fn sold(name: &str, sale: Sale) -> Submission {
    Submission { terms: Terms { sale, ..Terms::plain(1) }, ..submission(name, shell()) }
}

fn bid(user: u64, worker: u64, credits: u32) -> Request {
    Request::Bid {
        user: UserId(user),
        job: JobId(1),
        worker: WorkerId(worker),
        price: Micros::from_credits(credits),
        start_within_s: 60,
    }
}

fn accept(worker: u64, credits: u32) -> Request {
    let price = Micros::from_credits(credits);
    Request::Accept { user: UserId(1), job: JobId(1), worker: WorkerId(worker), price }
}

fn words(bids: Vec<StoredBid>) -> String {
    let words = bids.into_iter().map(|bid| {
        let StoredBid { round, worker_name, owner_name, price, agreed, state, .. } = bid;
        let price = price.map_or("?".to_owned(), |price| price.to_string());
        let agreed = agreed.map_or("-".to_owned(), |price| price.to_string());
        format!("{round} {owner_name}/{worker_name} {price} {agreed} {state:?}\n")
    });
    words.collect()
}

#[test]
fn a_job_is_sold_by_hand_fails_and_is_sold_again() {
    let mut campus = Campus::new();
    campus.submit(sold("by hand", Sale::Hand));
    campus.ask(bid(2, 1, 9));
    campus.ask(bid(2, 1, 7));
    campus.ask(bid(3, 2, 8));
    let open = campus.look(|reader| reader.open_jobs(viewer(2), None, 10).unwrap());
    let [job] = &open[..] else { panic!("{open:?}") };
    assert_eq!((job.bids, job.own, &*job.submitter, job.sale), (2, false, "ada", Sale::Hand));
    assert!(campus.look(|reader| reader.open_jobs(viewer(2), Some(1), 10).unwrap()).is_empty());
    let seen = |user| {
        move |reader: &crate::store::read::Reader| {
            words(reader.bids(viewer(user), JobId(1)).unwrap().unwrap())
        }
    };
    expect![[r#"
        0 carol/laptop-2 8 - Open
        0 bob/laptop-1 7 - Open
    "#]]
    .assert_eq(&campus.look(seen(1)));
    expect!["0 carol/laptop-2 8 - Open\n"].assert_eq(&campus.look(seen(3)));
    let row = campus.look(|reader| reader.job(viewer(1), JobId(1)).unwrap().unwrap().detail);
    assert!(row.job.takes_bids);
    assert_eq!((row.job.held_micros, row.task_micros), (0, 0));

    campus.ask(accept(1, 7));
    let award = campus.look(|reader| reader.award(viewer(1), JobId(1)).unwrap().unwrap());
    assert_eq!((&*award.owner_name, award.price), ("bob", Micros::from_credits(7)));
    assert!(campus.look(|reader| reader.award(viewer(4), JobId(1)).unwrap()).is_none());
    assert!(campus.look(|reader| reader.open_job(viewer(3), JobId(1)).unwrap()).is_none());
    campus.wait(61_000);
    let open = campus.look(|reader| reader.open_job(viewer(3), JobId(1)).unwrap().unwrap());
    assert_eq!((open.round, open.bids), (1, 0), "bob's machine has not started");
    let market = campus.look(|reader| reader.market(viewer(4), JobId(1)).unwrap().unwrap());
    assert!(market.open && market.award.is_none());
    campus.ask(bid(3, 2, 6));
    campus.ask(accept(2, 6));
    campus.start(2, "1.0#2");
    campus.end(2, "1.0#2", Outcome::Succeeded, 30_000);
    expect![[r#"
        1 carol/laptop-2 6 6 Accepted
        0 carol/laptop-2 8 - Refused
        0 bob/laptop-1 7 7 Failed
    "#]]
    .assert_eq(&campus.look(seen(1)));
    assert_eq!(campus.look(|reader| reader.bids(viewer(4), JobId(1)).unwrap()), None);
    let receipt = campus.look(|reader| reader.receipt(viewer(1), JobId(1)).unwrap().unwrap());
    let lines = receipt
        .into_iter()
        .map(|line| format!("{} {} from {} to {}\n", line.key, line.amount, line.from, line.to));
    expect![[r#"
        hold:1 7 from ada to escrow
        refund:1:round0 -7 from escrow to ada
        hold:1:round1 6 from ada to escrow
        pay:1.0:2 -5.647059 from escrow to carol
        refund:1.0 -0.352941 from escrow to ada
    "#]]
    .assert_eq(&lines.collect::<String>());
    let row = campus.look(|reader| reader.job(viewer(1), JobId(1)).unwrap().unwrap().detail.job);
    assert_eq!(row.held_micros, row.charged_micros + row.refunded_micros);
    expect![[r#"
        job.submitted: 1 tasks submitted
        bid.placed: somebody bids on it
        bid.placed: somebody bids on it
        bid.placed: somebody bids on it
        job.awarded: worker 1 is to run it for 7 credits
        task.leased: task 0 given to worker 1
        task.requeued: task 0 waits again: the machine has not started it in time
        bid.failed: worker 1 has not started it in time
        job.reopened: takes bids again: the machine has not started it in time
        bid.placed: somebody bids on it
        job.awarded: worker 2 is to run it for 6 credits
        task.leased: task 0 given to worker 2
        attempt.started: task 0 started
        task.ended: task 0: succeeded
        job.ended: all tasks have ended"#]]
    .assert_eq(&campus.told(1));
    let records = campus.store.load().unwrap().workers;
    assert_eq!(records[&WorkerId(1)].record.bids_failed, 1);
    assert_eq!(records[&WorkerId(2)].record.earned_micros, 5_647_059);
}

#[test]
fn nobody_sees_a_sealed_bid_but_its_owner() {
    let mut campus = Campus::new();
    let sale = Sale::Rule { max_price_micros: 20_000_000, close_after_s: 60 };
    campus.submit(sold("by rule", sale));
    campus.ask(bid(2, 1, 9));
    campus.ask(bid(3, 2, 5));
    let seen = |user, operator| {
        move |reader: &crate::store::read::Reader| {
            let viewer = Viewer { user: UserId(user), operator };
            let market = reader.market(viewer, JobId(1)).unwrap().unwrap();
            assert!(market.sealed && market.sold_by == SoldBy::Rule);
            let bids = words(reader.bids(viewer, JobId(1)).unwrap().unwrap());
            (bids, market.max_price_micros)
        }
    };
    let hidden = "0 / ? - Open\n0 / ? - Open\n".to_owned();
    assert_eq!(campus.look(seen(1, false)), (hidden.clone(), Some(20_000_000)));
    assert_eq!(campus.look(seen(9, true)), (hidden, Some(20_000_000)));
    let own = "0 bob/laptop-1 9 - Open\n".to_owned();
    assert_eq!(campus.look(seen(2, false)), (own, None));
    let listed = campus.look(|reader| reader.bids_of(UserId(3), None, 10).unwrap());
    assert_eq!(listed[0].price, Some(Micros::from_credits(5)));
    assert_eq!(
        campus.look(|reader| reader.bids_of(UserId(3), Some(listed[0].id), 10)).unwrap(),
        []
    );
    campus.wait(60_000);
    let listed = campus.look(|reader| reader.bids_of(UserId(2), None, 10).unwrap());
    assert_eq!(listed[0].state, BidState::Refused);
    let row = campus.look(|reader| reader.job(viewer(1), JobId(1)).unwrap().unwrap().detail);
    let award = row.market.unwrap().award.unwrap();
    assert_eq!((award.worker, award.price_micros), (2, 5_000_000));
    assert_eq!(row.task_micros, 5_000_000, "and no longer the most that it may be");
    assert_eq!(row.job.held_micros, 20_000_000, "all of it, until the end");
    campus.start(2, "1.0#1");
    campus.end(2, "1.0#1", Outcome::Succeeded, 1000);
}

#[test]
fn a_job_that_ends_takes_no_bids() {
    let mut campus = Campus::new();
    campus.submit(sold("unsold", Sale::Rule { max_price_micros: 1, close_after_s: 60 }));
    campus.ask(bid(2, 1, 9));
    campus.wait(60_000);
    let listed = campus.look(|reader| reader.bids_of(UserId(2), None, 10).unwrap());
    assert_eq!((listed[0].state, listed[0].over_at), (BidState::Over, Some(Timestamp(61_000))));
    let market = campus.look(|reader| reader.market(viewer(1), JobId(1)).unwrap().unwrap());
    assert!(!market.open && market.award.is_none());
}

#[test]
fn rules_asks_and_identities_are_kept() {
    let mut campus = Campus::new();
    let when =
        Conditions { idle_minutes: 10, programs: vec!["zoom".to_owned()], ..Conditions::default() };
    let by_hand = Some(ByHand { wish: Wish::Pause, until_ms: Some(9_000_000) });
    let rules = Rules { when, by_hand, ..Rules::default() };
    let (user, worker) = (UserId(2), WorkerId(1));
    campus.ask(Request::SetRules { user, worker, rules: Box::new(rules.clone()) });
    let prices = Some(Prices { base: Micros(1), minimum: Micros(7), ..Prices::default() });
    let ask = Ask { prices, automatic: true };
    campus.ask(Request::SetAsk { user, worker, ask });
    campus.ask(Request::SetAsk { user: UserId(3), worker, ask: Ask::default() });
    let loaded = campus.store.load().unwrap();
    let kept = &loaded.workers[&worker];
    assert_eq!((&kept.rules, kept.ask), (&Arc::new(rules), ask));
    let identity = [9; 32];
    for user in [2, 3] {
        campus.ask(Request::Verify { user: UserId(user), identity });
    }
    assert_eq!(campus.store.load().unwrap().identities.into_iter().collect::<Vec<_>>(), [identity]);
    assert_eq!(campus.look(|reader| reader.verified_at(UserId(2)).unwrap()), Some(Timestamp(1000)));
    assert!(campus.look(|reader| reader.has_identity(&identity).unwrap()));
    assert!(!campus.look(|reader| reader.has_identity(&[8; 32]).unwrap()));
    let told = "SELECT group_concat(kind || ': ' || message, '\n') FROM event
        WHERE kind IN ('worker.rules', 'worker.ask', 'user.verified')";
    let told: String = campus.store.connection.query_row(told, [], |row| row.get(0)).unwrap();
    expect![[r#"
        worker.rules: worker 1 is paused by its owner for a while
        worker.ask: worker 1 has a price of its own and bids by itself now
        user.verified: user 2 has shown that their address is theirs
        user.verified: user 3 has shown that their address is theirs"#]]
    .assert_eq(&told);
}

/// Of a job of bob's machine that is awarded and runs, and of one that takes bids.
#[test]
fn a_planted_mistake_about_bids_is_found() {
    for (mistake, finding) in [
        ("UPDATE bid SET state = 'accepted', over_at = 1 WHERE job = 1", "its bids say to 2"),
        ("UPDATE market SET worker = 2 WHERE job = 1", "its bids say to another"),
        ("UPDATE bid SET state = 'open', over_at = NULL WHERE worker = 2", "a bid stands on job 1"),
        ("UPDATE attempt SET worker = 2", "awarded to worker 1, and runs on worker 2"),
        ("UPDATE attempt SET price = price + 1", "runs for 9000001, more than the quote"),
        (
            "UPDATE job SET quote = 0 WHERE id = 1",
            "job 1 has 9000000 in escrow, its open tasks hold 0",
        ),
        ("UPDATE market SET closes_at = 5 WHERE job = 2", "closes by itself"),
        ("UPDATE market SET stage = 'over' WHERE job = 2", "takes no bids, and has not ended"),
        ("UPDATE bid SET owner = 1", "bids on job 1 of its owner"),
        ("UPDATE task SET paid = 5", "has paid 0 of its open runs, its tasks say 5"),
        ("UPDATE task SET audit = 5", "the open holds sum to 9000005"),
    ] {
        let mut campus = Campus::new();
        campus.submit(sold("sold", Sale::Hand));
        campus.submit(sold("open", Sale::Hand));
        campus.ask(bid(2, 1, 9));
        campus.ask(bid(3, 2, 10));
        campus.ask(accept(1, 9));
        campus.store.connection.execute_batch(mistake).unwrap();
        let broken = campus.store.fsck().unwrap().broken;
        let found = broken.iter().any(|line| line.contains(finding));
        assert!(found, "{mistake}: {finding:?} is not in {broken:?}");
    }
}

/// Found by `random`: its attempt was left open.
#[test]
fn a_cancelled_job_that_its_machine_never_starts_is_over_in_time() {
    let mut campus = Campus::new();
    campus.submit(sold("unwanted", Sale::Hand));
    campus.ask(bid(2, 1, 9));
    campus.ask(accept(1, 9));
    campus.ask(Request::Cancel { user: UserId(1), job: JobId(1), tasks: None });
    campus.wait(61_000);
    let row = campus.look(|reader| reader.job(viewer(1), JobId(1)).unwrap().unwrap().detail.job);
    assert_eq!((row.cancelled, row.refunded_micros), (1, 9_000_000));
}
