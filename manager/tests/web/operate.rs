//! What whoever runs the grid sees of it and does with it: machines, tokens, health and figures.

use campusgrid_protocol::text::is_hidden;
use rusqlite::Connection;
use serde_json::json;

use crate::hostile;
use crate::site::{Site, WORKER_PORT, wait};

#[test]
fn a_token_is_made_listed_and_revoked() {
    let site = Site::start();
    site.register("ada");
    let (grace, edsger) = (site.register("grace"), site.register("edsger"));
    let made = site.json("POST /api/v1/workers/tokens", &grace, &json!({"uses": 3, "hours": 2}));
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.value();
    let token = made["token"].as_str().unwrap();
    let fingerprint = site.authority.fingerprint().to_string();
    assert!(token.starts_with(&format!("cg1.{fingerprint}.")), "{token}");
    let lasts = made["until_ms"].as_u64().unwrap() - made["made_at_ms"].as_u64().unwrap();
    assert_eq!(
        (&made["owner"], &made["uses_left"], lasts),
        (&json!("grace"), &json!(3), 7_200_000)
    );

    let list = |user: &str| site.get("/api/v1/workers/tokens", user).value();
    let secret = token.rsplit('.').next().unwrap();
    let listed = list(&grace);
    assert_eq!(listed["fingerprint"], json!(fingerprint));
    assert_eq!(listed["tokens"][0]["id"], made["id"]);
    assert!(!listed.to_string().contains(secret), "a secret is shown once");
    assert_eq!(list(&edsger)["tokens"], json!([]));

    let revoke = format!("DELETE /api/v1/workers/tokens/{}", made["id"]);
    assert_eq!(site.json(&revoke, &edsger, &json!({})).status, 404);
    assert_eq!(site.json(&revoke, &grace, &json!({})).status, 204);
    assert_eq!(site.json(&revoke, &grace, &json!({})).status, 404);
    assert_eq!(list(&grace)["tokens"], json!([]));
}

#[test]
fn only_operators_make_tokens_for_others() {
    let site = Site::start();
    let (ada, grace) = (site.register("ada"), site.register("grace"));
    let make = |user: &str, body| site.json("POST /api/v1/workers/tokens", user, &body);
    let for_other = make(&grace, json!({"owner": "ada"}));
    assert_eq!((for_other.status, for_other.code().as_str()), (403, "not_an_operator"));
    let made = make(&ada, json!({"owner": "grace"}));
    assert_eq!((made.status, &made.value()["owner"]), (201, &json!("grace")));
    let nobody = make(&ada, json!({"owner": "nobody"}));
    assert_eq!((nobody.status, nobody.code().as_str()), (422, "invalid_fields"));
    for body in [json!({"uses": 0}), json!({"hours": 721}), json!({"uses": 10_001})] {
        assert_eq!(make(&grace, body).status, 422);
    }
    assert_eq!(make(&grace, json!({"minutes": 1})).code(), "invalid_body");
}

#[test]
fn the_page_to_add_a_machine_shows_the_one_line() {
    let site = Site::start();
    let token = site.register("ada");
    let page = site.page("/workers/add", &token);
    assert_eq!(page.status, 200);
    assert!(page.body.contains(&site.authority.fingerprint().grouped()));
    assert!(page.body.contains("name=\"host\" value=\"127.0.0.1\""), "{}", page.body);

    let made = site.post_form("/workers/add", &token, "host=grid.campus&uses=2&hours=5");
    assert_eq!(made.status, 201, "{}", made.body);
    let line = made.body.split("id=\"command\">").nth(1).unwrap().split('<').next().unwrap();
    let begins = format!("campusgrid-worker -m grid.campus -p {WORKER_PORT} --token cg1.");
    assert!(line.starts_with(&begins), "{line}");
    assert!(made.body.contains("2 machines within 5 h"), "{}", made.body);
    let secret = line.rsplit('.').next().unwrap();
    let page = site.page("/workers/add", &token);
    assert!(page.body.contains("id=\"token-1\"") && !page.body.contains(secret));

    for (fields, field) in [
        ("host=%24%28id%29&uses=1&hours=1", "host"),
        ("host=a+b&uses=1&hours=1", "host"),
        ("host=grid.campus&uses=many&hours=1", "uses"),
        ("host=grid.campus&uses=1&hours=0", "hours"),
        ("host=grid.campus&owner=nobody", "owner"),
    ] {
        let wrong = site.post_form("/workers/add", &token, fields);
        assert_eq!(wrong.status, 422, "{fields}");
        assert!(wrong.body.contains(&format!("id=\"{field}-error\"")), "{fields}");
        assert!(!wrong.body.contains("id=\"command\""), "{fields}");
    }
    let revoked = site.post_form("/workers/tokens/1/revoke", &token, "");
    assert_eq!((revoked.status, revoked.header("location")), (303, "/workers/add"));
    assert!(!site.page("/workers/add", &token).body.contains("id=\"token-1\""));
}

