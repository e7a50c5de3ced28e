//! A task that stands still because the machine's owner is back: how soon, how completely, and what
//! becomes of its time.
#![expect(clippy::unwrap_used, reason = "all of this is test code, though not in test functions")]

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campusgrid_sandbox::clock::Stopwatch;
use campusgrid_sandbox::control::{Control, Controls};
use campusgrid_sandbox::plan::{Exit, Progress};
use campusgrid_sandbox::sandbox::Confinement;
use nix::sys::signal::Signal;
use tokio::sync::Notify;
use tokio::time::{interval, timeout};

use crate::rig::{Ran, Rig, Task};

/// How soon nothing of a task runs any more.
const AT_ONCE: Duration = Duration::from_millis(200);

/// All processes whose arguments hold this mark, and whether each is stopped.
fn states(mark: &str) -> Vec<char> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().into_string().ok());
    let is_ours = |pid: &String| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(mark)
    };
    let state = |pid: String| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let word = |name| status.lines().find_map(|line: &str| line.strip_prefix(name));
        // With a stop on its way it runs no further, even if it has to wait for a core to show that.
        let pending = u64::from_str_radix(word("ShdPnd:")?.trim(), 16).ok()?;
        let is_stopping = pending & 1 << (Signal::SIGSTOP as i32 - 1) != 0;
        if is_stopping { Some('T') } else { word("State:")?.trim().chars().next() }
    };
    pids.filter(is_ours).filter_map(state).collect()
}

/// Sees that all processes with this mark stand still, again and again for so long.
async fn stay_still(mark: &str, how_long: Duration) {
    let (watch, mut looks) = (Stopwatch::start(), interval(Duration::from_millis(50)));
    while watch.passed() < how_long {
        looks.tick().await;
        let states = states(mark);
        assert!(states.iter().all(|state| "TZ".contains(*state)), "{states:?}");
    }
}

/// Runs a task that carries `mark`; when it has printed something, freezes it and tells how long it
/// took until all its processes stood still. Then does `rest`.
async fn freeze<F: Future<Output = ()>>(
    rig: &Rig,
    task: Task,
    mark: &str,
    rest: impl FnOnce(tokio::sync::watch::Sender<Control>) -> F,
) -> (Ran, Duration) {
    let (say, controls) = Controls::channel();
    let printed = Notify::new();
    let on_print = |progress: &Progress| {
        if matches!(progress, Progress::Printed { .. }) {
            printed.notify_one();
        }
    };
    let owner = async {
        printed.notified().await;
        let watch = Stopwatch::start();
        say.send_replace(Control::StandStill);
        let mut looks = interval(Duration::from_millis(1));
        loop {
            let states = states(mark);
            if !states.is_empty() && states.iter().all(|state| "TZ".contains(*state)) {
                break;
            }
            assert!(watch.passed() < Duration::from_secs(5), "{states:?}");
            looks.tick().await;
        }
        let took = watch.passed();
        rest(say).await;
        took
    };
    let (ran, took) = tokio::join!(rig.try_run(task, controls, on_print), owner);
    (ran.unwrap(), took)
}

#[tokio::test]
async fn all_of_a_task_stands_still_at_once_and_its_time_with_it() {
    // A busy one, a busy child, and a grandchild in a session of its own.
    let script = "import os, time, sys
mark = 'stillness-1'
if os.fork() == 0:
    if os.fork() == 0: os.setsid()
    while True: pass
print('on', flush=True)
end = time.process_time() + 0.1
while time.process_time() < end: pass
os._exit(0)";
    for confinement in [Confinement::Full, Confinement::Restricted, Confinement::None] {
        let Some(rig) = Rig::new(confinement).await else { continue };
        let task = Task::python(script).wall(Duration::from_secs(4));
        let (ran, took) = freeze(&rig, task, "stillness-1", |say| async move {
            // Longer than its time limit.
            stay_still("stillness-1", Duration::from_millis(4500)).await;
            say.send_replace(Control::GoOn);
        })
        .await;
        assert!(took < AT_ONCE, "{confinement:?}: {took:?}");
        assert_eq!(ran.report.exit, Exit::Code(0), "{confinement:?}");
        assert!(ran.report.usage.run_ms < 4000, "{confinement:?}: {:?}", ran.report.usage);
    }
}

