//! How a machine is let in, comes back, is renewed, and is turned away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use campusgrid_protocol::message::{EnrolAnswer, Proof, ToWorker};

use crate::manager::{LIFE, Manager};
use crate::worker::{Worker, command};

fn waiting(code: &str) -> EnrolAnswer {
    EnrolAnswer::Waiting { code: code.to_owned() }
}

#[test]
fn a_machine_without_a_token_shows_a_code_and_the_managers_fingerprint() {
    let manager = Manager::listen();
    let worker = Worker::start(&manager, &["-n", "laptop", "-u", "ada"]);
    let (mut link, enrol) = manager.stranger();
    assert_eq!(
        (enrol.name.as_str(), enrol.proof),
        ("laptop", Proof::Code { owner: Some("ada".to_owned()) })
    );
    for code in ["ABCD-EFGH", "ABCD-EFGH", "IJKL-MNOP"] {
        link.send(&waiting(code));
    }
    link.enrolled(manager.doorkeeper.certificate(&enrol.request, LIFE));
    let (link, _) = manager.welcome();
    assert!(link.key.is_some());
    let shown =
        format!("compare there the manager's fingerprint: {}", manager.fingerprint().grouped());
    for code in ["ABCD-EFGH", "IJKL-MNOP"] {
        worker.says(&format!(
            "waiting for approval: enter code {code} on the dashboard's \"Workers\" page as ada"
        ));
        worker.says(&shown);
    }
    worker.says("approved: this machine works for ada");
}

#[test]
fn a_token_lets_a_machine_in_at_once_and_is_seen_by_nobody() {
    let manager = Manager::listen();
    let token = manager.token(7);
    let mut worker = Worker::start(&manager, &["--token", &token.to_string()]);
    let (mut link, enrol) = manager.stranger();
    assert_eq!(enrol.proof, Proof::Token { id: token.id, secret: token.secret });
    let process = |file: &str| fs::read(format!("/proc/{}/{file}", worker.pid())).unwrap();
    let secret = token.to_string().split('.').next_back().unwrap().to_owned();
    for file in ["cmdline", "environ"] {
        let bytes = process(file);
        assert!(!String::from_utf8_lossy(&bytes).contains(&secret), "{file}");
    }
    link.enrolled(manager.doorkeeper.certificate(&enrol.request, LIFE));
    let (link, _) = manager.welcome();
    let key = link.key;
    let identity = worker.data().join("identity");
    assert!(!identity.join("token").exists(), "it is not kept once it is used");
    for (path, mode) in [(identity.clone(), 0o700), (identity.join("key.pem"), 0o600)] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
    }
    // The same token again, as a service would be given it: it is the same worker.
    drop(link);
    worker.ask_to_leave();
    assert_eq!(worker.ended().0, 0);
    worker.restart(&manager, &["--token", &token.to_string()]);
    assert_eq!(manager.welcome().0.key, key);
}

