//! A short storm over real processes, and one whose outcome is lied about.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests: helpers are not seen as such, and what they print is shown on failure"
)]

use std::process::{Command, Output};

fn storm(kills: u32, seed: u32, tampering: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campusgrid-chaos"));
    command.args(["storm", "--kills", &kills.to_string(), "--seed", &seed.to_string()]);
    if let Some(tampering) = tampering {
        command.env("CAMPUSGRID_CHAOS_TAMPER", tampering);
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    println!("{out}{err}");
    out.into_owned()
}

#[test]
fn what_was_acknowledged_holds_through_ten_kills() {
    let output = storm(10, 4, None);
    let said = said(&output);
    assert!(output.status.success());
    assert!(said.contains("\n     0  findings\n") || said.starts_with("skipped: "), "{said}");
}

#[test]
fn lies_about_what_came_of_it_are_found() {
    let output = storm(1, 4, Some("forget-a-job,change-a-result,pay-twice"));
    let said = said(&output);
    check_found(&output, &said, &["NothingLost: ", "SameResult: ", "is paid twice"]);
}

#[test]
fn a_manager_that_loses_what_it_committed_is_found_out() {
    // This one kills the manager twice.
    let output = storm(4, 1, Some("lose-commits"));
    let said = said(&output);
    check_found(&output, &said, &["NothingLost: "]);
}

fn check_found(output: &Output, said: &str, words: &[&str]) {
    if said.starts_with("skipped: ") {
        return;
    }
    assert_eq!(output.status.code(), Some(1));
    for words in words {
        let is_found = |line: &str| line.starts_with("FOUND ") && line.contains(words);
        assert!(said.lines().any(is_found), "{words} is missing");
    }
    let kept = said.lines().find_map(|line| line.strip_prefix("kept in ")).unwrap();
    std::fs::remove_dir_all(kept).unwrap();
}
