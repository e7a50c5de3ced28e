//! What tasks may use, and what happens to those that want more.

use std::time::Duration;

use campusgrid_sandbox::plan::{Exit, Limits};

use crate::rig::{Rig, Task};

#[tokio::test]
async fn a_task_that_takes_too_much_memory_is_killed() {
    let Some(rig) = Rig::full().await else { return };
    let ran = rig.run(Task::python("x = bytearray(300 << 20)")).await;
    assert_eq!(ran.report.exit, Exit::OutOfMemory);
    let within = rig.run(Task::python("x = bytearray(64 << 20)")).await;
    assert_eq!(within.report.exit, Exit::Code(0), "{}", within.stderr);
    assert!((64..128).contains(&within.report.usage.ram_peak_mib), "{:?}", within.report.usage);
}

#[tokio::test]
async fn killed_children_are_seen_though_the_parent_does_not_mind() {
    let Some(rig) = Rig::full().await else { return };
    let ran = rig.run(Task::sh("python3 -c 'x = bytearray(300 << 20)'; echo fine; exit 0")).await;
    assert_eq!(ran.report.exit, Exit::OutOfMemory);
    assert_eq!(ran.stdout, "fine\n");
}

#[tokio::test]
async fn granted_cores_are_what_programs_see() {
    let Some(rig) = Rig::full().await else { return };
    let ran = rig.run(Task::sh("nproc").limits(|limits| limits.cpu_millis = 700)).await;
    assert_eq!(ran.stdout, "1\n");
    if !rig.pins_cores() {
        return;
    }
    let escape = "import os
try: os.sched_setaffinity(0, range(64))
except OSError: pass
print(len(os.sched_getaffinity(0)))";
    let ran = rig.run(Task::python(escape)).await;
    assert_eq!(ran.stdout, "1\n");
}

#[tokio::test]
async fn a_share_of_a_core_is_no_more_than_that() {
    let Some(rig) = Rig::full().await else { return };
    let burn = "import time
end = time.monotonic() + 1
while time.monotonic() < end: pass";
    let ran = rig.run(Task::python(burn).limits(|limits| limits.cpu_millis = 200)).await;
    assert_eq!(ran.report.exit, Exit::Code(0));
    // Of the time that it took, since on a slow machine Python starts slowly under this limit.
    let usage = ran.report.usage;
    // It may be much less: a task goes behind whatever else the machine does.
    assert!((1..usage.run_ms * 3 / 10).contains(&usage.cpu_ms), "{usage:?}");
}

#[tokio::test]
async fn fork_bombs_are_held() {
    let Some(rig) = Rig::full().await else { return };
    let bomb = Task::sh("f() { f | f & f; }; f").wall(Duration::from_millis(700));
    let ran = rig.run(bomb).await;
    assert!(
        matches!(ran.report.exit, Exit::TimeLimit | Exit::Processes | Exit::OutputFlood),
        "{:?}",
        ran.report.exit
    );
    let count = "import os, time
n = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(100)
        n += 1
except OSError:
    print(n)
    raise SystemExit(1)";
    let ran = rig.run(Task::python(count)).await;
    assert_eq!(ran.report.exit, Exit::Processes);
    assert_eq!(ran.stdout, "31\n");
}

#[tokio::test]
async fn scratch_space_is_a_hard_limit_in_all_places() {
    let Some(rig) = Rig::full().await else { return };
    for place in ["/job", "/tmp", "/dev/shm"] {
        let script = format!("head -c 30M /dev/zero > {place}/big");
        let ran = rig.run(Task::sh(&script)).await;
        assert_eq!(ran.report.exit, Exit::ScratchFull, "{place}");
    }
    // Together they are one space.
    let script = "head -c 9M /dev/zero > /job/a && head -c 9M /dev/zero > /tmp/b";
    assert_eq!(rig.run(Task::sh(script)).await.report.exit, Exit::ScratchFull);
    let fits = rig.run(Task::sh("head -c 15M /dev/zero > /job/a")).await;
    assert_eq!(fits.report.exit, Exit::Code(0), "{}", fits.stderr);
}

#[tokio::test]
async fn scratch_space_can_be_filled_however_little_memory_was_asked_for() {
    let Some(rig) = Rig::full().await else { return };
    let little = |limits: &mut Limits| {
        (limits.ram_mib, limits.scratch_mib, limits.file_mib) = (16, 128, 1000);
    };
    let fits = rig.run(Task::sh("head -c 100M /dev/zero > /job/a").limits(little)).await;
    assert_eq!(fits.report.exit, Exit::Code(0), "{}", fits.stderr);
    let over = rig.run(Task::sh("head -c 200M /dev/zero > /job/a").limits(little)).await;
    assert_eq!(over.report.exit, Exit::ScratchFull, "{}", over.stderr);
}

#[tokio::test]
async fn the_number_of_files_is_a_hard_limit() {
    let Some(rig) = Rig::full().await else { return };
    let script = "import os
for n in range(100000):
    open(f'/tmp/{n}', 'w').close() if n % 2 else os.mkdir(f'/job/{n}')";
    let ran = rig.run(Task::python(script)).await;
    assert_eq!(ran.report.exit, Exit::TooManyFiles, "{}", ran.stderr);
    let some = rig.run(Task::python("for n in range(480): open(str(n), 'w').close()")).await;
    assert_eq!(some.report.exit, Exit::Code(0), "{}", some.stderr);
}

#[tokio::test]
async fn one_file_may_be_so_large_and_no_larger() {
    let Some(rig) = Rig::full().await else { return };
    let small = |limits: &mut Limits| limits.file_mib = 1;
    let ignores = "open('big', 'wb').write(bytes(3 << 20))"; // Python does not die of the signal.
    for task in [Task::sh("head -c 3M /dev/zero > big"), Task::python(ignores)] {
        let ran = rig.run(task.limits(small)).await;
        assert_eq!(ran.report.exit, Exit::FileTooLarge, "{}", ran.stderr);
    }
    let many = "for n in 1 2 3; do head -c 1000K /dev/zero > $n; done";
    assert_eq!(rig.run(Task::sh(many).limits(small)).await.report.exit, Exit::Code(0));
}

#[tokio::test]
async fn floods_are_stopped_and_the_ends_of_long_streams_are_kept() {
    let Some(rig) = Rig::full().await else { return };
    for script in ["yes", "yes >&2"] {
        let ran = rig.run(Task::sh(script)).await;
        assert_eq!(ran.report.exit, Exit::OutputFlood);
        let (out, err) = (&ran.report.stdout, &ran.report.stderr);
        assert!(out.size_bytes + err.size_bytes < 5000, "{out:?} {err:?}");
        assert!(out.cut_bytes + err.cut_bytes > 500_000, "{out:?} {err:?}");
    }
    let ran = rig.run(Task::sh("seq 100000")).await;
    assert_eq!(ran.report.exit, Exit::Code(0));
    assert!(ran.stdout.starts_with("1\n2\n3\n"));
    assert!(ran.stdout.ends_with("99999\n100000\n"));
    assert!(ran.stdout.contains("bytes cut here"), "{}", ran.stdout);
}

#[tokio::test]
async fn limits_on_a_process_are_set() {
    let Some(rig) = Rig::full().await else { return };
    let ran = rig.run(Task::sh("ulimit -c; ulimit -Hn; ulimit -l; ulimit -Hf")).await;
    // In blocks of 512 bytes: core files of a byte, files a little over the scratch space.
    assert_eq!(ran.stdout, "0\n1024\n64\n33024\n");
}
