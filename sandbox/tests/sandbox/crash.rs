//! What is left when the daemon itself is killed, and what the next one makes of it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::Progress;

use crate::rig::{Rig, Task, cgroups_of, is_running, processes};

/// Tells the copy of this program that it is the one to be killed.
const VICTIM: &str = "CAMPUSGRID_TEST_VICTIM";
/// A word by which its task is known among all processes.
const MARK: &str = "98765.4321";

#[tokio::test]
async fn the_one_that_will_be_killed() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let Some(rig) = Rig::full().await else { return };
    let script = format!("trap '' TERM; echo on; setsid sleep {MARK} & sleep {MARK}");
    let on_print = |progress: &Progress| {
        if matches!(progress, Progress::Printed { .. }) {
            println!("\nrunning"); // The killer waits for it.
        }
    };
    let _never = rig.try_run(Task::sh(&script), Controls::none(), on_print).await;
}

#[tokio::test]
async fn a_daemon_that_is_killed_leaves_nothing() {
    let Some(rig) = Rig::full().await else { return };
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::the_one_that_will_be_killed", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.into_iter().any(|line| line == "running"), "it did not come so far");
    let mut of_task = Vec::new();
    // They say that they are about to begin.
    while of_task.len() < 2 {
        of_task = processes(MARK);
    }
    assert!(!cgroups_of(victim.id()).is_empty());

    victim.kill().unwrap();
    victim.wait().unwrap();
    // Nobody tells when they are gone: their parents are dead.
    while of_task.iter().any(|pid| is_running(*pid)) {
        std::thread::yield_now();
    }
    drop(rig);
    let _rig = Rig::full().await.unwrap();
    assert_eq!(cgroups_of(victim.id()), Vec::<std::path::PathBuf>::new());
}