#[test]
fn a_token_in_a_variable_or_a_file_is_as_good() {
    let manager = Manager::listen();
    let token = manager.token(7).to_string();
    let variables = [("MANAGER_TOKEN".to_owned(), token.clone())];
    let worker = Worker::start_with(&manager, &[], &variables);
    assert!(matches!(manager.let_in(LIFE).proof, Proof::Token { .. }));
    manager.welcome();
    let environment = fs::read(format!("/proc/{}/environ", worker.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains(&token));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    fs::write(&file, &token).unwrap();
    let mut worker = Worker::start(&manager, &["--token-file", file.to_str().unwrap()]);
    assert!(matches!(manager.let_in(LIFE).proof, Proof::Token { .. }));
    manager.welcome();
    // A machine that has joined does not need it any more.
    fs::remove_file(&file).unwrap();
    worker.ask_to_leave();
    assert_eq!(worker.ended().0, 0);
    worker.restart(&manager, &["--token-file", file.to_str().unwrap()]);
    manager.welcome();
}

#[test]
fn a_token_that_is_refused_stops_the_worker_with_words() {
    let manager = Manager::listen();
    let mut worker = Worker::start(&manager, &["--token", &manager.token(7).to_string()]);
    let (mut link, _) = manager.stranger();
    link.send(&EnrolAnswer::Refused { reason: "it was used already".to_owned() });
    let (status, said) = worker.ended();
    assert_eq!(status, 77, "{said}");
    assert!(said.contains("does not take this token: it was used already"), "{said}");
    assert!(!worker.data().join("identity/token").exists());
}

#[test]
fn a_token_of_another_manager_than_the_one_that_answers_is_not_sent() {
    let (manager, other) = (Manager::listen(), Manager::listen());
    let mut worker = Worker::start(&manager, &["--token", &other.token(7).to_string()]);
    let (status, said) = worker.ended();
    assert_eq!(status, 77, "{said}");
    assert!(said.contains("the token was not sent there"), "{said}");
    for fingerprint in [manager.fingerprint(), other.fingerprint()] {
        assert!(said.contains(&fingerprint.grouped()), "{said}");
    }
}

#[test]
fn another_manager_at_the_same_address_stops_the_worker_and_results_stay() {
    let (manager, other) = (Manager::listen(), Manager::listen());
    let mut worker = Worker::start(&manager, &[]);
    let (mut link, _) = manager.welcome_new();
    link.shell("1.0#1", "echo done");
    link.end();
    worker.kill_and_restart(&other);
    let (status, said) = worker.ended();
    assert_eq!(status, 77, "{said}");
    assert!(said.contains(&format!("somebody else answers at 127.0.0.1:{}", other.port)), "{said}");
    assert!(said.contains("nothing was sent there"), "{said}");
    assert!(said.contains(&format!("expected fingerprint: {}", manager.fingerprint().grouped())));
    assert!(said.contains(&format!("seen fingerprint:     {}", other.fingerprint().grouped())));
    assert_eq!(worker.spooled(), ["1.0#1.ended"]);
    // What it was told to do: forget the one, and join the other.
    let data = worker.data();
    assert!(said.contains(&format!("campusgrid-worker forget --data-dir {}", data.display())));
    let forgot = command(&data).arg("forget").output().unwrap();
    let words = String::from_utf8(forgot.stdout).unwrap();
    assert!(
        forgot.status.success() && words.contains(&manager.fingerprint().to_string()),
        "{words}"
    );
    worker.restart(&other, &["--token", &other.token(1).to_string()]);
    other.let_in(LIFE);
    let (link, join) = other.welcome();
    assert!(link.key.is_some());
    assert_eq!(join.attempts.len(), 1, "the result is still there");
}

#[test]
fn a_worker_that_is_removed_ends_and_joins_again_by_a_new_token() {
    let manager = Manager::listen();
    let mut worker = Worker::start(&manager, &["--token", &manager.token(1).to_string()]);
    manager.let_in(LIFE);
    let (mut link, _) = manager.welcome();
    link.shell("1.0#1", "echo done");
    link.end();
    link.shell("2.0#1", "echo a; exec sleep 1000");
    link.printed();
    link.dismiss("its owner has removed it");
    let (status, said) = worker.ended();
    assert_eq!(status, 77, "{said}");
    assert!(said.contains("any more: its owner has removed it"), "{said}");
    let mut spooled = worker.spooled();
    spooled.sort();
    assert_eq!(spooled, ["1.0#1.ended", "2.0#1.ended"]);
    // By itself it does not come back as anything else.
    worker.restart(&manager, &["--token", &manager.token(1).to_string()]);
    manager.control().dismiss("it was removed");
    assert_eq!(worker.ended().0, 77);
    worker.restart(&manager, &["--token", &manager.token(2).to_string()]);
    assert!(matches!(manager.let_in(LIFE).proof, Proof::Token { id, .. } if id.0 == 2));
    manager.welcome();
}

#[test]
fn a_certificate_is_renewed_while_the_worker_runs_and_the_next_connection_uses_it() {
    let manager = Manager::listen();
    let mut worker = Worker::start(&manager, &[]);
    let (mut link, enrol) = manager.stranger();
    let day = Duration::from_secs(86_400);
    link.enrolled(manager.doorkeeper.old_certificate(&enrol.request, 8 * day, 10 * day));
    let (mut link, _) = manager.welcome();
    let key = link.key;
    let request = link.renewal();
    let certificate = manager.doorkeeper.certificate(&request, LIFE);
    link.send(&ToWorker::Certificate { certificate: certificate.clone() });
    // After the first one was over.
    manager.doorkeeper.set_clock_ahead(3 * day);
    link.shell("1.0#1", "printf result > $OUTPUT_DIR/a.txt");
    manager.take_upload();
    assert_eq!(fs::read(worker.data().join("identity/certificate")).unwrap(), certificate);
    worker.kill_and_restart(&manager);
    let (link, _) = manager.welcome();
    assert_eq!(link.key, key, "the key is the same");
}

#[test]
fn a_machine_whose_certificate_is_over_asks_to_be_let_in_anew_with_the_same_key() {
    let manager = Manager::listen();
    let mut worker = Worker::start(&manager, &["-u", "ada"]);
    let (link, _) = manager.welcome_new();
    let key = link.key;
    manager.doorkeeper.set_clock_ahead(2 * LIFE);
    drop(link);
    worker.kill_and_restart(&manager);
    let enrol = manager.let_in(LIFE);
    assert!(matches!(enrol.proof, Proof::Code { .. }));
    assert_eq!(manager.welcome().0.key, key);
}

/// The clock that judged it was wrong, and is right again before anybody enters the code.
#[test]
fn a_certificate_that_was_refused_is_shown_again() {
    let manager = Manager::listen();
    let mut worker = Worker::start(&manager, &["-u", "ada"]);
    let (link, _) = manager.welcome_new();
    let key = link.key;
    manager.doorkeeper.set_clock_ahead(2 * LIFE);
    drop(link);
    worker.kill_and_restart(&manager);
    let (asking, _) = manager.stranger();
    manager.doorkeeper.set_clock_ahead(Duration::ZERO);
    drop(asking);
    assert_eq!(manager.welcome().0.key, key);
}

#[test]
fn what_was_joined_with_is_forgotten_only_while_no_worker_runs() {
    let manager = Manager::listen();
    let mut worker = Worker::start(&manager, &[]);
    let (_link, _) = manager.welcome_new();
    let forget = |command: &mut Command| command.arg("forget").output().unwrap();
    let busy = forget(&mut command(&worker.data()));
    assert_eq!(busy.status.code(), Some(1));
    assert!(worker.data().join("identity/key.pem").exists());
    worker.ask_to_leave();
    worker.ended();
    assert!(forget(&mut command(&worker.data())).status.success());
    assert!(!worker.data().join("identity").exists());
    let nothing = forget(&mut command(&worker.data()));
    assert!(String::from_utf8_lossy(&nothing.stdout).contains("nothing to forget"));
}

#[test]
fn a_token_that_is_mistyped_is_told_before_anything_is_opened_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let secret = "0123456789abcdef";
    let file = dir.path().join("token");
    fs::write(&file, format!("cg1.zz.1.{secret}{secret}")).unwrap();
    for arguments in [
        ["--token".to_owned(), format!("cg1.00.1.{secret}")],
        ["--token-file".to_owned(), file.display().to_string()],
        ["--token-file".to_owned(), "/nowhere".to_owned()],
    ] {
        let output = command(&data).args(["-m", "127.0.0.1"]).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains("token") && !said.contains(secret), "{said}");
        assert!(!data.exists());
    }
}
