//! The warning before a time limit, and both streams of a task that prints too much.

use std::time::Duration;

use campusgrid_sandbox::plan::Exit;
use campusgrid_sandbox::sandbox::Confinement;

use crate::rig::{Rig, Task};

const WALL: Duration = Duration::from_secs(20);

/// A step that hears the warning at once: its time is over in 20 s, and that much before it is told.
fn soon(task: Task, in_ms: u64) -> Task {
    task.wall(WALL).warned(WALL - Duration::from_millis(in_ms))
}

#[tokio::test]
async fn all_processes_of_a_task_are_warned_once_and_go_on() {
    // A child, a grandchild in a session of its own, and the one above them.
    let script = "import os, signal, sys, time
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
reader, writer = os.pipe()
def wait(name):
    print('up', flush=True)
    while not heard: signal.pause()
    time.sleep(0.3)
    os.write(writer, name)
    os._exit(len(heard))
if os.fork() == 0:
    if os.fork() == 0: os.setsid(); wait(b'g')
    wait(b'c')
while not heard: signal.pause()
told = sorted(os.read(reader, 1) for _ in range(2))
os.wait(); time.sleep(0.2)
print(told, len(heard))";
    for confinement in [Confinement::Full, Confinement::Restricted, Confinement::None] {
        let Some(rig) = Rig::new(confinement).await else { continue };
        let ran = rig.run(soon(Task::python(script), 1500)).await;
        let (exit, said) = (ran.report.exit, ran.stdout.lines().last());
        assert_eq!(
            (exit, said),
            (Exit::Code(0), Some("[b'c', b'g'] 1")),
            "{confinement:?} {}",
            ran.stderr
        );
    }
}

#[tokio::test]
async fn who_does_nothing_about_the_warning_is_ended_by_it() {
    let Some(rig) = Rig::full().await else { return };
    let ran = rig.run(soon(Task::sh("exec sleep 100"), 200)).await;
    assert_eq!(ran.report.exit, Exit::Signal(10));
}

#[tokio::test]
async fn a_warning_comes_before_the_end_and_never_to_the_next_task() {
    let Some(rig) = Rig::full().await else { return };
    let script = "trap 'echo warned' USR1; echo on; while :; do sleep 0.05; done";
    let task = Task::sh(script).family("f").wall(Duration::from_millis(900));
    let ran = rig.run(task.warned(Duration::from_millis(500))).await;
    assert_eq!((ran.report.exit, ran.stdout.as_str()), (Exit::TimeLimit, "on\nwarned\n"));
    // Warned at the moment at which it ends, or after it.
    for in_ms in [0, 1, 2, 5, 10, 20, 30] {
        let short = soon(Task::sh("trap : USR1; sleep 0.01; exit 0").family("g"), in_ms);
        let ran = rig.run(short).await;
        assert!(
            matches!(ran.report.exit, Exit::Code(0) | Exit::Signal(10)),
            "{:?}",
            ran.report.exit
        );
        let next = rig.run(Task::sh("sleep 0.05; echo fine").family("g")).await;
        assert_eq!((next.report.exit, next.stdout.as_str()), (Exit::Code(0), "fine\n"));
    }
}

#[tokio::test]
async fn both_streams_keep_their_head_and_tail_with_the_cut_marked() {
    let Some(rig) = Rig::full().await else { return };
    let script = "import sys
for stream, letter in (sys.stdout, 'o'), (sys.stderr, 'e'):
    print(f'first {letter}', file=stream)
    for n in range(10000): print(f'{letter}{n}', file=stream)
    print(f'last {letter}', file=stream)";
    let ran = rig.run(Task::python(script)).await;
    assert_eq!(ran.report.exit, Exit::Code(0));
    for (kept, captured, letter) in
        [(&ran.stdout, &ran.report.stdout, 'o'), (&ran.stderr, &ran.report.stderr, 'e')]
    {
        let cut = captured.cut_bytes;
        assert!(kept.starts_with(&format!("first {letter}\n{letter}0\n")), "{kept}");
        assert!(kept.ends_with(&format!("{letter}9999\nlast {letter}\n")), "{kept}");
        let mark = format!("\n[... {cut} bytes cut here ...]");
        assert_eq!((cut > 0, kept.matches(&mark).count()), (true, 1), "{kept}");
        assert_eq!(captured.size_bytes, kept.len() as u64);
        let other = if letter == 'o' { "e1" } else { "o1" };
        assert!(!kept.contains(other), "the streams are apart");
    }
}
