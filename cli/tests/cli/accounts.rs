//! Logging in and out, whom to trust, and what is said when something is in the way.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use crate::rig::Grid;

#[test]
fn a_user_registers_logs_out_and_in_again() {
    let grid = Grid::start();
    let ada = grid.user("ada");
    assert_eq!(ada.json(&["credits"])["balance_micros"], 10_000_000_000_i64);
    assert!(ada.run(&["credits"]).succeeded().contains("balance  10000\n"));
    ada.run(&["logout"]).succeeded();
    assert!(ada.run(&["jobs"]).failed(77).contains("campusgrid login http://localhost"));
    let words = ["login", "--user", "ada", "--password-stdin"];
    assert!(ada.fed(&words, "wrong horse").failed(77).contains("name and password"));
    ada.fed(&words, "correct horse battery").succeeded();
    assert!(ada.run(&["jobs"]).succeeded().contains("No jobs"));
    // For scripts: an API token in the environment, with nothing kept.
    let words = [&words[..], &["--api-token", "7"]].concat();
    ada.fed(&words, "correct horse battery").succeeded();
    let config = std::fs::read_to_string(ada.home.join("campusgrid/config.toml")).unwrap();
    let token = config.lines().find_map(|line| line.strip_prefix("token = ")).unwrap();
    assert!(token.starts_with("\"cgp_"), "{token}");
    let script = grid.somebody("script");
    let mut command = script.command();
    command.env("CAMPUSGRID_SERVER", grid.url()).env("CAMPUSGRID_TOKEN", token.trim_matches('"'));
    assert!(command.args(["credits"]).output().unwrap().status.success());
    // And the same token typed in.
    let words = ["login", &grid.url(), "--token-stdin"];
    script.fed(&words, token.trim_matches('"')).succeeded();
    script.run(&["credits"]).succeeded();
}

#[test]
fn what_others_could_read_is_not_used() {
    let grid = Grid::start();
    let ada = grid.user("ada");
    let file = ada.home.join("campusgrid/config.toml");
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    assert!(ada.run(&["jobs"]).failed(78).contains("chmod 600"));
}

#[test]
fn a_manager_that_vouches_for_itself_is_known_by_its_fingerprint() {
    let grid = Grid::start_with(&[("CAMPUSGRID_DASHBOARD_TLS", "own")]);
    let ada = grid.somebody("ada");
    let url = grid.url();
    let register = ["register", &url, "--user", "ada", "--password-stdin"];
    // Nobody can be asked here, and nothing is sent unasked.
    let told = ada.fed(&register, "correct horse battery").failed(1);
    let shown: String = told.lines().find(|line| line.starts_with("  ")).unwrap().to_owned();
    let wrong = "0".repeat(64);
    let with = |fingerprint| [&register[..], &["--fingerprint", fingerprint]].concat();
    let told = ada.fed(&with(&wrong), "correct horse battery").failed(69);
    assert!(told.contains("nothing was sent"), "{told}");
    ada.fed(&with(shown.trim()), "correct horse battery").succeeded();
    ada.run(&["credits"]).succeeded();
    // Somebody who has not looked is told what to do.
    let bob = grid.somebody("bob");
    let mut command = bob.command();
    command.env("CAMPUSGRID_SERVER", &url).env("CAMPUSGRID_TOKEN", "cgp_00");
    let output = command.arg("jobs").output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("campusgrid login https://localhost"));
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let grid = Grid::start();
    let nobody = grid.somebody("nobody");
    assert!(nobody.run(&["jobs"]).failed(64).contains("campusgrid login"));
    let ada = grid.user("ada");
    assert!(ada.run(&["sumbit"]).failed(64).contains("submit"));
    assert!(ada.run(&["submit"]).failed(64).contains("nothing to run"));
    assert!(ada.run(&["submit", "nowhere.py"]).failed(66).contains("nowhere.py"));
    assert!(ada.run(&["show", "99"]).failed(1).contains("campusgrid jobs"));
    assert!(ada.run(&["submit", "--cmd", "x", "--ram", "1"]).failed(1).contains("--ram"));
    let told = ada.run(&["jobs", "--json", "--server", "http://localhost:1"]).failed(77);
    assert!(told.contains("not logged in"), "{told}");
    assert!(ada.run(&["completions", "bash"]).succeeded().contains("campusgrid"));
    assert!(ada.run(&["docs"]).succeeded().contains("/openapi.json"));
}

#[test]
fn a_manager_that_restarts_is_waited_for() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    grid.kill_manager();
    let mut command = ada.command();
    command.args(["submit", "--cmd", "true", "--json"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    grid.start_manager();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(ada.run(&["jobs", "--json"]).succeeded().lines().count(), 1);
}
