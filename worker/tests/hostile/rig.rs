//! A real worker, its manager and the canaries; runs hostile jobs and looks at what they leave.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::task::{Content, Ended, Outcome, Output};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::canary::Canaries;
use crate::job::{Job, PROCESSES, Ran};
use crate::manager::{LIMIT, Manager, Session, Told};
use crate::remains::{self, Remains};
use crate::sampler::{Peaks, Sampler};

/// Between the polite end and the other.
const GRACE_MS: u32 = 500;
/// Sixteen times what is kept of a stream.
const FLOOD_MIB: u32 = 16;
/// How often the limits are looked at from outside.
const LOOK: Duration = Duration::from_millis(20);
/// How long the kernel may take to clear away what is dead.
const SETTLE: Duration = Duration::from_secs(10);

pub(crate) struct Rig {
    pub(crate) manager: Manager,
    pub(crate) session: Session,
    pub(crate) canaries: Canaries,
    remains: Remains,
    worker: Child,
    directory: TempDir,
    jobs: u64,
}

fn command(data: &Path, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campusgrid-worker"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("CAMPUSGRID_LOG", "warn");
    // What the worker itself knows is a canary, too.
    command.env("WORKER_TOKEN", "SECRET-environment").current_dir("/");
    for (setting, value) in [
        ("TASK_PROCESSES", PROCESSES),
        ("TASK_GRACE_MS", GRACE_MS),
        ("TASK_LOG_FLOOD_MIB", FLOOD_MIB),
    ] {
        command.env(format!("CAMPUSGRID_WORKER_{setting}"), value.to_string());
    }
    command.arg("--data-dir").arg(data).arg("--no-docker");
    command.args(["-m", "127.0.0.1", "-p", &port.to_string()]);
    command
}

