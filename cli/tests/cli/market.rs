//! The market and the owner's side, by the command alone: asks, bids, rules, earnings.

use serde_json::{Value, json};

use crate::rig::{Grid, User, until};

/// The number of a user's only machine.
fn machine(user: &User) -> String {
    user.json(&["workers", "--mine"])["worker"].to_string()
}

/// What a user sees of the bids on a job.
fn bids(user: &User, job: u64) -> Value {
    user.json(&["bids", &job.to_string()])
}

#[test]
fn a_job_goes_to_the_bid_that_is_accepted() {
    let mut grid = Grid::start();
    let (ada, bob) = (grid.user("ada"), grid.user("bob"));
    grid.share(&bob, &["--name", "laptop"]);
    let laptop = machine(&bob);
    let job = ada.submit(&["--market", "hand", "--cmd", "echo sold"]);
    assert_eq!(ada.json(&["credits"])["held_micros"], 0);
    // What pages show is published a few times a second.
    until("it waits for bids", || ada.run(&["why", &job.to_string()]).succeeded().contains("bid"));
    let open = bob.json(&["market", "--fits"]);
    assert_eq!((&open["job"], &open["machines"][0]["name"]), (&json!(job), &json!("laptop")));
    // Nobody bids on their own job.
    let job_text = job.to_string();
    ada.run(&["bid", &job_text, &laptop, "1"]).failed(1);
    let refused = bob.run(&["bid", &job_text, &laptop, "-3"]).failed(64);
    assert!(refused.contains("a price is positive"), "{refused}");

    bob.run(&["bid", &job_text, "laptop", "4.5", "--start-within", "1m"]).succeeded();
    bob.run(&["bid", &job_text, "laptop", "3.25"]).succeeded();
    assert_eq!(bob.json(&["bids"])["price_micros"], 3_250_000);
    assert_eq!(bids(&ada, job)["bids"][0]["price_micros"], 3_250_000);
    let table = ada.run(&["bids", &job_text]).succeeded();
    assert!(table.contains("laptop") && table.contains("3.25"), "{table}");
    // Only at the price that was seen.
    ada.run(&["accept", &job_text, "laptop", "--price", "4.5"]).failed(1);
    bob.run(&["withdraw", &job_text, "laptop"]).succeeded();
    ada.run(&["accept", &job_text, "laptop"]).failed(64);
    bob.run(&["bid", &job_text, &laptop, "3"]).succeeded();
    ada.run(&["accept", &job_text, "laptop"]).succeeded();
    ada.run(&["wait", &job_text]).succeeded();
    assert_eq!(ada.run(&["logs", &job_text]).succeeded(), "sold\n");

    let charged = ada.json(&["show", &job_text])["charged_micros"].as_i64().unwrap();
    assert!(charged > 0 && charged <= 3_000_000, "{charged}");
    assert_eq!(ada.json(&["receipt", &job_text])["charged_micros"], charged);
    until("the owner has earned it", || bob.json(&["earnings"])["all"]["ever_micros"] == charged);
    let paid = bob.json(&["earnings", "laptop"]);
    assert_eq!(
        (&paid["paid"]["items"][0]["job"], &paid["ever_micros"]),
        (&json!(job), &json!(charged))
    );
    assert!(bob.run(&["earnings"]).succeeded().contains("laptop"));
    let prices = ada.json(&["prices"]);
    assert_eq!(prices["day"]["cpu_charged_micros"], charged);
    grid.fsck();
}

