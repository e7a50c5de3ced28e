//! Mail through a real server.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::servers::{Papers, Server, python};
use super::{Settings, refused, register, run, setting, submit, worker};
use crate::grid::{Grid, User};

/// How the manager reaches a server, whose mail comes from `grid@campus.edu`.
fn settings(server: &Server, encryption: &'static str, papers: &Papers) -> Settings {
    vec![
        ("CAMPUSGRID_MAIL_HOST", "localhost"),
        ("CAMPUSGRID_MAIL_PORT", setting(server.port)),
        ("CAMPUSGRID_MAIL_ENCRYPTION", encryption),
        ("CAMPUSGRID_MAIL_FROM", "CampusGrid <grid@campus.edu>"),
        ("CAMPUSGRID_DASHBOARD_PUBLIC_URL", "https://grid.campus.edu"),
        ("CAMPUSGRID_NOTIFY_RETRY_S", "1"),
        ("SSL_CERT_FILE", setting(papers.authority.display())),
    ]
}

fn text<'a>(mail: &'a Value, field: &str) -> &'a str {
    mail[field].as_str().unwrap()
}

/// What follows the headers.
fn body(mail: &Value) -> &str {
    text(mail, "data").split_once("\r\n\r\n").unwrap().1
}

fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let head = text(mail, "data").split_once("\r\n\r\n").unwrap().0;
    let line = head.lines().find(|line| line.starts_with(&format!("{name}: ")));
    line.and_then(|line| line.split_once(": ")).unwrap().1
}

#[test]
fn a_job_that_is_over_is_told_by_mail() {
    let folder = TempDir::new().unwrap();
    let Some(python) = python(folder.path()) else { return };
    let papers = Papers::make(folder.path());
    for encryption in ["starttls", "tls"] {
        let server = Server::of_mail(&python, encryption, &papers, ("grid", "s3cret"), 0);
        let file = folder.path().join("password");
        std::fs::write(&file, "s3cret\n").unwrap();
        let mut settings = settings(&server, encryption, &papers);
        settings.push(("CAMPUSGRID_MAIL_USER", "grid"));
        settings.push(("CAMPUSGRID_MAIL_PASSWORD_FILE", setting(file.display())));
        let grid = Grid::start_with("mail", &settings);
        let (ada, bob) = (register(&grid, "ada", "ada@campus.edu"), grid.register("bob"));
        let mut worker = worker(&grid, &bob);
        let job = submit(&grid, &ada, "Größe", 3, &json!({"end": true, "mail": true}));
        run(&mut worker, 3, 1);
        let mail = server.next();
        assert_eq!((&mail["tls"], &mail["user"]), (&json!(true), &json!("grid")));
        assert_eq!(mail["from"], "grid@campus.edu");
        assert_eq!(mail["to"], json!(["ada@campus.edu"]));
        assert_eq!(header(&mail, "To"), "ada@campus.edu");
        assert_eq!(header(&mail, "Auto-Submitted"), "auto-generated");
        assert!(header(&mail, "Subject").starts_with(&format!("Job {job} ")), "{mail}");
        // What is encoded is encoded as a whole, so that links stay in one piece.
        let body = body(&mail).replace("=\r\n", "");
        assert!(body.contains("is over: 1 of 3 tasks failed"), "{body}");
        assert!(body.contains(&format!("https://grid.campus.edu/jobs/{job}")), "{body}");
        assert!(server.is_quiet(Duration::from_secs(1)), "told twice");
    }
}

#[test]
fn what_a_server_puts_off_is_sent_again_and_who_is_unknown_is_given_up() {
    let folder = TempDir::new().unwrap();
    let Some(python) = python(folder.path()) else { return };
    let papers = Papers::make(folder.path());
    let server = Server::of_mail(&python, "none", &papers, ("-", "-"), 2);
    let grid = Grid::start_with("put-off", &settings(&server, "none", &papers));
    let bob = grid.register("bob");
    let ada = register(&grid, "ada", "ada@campus.edu");
    let eve = register(&grid, "eve", "nobody@campus.edu");
    let mut worker = worker(&grid, &bob);
    submit(&grid, &eve, "lost", 1, &json!({"end": true, "mail": true}));
    run(&mut worker, 1, 0);
    submit(&grid, &ada, "kept", 1, &json!({"end": true, "mail": true}));
    run(&mut worker, 1, 0);
    let mail = server.next();
    assert_eq!(mail["to"], json!(["ada@campus.edu"]));
    assert!(body(&mail).contains("has succeeded"), "{mail}");
    assert!(server.is_quiet(Duration::from_secs(1)));
    grid.fsck();
}

