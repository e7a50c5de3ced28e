//! Webhooks to a real receiver.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::servers::{Papers, Server};
use super::{Settings, refused, run, setting, submit, worker};
use crate::grid::{Grid, User};

/// Everything here is on this machine.
fn settings() -> Settings {
    vec![
        ("CAMPUSGRID_NOTIFY_PRIVATE_ADDRESSES", "true"),
        ("CAMPUSGRID_NOTIFY_RETRY_S", "1"),
        ("CAMPUSGRID_DASHBOARD_PUBLIC_URL", "https://grid.campus.edu"),
    ]
}

fn secret(grid: &Grid, of: &User) -> String {
    let (status, answer) = grid.post(of, "webhook-secret", &json!({}));
    assert_eq!(status, 201, "{answer}");
    answer["secret"].as_str().unwrap().to_owned()
}

#[test]
fn start_failure_and_end_are_posted_and_signed() {
    let grid = Grid::start_with("webhook", &settings());
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let secret = secret(&grid, &ada);
    let receiver = Server::of_webhooks(&secret, 0, None, "204");
    let mut worker = worker(&grid, &bob);
    let url = format!("http://127.0.0.1:{}/hook?of=ada", receiver.port);
    let wish = json!({"start": true, "failure": true, "end": true, "webhook": url});
    let job = submit(&grid, &ada, "sweep", 3, &wish);
    run(&mut worker, 3, 1);
    let mut types = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let request = receiver.next();
        assert_eq!((&request["signed"], &request["recent"]), (&json!(true), &json!(true)));
        assert_eq!(request["path"], "/hook?of=ada");
        assert_eq!(request["headers"]["content-type"], "application/json");
        let data = &request["body"]["data"];
        assert_eq!((&data["job"], &data["name"]), (&json!(job), &json!("sweep")));
        assert_eq!(data["url"], format!("https://grid.campus.edu/jobs/{job}"));
        if request["body"]["type"] == "job.ended" {
            assert_eq!((&data["succeeded"], &data["failed"]), (&json!(2), &json!(1)));
        }
        types.push(request["body"]["type"].as_str().unwrap().to_owned());
        ids.push(request["headers"]["webhook-id"].as_str().unwrap().to_owned());
    }
    types.sort();
    assert_eq!(types, ["job.ended", "job.failed", "job.started"]);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert!(receiver.is_quiet(Duration::from_secs(1)), "told twice");
}

#[test]
fn a_receiver_that_fails_is_asked_again_with_the_same_name() {
    let grid = Grid::start_with("retry", &settings());
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let secret = secret(&grid, &ada);
    // Errors, and a redirect, which is not followed.
    let receiver = Server::of_webhooks(&secret, 0, None, "500,302,200");
    let mut worker = worker(&grid, &bob);
    let url = format!("http://localhost:{}/hook", receiver.port);
    submit(&grid, &ada, "sweep", 1, &json!({"end": true, "webhook": url}));
    run(&mut worker, 1, 0);
    let tries = [receiver.next(), receiver.next(), receiver.next()];
    for request in &tries {
        assert_eq!((&request["path"], &request["signed"]), (&json!("/hook"), &json!(true)));
        assert_eq!(request["headers"]["webhook-id"], tries[0]["headers"]["webhook-id"]);
    }
    assert!(receiver.is_quiet(Duration::from_secs(2)), "it was taken");
    grid.fsck();
}

#[test]
fn a_notice_outlives_the_managers_death_between_commit_and_delivery() {
    let mut grid = Grid::start_with("killed", &settings());
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let secret = secret(&grid, &ada);
    // Whoever connects is not answered.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    let mut worker = worker(&grid, &bob);
    let url = format!("http://127.0.0.1:{port}/hook");
    let job = submit(&grid, &ada, "sweep", 1, &json!({"end": true, "webhook": url}));
    run(&mut worker, 1, 0);
    let connection = mute.accept().unwrap();
    grid.kill_manager();
    drop((connection, mute));
    let receiver = Server::of_webhooks(&secret, port, None, "200");
    grid.start_manager();
    let request = receiver.next();
    assert_eq!(request["signed"], true);
    assert_eq!(request["body"]["data"]["job"], job);
    assert!(receiver.is_quiet(Duration::from_secs(2)), "told twice");
    grid.fsck();
}

#[test]
fn over_tls_only_whom_this_machine_trusts_is_told() {
    let folder = TempDir::new().unwrap();
    let papers = Papers::make(folder.path());
    let mut settings = settings();
    settings.push(("SSL_CERT_FILE", setting(papers.authority.display())));
    let grid = Grid::start_with("https", &settings);
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let secret = secret(&grid, &ada);
    let receiver = Server::of_webhooks(&secret, 0, Some(&papers), "200");
    let mut worker = worker(&grid, &bob);
    // The certificate is for localhost, not for the address.
    let by_address = format!("https://127.0.0.1:{}/address", receiver.port);
    let by_name = format!("https://localhost:{}/name", receiver.port);
    for url in [by_address, by_name] {
        submit(&grid, &ada, "sweep", 1, &json!({"end": true, "webhook": url}));
        run(&mut worker, 1, 0);
    }
    let request = receiver.next();
    assert_eq!((&request["path"], &request["signed"]), (&json!("/name"), &json!(true)));
}

#[test]
fn a_webhook_needs_a_secret_and_leads_nowhere_near() {
    let grid = Grid::start("near");
    let ada = grid.register("ada");
    let wish = |url: &str| json!({"end": true, "webhook": url});
    let (field, message) = refused(&grid, &ada, &wish("https://a.example/x"));
    assert_eq!(field, "notify.webhook");
    assert!(message.contains("needs a secret"), "{message}");
    secret(&grid, &ada);
    for url in ["http://127.0.0.1:8080/", "http://[::ffff:10.0.0.1]/", "https://169.254.169.254/"] {
        let (field, message) = refused(&grid, &ada, &wish(url));
        assert_eq!(field, "notify.webhook");
        assert!(message.contains("private network"), "{url}: {message}");
    }
}

/// A name that leads here is found out when it is looked up.
#[test]
fn a_name_that_leads_to_this_machine_is_not_followed() {
    let grid = Grid::start("name");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let secret = secret(&grid, &ada);
    let receiver = Server::of_webhooks(&secret, 0, None, "200");
    let mut worker = worker(&grid, &bob);
    let url = format!("http://localhost:{}/", receiver.port);
    submit(&grid, &ada, "sweep", 1, &json!({"end": true, "webhook": url}));
    run(&mut worker, 1, 0);
    assert!(receiver.is_quiet(Duration::from_secs(3)));
}

#[test]
fn a_secret_is_for_people_and_each_is_new() {
    let grid = Grid::start("secret");
    let ada = grid.register("ada");
    assert_ne!(secret(&grid, &ada), secret(&grid, &ada));
    let body = json!({
        "name": "bot", "days": 1, "scopes": ["read", "submit"], "password": "correct horse battery",
    });
    let (status, answer) = grid.post(&ada, "tokens", &body);
    assert_eq!(status, 201, "{answer}");
    let bot = User { name: "ada".to_owned(), token: answer["token"].as_str().unwrap().to_owned() };
    let (status, _) = grid.post(&bot, "webhook-secret", &json!({}));
    assert_eq!(status, 403);
}
