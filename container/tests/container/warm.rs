//! Tasks that follow each other in one container, and what must not follow with them.

use campusgrid_sandbox::plan::Exit;

use crate::rig::{Rig, Task};

/// The container that a task runs in: engines name it in the mounts, and each has another.
const WHICH: &str = "grep -o 'containers/[0-9a-f]*' /proc/self/mountinfo | head -1";

#[tokio::test]
async fn a_family_shares_a_container_and_nothing_else() {
    let Some(rig) = Rig::new().await else { return };
    tasks_of_one_family_share_a_container(&rig).await;
    tokio::join!(
        what_a_task_writes_is_gone(&rig),
        what_can_outlive_a_task_ends_its_container(&rig),
        deep_and_closed_directories_are_removed(&rig),
        a_shared_tmp_stays(&rig),
        containers_of_tasks_that_were_ended_are_not_used_again(&rig),
    );
    rig.engine.close().await;
    assert_eq!(rig.containers(), "");
}

async fn which(rig: &Rig, family: &str) -> String {
    let ran = rig.run(Task::sh(WHICH).family(family)).await;
    assert!(ran.stdout.starts_with("containers/"), "{}", ran.stdout);
    ran.stdout
}

async fn tasks_of_one_family_share_a_container(rig: &Rig) {
    let (first, second) = (which(rig, "a").await, which(rig, "a").await);
    assert_eq!(first, second);
    assert_ne!(which(rig, "b").await, first);
    let bigger = Task::sh(WHICH).family("a").limits(|limits| limits.ram_mib += 1);
    assert_ne!(rig.run(bigger).await.stdout, first);
    assert_ne!(rig.run(Task::sh(WHICH)).await.stdout, first);
    let (one, other) = tokio::join!(which(rig, "a"), which(rig, "a"));
    assert_ne!(one, other, "two at once");
}

async fn what_a_task_writes_is_gone(rig: &Rig) {
    let leave = "import os, socket, subprocess
for place in '/job', '/tmp', '/dev/shm':
    open(f'{place}/x', 'w').write('x')
    os.mkdir(f'{place}/.d'); open(f'{place}/.d/y', 'w').write('y')
    try: os.setxattr(place, 'user.x', b'x'); print('attribute')
    except OSError: pass
keep = socket.socket(socket.AF_UNIX); keep.bind('\\0residue')
subprocess.Popen(['sleep', '1000'], start_new_session=True)
os.umask(0)";
    let ran = rig.run(Task::python(leave).family("files")).await;
    assert_eq!((ran.report.exit, ran.stdout.as_str()), (Exit::Code(0), ""), "{}", ran.stderr);
    let look = "ls -A /tmp /dev/shm /job; grep -c residue /proc/net/unix; umask; pgrep sleep";
    let ran = rig.run(Task::sh(look).family("files")).await;
    assert_eq!(ran.stdout, "/dev/shm:\n\n/job:\noutputs\n\n/tmp:\n0\n0077\n");
}

async fn what_can_outlive_a_task_ends_its_container(rig: &Rig) {
    let first = which(rig, "ipc").await;
    let queue = "import ctypes
rt = ctypes.CDLL('librt.so.1')
attributes = (ctypes.c_long * 8)(0, 1, 64)
print(rt.mq_open(b'/q', 0o102, 0o600, attributes) >= 0)";
    let ran = rig.run(Task::python(queue).family("ipc")).await;
    assert_eq!(ran.stdout, "True\n", "{}", ran.stderr);
    let look = "ls /dev/mqueue; tail -n +2 -q /proc/sysvipc/*";
    assert_eq!(rig.run(Task::sh(look).family("ipc")).await.stdout, "");
    assert_eq!(which(rig, "ipc").await, first, "a queue can be removed");
    for make in ["shmget(0, 4096, 0o1600)", "semget(0, 1, 0o1600)", "msgget(0, 0o1600)"] {
        let before = which(rig, "ipc").await;
        let script = format!("import ctypes; print(ctypes.CDLL(None).{make} >= 0)");
        assert_eq!(rig.run(Task::python(&script).family("ipc")).await.stdout, "True\n", "{make}");
        assert_ne!(which(rig, "ipc").await, before, "{make}");
        assert_eq!(rig.run(Task::sh(look).family("ipc")).await.stdout, "", "{make}");
    }
}

async fn deep_and_closed_directories_are_removed(rig: &Rig) {
    let script = "import os
for n in range(400): os.mkdir('d'); os.chdir('d')
for n in range(50): open(str(n), 'w').close()
os.chdir('/tmp')
os.makedirs('a/b/c'); open('a/b/c/x', 'w').close(); os.symlink('/', 'a/l'); os.mkfifo('a/b/p')
for d in 'a/b/c', 'a/b', 'a': os.chmod(d, 0)";
    let first = which(rig, "deep").await;
    let ran = rig.run(Task::python(script).family("deep")).await;
    assert_eq!(ran.report.exit, Exit::Code(0), "{}", ran.stderr);
    let ran = rig.run(Task::sh("ls -A /tmp; ls -A /job").family("deep")).await;
    assert_eq!(ran.stdout, "outputs\n");
    assert_eq!(which(rig, "deep").await, first);
}

async fn a_shared_tmp_stays(rig: &Rig) {
    let mut leave = Task::sh("echo kept > /tmp/x; echo gone > /dev/shm/x").family("tmp");
    leave.plan.shared_tmp = true;
    let mut look = Task::sh("cat /tmp/x; ls /dev/shm").family("tmp");
    look.plan.shared_tmp = true;
    rig.run(leave).await;
    assert_eq!(rig.run(look).await.stdout, "kept\n");
    assert_eq!(rig.run(Task::sh("ls /tmp").family("tmp")).await.stdout, "");
}

async fn containers_of_tasks_that_were_ended_are_not_used_again(rig: &Rig) {
    let first = which(rig, "ended").await;
    let ran = rig.run(Task::sh("yes").family("ended")).await;
    assert_eq!(ran.report.exit, Exit::OutputFlood);
    assert_ne!(which(rig, "ended").await, first);
}
