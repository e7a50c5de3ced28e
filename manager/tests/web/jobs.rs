//! Jobs as programs have them: arrays, drafts, chains, changes, and requests that are sent twice.

use serde_json::{Value, json};

use crate::site::{Answer, JSON, Site, bearer};

fn submit(site: &Site, token: &str, more: &Value) -> Answer {
    let mut body = json!({"kind": "shell", "source": "true"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    site.json("POST /api/v1/jobs", token, &body)
}

fn made(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.value()["job"].as_u64().unwrap()
}

fn job(site: &Site, token: &str, job: u64) -> Value {
    site.get(&format!("/api/v1/jobs/{job}"), token).value()
}

fn cancel(site: &Site, token: &str, job: u64) {
    let path = format!("POST /api/v1/jobs/{job}/cancel");
    assert_eq!(site.ask(&path, &bearer(token), "").status, 204);
}

fn balance(site: &Site, token: &str) -> i64 {
    site.get("/api/v1/credits", token).value()["balance_micros"].as_i64().unwrap()
}

/// With credits for more than a few tasks.
fn rich() -> Site {
    Site::start_with(|config| {
        config.policy.starting_credits =
            campusgrid_core::money::Micros::from_credits(1_000_000_000);
    })
}

#[test]
fn an_array_is_known_by_its_indices() {
    let site = rich();
    let token = site.register("ada");
    let before = balance(&site, &token);
    let array = made(&submit(&site, &token, &json!({"array": "1-19:2%3", "name": "Odd numbers"})));
    let detail = job(&site, &token, array);
    assert_eq!(detail["array"], "1-19:2");
    assert_eq!((&detail["tasks"], &detail["at_once"]), (&json!(10), &json!(3)));
    assert_eq!(detail["labels"], json!([]), "what says a version is not for people");
    let path = format!("POST /api/v1/jobs/{array}/cancel");
    let tasks = |tasks: &str| site.json(&path, &token, &json!({"tasks": tasks}));
    assert_eq!(tasks("2,4-8").status, 204, "of these, 5 and 7 are its own");
    for wrong in ["2,4", "x", "5-1", "", "19-"] {
        let answer = tasks(wrong);
        assert_eq!((answer.status, answer.code().as_str()), (422, "invalid_fields"), "{wrong}");
    }
    let detail = job(&site, &token, array);
    assert_eq!((&detail["queued"], &detail["cancelled"]), (&json!(8), &json!(2)));
    let map = site.get(&format!("/api/v1/jobs/{array}/map?cells=5"), &token).value();
    let cells = map["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 5);
    assert_eq!((&cells[1]["first_index"], &cells[1]["last_index"]), (&json!(5), &json!(7)));
    assert_eq!(cells[1]["cancelled"], 2);
    let listed = |state: &str| {
        let path = format!("/api/v1/jobs/{array}/tasks?state={state}&limit=3");
        let page = site.get(&path, &token).value();
        let items = page["items"].as_array().unwrap().clone();
        (items.iter().map(|task| task["index"].clone()).collect::<Vec<_>>(), page["next"].clone())
    };
    assert_eq!(listed("cancelled"), (vec![json!(5), json!(7)], Value::Null));
    assert_eq!(listed("queued"), (vec![json!(1), json!(3), json!(9)], json!(10)));
    cancel(&site, &token, array);
    assert_eq!(balance(&site, &token), before, "nothing ran, and all of it is back");
}

#[test]
fn a_million_tasks_are_one_request() {
    let site = rich();
    let token = site.register("ada");
    let array = made(&submit(&site, &token, &json!({"array": "1-1000000"})));
    assert_eq!(job(&site, &token, array)["queued"], 1_000_000);
    let map = site.get(&format!("/api/v1/jobs/{array}/map"), &token).value();
    assert_eq!(map["cells"].as_array().unwrap().len(), 1000);
    cancel(&site, &token, array);
    let ended = job(&site, &token, array);
    assert_eq!((&ended["state"], &ended["cancelled"]), (&json!("cancelled"), &json!(1_000_000)));
    assert_eq!(
        (&ended["refunded_micros"], &ended["charged_micros"]),
        (&ended["held_micros"], &json!(0))
    );
}

#[test]
fn jobs_are_found_by_what_they_are() {
    let site = rich();
    let (token, other) = (site.register("ada"), site.register("grace"));
    let c = json!({"kind": "c", "source": "int main(){}", "name": "Heat"});
    let (heat, waits) = (
        made(&site.json("POST /api/v1/jobs", &token, &c)),
        made(&submit(&site, &token, &json!({"name": "heater"}))),
    );
    let draft = made(&submit(&site, &token, &json!({"draft": true, "name": "later"})));
    let theirs = made(&submit(&site, &other, &json!({})));
    cancel(&site, &token, heat);
    let found = |query: &str| {
        let page = site.get(&format!("/api/v1/jobs?{query}"), &token).value();
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|job| job["job"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(found(""), [draft, waits, heat]);
    assert_eq!(found("everyone=true"), [theirs, draft, waits, heat]);
    assert_eq!(found("state=queued"), [waits]);
    assert_eq!(found("state=cancelled,draft"), [draft, heat]);
    assert_eq!(found("kind=c"), [heat]);
    assert_eq!(found("name=HEAT"), [waits, heat]);
    assert_eq!(found("name=%25"), [0; 0]);
    assert_eq!(found(&format!("limit=1&before={waits}")), [heat]);
    for wrong in ["state=done", "kind=perl", "states=queued", "limit=x"] {
        let answer = site.get(&format!("/api/v1/jobs?{wrong}"), &token);
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_query"), "{wrong}");
    }
}

#[test]
fn a_draft_is_launched_with_its_files_and_once() {
    let site = rich();
    let token = site.register("ada");
    let before = balance(&site, &token);
    let body = json!({"kind": "python", "entry": "main.py", "lines_file": "names.txt",
        "arguments": ["{line}"], "draft": true});
    let draft = made(&site.json("POST /api/v1/jobs", &token, &body));
    assert_eq!(balance(&site, &token), before, "a draft costs nothing");
    assert_eq!(job(&site, &token, draft)["state"], "draft");
    let launch = |key: &str, body: &str| {
        let json = if body.is_empty() { "" } else { JSON };
        let headers = format!("{}Idempotency-Key: {key}\r\n{json}", bearer(&token));
        site.ask(&format!("POST /api/v1/jobs/{draft}/launch"), &headers, body)
    };
    let wrong = launch("a", "");
    assert_eq!((wrong.status, wrong.code().as_str()), (422, "invalid_fields"));
    assert!(wrong.body.contains("main.py") && wrong.body.contains("names.txt"), "{}", wrong.body);
    let put = |path: &str, content: &str| {
        let line = format!("PUT /api/v1/jobs/{draft}/files/{path}");
        let answer = site.ask(&line, &bearer(&token), content);
        assert_eq!(answer.status, 201, "{}", answer.body);
    };
    put("main.py", "# /// script\n# dependencies = [\"six\"]\n# ///\nprint(1)\n");
    put("names.txt", "ada\n\ngrace\n");
    let quote = site.json(&format!("POST /api/v1/quote?draft={draft}"), &token, &body).value();
    assert_eq!(quote["tasks"], 3);
    let launched = launch("a", "");
    assert_eq!(made(&launched), draft);
    assert_eq!(launched.value()["held_micros"], quote["total_micros"]);
    let detail = job(&site, &token, draft);
    assert_eq!((&detail["state"], &detail["array"]), (&json!("queued"), &json!("1-3")));
    assert_eq!((&detail["entry"], &detail["files"]), (&json!("main.py"), &json!(2)));
    assert_eq!(
        detail["packages"]["names"]["requirements"],
        json!(["six"]),
        "of the entry's header"
    );
    assert_eq!(launch("a", "").value(), launched.value(), "the answer was lost, say");
    assert_eq!(launch("b", "").code(), "launched");
    let line = format!("PUT /api/v1/jobs/{draft}/files/more.txt");
    assert_eq!(site.ask(&line, &bearer(&token), "x").code(), "launched");
    assert_eq!(site.json("POST /api/v1/jobs/77/launch", &token, &json!({})).status, 422);
    assert_eq!(site.ask("POST /api/v1/jobs/77/launch", &bearer(&token), "").status, 404);
}

#[test]
fn another_request_can_be_launched_in_a_drafts_place() {
    let site = rich();
    let (token, other) = (site.register("ada"), site.register("grace"));
    let draft = made(&submit(&site, &token, &json!({"draft": true})));
    let launch = format!("POST /api/v1/jobs/{draft}/launch");
    let body = json!({"kind": "shell", "source": "echo 2", "tasks": 2});
    assert_eq!(site.json(&launch, &other, &body).status, 404, "also for those who see nothing");
    assert_eq!(made(&site.json(&launch, &token, &body)), draft);
    let detail = job(&site, &token, draft);
    assert_eq!((&detail["source"], &detail["tasks"]), (&json!("echo 2"), &json!(2)));
    let key = |key: &str, draft: bool| {
        let headers = format!("{}{JSON}Idempotency-Key: {key}\r\n", bearer(&token));
        let body = json!({"kind": "shell", "source": "true", "draft": draft});
        site.ask("POST /api/v1/jobs", &headers, &body.to_string())
    };
    assert_eq!(made(&key("k", true)), made(&key("k", true)));
    assert_eq!(key("k", false).code(), "key_reused");
}

#[test]
fn chains_are_settled_by_jobs_that_are_over() {
    let site = rich();
    let (token, other) = (site.register("ada"), site.register("grace"));
    let over = made(&submit(&site, &token, &json!({"tasks": 3})));
    cancel(&site, &token, over);
    let open = made(&submit(&site, &token, &json!({"tasks": 3, "hold": true})));
    let after = |job: u64, when: &str, each: bool| {
        submit(
            &site,
            &token,
            &json!({"tasks": 2, "after": [{"job": job, "when": when, "each": each}]}),
        )
    };
    assert_eq!(after(over, "ok", false).code(), "never_starts");
    assert_eq!(after(over, "any", true).code(), "sizes_differ");
    assert_eq!(after(open, "any", true).code(), "sizes_differ");
    assert_eq!(after(77, "any", false).code(), "after_unknown");
    let free = made(&after(over, "failed", false));
    assert_eq!(job(&site, &token, free)["after"], json!([]), "that is met already");
    let theirs = made(&submit(&site, &other, &json!({})));
    assert_eq!(
        after(theirs, "any", false).code(),
        "after_unknown",
        "operators chain their own only"
    );
    let waits = made(&after(open, "ok", false));
    let detail = job(&site, &token, waits);
    assert_eq!(detail["after"], json!([{"job": open, "when": "ok", "each": false}]));
    cancel(&site, &token, open);
    let broken = job(&site, &token, waits);
    assert_eq!(broken["state"], "cancelled");
    assert!(!broken["note"].as_str().unwrap().is_empty(), "a broken chain says so");
    assert_eq!(broken["refunded_micros"], broken["held_micros"], "and is refunded");
}

#[test]
fn a_job_is_held_and_placed_until_it_is_over() {
    let site = rich();
    let (token, other) = (site.register("ada"), site.register("grace"));
    let theirs = made(&submit(&site, &other, &json!({})));
    let change =
        |token: &str, body: Value| site.json(&format!("PATCH /api/v1/jobs/{theirs}"), token, &body);
    assert_eq!(change(&other, json!({"hold": true, "priority": -5})).status, 204);
    let detail = job(&site, &other, theirs);
    assert_eq!((&detail["on_hold"], &detail["priority"]), (&json!(true), &json!(-5)));
    assert_eq!(change(&token, json!({"hold": false})).status, 204, "an operator may");
    assert_eq!(change(&other, json!({"priority": 101})).code(), "invalid_fields");
    assert_eq!(change(&other, json!({"held": true})).code(), "invalid_body");
    let mine = made(&submit(&site, &token, &json!({})));
    let line = format!("PATCH /api/v1/jobs/{mine}");
    assert_eq!(site.json(&line, &other, &json!({"hold": true})).status, 404);
    cancel(&site, &other, theirs);
    assert_eq!(change(&other, json!({"hold": true})).code(), "has_ended");
}

#[test]
fn what_was_cancelled_runs_again_as_a_job_of_its_own() {
    let site = rich();
    let (token, other) = (site.register("ada"), site.register("grace"));
    let first = made(&submit(&site, &token, &json!({"array": "1-9:2", "name": "again"})));
    let retry = |token: &str, body: &str| {
        let headers = format!("{}{JSON}Idempotency-Key: r\r\n", bearer(token));
        site.ask(&format!("POST /api/v1/jobs/{first}/retry"), &headers, body)
    };
    let tasks = json!({"tasks": "3,7-9"});
    assert_eq!(site.json(&format!("POST /api/v1/jobs/{first}/cancel"), &token, &tasks).status, 204);
    assert_eq!(retry(&token, "{}").code(), "nothing_to_retry", "none of them failed");
    let second = made(&retry(&token, r#"{"cancelled":true}"#));
    assert_ne!(second, first);
    let detail = job(&site, &token, second);
    assert_eq!((&detail["array"], &detail["name"]), (&json!("3,7-9:2"), &json!("again")));
    assert_eq!(made(&retry(&token, r#"{"cancelled":true}"#)), second, "sent twice");
    assert_eq!(retry(&other, r#"{"cancelled":true}"#).status, 404);
}

#[test]
fn everything_is_cancelled_at_once() {
    let site = rich();
    let (token, other) = (site.register("ada"), site.register("grace"));
    let before = balance(&site, &token);
    for _ in 0..3 {
        made(&submit(&site, &token, &json!({"tasks": 4})));
    }
    let theirs = made(&submit(&site, &other, &json!({})));
    let answer = site.ask("POST /api/v1/jobs/cancel", &bearer(&token), "");
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"jobs":3}"#));
    assert_eq!(balance(&site, &token), before);
    assert_eq!(job(&site, &other, theirs)["state"], "queued");
    let again = site.ask("POST /api/v1/jobs/cancel", &bearer(&token), "");
    assert_eq!(again.body, r#"{"jobs":0}"#);
}

#[test]
fn a_quote_is_what_is_held() {
    let site = rich();
    let token = site.register("ada");
    let body = json!({"kind": "shell", "source": "true", "array": "1-7", "retries": 2});
    let quote = site.json("POST /api/v1/quote", &token, &body).value();
    assert_eq!((&quote["tasks"], &quote["runs"]), (&json!(7), &json!(3)));
    let task = quote["task_micros"].as_i64().unwrap();
    assert_eq!(quote["total_micros"], task * 21);
    assert_eq!(quote["labels_missing"], json!([]));
    let made = site.json("POST /api/v1/jobs", &token, &body);
    assert_eq!(made.value()["held_micros"], quote["total_micros"]);
}

#[test]
fn an_answer_that_is_known_is_not_sent_again() {
    let site = Site::start();
    let token = site.register("ada");
    let path = format!("GET /api/v1/jobs/{}", site.submit(&token));
    let first = site.ask(&path, &bearer(&token), "");
    let known = format!("{}If-None-Match: {}\r\n", bearer(&token), first.header("etag"));
    let again = site.ask(&path, &known, "");
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(again.header("etag"), first.header("etag"));
    cancel(&site, &token, 1);
    let changed = site.ask(&path, &known, "");
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), first.header("etag"));
}
