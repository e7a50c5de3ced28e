//! Arrays: indices, lines, failures that are run again, ranges that are cancelled, the batch of the seed.

use std::path::Path;
use std::process::Stdio;

use crate::rig::{Grid, User};

#[test]
fn an_array_exits_as_its_first_failed_task_and_runs_only_those_again() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    grid.share(&ada, &[]);
    let command = "case $1 in 4) exit 4;; 8) exit 8;; esac; echo task $1";
    let words =
        ["submit", "--wait", "--ram", "64M", "--disk", "16M", "--time", "1m", "--cmd", command];
    let said = ada.run(&[&words[..], &["--array", "0-8:2%2", "--", "{index}"]].concat());
    said.failed(4);
    let job = ada.json(&["jobs"])["job"].to_string();
    let shown = ada.json(&["show", &job]);
    assert_eq!((&shown["succeeded"], &shown["failed"]), (&3.into(), &2.into()), "{shown}");
    assert_eq!(ada.run(&["logs", &format!("{job}:6")]).succeeded(), "task 6\n");
    assert!(ada.run(&["logs", &job]).failed(64).contains(&format!("{job}:0")));
    let failed = ada.run(&["tasks", &job, "--state", "failed", "--json"]).succeeded();
    assert_eq!(failed.lines().count(), 2);
    let again = ada.json(&["retry", &job])["job"].to_string();
    ada.run(&["wait", &again]).failed(4);
    assert_eq!(ada.json(&["show", &again])["array"], "4,8");
    grid.unplug();
    grid.fsck();
}

#[test]
fn tasks_that_are_cancelled_are_refunded() {
    let grid = Grid::start_with(&[("STARTING_CREDITS", "1000000")]);
    let ada = grid.user("ada");
    let before = ada.json(&["credits"])["balance_micros"].clone();
    let job = ada.submit(&["--cmd", "true", "--array", "1-100000", "--time", "1s"]);
    let shown = |name: &str| ada.json(&["show", &job.to_string()])[name].as_i64().unwrap();
    let held = shown("held_micros");
    ada.run(&["cancel", &format!("{job}:1-99999")]).succeeded();
    assert_eq!((held - shown("refunded_micros")) * 100_000, held);
    assert_eq!(ada.json(&["credits"])["held_micros"], held / 100_000);
    ada.run(&["cancel", &job.to_string()]).succeeded();
    assert_eq!(ada.json(&["credits"])["balance_micros"], before);
    grid.fsck();
}

#[test]
fn each_line_of_a_file_is_a_task() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    grid.share(&ada, &[]);
    copy("lines/words.txt", &ada);
    copy("lines/greet.py", &ada);
    let quote = ada.json(&["quote", "greet.py"]);
    let of = |name: &str| quote[name].as_i64().unwrap();
    assert_eq!(of("total_micros"), 3 * of("task_micros"));
    ada.run(&["submit", "greet.py", "--wait", "--", "{line}"]).succeeded();
    let job = ada.json(&["jobs"])["job"].to_string();
    let said = ada.run(&["logs", &format!("{job}:2")]).succeeded();
    assert_eq!(said, "Task 2 greets Grace Hopper\n");
}

/// `examples/batch-csv` does what the seed's batch simulation does, with one command.
#[test]
fn a_batch_is_one_command() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    grid.share(&ada, &[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/batch-csv/run.sh");
    let binary = Path::new(env!("CARGO_BIN_EXE_campusgrid")).parent().unwrap();
    let folders = std::env::var_os("PATH").unwrap();
    let folders = std::iter::once(binary.to_owned()).chain(std::env::split_paths(&folders));
    let mut command = std::process::Command::new(script);
    command.current_dir(&ada.folder).stdin(Stdio::null());
    command.env("PATH", std::env::join_paths(folders).unwrap());
    command.env("XDG_CONFIG_HOME", &ada.home).env("NUM_JOBS", "3");
    command.env("API_PORT", grid.url().rsplit(':').next().unwrap());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for number in 1..=3 {
        let text = ada.read(&format!("outputs/job_{number}.csv"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (2, "numbers,sum,mean"));
        // "[84, 62, 95, 76, 74, 93, 33, 2, 69, 20]",608,60.8
        let (numbers, rest) = lines[1].rsplit_once("]\",").unwrap();
        let numbers: Vec<u32> = numbers
            .trim_start_matches("\"[")
            .split(", ")
            .map(|number| number.parse().unwrap())
            .collect();
        let sum: u32 = numbers.iter().sum();
        assert_eq!(numbers.len(), 10);
        assert_eq!(rest, format!("{sum},{}.{}", sum / 10, sum % 10));
    }
    assert_eq!(std::fs::read_dir(ada.folder.join("outputs")).unwrap().count(), 3);
}

fn copy(example: &str, user: &User) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let name = example.rsplit('/').next().unwrap();
    user.write(name, std::fs::read(examples.join(example)).unwrap());
}