#[test]
fn a_machine_that_joined_is_its_owners_to_remove() {
    let site = Site::start();
    site.register("ada");
    let (grace, edsger) = (site.register("grace"), site.register("edsger"));
    let worker = site.join_worker(&grace, "laptop");
    let listed = site.get("/api/v1/workers", &edsger).value();
    assert_eq!((&listed[0]["owner"], &listed[0]["online"]), (&json!("grace"), &json!(false)));
    assert_eq!(listed[0]["isolation"], json!(null), "nobody knows, while it is not connected");
    let button = format!("id=\"remove-{worker}\"");
    assert!(site.page("/workers", &grace).body.contains(&button));
    let others = site.page("/workers", &edsger).body;
    assert!(others.contains("laptop") && others.contains("offline") && !others.contains(&button));
    for verb in ["remove", "release"] {
        let path = format!("/workers/{worker}/{verb}");
        assert_eq!(site.post_form(&path, &edsger, "").status, 404, "{verb}");
    }
    let remove = format!("DELETE /api/v1/workers/{worker}");
    assert_eq!(site.json(&remove, &edsger, &json!({})).status, 404);
    assert_eq!(site.json(&remove, &grace, &json!({})).status, 204);
    assert_eq!(site.get("/api/v1/workers", &grace).value(), json!([]), "it answered too early");
}

#[test]
fn figures_are_for_machines_and_tell_no_names() {
    let site = Site::start();
    let token = site.register("ada");
    site.submit(&token);
    site.join_worker(&token, "laptop");
    wait(site.books.check()).unwrap();
    assert_eq!(site.get("/api/v1/nothing", &token).status, 404);
    let answer = site.ask("GET /metrics", "", "");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let has = |line: &str| answer.body.lines().any(|found| found == line);
    for line in [
        "campusgrid_books_balanced 1",
        "campusgrid_books_findings 0",
        "campusgrid_intake_open 1",
        "campusgrid_tasks_queued 1",
        "campusgrid_tasks_running 0",
        "campusgrid_users 1",
        "campusgrid_workers{state=\"online\"} 0",
        "campusgrid_workers{state=\"silent\"} 0",
        "campusgrid_workers{state=\"offline\"} 1",
        "campusgrid_workers{state=\"set_aside\"} 0",
        "campusgrid_logins_failed_total 0",
        "campusgrid_http_requests_total{class=\"4xx\"} 1",
        "campusgrid_engine_stuck 0",
        "# EOF",
    ] {
        assert!(has(line), "{line} is not in:\n{}", answer.body);
    }
    for name in [
        "campusgrid_build_info{version=\"",
        "campusgrid_disk_free_bytes ",
        "campusgrid_books_checked_timestamp_seconds ",
        "campusgrid_books_check_seconds ",
        "campusgrid_engine_batches_total ",
        "campusgrid_engine_commit_seconds_bucket{le=\"",
    ] {
        assert!(answer.body.contains(name), "{name} is not in:\n{}", answer.body);
    }
    let documented = include_str!("../../../docs/metrics.md");
    let types = answer.body.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: Vec<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(documented.contains(&format!("| `{name}` |")), "docs/metrics.md lacks {name}");
    }
    for secret in ["ada", "laptop", &token] {
        assert!(!answer.body.contains(secret), "{secret}");
    }
}

#[test]
fn a_full_disk_is_told_everywhere_and_refuses_only_what_is_new() {
    let site = Site::start_with(|config| config.disk_reserve_bytes = 1 << 60);
    let refused = site.ask(
        "POST /api/v1/register",
        "Content-Type: application/json\r\n",
        &json!({"name": "ada", "password": "correct horse battery"}).to_string(),
    );
    assert_eq!((refused.status, refused.code().as_str()), (507, "disk_full"), "{}", refused.body);
    assert!(!refused.header("retry-after").is_empty());
    site.page_once("/login", "", |body| body.contains("disk is full"));
    let health = site.ask("GET /health", "", "").value();
    assert_eq!(health["status"], "degraded");
    assert!(health["reasons"][0].as_str().unwrap().contains("disk is full"), "{health}");
    let metrics = site.ask("GET /metrics", "", "").body;
    assert!(metrics.contains("\ncampusgrid_intake_open 0\n"));
    assert!(metrics.contains("\ncampusgrid_books_balanced 1\n"));
}

