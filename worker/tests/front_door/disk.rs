//! A worker whose disk is full: a small one of its own, in a namespace where it may be mounted.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use campusgrid_protocol::task::{Ended, Outcome, WorkerFault};
use tempfile::TempDir;

use crate::manager::{LIFE, Link, Manager, shell};

/// Enough for what a worker keeps by itself and one task, and quickly full.
const SIZE_MIB: u32 = 64;

/// What the tasks here may leave.
const OUTPUT_MIB: u32 = 4;

/// A worker on its own disk; killed with the test.
struct Small {
    child: Child,
    dir: TempDir,
}

impl Small {
    /// None, with the reason printed, where no such disk can be made.
    fn start(manager: &Manager) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        fs::create_dir(&disk).unwrap();
        let mounted = format!(
            "mount -t tmpfs -o size={SIZE_MIB}m,mode=755 tmpfs \"$0\" && echo up && exec \"$@\""
        );
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mounted]).arg(&disk);
        command.arg(env!("CARGO_BIN_EXE_campusgrid-worker"));
        command.args(["-m", "127.0.0.1", "-p", &manager.port.to_string(), "--unsafe-no-sandbox"]);
        command.arg("--data-dir").arg(disk.join("data"));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("CAMPUSGRID_LOG", "warn");
        let mut child = command.current_dir("/").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let small = Self { child, dir };
        if line == "up\n" {
            return Some(small);
        }
        eprintln!("skipped: no small disk can be mounted here");
        None
    }

    /// As the worker sees it.
    fn disk(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(self.dir.path().strip_prefix("/").unwrap()).join("disk")
    }

    /// Takes all that is free.
    fn fill(&self) {
        let mut file = File::create(self.disk().join("owner's film")).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.disk().join("owner's film")).unwrap();
    }

    fn spooled(&self) -> Vec<String> {
        let entries = fs::read_dir(self.disk().join("data/spool")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "reserve").collect();
        names.sort();
        names
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(link: &mut Link, attempt: &str, command: &str) {
    link.start_with(attempt, shell(command), None, OUTPUT_MIB);
}

fn disk_fault(ended: &Ended) -> &str {
    let Outcome::Returned(WorkerFault::Disk { message }) = &ended.outcome else {
        panic!("{:?}", ended.outcome)
    };
    message
}

#[test]
fn a_task_for_which_there_is_no_room_is_given_back_and_the_worker_goes_on() {
    let manager = Manager::listen();
    let Some(small) = Small::start(&manager) else { return };
    manager.let_in(LIFE);
    let (mut link, _) = manager.welcome();
    start(&mut link, "1.0#1", "echo a");
    assert_eq!(link.end().outcome, Outcome::Succeeded);
    link.stored("1.0#1");
    small.fill();
    for attempt in ["2.0#1", "3.0#1"] {
        start(&mut link, attempt, "echo a");
        let ended = link.end();
        let said = disk_fault(&ended);
        assert!(said.contains("MiB are free where results are kept"), "{said}");
        // Even now it would survive the worker.
        assert!(small.spooled().contains(&format!("{attempt}.ended")), "{:?}", small.spooled());
    }
    small.free();
    link.stored("2.0#1");
    link.stored("3.0#1");
    start(&mut link, "4.0#1", "echo a");
    assert_eq!(link.end().outcome, Outcome::Succeeded);
}

#[test]
fn a_task_during_which_the_disk_fills_ends_with_that_reason_and_the_worker_goes_on() {
    let manager = Manager::listen();
    let Some(small) = Small::start(&manager) else { return };
    manager.let_in(LIFE);
    let (mut link, _) = manager.welcome();
    let go = small.dir.path().join("go");
    let waits = format!(
        "head -c 3000000 /dev/urandom > $OUTPUT_DIR/a; echo ready; until [ -e {} ]; do sleep 0.05; done",
        go.display()
    );
    start(&mut link, "1.0#1", &waits);
    link.printed();
    small.fill();
    File::create(go).unwrap();
    let ended = link.end();
    disk_fault(&ended);
    assert_eq!(small.spooled(), ["1.0#1.ended"]);
    small.free();
    link.stored("1.0#1");
    start(&mut link, "2.0#1", "printf result > $OUTPUT_DIR/a");
    let (_, blobs) = manager.take_upload();
    assert_eq!(blobs, [b"result"]);
    assert_eq!(link.end().outcome, Outcome::Succeeded);
}
