//! The worker's own ends in the middle of hostile jobs, and what it finds when it returns.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use campusgrid_protocol::task::{Packages, Program as Source, Work};
use nix::unistd::Uid;

use crate::case::word;
use crate::job::Job;
use crate::program::{Library, Program};
use crate::remains;
use crate::rig::Rig;

/// Speaks, then cannot be talked to: deaf daemons in sessions of their own, some of them stopped.
const DEAF: &str = r#"
import os, signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
for n in range(8):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 100)
            if n % 2: os.kill(os.getpid(), signal.SIGSTOP)
            while True: open(f"/job/outputs/{n}", "a").write("x" * 4096); time.sleep(0.01)
        os._exit(0)
open("/tmp/x", "w").write("x"); open("/dev/shm/x", "w").write("x")
print("ready", flush=True)
while True: time.sleep(100)
"#;

fn deaf() -> Job {
    let program = Source::Source(DEAF.to_owned());
    let work = Work::Python { program, packages: Packages::None };
    let program = Program { work, wall_s: 3600 };
    Job { cpu_millis: 400, ..Job::new(program) }
}

fn nothing(harm: &[String]) {
    assert!(harm.is_empty(), "{}", harm.join("; "));
}

#[test]
fn a_killed_worker_takes_everything_with_it_and_sweeps_when_it_returns() {
    let Some(mut rig) = Rig::start() else { return };
    let mut bomb = Library::open().program("d01_deaf_family", false).expect("it is one of ours");
    bomb.wall_s = 3600;
    rig.begin(&deaf());
    rig.submit(&Job { cpu_millis: 400, ..Job::new(bomb) });
    rig.begin(&deaf());
    let dead = rig.worker_pid();
    rig.kill_worker();
    rig.spare_nobody();
    nothing(&rig.remains());
    rig.restart_worker();
    assert!(rig.session.join.attempts.is_empty(), "{:?}", rig.session.join.attempts);
    assert!(remains::cgroups(dead).is_empty(), "{:?}", remains::cgroups(dead));
    nothing(&rig.harm());
    assert_eq!(rig.ordinary_job_fails(), None);
    nothing(&rig.leave());
}

#[test]
fn a_cancelled_job_is_dead_when_it_is_reported() {
    let Some(mut rig) = Rig::start() else { return };
    let attempt = rig.begin(&deaf());
    rig.spare_nobody();
    let ran = rig.cancel(attempt);
    assert_eq!(word(&ran.ended.outcome), "cancelled");
    assert_eq!(ran.text(), "ready\n");
    nothing(&rig.harm());
    let attempt = rig.begin(&deaf());
    rig.spare_nobody();
    rig.drop_attempt(attempt);
    assert_eq!(rig.ordinary_job_fails(), None);
    nothing(&rig.harm());
    nothing(&rig.leave());
}

#[test]
fn a_worker_that_leaves_takes_everything_with_it() {
    let Some(mut rig) = Rig::start() else { return };
    rig.begin(&deaf());
    rig.spare_nobody();
    nothing(&rig.leave());
}

/// What a machine finds after a crash of the kernel, or of a worker of another day.
#[test]
fn what_an_earlier_worker_left_is_swept() {
    let Some(mut rig) = Rig::start() else { return };
    let bases: Vec<PathBuf> = remains::cgroups(rig.worker_pid())
        .iter()
        .filter_map(|group| group.parent().map(Path::to_owned))
        .collect();
    rig.kill_worker();
    let data = rig.data();
    for path in ["runs/9.0#1/outputs/deep/er", "scratch/run-7/job/outputs", "scratch/lane-3/tmp"] {
        fs::create_dir_all(data.join(path)).unwrap();
        fs::write(data.join(path).join("file"), "left").unwrap();
    }
    // Of a process that was number 1 at another time, and so is no more.
    let group = "campusgrid-1-1-0-0";
    let mut sleeper = sleeper();
    for base in &bases {
        let path = base.join(group);
        if fs::create_dir(&path).is_ok() {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read_to_string(base.join(file)) {
                    let _other_hierarchy = fs::write(path.join(file), value.trim());
                }
            }
            fs::write(path.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
        }
    }
    // Reaped at once, as the machine's init would.
    let reaper = std::thread::spawn(move || sleeper.wait().unwrap());
    rig.restart_worker();
    let status = reaper.join().unwrap();
    assert!(!status.success(), "a process of an earlier job was not killed");
    for base in &bases {
        assert!(!base.join(group).exists(), "{} is left", base.join(group).display());
    }
    nothing(&rig.harm());
    assert_eq!(rig.ordinary_job_fails(), None);
    nothing(&rig.leave());
}

fn sleeper() -> Child {
    let mut command = Command::new("/bin/sleep");
    command.arg("1000000").env_clear();
    if Uid::effective().is_root() {
        command.uid(60_000).gid(60_000);
    }
    command.spawn().unwrap()
}
