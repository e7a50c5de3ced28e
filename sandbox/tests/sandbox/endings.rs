//! How tasks end, and that they do.

use std::time::Duration;

use campusgrid_protocol::task::Stream;
use campusgrid_sandbox::control::{Control, Controls};
use campusgrid_sandbox::plan::{Exit, Progress, SandboxError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc;

use crate::rig::{Directory, Rig, Task, cgroups, children, is_running};

#[tokio::test]
async fn exit_codes_and_signals_are_told_apart() {
    let Some(rig) = Rig::full().await else { return };
    for (script, exit) in [
        ("exit 0", Exit::Code(0)),
        ("exit 3", Exit::Code(3)),
        ("exit 137", Exit::Code(137)),
        ("exit 255", Exit::Code(255)),
        ("kill -SEGV $$", Exit::Signal(11)),
        ("kill -KILL $$", Exit::Signal(9)),
        ("kill -40 $$", Exit::Signal(40)),
    ] {
        assert_eq!(rig.run(Task::sh(script)).await.report.exit, exit, "{script}");
    }
    let ran = rig.run(Task::argv(&["no-such-program"])).await;
    assert_eq!(ran.report.exit, Exit::Code(127));
    assert!(ran.stderr.contains("no-such-program"), "{}", ran.stderr);
}

#[tokio::test]
async fn steps_share_a_directory_and_a_failing_one_is_the_last() {
    let Some(rig) = Rig::full().await else { return };
    let task =
        Task::sh("echo one > file").then(Task::sh("cat file; exit 7")).then(Task::sh("echo never"));
    let ran = rig.run(task).await;
    assert_eq!((ran.report.exit, ran.report.step), (Exit::Code(7), 1));
    assert_eq!(ran.stdout, "one\n");
    let printed = Progress::Printed { stream: Stream::Stdout, bytes: b"one\n".to_vec() };
    assert_eq!(ran.progress, [Progress::Step(0), Progress::Step(1), printed]);
}

#[tokio::test]
async fn a_task_that_ignores_sigterm_is_killed() {
    let Some(rig) = Rig::full().await else { return };
    let task = Task::sh("trap '' TERM; echo on; while :; do sleep 1; done");
    let ran = rig.run(task.wall(Duration::from_secs(1))).await;
    assert_eq!(ran.report.exit, Exit::TimeLimit);
    assert_eq!(ran.stdout, "on\n");
    assert!((1200..6000).contains(&ran.report.usage.run_ms), "{:?}", ran.report.usage);
}

#[tokio::test]
async fn a_task_at_its_time_limit_may_tidy_up_and_its_outputs_are_kept() {
    let Some(rig) = Rig::full().await else { return };
    let script = "trap 'echo bye; echo 1 > outputs/last; exit 0' TERM; while :; do sleep 1; done";
    let task = Task::sh(script).limits(|limits| limits.grace = Duration::from_secs(10));
    let ran = rig.run(task.wall(Duration::from_secs(1)).then(Task::sh("echo never"))).await;
    assert_eq!((ran.report.exit, ran.report.step), (Exit::TimeLimit, 0));
    assert_eq!(ran.stdout, "bye\n");
    assert_eq!(ran.report.outputs.len(), 1);
}

#[tokio::test]
async fn what_a_task_leaves_running_ends_with_it() {
    let Some(rig) = Rig::full().await else { return };
    let daemon = "import os, signal, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
for s in range(1, 32):
    try: signal.signal(s, signal.SIG_IGN)
    except OSError: pass
print('daemon', flush=True)
os.close(0)
time.sleep(1000)";
    let script = format!(
        "python3 -c \"{daemon}\"; while [ ! -s outputs/x ]; do \
                          echo 1 > outputs/x; done"
    );
    let ran = rig.run(Task::sh(&script)).await;
    assert_eq!(ran.report.exit, Exit::Code(0));
    assert_eq!(ran.report.outputs.len(), 1);
}

#[tokio::test]
async fn the_caller_can_stop_a_task() {
    let Some(rig) = Rig::full().await else { return };
    let (say, controls) = Controls::channel();
    let on_print = |progress: &Progress| {
        if matches!(progress, Progress::Printed { .. }) {
            say.send_replace(Control::Stop);
        }
    };
    let task = Task::sh("echo on; sleep 1000");
    let ran = rig.try_run(task, controls.clone(), on_print).await.unwrap();
    assert_eq!(ran.report.exit, Exit::Stopped);

    // Already stopped before it begins: it need not begin at all.
    let ran = rig.try_run(Task::sh("sleep 1000"), controls, |_| {}).await.unwrap();
    assert_eq!(ran.report.exit, Exit::Stopped);
}

#[tokio::test]
async fn a_dropped_run_leaves_nothing() {
    let Some(rig) = Rig::full().await else { return };
    let results = Directory::new("dropped");
    let (sender, mut receiver) = mpsc::channel(4);
    let task = Task::sh("trap '' TERM; echo on; sleep 1000 & sleep 1000");
    let run = rig.sandbox().run(task.plan(&results.0), sender, Controls::none());
    let first_print =
        async { while !matches!(receiver.recv().await, Some(Progress::Printed { .. }) | None) {} };
    tokio::select! {
        biased;
        () = first_print => {}
        ran = run => panic!("it ended: {ran:?}"),
    }
    // The rig looks for what is left.
}

#[tokio::test]
async fn a_helper_that_is_killed_takes_its_task_with_it() {
    let Some(rig) = Rig::full().await else { return };
    let on_print = |progress: &Progress| {
        if matches!(progress, Progress::Printed { .. }) {
            for pid in children() {
                // One that has served its task may be about to end by itself.
                let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
                while is_running(pid) {
                    std::thread::yield_now();
                }
            }
        }
    };
    let task = Task::sh("echo on; sleep 1000");
    let ran = rig.try_run(task, Controls::none(), on_print).await;
    assert!(matches!(ran, Err(SandboxError::Host { .. })), "{ran:?}");
    // The parked helpers were killed as well, and nobody notices.
    assert_eq!(rig.run(Task::sh("exit 0")).await.report.exit, Exit::Code(0));
}

#[tokio::test]
async fn several_tasks_run_at_once_under_uids_of_their_own() {
    let Some(rig) = Rig::full().await else { return };
    let task = || Task::sh("grep ' /job ' /proc/mounts | tr , '\\n' | grep ^uid=; sleep 0.5");
    let (a, b, c) = tokio::join!(rig.run(task()), rig.run(task()), rig.run(task()));
    for ran in [&a, &b, &c] {
        assert_eq!(ran.report.exit, Exit::Code(0), "{}", ran.stderr);
    }
    if nix::unistd::geteuid().is_root() {
        assert!(a.stdout != b.stdout && b.stdout != c.stdout && a.stdout != c.stdout, "{a:?}");
    }
}

#[tokio::test]
async fn a_listener_that_is_gone_or_asleep_does_not_hold_a_task_up() {
    let Some(rig) = Rig::full().await else { return };
    let results = Directory::new("gone");
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let plan = Task::sh("seq 1000").plan(&results.0);
    let report = rig.sandbox().run(plan, sender, Controls::none()).await.unwrap();
    assert_eq!((report.exit, report.stdout.size_bytes), (Exit::Code(0), 3893));

    let results = Directory::new("asleep");
    let (sender, _receiver) = mpsc::channel(1);
    let task = Task::sh("while :; do echo x; done").wall(Duration::from_millis(300));
    let report = rig.sandbox().run(task.plan(&results.0), sender, Controls::none());
    let report = report.await.unwrap();
    assert_eq!(report.exit, Exit::TimeLimit);
}

#[tokio::test]
async fn plans_that_cannot_be_run_are_refused() {
    let Some(rig) = Rig::full().await else { return };
    let mut bad_file = Task::sh("true");
    bad_file.files.push(("../x".into(), Vec::new()));
    let mut bad_name = Task::sh("true");
    bad_name.environment.push(("A=B".into(), "c".into()));
    let mut no_source = Task::sh("true");
    no_source.read_only.push(("/no/such/place".into(), "/env".into()));
    let mut big_file = Task::sh("true");
    big_file.files.push(("big".into(), vec![0; 17 * 1024 * 1024]));
    let tiny = Task::sh("true").limits(|limits| limits.ram_mib = 1);
    for task in [bad_file, bad_name, no_source, big_file, tiny, Task::sh("\0")] {
        let ran = rig.try_run(task.clone(), Controls::none(), |_| {}).await;
        assert!(matches!(ran, Err(SandboxError::Start { .. })), "{:?}: {ran:?}", task.steps);
    }
}

#[tokio::test]
async fn what_a_crashed_worker_left_is_removed_at_the_next_start() {
    let Some(rig) = Rig::full().await else { return };
    let ours = cgroups();
    drop(rig);
    // A process with our number that was started at another time is not us.
    let left =
        ours.first().unwrap().with_file_name(format!("campusgrid-{}-1-0-0", std::process::id()));
    std::fs::create_dir(&left).unwrap();
    let _rig = Rig::full().await.unwrap();
    assert!(!left.exists());
}
