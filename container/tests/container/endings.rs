//! How tasks end, and that they do.

use std::time::Duration;

use campusgrid_protocol::task::Stream;
use campusgrid_sandbox::control::{Control, Controls};
use campusgrid_sandbox::plan::{Exit, Progress};
use tokio::sync::mpsc;

use crate::rig::{Rig, Task};

#[tokio::test]
async fn tasks_end_as_they_do_in_the_sandbox() {
    let Some(rig) = Rig::new().await else { return };
    tokio::join!(
        exit_codes_and_signals_are_told_apart(&rig),
        steps_share_a_directory_and_a_failing_one_is_the_last(&rig),
        a_task_that_ignores_sigterm_is_killed(&rig),
        a_task_at_its_time_limit_may_tidy_up_and_its_outputs_are_kept(&rig),
        what_a_task_leaves_running_ends_with_it(&rig),
    );
    tokio::join!(
        the_caller_can_stop_a_task(&rig),
        a_dropped_run_leaves_nothing(&rig),
        a_listener_that_is_gone_or_asleep_does_not_hold_a_task_up(&rig),
        plans_that_cannot_be_run_are_refused(&rig),
    );
    rig.engine.close().await;
    assert_eq!(rig.containers(), "");
}

async fn exit_codes_and_signals_are_told_apart(rig: &Rig) {
    for (script, exit) in [
        ("exit 0", Exit::Code(0)),
        ("exit 3", Exit::Code(3)),
        ("exit 255", Exit::Code(255)),
        ("kill -SEGV $$", Exit::Signal(11)),
        ("kill -KILL $$", Exit::Signal(9)),
    ] {
        let task = Task::sh(script).family("codes");
        assert_eq!(rig.run(task).await.report.exit, exit, "{script}");
    }
    let ran = rig.run(Task::argv(&["no-such-program"]).family("codes")).await;
    assert_eq!(ran.report.exit, Exit::Code(127));
    assert!(ran.stderr.contains("no-such-program"), "{}", ran.stderr);
}

async fn steps_share_a_directory_and_a_failing_one_is_the_last(rig: &Rig) {
    let task =
        Task::sh("echo one > file").then(Task::sh("cat file; exit 7")).then(Task::sh("echo never"));
    let ran = rig.run(task).await;
    assert_eq!((ran.report.exit, ran.report.step), (Exit::Code(7), 1));
    assert_eq!(ran.stdout, "one\n");
    let printed = Progress::Printed { stream: Stream::Stdout, bytes: b"one\n".to_vec() };
    assert_eq!(ran.progress, [Progress::Step(0), Progress::Step(1), printed]);
}

async fn a_task_that_ignores_sigterm_is_killed(rig: &Rig) {
    let task = Task::sh("trap '' TERM; echo on; while :; do sleep 1; done");
    let ran = rig.run(task.wall(Duration::from_secs(1))).await;
    assert_eq!(ran.report.exit, Exit::TimeLimit);
    assert_eq!(ran.stdout, "on\n");
    assert!((1200..9000).contains(&ran.report.usage.run_ms), "{:?}", ran.report.usage);
}

async fn a_task_at_its_time_limit_may_tidy_up_and_its_outputs_are_kept(rig: &Rig) {
    let script = "trap 'echo bye; echo 1 > outputs/last; exit 0' TERM; while :; do sleep 1; done";
    let task = Task::sh(script).limits(|limits| limits.grace = Duration::from_secs(10));
    let ran = rig.run(task.wall(Duration::from_secs(1)).then(Task::sh("echo never"))).await;
    assert_eq!((ran.report.exit, ran.report.step), (Exit::TimeLimit, 0));
    assert_eq!(ran.stdout, "bye\n");
    assert_eq!(ran.report.outputs.len(), 1);
}

async fn what_a_task_leaves_running_ends_with_it(rig: &Rig) {
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
    let script = format!("python3 -c \"{daemon}\"; echo 1 > outputs/x");
    let ran = rig.run(Task::sh(&script).family("daemon")).await;
    assert_eq!(ran.report.exit, Exit::Code(0));
    assert_eq!(ran.report.outputs.len(), 1);
    let ran = rig.run(Task::sh("cat /proc/[0-9]*/comm | grep python").family("daemon")).await;
    assert_eq!(ran.stdout, "");
}

async fn the_caller_can_stop_a_task(rig: &Rig) {
    let (say, controls) = Controls::channel();
    let on_print = |progress: &Progress| {
        if matches!(progress, Progress::Printed { .. }) {
            say.send_replace(Control::Stop);
        }
    };
    let ran =
        rig.try_run(Task::sh("echo on; sleep 1000"), controls.clone(), on_print).await.unwrap();
    assert_eq!(ran.report.exit, Exit::Stopped);
    // Already stopped before it begins: it need not begin at all.
    let ran = rig.try_run(Task::sh("sleep 1000"), controls, |_| {}).await.unwrap();
    assert_eq!(ran.report.exit, Exit::Stopped);
}

async fn a_dropped_run_leaves_nothing(rig: &Rig) {
    let results = tempfile::tempdir().unwrap();
    let (sender, mut receiver) = mpsc::channel(4);
    let mut task = Task::sh("trap '' TERM; echo on; sleep 1000 & sleep 1000");
    task.plan.results = results.path().to_path_buf();
    let run = rig.engine.run(task.plan, "default", sender, Controls::none());
    let first_print =
        async { while !matches!(receiver.recv().await, Some(Progress::Printed { .. }) | None) {} };
    tokio::select! {
        biased;
        () = first_print => {}
        ran = run => panic!("it ended: {ran:?}"),
    }
    // The test looks for what is left, in the end.
}

async fn a_listener_that_is_gone_or_asleep_does_not_hold_a_task_up(rig: &Rig) {
    let results = tempfile::tempdir().unwrap();
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let mut task = Task::sh("seq 1000");
    task.plan.results = results.path().to_path_buf();
    let run = rig.engine.run(task.plan, "default", sender, Controls::none());
    let report = run.await.unwrap();
    assert_eq!((report.exit, report.stdout.size_bytes), (Exit::Code(0), 3893));

    let results = tempfile::tempdir().unwrap();
    let (sender, _receiver) = mpsc::channel(1);
    let mut task = Task::sh("while :; do echo x; done").wall(Duration::from_millis(300));
    task.plan.results = results.path().to_path_buf();
    let run = rig.engine.run(task.plan, "default", sender, Controls::none());
    let report = run.await.unwrap();
    assert!(matches!(report.exit, Exit::TimeLimit | Exit::OutputFlood), "{:?}", report.exit);
}

async fn plans_that_cannot_be_run_are_refused(rig: &Rig) {
    let mut bad_file = Task::sh("true");
    bad_file.plan.files.push(("../x".into(), Vec::new()));
    let mut bad_name = Task::sh("true");
    bad_name.plan.environment.push(("A=B".into(), "c".into()));
    let mut no_source = Task::sh("true");
    no_source.plan.read_only.push(("/no/such/place".into(), "/env".into()));
    let mut writable = Task::sh("true");
    writable.plan.read_write.push(("/tmp".into(), "/data".into()));
    for task in [bad_file, bad_name, no_source, writable, Task::sh("\0")] {
        let ran = rig.try_run(task.clone(), Controls::none(), |_| {}).await;
        assert!(ran.is_err(), "{:?}: {ran:?}", task.plan.steps);
    }
}