#[test]
fn nobody_gets_more_than_so_many_mails_in_an_hour_and_a_name_is_no_header() {
    let folder = TempDir::new().unwrap();
    let Some(python) = python(folder.path()) else { return };
    let papers = Papers::make(folder.path());
    let server = Server::of_mail(&python, "none", &papers, ("-", "-"), 0);
    let mut settings = settings(&server, "none", &papers);
    settings.push(("CAMPUSGRID_NOTIFY_MAILS_PER_HOUR", "2"));
    let grid = Grid::start_with("cannon", &settings);
    let bob = grid.register("bob");
    // Two accounts that name the same victim.
    let one = register(&grid, "one", "victim@campus.edu");
    let other = register(&grid, "other", "Victim@campus.edu");
    let mut worker = worker(&grid, &bob);
    for by in [&one, &other, &one, &other, &one] {
        submit(&grid, by, "x Bcc: all@campus.edu", 1, &json!({"end": true, "mail": true}));
        run(&mut worker, 1, 0);
        let _ = grid.get(by, "jobs");
    }
    for _ in 0..2 {
        let mail = server.next();
        assert_eq!(mail["to"].as_array().unwrap().len(), 1);
        assert!(!text(&mail, "data").contains("\nBcc"), "{mail}");
    }
    assert!(server.is_quiet(Duration::from_secs(3)));
    grid.fsck();
}

#[test]
fn mail_is_refused_where_none_can_be_sent() {
    let grid = Grid::start("no-mail");
    let ada = register(&grid, "ada", "ada@campus.edu");
    let (field, message) = refused(&grid, &ada, &json!({"end": true, "mail": true}));
    assert_eq!(field, "notify.mail");
    assert!(message.contains("no mail server"), "{message}");
}

/// What stands in the link of a mail.
fn token(mail: &Value) -> String {
    let body = body(mail).replace("=\r\n", "").replace("=3D", "=");
    let (_, rest) = body.split_once("https://grid.campus.edu/verify?token=").unwrap();
    rest.lines().next().unwrap().trim().to_owned()
}

#[test]
fn starting_credits_come_once_an_address_is_shown_and_once_for_each() {
    let folder = TempDir::new().unwrap();
    let Some(python) = python(folder.path()) else { return };
    let papers = Papers::make(folder.path());
    // The first mail is put off, as servers do that know nobody.
    let server = Server::of_mail(&python, "none", &papers, ("-", "-"), 1);
    let mut settings = settings(&server, "none", &papers);
    settings.push(("CAMPUSGRID_CREDITS_VERIFIED_GRANTS", "true"));
    let mut grid = Grid::start_with("verified", &settings);
    let ada = register(&grid, "ada", "ada@campus.edu");
    let balance = |grid: &Grid, user| grid.get(user, "me").1["balance_micros"].clone();
    assert_eq!(balance(&grid, &ada), 0);
    let first = server.next();
    assert_eq!(first["to"], json!(["ada@campus.edu"]));
    assert_eq!(first["user"], json!(null));

    // Whoever has the link need not be logged in; the one before the last is good for nothing.
    let nobody = User { name: String::new(), token: String::new() };
    let show =
        |grid: &Grid, token: &str| grid.post(&nobody, "verify", &json!({ "token": token })).0;
    assert_eq!(grid.post_nothing(&ada, "verify/resend").0, 204);
    let second = token(&server.next());
    assert_eq!(show(&grid, &token(&first)), 404);
    assert_eq!(show(&grid, "made up"), 404);
    assert_eq!(show(&grid, &second), 200);
    assert_eq!(balance(&grid, &ada), 1_000_000_000);
    assert_eq!(show(&grid, &second), 404, "it has done its work");
    let (status, answer) = grid.post_nothing(&ada, "verify/resend");
    assert_eq!((status, &answer["error"]["fields"][0]["field"]), (422, &json!("email")));

    // The same address, in other words, brings nothing more, whatever becomes of the manager.
    grid.kill_manager();
    grid.start_manager();
    let twin = register(&grid, "twin", "Ada+again@Campus.edu");
    assert_eq!(show(&grid, &token(&server.next())), 200);
    assert_eq!(balance(&grid, &twin), 0);
    let bob = register(&grid, "bob", "bob@campus.edu");
    assert_eq!(show(&grid, &token(&server.next())), 200);
    assert_eq!(balance(&grid, &bob), 1_000_000_000);
    let carol = grid.register("carol");
    assert_eq!(grid.post_nothing(&carol, "verify/resend").0, 422, "she has named no address");
    grid.fsck();
}