#[test]
fn broken_books_are_told_to_all_and_shown_to_operators() {
    let site = Site::start();
    let (ada, grace) = (site.register("ada"), site.register("grace"));
    let database = Connection::open(site.directory.join("campusgrid.sqlite")).unwrap();
    let add = |amount: i64| {
        let sql = "UPDATE account SET balance = balance + ?1 WHERE id = 1001";
        assert_eq!(database.execute(sql, [amount]).unwrap(), 1);
        wait(site.books.check()).unwrap()
    };
    assert!(!add(1).broken.is_empty());
    let refused =
        site.json("POST /api/v1/jobs", &grace, &json!({"kind": "shell", "source": "true"}));
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "books_broken"),
        "{}",
        refused.body
    );
    let is_told = |body: &str| body.contains("books do not balance");
    let page = site.page_once("/jobs", &grace, is_told).body;
    assert!(!page.contains("id=\"findings\""), "members see no rows");
    let page = site.page("/jobs", &ada).body;
    assert!(page.contains("id=\"findings\"") && page.contains("campusgrid-manager fsck"), "{page}");
    let metrics = site.ask("GET /metrics", "", "").body;
    assert!(metrics.contains("\ncampusgrid_books_balanced 0\n"), "{metrics}");
    assert_eq!(site.ask("GET /health", "", "").value()["status"], "degraded");

    assert!(add(-1).broken.is_empty());
    assert!(site.submit(&grace) > 0);
    site.page_once("/jobs", &grace, |body| !is_told(body));
}

#[test]
fn hostile_bytes_are_shown_and_do_nothing() {
    let site = Site::start();
    let token = site.register("ada");
    let source = "echo '\u{1b}[31m</pre><script>alert(1)</script>\u{202e}'";
    let body = json!({"kind": "shell", "source": source});
    let job = site.json("POST /api/v1/jobs", &token, &body).value()["job"].as_u64().unwrap();
    hostile::end_with_output(&site, &token, job);
    let page = site.page(&format!("/jobs/{job}"), &token);
    assert_eq!(page.status, 200);
    check_inert(&page.body);
    for shown in [
        "␛[31mred␛[0m",
        "␛]0;owned␇",
        "[U+009B]31m",
        "&#60;script&#62;alert(1)&#60;/script&#62;",
        "10 %␍20 %",
        "txt.[U+202E]exe[U+200B]",
        "␀␈␡",
        "&#60;b&#62;[U+202E]fdp.exe",
    ] {
        assert!(page.body.contains(shown), "{shown} is not in the page");
    }
    let mut lines = site.stream(&format!("/api/v1/jobs/{job}/logs?follow=true"), &token, "");
    let piece = lines.find(|line| line.starts_with("data: {")).unwrap();
    assert!(piece.contains("␛[31mred␛[0m") && piece.contains("[U+202E]"), "{piece}");
    check_inert(&piece.replace('<', "")); // JSON has no need to escape it, and the script adds text.

    let raw = site.get(&format!("/api/v1/jobs/{job}/logs"), &token);
    assert_eq!(raw.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(raw.header("x-content-type-options"), "nosniff");
    assert!(raw.header("content-security-policy").contains("sandbox"));
    let path = format!("/api/v1/jobs/{job}/outputs/0/{}", hostile::OUTPUT_PATH);
    let output = site.get(&path, &token);
    assert!(output.header("content-disposition").starts_with("attachment"));
    assert!(output.header("content-security-policy").contains("sandbox"));
}

/// Nothing that a browser runs, a terminal obeys, or an eye does not see.
fn check_inert(text: &str) {
    for tag in ["<script>alert", "<img src=x"] {
        assert!(!text.contains(tag), "{tag}");
    }
    let odd = |&c: &char| is_hidden(c) && c != '\n' && c != '\t';
    let odd: Vec<char> = text.chars().filter(odd).collect();
    assert!(odd.is_empty(), "{odd:?}");
}