#[test]
fn a_job_goes_to_the_best_bid_by_rule() {
    let mut grid = Grid::start();
    let (ada, bob) = (grid.user("ada"), grid.user("bob"));
    grid.share(&bob, &["--name", "laptop"]);
    // Of one's own price, by itself.
    let ask = bob.json(&["ask", "laptop", "--start", "2", "--automatic", "on"]);
    assert_eq!(
        (&ask["prices"]["base_micros"], &ask["automatic"]),
        (&json!(2_000_000), &json!(true))
    );
    let words = ada.run(&["ask", "laptop"]).succeeded();
    assert!(words.contains("2 a run") && words.contains("bids with it by itself"), "{words}");
    let job = ada.submit(&[
        "--market",
        "rule",
        "--max-price",
        "10",
        "--close-after",
        "5s",
        "--cmd",
        "true",
    ]);
    assert_eq!(ada.json(&["show", &job.to_string()])["held_micros"], 10_000_000);
    ada.run(&["wait", &job.to_string()]).succeeded();
    let shown = ada.json(&["show", &job.to_string()]);
    assert_eq!(
        shown["charged_micros"], 2_000_000,
        "its own bid, since nobody else has bid: {shown}"
    );
    assert_eq!(bob.json(&["ask", "laptop", "--formula"])["prices"], json!(null));
    // What does not go together is said before anything is done.
    let refused = ada.run(&["submit", "--market", "rule", "--cmd", "true"]).failed(1);
    assert!(refused.contains("--max-price is needed with --market rule"), "{refused}");
    assert!(!refused.contains("micros"), "{refused}");
    grid.fsck();
}

#[test]
fn a_machine_is_shared_as_its_owner_says() {
    let mut grid = Grid::start();
    grid.user("operator");
    let (ada, bob) = (grid.user("ada"), grid.user("bob"));
    grid.share(&bob, &["--name", "laptop"]);
    let words = [
        "rules",
        "laptop",
        "--idle",
        "10m",
        "--hours",
        "mon-fri 20:00-07:00",
        "--programs",
        "zoom",
    ];
    let rules = bob.json(&words);
    assert_eq!(rules["when"]["idle_minutes"], 10);
    assert_eq!(rules["when"]["hours"][0], json!({"days": 0b1_1111, "from": 1200, "to": 420}));
    // What is not named stays.
    let rules =
        bob.json(&["rules", "laptop", "--at-once", "1", "--whose", "mine", "--hours", "always"]);
    assert_eq!(
        (&rules["when"]["idle_minutes"], &rules["limits"]["at_once"]),
        (&json!(10), &json!(1))
    );
    assert_eq!((&rules["when"]["hours"], &rules["limits"]["whose"]), (&json!([]), &json!("mine")));
    let shown = bob.run(&["rules", "laptop"]).succeeded();
    assert!(shown.contains("for 10 min") && shown.contains("zoom"), "{shown}");
    // Another's machine is not found by its name; by its number, the manager refuses.
    ada.run(&["rules", "laptop", "--at-once", "2"]).failed(64);
    let refused = ada.run(&["pause", &machine(&bob)]).failed(1);
    assert!(refused.contains("campusgrid workers lists"), "{refused}");
    let refused = bob.run(&["rules", "laptop", "--whose", "ada,nobodyatall"]).failed(1);
    assert!(refused.contains("--whose") && refused.contains("no user nobodyatall"), "{refused}");
    let refused = bob.run(&["rules", "laptop", "--grace", "2h"]).failed(1);
    assert!(refused.contains("--grace must be 0s to 1h, is 2h"), "{refused}");
    let refused = bob.run(&["approve", "ABCD-EFGH"]).failed(1);
    assert!(refused.contains("code"), "{refused}");
    bob.run(&["rules", "laptop", "--idle", "0", "--whose", "everyone", "--power", "any"])
        .succeeded();
    bob.run(&["rules", "laptop", "--at-once", "all", "--metered", "yes"]).succeeded();

    let paused = bob.run(&["pause", "laptop", "1h"]).succeeded();
    assert!(paused.contains("laptop is paused until"), "{paused}");
    until("the machine says so", || bob.json(&["workers", "--mine"])["phase"] == "closed");
    let job = ada.submit(&["--cmd", "true"]);
    assert_eq!(ada.json(&["show", &job.to_string()])["state"], "queued");
    bob.run(&["resume", "laptop"]).succeeded();
    ada.run(&["wait", &job.to_string()]).succeeded();
    grid.fsck();
}