#[tokio::test]
async fn who_forks_and_wakes_others_is_stopped_all_the_same() {
    let Some(rig) = Rig::full().await else { return };
    // Processes that come and go all the time, and each wakes all others that it can.
    let script = "import os, signal, sys
mark = 'stillness-2'
def churn():
    while True:
        try:
            if os.fork() == 0:
                try: os.kill(-1, signal.SIGCONT)
                except OSError: pass
                os._exit(0)
        except OSError: pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]: pass
        except OSError: pass
for _ in range(6):
    if os.fork() == 0: churn()
print('on', flush=True)
churn()";
    let (ran, took) = freeze(&rig, Task::python(script), "stillness-2", |say| async move {
        // It stays so.
        stay_still("stillness-2", Duration::from_millis(200)).await;
        say.send_replace(Control::Stop);
    })
    .await;
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(ran.report.exit, Exit::Stopped);
}

#[tokio::test]
async fn many_busy_processes_behind_a_small_quota_stand_still_at_once() {
    let Some(rig) = Rig::full().await else { return };
    let script = "import os
mark = 'stillness-3'
for _ in range(20):
    if os.fork() == 0:
        while True: pass
print('on', flush=True)
while True: pass";
    let task = Task::python(script).limits(|limits| limits.core_percent = 20);
    let (ran, took) = freeze(&rig, task, "stillness-3", |say| async move {
        say.send_replace(Control::Stop);
    })
    .await;
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(ran.report.exit, Exit::Stopped);
}

#[tokio::test]
async fn who_is_told_to_end_while_it_stands_still_hears_it() {
    let Some(rig) = Rig::full().await else { return };
    let script = "trap 'echo heard; exit 0' TERM; : stillness-4; echo on; \
                  while :; do sleep 0.02; done";
    let (ran, _) = freeze(&rig, Task::sh(script), "stillness-4", |say| async move {
        say.send_replace(Control::HandBack { grace: Duration::from_secs(10) });
    })
    .await;
    assert_eq!((ran.report.exit, ran.stdout.as_str()), (Exit::Stopped, "on\nheard\n"));
}

#[tokio::test]
async fn who_resists_is_killed_when_its_grace_is_over() {
    let Some(rig) = Rig::full().await else { return };
    let watch = Stopwatch::start();
    let (ran, _) = freeze(
        &rig,
        Task::sh("trap '' TERM; : stillness-5; echo on; while :; do sleep 0.02; done"),
        "stillness-5",
        |say| async move {
            say.send_replace(Control::HandBack { grace: Duration::from_millis(300) });
        },
    )
    .await;
    assert_eq!(ran.report.exit, Exit::Stopped);
    assert!(watch.passed() < Duration::from_secs(5));
}

#[tokio::test]
async fn no_step_begins_while_a_task_stands_still() {
    let Some(rig) = Rig::full().await else { return };
    let (say, controls) = Controls::channel();
    let thawed = AtomicBool::new(false);
    // The first step ends in the very moment in which the task is stopped, or before it, or after it.
    for pause_ms in [0, 1, 2, 4, 8] {
        let say = say.clone();
        thawed.store(false, Ordering::SeqCst);
        say.send_replace(Control::GoOn);
        let task = Task::sh("sleep 0.003").then(Task::sh(": stillness-6; echo second"));
        let still = Notify::new();
        let on_still = |progress: &Progress| {
            if matches!(progress, Progress::Still) {
                still.notify_one();
            }
        };
        let owner = async {
            let _not_yet = timeout(Duration::from_millis(pause_ms), still.notified()).await;
            say.send_replace(Control::StandStill);
            // Unless it has ended before.
            let _ended = timeout(AT_ONCE, still.notified()).await;
            stay_still("stillness-6", Duration::from_millis(150)).await;
            thawed.store(true, Ordering::SeqCst);
            say.send_replace(Control::GoOn);
        };
        let (ran, ()) = tokio::join!(rig.try_run(task, controls.clone(), on_still), owner);
        let ran = ran.unwrap();
        assert_eq!((ran.report.exit, ran.stdout.as_str()), (Exit::Code(0), "second\n"));
    }
}
