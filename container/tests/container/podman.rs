//! The same through Podman, where that is there.

use std::time::Duration;

use campusgrid_sandbox::plan::Exit;

use crate::limits::memory_that_is_full_of_files_ends_the_task;
use crate::rig::{Kind, Rig, Task};
use crate::walls::the_machine_cannot_be_watched_or_its_kernel_filled;

#[tokio::test]
async fn podman_serves_as_well() {
    let Some(rig) = Rig::of(Kind::Podman).await else { return };
    assert_eq!(rig.engine.images().await.unwrap(), ["image:default"]);
    for (script, exit) in [
        ("echo out; echo err >&2; echo x > outputs/x", Exit::Code(0)),
        ("exit 3", Exit::Code(3)),
        ("kill -SEGV $$", Exit::Signal(11)),
        ("head -c 30M /dev/zero > /job/big", Exit::ScratchFull),
        ("truncate -s 1G big", Exit::FileTooLarge),
        ("python3 -c 'x = bytearray(300 << 20)'; exit 0", Exit::OutOfMemory),
        ("ls -A /tmp /job /dev/shm; touch /usr/x /x /etc/x 2>/dev/null", Exit::Code(1)),
        ("yes", Exit::OutputFlood),
    ] {
        let ran = rig.run(Task::sh(script).family("podman")).await;
        assert_eq!(ran.report.exit, exit, "{script}: {}", ran.stderr);
    }
    let ran = rig.run(Task::sh("trap '' TERM; sleep 1000").wall(Duration::from_millis(300))).await;
    assert_eq!(ran.report.exit, Exit::TimeLimit);
    let ran = rig.run(Task::sh("echo x > outputs/x; cat /proc/net/dev | wc -l")).await;
    assert_eq!((ran.stdout.as_str(), ran.report.outputs.len()), ("3\n", 1));
    memory_that_is_full_of_files_ends_the_task(&rig).await;
    the_machine_cannot_be_watched_or_its_kernel_filled(&rig).await;
    rig.engine.close().await;
    assert_eq!(rig.engine.sweep().await.unwrap(), 0);
}
