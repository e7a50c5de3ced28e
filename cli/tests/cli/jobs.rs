//! Single jobs: submitted in every way, waited for, followed, held, chained, retried.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::rig::{Grid, interrupt};

#[test]
fn the_exit_code_is_that_of_the_task() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    grid.share(&ada, &[]);
    let run = |words: &[&str]| {
        ada.run(
            &[&["submit", "--wait", "--ram", "64M", "--disk", "16M", "--time", "1m"], words]
                .concat(),
        )
    };
    run(&["--cmd", "true"]).succeeded();
    assert!(run(&["--cmd", "exit 3"]).failed(3).contains("ended with exit code 3"));
    run(&["--cmd", "kill -9 $$"]).failed(137);
    run(&["--cmd", "sleep 60", "--time", "1s"]).failed(124);
    ada.write("broken.c", "int main( {");
    run(&["broken.c"]).failed(125);
    // What waits was cancelled.
    let job = ada.submit(&["--cmd", "true", "--hold"]);
    ada.run(&["cancel", &job.to_string()]).succeeded();
    ada.run(&["wait", &job.to_string()]).failed(123);
    let ended = ada.json(&["submit", "--cmd", "true", "--wait", "--ram", "64M", "--disk", "16M"]);
    assert_eq!(ended["state"], "succeeded");
}

#[test]
fn a_script_says_itself_what_it_needs() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    let machine = ["--name", "old laptop", "--type", "laptop", "--cores", "1", "--ram", "1G"];
    grid.share(&ada, &[&machine[..], &["--for", "1h"]].concat());
    let shared = ada.json(&["workers", "--mine"]);
    assert_eq!((&shared["name"], &shared["cpu_millis"]), (&"old laptop".into(), &1000.into()));
    // A quarter of what is offered is scratch space.
    assert_eq!((&shared["ram_mib"], &shared["disk_mib"]), (&768.into(), &256.into()));
    ada.write(
        "job.py",
        "#CG --name 'own name' --ram 96M --disk 16M --time 1m --cpus 2\nimport sys\nprint(sys.argv[1:])\n",
    );
    let said = ada.run(&[
        "submit",
        "--follow",
        "job.py",
        "--cpus",
        "1",
        "--label",
        "type/laptop",
        "--",
        "a b",
        "--x",
    ]);
    assert_eq!(said.succeeded(), "['a b', '--x']\n");
    let job = ada.json(&["jobs"])["job"].to_string();
    let shown = ada.json(&["show", &job]);
    assert_eq!(
        (shown["name"].as_str(), &shown["needs"]["ram_mib"]),
        (Some("own name"), &96.into())
    );
    assert_eq!(shown["needs"]["cpu_millis"], 1000);
    let text = ada.run(&["show", &job]).succeeded();
    assert!(text.contains("own name") && text.contains("succeeded"), "{text}");
    assert_eq!(ada.run(&["logs", &job]).succeeded(), "['a b', '--x']\n");
    assert_eq!(ada.run(&["logs", "-f", &job]).succeeded(), "['a b', '--x']\n");
    assert!(ada.run(&["why", &job]).succeeded().contains("succeeded"));
    let quote =
        ada.json(&["submit", "--dry-run", "job.py", "--cpus", "1", "--label", "type/mainframe"]);
    assert_eq!(quote["labels_missing"], serde_json::json!(["type/mainframe"]));
    let quote = ada.run(&["submit", "--dry-run", "job.py", "--time", "20d"]).succeeded();
    assert!(quote.contains("credits short: it would be refused"), "{quote}");
    // From standard input, with both streams where they belong.
    let words = ["submit", "--shell", "-F", "--ram", "64M", "--disk", "16M", "-"];
    let said = ada.fed(&words, "echo out; echo err >&2");
    assert!(said.stdout == "out\n" && said.stderr.contains("err\n"), "{}", said.stderr);
    ada.run(&["unshare", "old laptop"]).succeeded();
    assert!(ada.run(&["workers"]).succeeded().contains("No machines"));
}

#[test]
fn ctrl_c_leaves_the_job_and_says_how_to_come_back() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    grid.share(&ada, &[]);
    let mut command = ada.command();
    command.args(["submit", "-F", "--ram", "64M", "--disk", "16M", "--time", "1m"]);
    command.args(["--cmd", "echo begun; sleep 50"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n");
    interrupt(&child, Signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{told}");
    let job = ada.json(&["jobs"])["job"].to_string();
    assert!(told.contains(&format!("campusgrid wait --follow {job}")), "{told}");
    assert_eq!(ada.json(&["show", &job])["state"], "running");
    ada.run(&["cancel", "--all"]).succeeded();
    ada.run(&["wait", &job]).failed(123);
}

#[test]
fn a_followed_log_goes_on_when_the_manager_was_away() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    grid.share(&ada, &[]);
    let mut command = ada.command();
    command.args(["submit", "-F", "--ram", "64M", "--disk", "16M", "--time", "1m"]);
    command.args([
        "--cmd",
        "echo one; until [ -e /nowhere ] || [ $SECONDS_ ]; do sleep 3; SECONDS_=1; done; echo two",
    ]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    grid.kill_manager();
    grid.start_manager();
    assert_eq!(lines.next().unwrap().unwrap(), "two");
    assert!(lines.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn jobs_wait_for_each_other_and_for_their_submitter() {
    let mut grid = Grid::start();
    let ada = grid.user("ada");
    let first = ada.submit(&["--cmd", "true", "--hold"]).to_string();
    let second = ada.submit(&["--cmd", "true", "--after-ok", &first]).to_string();
    let third = ada.submit(&["--cmd", "true", "--after-failed", &first]).to_string();
    assert!(ada.run(&["why", &first]).succeeded().contains("release"));
    assert!(ada.run(&["why", &second]).succeeded().contains(&first));
    ada.run(&["priority", &second, "-5"]).succeeded();
    assert_eq!(ada.json(&["show", &second])["priority"], -5);
    assert_eq!(ada.json(&["quote", "--cmd", "true"])["workers_online"], 0);
    grid.share(&ada, &[]);
    ada.run(&["release", &first]).succeeded();
    ada.run(&["wait", &second]).succeeded();
    // The chain is broken for whoever waits for a failure that never comes.
    ada.run(&["wait", &third]).failed(123);
    assert_ne!(ada.json(&["show", &third])["note"], "");
    let shown = ada.json(&["show", &third]);
    assert_eq!(shown["held_micros"], shown["refunded_micros"]);
    let listed = ada.run(&["jobs", "--json", "--state", "succeeded", "--kind", "shell"]);
    assert_eq!(listed.succeeded().lines().count(), 2);
    grid.unplug();
    grid.fsck();
}
