//! `campusgrid-worker doctor` and `install` as an owner calls them.
#![expect(clippy::unwrap_used, reason = "tests: helpers are not seen as such")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the program with these arguments in a directory of its own, and nothing in its environment
/// but where programs are.
fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campusgrid-worker"));
    let path = std::env::var("PATH").unwrap_or_default();
    let variables =
        BTreeMap::from([("PATH", path.as_str()), ("HOME", directory.to_str().unwrap())]);
    command.args(arguments).current_dir(directory).env_clear().envs(variables).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn its_exit_status_says_whether_jobs_can_run() {
    let home = tempfile::tempdir().unwrap();
    let done = run(home.path(), &["doctor", "--json"]);
    let found: Value = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&done.stderr)));
    let is_fit = ["restricted", "docker", "full"].contains(&found["level"].as_str().unwrap());
    assert_eq!(found["fit"], is_fit);
    assert_eq!(done.status.code(), Some(if is_fit { 0 } else { 1 }), "{found:#}");
    for check in found["checks"].as_array().unwrap() {
        assert!(["yes", "optional", "no"].contains(&check["state"].as_str().unwrap()), "{check}");
        assert!(!check["found"].as_str().unwrap().is_empty(), "{check}");
    }
    // Nothing was started, so there is nothing to keep.
    assert_eq!(home.path().read_dir().unwrap().count(), 0);
}

#[test]
fn its_table_is_read_on_a_narrow_screen() {
    let home = tempfile::tempdir().unwrap();
    let done = run(home.path(), &["doctor", "--no-docker", "-m", "127.0.0.1", "-p", "1"]);
    let table = text(&done.stdout);
    // A command that wraps could not be copied.
    let is_command = |line: &str| line.starts_with("  mend:") || line.starts_with("  get:");
    for line in table.lines().filter(|line| !is_command(line)) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(!table.contains('\u{1b}'), "{table}");
    assert!(table.contains("MISSING  manager "), "{table}");
    assert!(table.contains("not to be used, says the configuration"), "{table}");
}

#[test]
fn a_wrong_configuration_is_told_first() {
    let home = tempfile::tempdir().unwrap();
    for command in ["doctor", "install", "build-image"] {
        let done = run(home.path(), &[command, "-p", "x"]);
        assert_eq!(done.status.code(), Some(64), "{}", text(&done.stderr));
    }
}

#[test]
fn a_dry_run_of_the_installation_says_what_it_would_do() {
    let home = tempfile::tempdir().unwrap();
    let done = run(home.path(), &["install", "--dry-run", "-m", "grid.example", "-u", "ada"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let said = text(&done.stdout);
    assert!(said.contains("/usr/lib/campusgrid/campusgrid-worker"), "{said}");
}
