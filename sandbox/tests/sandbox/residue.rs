//! What one task of a family leaves, and the next one must not find.

use campusgrid_sandbox::plan::Exit;

use crate::rig::{Rig, Task};

/// Leaves one of everything that the kernel can keep.
const LEAVE: &str = r#"
import ctypes, fcntl, os, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
for place in "/job/x", "/tmp/x", "/dev/shm/x": open(place, "w").write("x")
os.mkdir("/tmp/closed", 0)
attributes = (ctypes.c_long * 8)(0, 4, 64)
for call, arguments in (
    (libc.shmget, (4711, 4096, 0o1666)),
    (libc.semget, (4711, 1, 0o1666)),
    (libc.msgget, (4711, 0o1666)),
):
    assert call(*arguments) >= 0, (call.__name__, ctypes.get_errno())
# Landlock knows no rule for these; where it is not there, they can be made.
libc.mq_open(b"/residue", os.O_CREAT | os.O_RDWR, 0o666, attributes)
lock = open("/usr/bin/env", "rb")
fcntl.flock(lock, fcntl.LOCK_EX)
fcntl.lockf(open("/tmp/x", "w"), fcntl.LOCK_EX)
name = socket.socket(socket.AF_UNIX); name.bind("\0residue"); name.listen()
# A socket that is only reachable through its own queue lives until the kernel looks for such.
cycle = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); cycle.bind("\0cycle"); cycle.connect("\0cycle")
socket.send_fds(cycle, [b"x"], [cycle.fileno()])
server = socket.socket(); server.bind(("127.0.0.1", 47110)); server.listen()
client = socket.create_connection(server.getsockname()); peer, _ = server.accept()
client.send(b"residue"); client.close(); peer.close()
os.nice(5); os.umask(0)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in 0, 1, 2: os.close(fd)
        time.sleep(1000)
    os._exit(0)
print(os.stat("/job").st_uid)
"#;

/// Names what it finds.
const LOOK: &str = r#"
import ctypes, fcntl, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def found(what, there=True):
    if there: print("found", what)
for place in "/job", "/tmp", "/dev/shm":
    found(place, os.listdir(place) not in ([], ["outputs"]))
found("a segment", libc.shmget(4711, 0, 0) >= 0)
found("semaphores", libc.semget(4711, 0, 0) >= 0)
found("a queue", libc.msgget(4711, 0) >= 0)
found("a POSIX queue", libc.mq_open(b"/residue", os.O_RDONLY) >= 0)
try: fcntl.flock(open("/usr/bin/env", "rb"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError: found("a lock")
for name, kind in ("\0residue", socket.SOCK_STREAM), ("\0cycle", socket.SOCK_DGRAM):
    try: socket.socket(socket.AF_UNIX, kind).connect(name); found(name[1:])
    except OSError: pass
    try: socket.socket(socket.AF_UNIX, kind).bind(name)
    except OSError as error: found(f"{name[1:]}: {error}")
socket.socket().bind(("127.0.0.1", 47110))
for line in open("/proc/net/dev"):
    if "lo:" in line: found(line.strip(), set(line.split()[1:]) != {"0"})
for file in "tcp", "udp":
    found(file, len(open(f"/proc/net/{file}").readlines()) > 1)
found("processes", len([name for name in os.listdir("/proc") if name.isdigit()]) > 1)
found("niceness", os.nice(0) != 19)
found("umask", os.umask(0o77) != 0o77)
print(os.stat("/job").st_uid)
"#;

#[tokio::test]
async fn the_next_task_of_an_array_finds_nothing_of_the_one_before() {
    let Some(rig) = Rig::full().await else { return };
    let left = rig.run(Task::python(LEAVE).family("array")).await;
    assert_eq!(left.report.exit, Exit::Code(0), "{}", left.stderr);
    for _ in 0..2 {
        let ran = rig.run(Task::python(LOOK).family("array")).await;
        // The same user tells that it is the same lane, where lanes have users of their own.
        assert_eq!((ran.stdout, ran.stderr.as_str()), (left.stdout.clone(), ""));
    }
    if nix::unistd::geteuid().is_root() {
        let other = rig.run(Task::python(LOOK).family("another")).await;
        assert_ne!(other.stdout, left.stdout, "a lane was shared with another family");
    }
}

#[tokio::test]
async fn a_task_that_ended_badly_leaves_no_more() {
    let Some(rig) = Rig::full().await else { return };
    let wall = std::time::Duration::from_millis(300);
    let bomb = "trap '' TERM; f() { f | f & f; }; f";
    for (script, wall) in [("kill -9 $$", wall), (bomb, wall), ("sleep 1000", wall)] {
        let ran = rig.run(Task::sh(script).wall(wall).family("array")).await;
        assert_ne!(ran.report.exit, Exit::Code(0));
        let ran = rig.run(Task::python(LOOK).family("array")).await;
        assert!(!ran.stdout.contains("found"), "{script}: {}{}", ran.stdout, ran.stderr);
    }
}

#[tokio::test]
async fn counters_and_limits_are_each_tasks_own() {
    let Some(rig) = Rig::full().await else { return };
    let eat = |mib: u32| Task::python(&format!("x = bytearray({mib} << 20)")).family("array");
    assert_eq!(rig.run(eat(300)).await.report.exit, Exit::OutOfMemory);
    let little = rig.run(eat(1)).await.report;
    assert_eq!(little.exit, Exit::Code(0));
    assert!(little.usage.ram_peak_mib < 64 || !rig.resets_peaks(), "{:?}", little.usage);
    let forks = "import os
try:
    while True: os.fork() or os.pause()
except BaseException: raise SystemExit(1)";
    let ran = rig.run(Task::python(forks).family("array")).await;
    assert_eq!(ran.report.exit, Exit::Processes);
    assert_eq!(rig.run(Task::sh("exit 1").family("array")).await.report.exit, Exit::Code(1));
}

#[tokio::test]
async fn a_tmp_that_a_family_shares_is_seen_by_nobody_else() {
    let Some(rig) = Rig::full().await else { return };
    let shared = |script: &str| {
        let mut task = Task::sh(script).family("array");
        task.shared_tmp = true;
        task
    };
    let write = rig.run(shared("echo kept > /tmp/x; echo gone > /job/x; ls /job")).await;
    assert_eq!(write.report.exit, Exit::Code(0), "{}", write.stderr);
    assert_eq!(rig.run(shared("cat /tmp/x; ls /job")).await.stdout, "kept\noutputs\n");
    assert_eq!(rig.run(Task::sh("ls /tmp").family("array")).await.stdout, "");
    assert_eq!(rig.run(Task::sh("ls /tmp").family("another")).await.stdout, "");
    // Each half is a hard limit.
    let full = rig.run(shared("head -c 12M /dev/zero > /tmp/big")).await;
    assert_eq!(full.report.exit, Exit::ScratchFull);
}

#[tokio::test]
async fn what_tasks_of_a_family_are_shown_may_differ() {
    let Some(rig) = Rig::full().await else { return };
    let directory = |name: &str| {
        let path = rig.directory.0.join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("name"), name).unwrap();
        path
    };
    let (one, two) = (directory("one"), directory("two"));
    for (shown, wanted) in [(&one, "one"), (&one, "one"), (&two, "two")] {
        let mut task = Task::sh("cat /env/name; ls / | grep -c env").family("array");
        task.read_only.push((shown.clone(), "/env".into()));
        assert_eq!(rig.run(task).await.stdout, format!("{wanted}1\n"));
    }
    assert_eq!(rig.run(Task::sh("ls / | grep env").family("array")).await.stdout, "");
}