impl Rig {
    /// None, with the reason printed, where this machine has no sandbox that can be trusted.
    pub(crate) fn start() -> Option<Self> {
        let canaries = Canaries::put_out();
        let manager = Manager::listen();
        let directory = tempfile::tempdir().unwrap();
        let mut worker = command(&directory.path().join("data"), manager.port).spawn().unwrap();
        let Some(session) = joined(&manager, &mut worker) else {
            eprintln!("skipped: no sandbox works on this machine");
            return None;
        };
        let remains = Remains::watch(worker.id(), canaries.pids());
        Some(Self { manager, session, canaries, remains, worker, directory, jobs: 0 })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn isolation(&self) -> Isolation {
        self.session.join.isolation
    }

    /// Runs jobs beside each other, as far as the worker has room; in their order, task by task.
    pub(crate) fn run(&mut self, jobs: &[Job]) -> Vec<Ran> {
        let mut attempts = Vec::new();
        for job in jobs {
            attempts.extend(self.submit(job));
        }
        let walls: u32 = jobs.iter().map(|job| (job.program.wall_s + 30) * job.tasks).sum();
        self.finish(&attempts, Duration::from_secs(u64::from(walls)))
    }

    pub(crate) fn run_one(&mut self, job: &Job) -> Ran {
        self.run(std::slice::from_ref(job)).pop().expect("one job is one result")
    }

    pub(crate) fn run_one_array(&mut self, job: &Job) -> Vec<Ran> {
        self.run(std::slice::from_ref(job))
    }

    /// Starts a job and does not wait for it.
    pub(crate) fn submit(&mut self, job: &Job) -> Vec<AttemptId> {
        self.jobs += 1;
        let spec = Arc::new(job.spec());
        let name = |index| format!("{}.{index}#1", self.jobs).parse().unwrap();
        let attempts: Vec<AttemptId> = (0..job.tasks).map(name).collect();
        for (index, &attempt) in (0..).zip(&attempts) {
            let (spec, gpus, lock) = (Arc::clone(&spec), Vec::new(), None);
            let (checkpoint, whose, name) = (None, "mallory".to_owned(), "hostile".to_owned());
            self.session.send(&ToWorker::Start {
                attempt,
                index,
                spec,
                gpus,
                lock,
                checkpoint,
                whose,
                name,
            });
        }
        attempts
    }

    /// Starts a job of one task and waits until it has printed something.
    pub(crate) fn begin(&mut self, job: &Job) -> AttemptId {
        let attempt = self.submit(job)[0];
        loop {
            match self.session.next(LIMIT) {
                Some(Told::Spoke(spoke)) if spoke == attempt => break,
                Some(Told::Spoke(_)) => {}
                Some(Told::Ended(ended)) => panic!("it ended before it spoke: {ended:?}"),
                Some(Told::HungUp) | None => panic!("it never spoke"),
            }
        }
        self.remains.spare_what_runs();
        attempt
    }

    /// From now on every process of a job's is taken for its remains.
    pub(crate) fn spare_nobody(&mut self) {
        self.remains.spare(self.canaries.pids());
    }

    /// Has the worker stop a job and say nothing of it.
    pub(crate) fn drop_attempt(&mut self, attempt: AttemptId) {
        self.session.send(&ToWorker::Drop { attempt });
    }

    /// Stops a job in its middle.
    pub(crate) fn cancel(&mut self, attempt: AttemptId) -> Ran {
        self.session.send(&ToWorker::Cancel { attempt });
        self.finish(&[attempt], LIMIT).pop().expect("one attempt has one end")
    }

    /// Waits until these attempts have ended, looking at them from outside meanwhile.
    pub(crate) fn finish(&mut self, attempts: &[AttemptId], patience: Duration) -> Vec<Ran> {
        let deadline = Instant::now() + patience;
        let mut sampler = Sampler::of(self.worker.id());
        let mut ends: BTreeMap<AttemptId, Box<Ended>> = BTreeMap::new();
        while attempts.iter().any(|attempt| !ends.contains_key(attempt)) {
            assert!(Instant::now() < deadline, "still running: {attempts:?} but {:?}", ends.keys());
            match self.session.next(LOOK) {
                Some(Told::Ended(ended)) => {
                    ends.insert(ended.attempt, ended);
                }
                Some(Told::Spoke(_)) => {}
                Some(Told::HungUp) => panic!("the worker hung up: {:?}", self.worker.try_wait()),
                None => sampler.look(),
            }
        }
        sampler.look();
        let spooled = self.rights_in_the_spool();
        assert!(spooled.is_empty(), "{spooled:?}");
        let mut ran = Vec::new();
        for attempt in attempts {
            let ended = *ends.remove(attempt).expect("they have all ended");
            ran.push(self.fetch(ended, sampler.peaks()));
            self.session.send(&ToWorker::Stored { attempt: *attempt });
        }
        ran
    }

    /// All that came with an end, its blobs included.
    fn fetch(&self, ended: Ended, peaks: Peaks) -> Ran {
        let content = |content: &Content| match content {
            Content::Inline(bytes) => bytes.clone(),
            Content::Blob(blob) => self.manager.blob(blob.hash),
        };
        let output = |output: &Output| (output.path.clone(), self.manager.blob(output.blob.hash));
        Ran {
            stdout: content(&ended.stdout.content),
            stderr: content(&ended.stderr.content),
            outputs: ended.outputs.iter().map(output).collect(),
            live: self.session.live(ended.attempt),
            peaks,
            ended,
        }
    }

    /// Results on their way that somebody could execute, or run with another's rights.
    fn rights_in_the_spool(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting = vec![self.data().join("spool"), self.data().join("runs")];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
                if metadata.is_dir() {
                    waiting.push(entry.path());
                } else if !metadata.is_file() || metadata.permissions().mode() & 0o7111 != 0 {
                    found.push(format!("{} {metadata:?}", entry.path().display()));
                }
            }
        }
        found
    }

    /// What is wrong on the host, the worker included, once the kernel has had time to settle.
    pub(crate) fn harm(&mut self) -> Vec<String> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let mut harm = self.remains.found();
            harm.extend(remains::empty_cgroups(self.worker.id()));
            harm.extend(self.spooled());
            if harm.is_empty() || Instant::now() > deadline {
                harm.extend(self.canaries.harm());
                if let Some(status) = self.worker.try_wait().unwrap() {
                    harm.push(format!("the worker ended: {status}"));
                }
                return harm;
            }
            // Nothing tells when the kernel is done, so this looks again until it is.
            std::thread::park_timeout(LOOK);
        }
    }

    /// Files of runs and results that nobody needs any more.
    fn spooled(&self) -> Vec<String> {
        let directories = ["spool", "runs", "scratch"].map(|name| self.data().join(name));
        let entries = directories.iter().flat_map(|path| fs::read_dir(path).into_iter().flatten());
        let paths = entries.flatten().map(|entry| entry.path());
        // The directory of blobs itself stays, and so does what is reserved for short ends.
        let is_empty = |path: &PathBuf| fs::read_dir(path).is_ok_and(|mut d| d.next().is_none());
        let stays = |path: &PathBuf| path.ends_with("spool/reserve") || is_empty(path);
        paths.filter(|path| !stays(path)).map(|p| format!("file {}", p.display())).collect()
    }

    /// An ordinary job goes as if nothing had been.
    pub(crate) fn ordinary_job_fails(&mut self) -> Option<String> {
        let job = Job::shell(
            "echo out; echo err >&2; echo kept > $OUTPUT_DIR/a.txt; python3 -c 'print(6 * 7)'; \
             head -c 30000000 /dev/zero > big; (true & wait); seq 2000 | wc -l",
        );
        let ran = self.run_one(&job);
        let is_well = ran.ended.outcome == Outcome::Succeeded
            && ran.text() == "out\n42\n2000\nerr\n"
            && ran.outputs.get("a.txt").is_some_and(|content| content == b"kept\n");
        (!is_well).then(|| format!("the next job suffered: {:?} {}", ran.ended, ran.text()))
    }

    pub(crate) fn kill_worker(&mut self) {
        self.worker.kill().unwrap();
        self.worker.wait().unwrap();
    }

    /// Starts the worker anew in its directory.
    pub(crate) fn restart_worker(&mut self) {
        self.worker = command(&self.data(), self.manager.port).spawn().unwrap();
        self.session = joined(&self.manager, &mut self.worker).expect("the worker came back");
        self.remains.worker = self.worker.id();
    }

    pub(crate) fn worker_pid(&self) -> u32 {
        self.worker.id()
    }

    /// What jobs of a worker that is no more have left, once the kernel has had time to settle.
    pub(crate) fn remains(&self) -> Vec<String> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let found = self.remains.found();
            if found.is_empty() || Instant::now() > deadline {
                return found;
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// Ends the worker in order; nothing at all may be left of it.
    pub(crate) fn leave(mut self) -> Vec<String> {
        let pid = Pid::from_raw(self.worker.id().cast_signed());
        kill(pid, Signal::SIGTERM).unwrap();
        while let Some(told) = self.session.next(LIMIT) {
            match told {
                // It waits a while for this, so that what it gives back is known.
                Told::Ended(ended) => {
                    self.session.send(&ToWorker::Stored { attempt: ended.attempt });
                }
                Told::Spoke(_) => {}
                Told::HungUp => break,
            }
        }
        let status = self.worker.wait().unwrap();
        let mut harm = self.remains.found();
        harm.extend(remains::cgroups(self.worker.id()).iter().map(|path| format!("{path:?}")));
        harm.extend(self.canaries.harm());
        if !status.success() {
            harm.push(format!("the worker left with {status}"));
        }
        harm
    }
}

/// The session of a worker that has just been started; none if it finds no sandbox and ends.
fn joined(manager: &Manager, worker: &mut Child) -> Option<Session> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(session) = manager.next_session(LOOK) {
            return Some(session);
        }
        if worker.try_wait().unwrap().is_some() {
            return None;
        }
        assert!(Instant::now() < deadline, "the worker did not join");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _dead = self.worker.kill();
        let _reaped = self.worker.wait();
    }
}
