//! The market without a machine that is there: quotes, what is open, what is kept from whom.

use campusgrid_core::money::Micros;
use campusgrid_core::snapshot::Snapshot;
use campusgrid_protocol::id::JobId;
use serde_json::{Value, json};

use crate::site::{JSON, Site, bearer, wait};

fn rich() -> Site {
    Site::start_with(|config| config.policy.starting_credits = Micros::from_credits(10_000))
}

fn submit(site: &Site, token: &str, more: &Value) -> u64 {
    let mut body = json!({"kind": "c", "source": "int main(){}"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = site.json("POST /api/v1/jobs", token, &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.value()["job"].as_u64().unwrap()
}

#[test]
fn a_quote_says_what_is_held_for_each_way_of_selling() {
    let site = rich();
    let token = site.register("ada");
    let quote = |more: Value| {
        let mut body = json!({"kind": "c", "source": "int main(){}"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = site.json("POST /api/v1/quote", &token, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.value()
    };
    for more in [
        json!({"array": "1-3", "retries": 2}),
        json!({"verify": true}),
        json!({"market": "hand"}),
        json!({"market": "rule", "max_price_micros": 7, "close_after_s": 60}),
    ] {
        let total = quote(more.clone())["total_micros"].clone();
        let job = submit(&site, &token, &more);
        let held = site.get(&format!("/api/v1/jobs/{job}"), &token).value()["held_micros"].clone();
        assert_eq!(total, held, "{more}");
    }
    let plain = quote(json!({}));
    let formula = plain["formula_micros"].as_i64().unwrap();
    assert_eq!((&plain["task_micros"], &plain["total_micros"]), (&json!(formula), &json!(formula)));
    assert_eq!((&plain["rate_permille"], &plain["workers_dearer"]), (&json!(1000), &json!(0)));
    let verified = quote(json!({"verify": true}));
    assert_eq!((&verified["runs"], &verified["total_micros"]), (&json!(3), &json!(3 * formula)));
    let by_hand = quote(json!({"market": "hand"}));
    assert_eq!(
        (&by_hand["task_micros"], &by_hand["total_micros"]),
        (&json!(formula), &json!(0)),
        "nothing is held before a bid is accepted"
    );
    let by_rule = json!({"market": "rule", "max_price_micros": 7, "close_after_s": 60});
    let by_rule = quote(by_rule);
    assert_eq!((&by_rule["task_micros"], &by_rule["total_micros"]), (&json!(7), &json!(7)));
    assert_eq!(by_rule["formula_micros"], formula);
}

#[test]
fn everybody_sees_what_is_open_and_only_its_submitter_the_most_that_is_paid() {
    let site = rich();
    let operator = site.register("operator");
    let (client, other) = (site.register("ada"), site.register("grace"));
    let by_rule =
        json!({"market": "rule", "max_price_micros": 7, "close_after_s": 3600, "name": "sealed"});
    let sealed = submit(&site, &client, &by_rule);
    let by_hand = submit(&site, &client, &json!({"market": "hand", "name": "open"}));
    submit(&site, &client, &json!({"name": "by formula"}));
    let listed = |token: &str, query: &str| {
        let page = site.get(&format!("/api/v1/market/jobs{query}"), token).value();
        page["items"].as_array().unwrap().clone()
    };
    let seen = listed(&other, "");
    assert_eq!(seen.iter().map(|job| &job["job"]).collect::<Vec<_>>(), [by_hand, sealed]);
    assert_eq!((&seen[0]["own"], &seen[0]["sold_by"]), (&json!(false), &json!("hand")));
    assert_eq!((&seen[1]["submitter"], &seen[1]["sold_by"]), (&json!("ada"), &json!("rule")));
    assert!(seen[1]["closes_at_ms"].is_u64(), "{}", seen[1]);
    for (token, most) in [(&other, Value::Null), (&client, json!(7)), (&operator, json!(7))] {
        assert_eq!(listed(token, "")[1]["max_price_micros"], most);
        let bids = site.get(&format!("/api/v1/jobs/{sealed}/bids"), token).value();
        assert_eq!(bids["market"]["max_price_micros"], most, "{bids}");
        assert_eq!((&bids["market"]["sealed"], &bids["bids"]), (&json!(true), &json!([])));
    }
    assert_eq!(listed(&other, &format!("?before={by_hand}")).len(), 1);
    assert_eq!(listed(&other, "?limit=1").len(), 1);
    assert_eq!(listed(&other, "?fits=true").len(), 0, "who has no machine can run nothing");
    assert_eq!(site.get(&format!("/api/v1/jobs/{by_hand}"), &other).status, 404);
    let mut snapshots = site.engine.snapshots();
    let is_known = |snapshot: &Snapshot| snapshot.stalled.contains_key(&JobId(by_hand));
    wait(snapshots.wait_for(|snapshot| is_known(snapshot))).unwrap();
    let detail = site.get(&format!("/api/v1/jobs/{by_hand}"), &client).value();
    assert_eq!((&detail["takes_bids"], &detail["market"]["open"]), (&json!(true), &json!(true)));
    assert!(detail["waiting"].as_str().unwrap().contains("bid"), "{detail}");

    // A job that is over is no longer everybody's.
    let cancel = format!("POST /api/v1/jobs/{by_hand}/cancel");
    assert_eq!(site.ask(&cancel, &bearer(&client), "").status, 204);
    assert_eq!(listed(&other, "").len(), 1);
    assert_eq!(site.get(&format!("/api/v1/jobs/{by_hand}/bids"), &other).status, 404);
    assert_eq!(site.get(&format!("/api/v1/jobs/{by_hand}/bids"), &client).status, 200);
}

#[test]
fn the_market_takes_one_run_of_one_task_and_holds_nothing_back() {
    let site = rich();
    let token = site.register("ada");
    for (more, field) in [
        (json!({"market": "hand", "tasks": 2}), "tasks"),
        (json!({"market": "hand", "retries": 1}), "retries"),
        (json!({"market": "hand", "hold": true}), "hold"),
        (json!({"market": "rule", "max_price_micros": 7}), "close_after_s"),
        (json!({"max_price_micros": 7}), "max_price_micros"),
    ] {
        let mut body = json!({"kind": "c", "source": "int main(){}"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = site.json("POST /api/v1/jobs", &token, &body);
        assert_eq!(answer.code(), "invalid_fields", "{body}");
        assert_eq!(answer.value()["error"]["fields"][0]["field"], field, "{body}");
    }
    let job = submit(&site, &token, &json!({"market": "hand"}));
    let hold = json!({"hold": true});
    let answer = site.json(&format!("PATCH /api/v1/jobs/{job}"), &token, &hold);
    assert_eq!((answer.status, answer.code().as_str()), (409, "on_market"));
}

#[test]
fn a_draft_goes_on_the_market_when_it_is_launched() {
    let site = rich();
    let token = site.register("ada");
    let draft = submit(&site, &token, &json!({"market": "hand", "draft": true}));
    let bids = format!("/api/v1/jobs/{draft}/bids");
    assert_eq!(site.get(&bids, &token).status, 404, "it is not there yet");
    let launch = format!("POST /api/v1/jobs/{draft}/launch");
    let answer = site.ask(&launch, &bearer(&token), "");
    assert_eq!(
        (answer.status, &answer.value()["held_micros"]),
        (201, &json!(0)),
        "{}",
        answer.body
    );
    assert_eq!(site.get(&bids, &token).value()["market"]["open"], true);
}

#[test]
fn a_machine_that_is_not_there_cannot_run_what_it_bids_on() {
    let site = rich();
    site.register("operator");
    let (client, owner) = (site.register("ada"), site.register("grace"));
    let worker = site.join_worker(&owner, "laptop");
    let job = submit(&site, &client, &json!({"market": "hand"}));
    let bid = json!({"worker": worker, "price_micros": 5});
    let place = format!("POST /api/v1/jobs/{job}/bids");
    let answer = site.json(&place, &owner, &bid);
    assert_eq!((answer.status, answer.code().as_str()), (409, "cannot_run"), "{}", answer.body);
    let theirs = site.json(&place, &client, &bid);
    assert!([404, 409].contains(&theirs.status), "{}", theirs.body);
    let accept = format!("POST /api/v1/jobs/{job}/accept");
    let answer = site.json(&accept, &client, &bid);
    assert_eq!((answer.status, answer.code().as_str()), (409, "bid_gone"), "{}", answer.body);
    assert_eq!(site.json(&accept, &owner, &bid).status, 404);
    assert_eq!(site.get("/api/v1/market/bids", &owner).value()["items"], json!([]));
}

#[test]
fn prices_are_the_formula_and_what_was_charged() {
    let site = rich();
    let token = site.register("ada");
    let prices = site.get("/api/v1/market/prices?hours=1", &token).value();
    assert_eq!(prices["formula"]["base_micros"], 5_000_000);
    assert_eq!((&prices["rate_permille"], &prices["premium"]), (&json!(1000), &json!(false)));
    assert_eq!(
        (&prices["history"], &prices["day"]["core_hour_micros"]),
        (&json!([]), &Value::Null)
    );
    let job = submit(&site, &token, &json!({}));
    let receipt = site.get(&format!("/api/v1/jobs/{job}/receipt"), &token).value();
    assert_eq!(receipt["task_micros"], receipt["held_micros"]);
    assert_eq!((&receipt["lines"], &receipt["charged_micros"]), (&json!([]), &json!(0)));
    let first = &receipt["transfers"][0];
    assert_eq!(first["amount_micros"], receipt["held_micros"], "{receipt}");
    assert_eq!((&first["from"], &first["to"]), (&json!("ada"), &json!("escrow")), "{receipt}");
}

#[test]
fn a_premium_shows_in_what_a_job_would_cost() {
    let site = Site::start_with(|config| {
        config.policy.starting_credits = Micros::from_credits(10_000);
        config.policy.premium = true;
    });
    let token = site.register("ada");
    let quote = || {
        let body = json!({"kind": "c", "source": "int main(){}"});
        site.json("POST /api/v1/quote", &token, &body).value()
    };
    let calm = quote();
    assert_eq!(calm["rate_permille"], 1000);
    submit(&site, &token, &json!({"tasks": 5}));
    let mut snapshots = site.engine.snapshots();
    wait(snapshots.wait_for(|snapshot| snapshot.tasks_queued == 5)).unwrap();
    let dear = quote();
    assert_eq!(
        dear["rate_permille"], 2000,
        "more tasks wait than twice the machines that are there"
    );
    assert_eq!(dear["task_micros"], 2 * calm["task_micros"].as_i64().unwrap());
    assert_eq!(site.get("/api/v1/credits", &token).value()["rate_permille"], 2000);
}

#[test]
fn a_user_has_so_many_jobs_that_take_bids() {
    let site = rich();
    let (token, other) = (site.register("ada"), site.register("grace"));
    let by_hand = json!({"kind": "c", "source": "int main(){}", "market": "hand"});
    let put = |token: &str, key: &str| {
        let headers = format!("{}{JSON}Idempotency-Key: {key}\r\n", bearer(token));
        site.ask("POST /api/v1/jobs", &headers, &by_hand.to_string())
    };
    let first = put(&token, "first").value()["job"].as_u64().unwrap();
    for number in 1..100 {
        assert_eq!(put(&token, &number.to_string()).status, 201, "{number}");
    }
    let answer = put(&token, "last");
    assert_eq!((answer.status, answer.code().as_str()), (409, "too_many_jobs"), "{}", answer.body);
    assert_eq!(put(&token, "first").value()["job"], first, "who asks again gets the first answer");
    assert_eq!(put(&other, "first").status, 201);
    submit(&site, &token, &json!({}));
    let cancel = format!("POST /api/v1/jobs/{first}/cancel");
    assert_eq!(site.ask(&cancel, &bearer(&token), "").status, 204);
    assert_eq!(put(&token, "last").status, 201);
}
