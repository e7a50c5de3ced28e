//! Tasks without walls: what still holds for the owner's own.

use std::fs::{self, File};
use std::time::Duration;

use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{Exit, Progress};
use campusgrid_sandbox::sandbox::Confinement;

use crate::rig::{Rig, Task};

#[tokio::test]
async fn paths_lead_to_the_tasks_own_directory() {
    let Some(rig) = Rig::new(Confinement::None).await else { return };
    let mut task = Task::sh("cat main.py; echo x > $OUTPUT_DIR/x; env | cut -d= -f1 | sort; pwd");
    task.files.push(("main.py".into(), b"hello\n".into()));
    let ran = rig.run(task).await;
    assert_eq!(ran.report.exit, Exit::Code(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("hello\nHOME\nOUTPUT_DIR\nPATH\nPWD\n/"), "{}", ran.stdout);
    assert_eq!(ran.report.outputs.len(), 1);
    let ran = rig.run(Task::argv(&["no-such-program"])).await;
    assert_eq!(ran.report.exit, Exit::Code(127));
    assert!(ran.stderr.contains("no-such-program"));
}

#[tokio::test]
async fn time_limits_hold_for_what_went_to_the_background() {
    let Some(rig) = Rig::new(Confinement::None).await else { return };
    let script = "trap '' TERM; (setsid sleep 1000 &) ; echo on; sleep 1000";
    let ran = rig.run(Task::sh(script).wall(Duration::from_millis(200))).await;
    assert_eq!(ran.report.exit, Exit::TimeLimit);
    assert_eq!(ran.stdout, "on\n");
}

#[tokio::test]
async fn who_holds_a_stream_open_does_not_hold_us() {
    let Some(rig) = Rig::new(Confinement::None).await else { return };
    let gate = rig.directory.0.join("gate");
    let task =
        Task::sh(&format!("echo $$; while [ ! -e {} ]; do sleep 0.02; done", gate.display()));
    let mut held = None;
    let ran = rig.try_run(task, Controls::none(), |progress| {
        if let Progress::Printed { bytes, .. } = progress {
            let pid = String::from_utf8_lossy(bytes);
            let stdout = format!("/proc/{}/fd/1", pid.trim());
            held = Some(File::options().write(true).open(stdout).unwrap());
            fs::write(&gate, "").unwrap();
        }
    });
    let ran = tokio::time::timeout(Duration::from_secs(10), ran).await.unwrap().unwrap();
    assert_eq!(ran.report.exit, Exit::Code(0));
    assert!(held.is_some());
}
