//! The programs that attack, where the folder with them is there: none may break out.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{Exit, Step};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::rig::{Kind, Rig, Task};

/// What the README of the programs asks to be there on the machine, readable by all.
struct Canaries {
    /// The worker's own tests set up the same ones: one at a time.
    _turn: File,
    _listeners: Vec<TcpListener>,
    process: Child,
    directory: PathBuf,
}

impl Canaries {
    fn set_up() -> Self {
        let turn = File::create("/tmp/campusgrid-canary.lock").unwrap();
        turn.lock().unwrap();
        let directory = PathBuf::from("/tmp/campusgrid-canary");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("worker-token"), "SECRET-token").unwrap();
        let mut process = Command::new("sleep");
        process.arg("1000").env("CAMPUSGRID_TOKEN", "SECRET");
        // Another test may have it already, which serves as well.
        let listener = TcpListener::bind("127.0.0.1:18999");
        Self {
            _turn: turn,
            _listeners: listener.into_iter().collect(),
            process: process.spawn().unwrap(),
            directory,
        }
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
        let _gone = fs::remove_file(self.directory.join("worker-token"));
    }
}

/// The folder, wherever this checkout keeps it.
fn folder() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().map(|above| above.join("shared/hostile")).find(|folder| folder.is_dir())
}

fn task(folder: &Path, program: &Value) -> Option<Task> {
    let file = program["program"].as_str()?;
    let source = fs::read(folder.join(file)).ok()?;
    let wall = Duration::from_secs(program["wall_s"].as_u64()?);
    let mut task = match program["lang"].as_str()? {
        "sh" => Task::argv(&["sh", file]),
        "py" => Task::argv(&["python3", file]),
        "c" => {
            let compile = ["gcc", "-O2", "-fopenmp", "-pthread", "-o", "a.out", file, "-lm"];
            Task::argv(&compile).then(Task::argv(&["./a.out"]))
        }
        _ => return None,
    };
    task.plan.files = vec![(file.to_owned(), source)];
    task.plan.environment.push(("JOB".to_owned(), "/job".to_owned()));
    let steps: Vec<Step> = task.plan.steps.drain(..).map(|step| Step { wall, ..step }).collect();
    task.plan.steps = steps;
    Some(task.limits(|limits| {
        limits.ram_mib = 256;
        limits.processes = 64;
        limits.scratch_mib = 64;
        limits.scratch_files = 4096;
        limits.file_mib = 64;
        limits.outputs = 1000;
        limits.outputs_bytes = 64 << 20;
    }))
}

/// What a program says is a hole and is none in a container: a file of its own that holds the name
/// "job", and an empty directory.
const HARMLESS: [&str; 2] = ["BREACH /etc/hostname: b'job", "BREACH /run: []"];

#[tokio::test]
async fn no_hostile_program_breaks_out_of_docker() {
    no_hostile_program_breaks_out_of(Kind::Docker).await;
}

#[tokio::test]
async fn no_hostile_program_breaks_out_of_podman() {
    no_hostile_program_breaks_out_of(Kind::Podman).await;
}

#[expect(clippy::print_stderr, reason = "the outcomes are what people want to see")]
async fn no_hostile_program_breaks_out_of(kind: Kind) {
    let Some(folder) = folder() else {
        eprintln!("skipped: there is no folder shared/hostile above this checkout");
        return;
    };
    let Some(rig) = Rig::of(kind).await else { return };
    let _canaries = Canaries::set_up();
    let manifest: Value =
        serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let programs = manifest.as_array().unwrap();
    let tasks = programs.iter().filter_map(|program| {
        let name = program["name"].as_str()?;
        // In few containers one after another, so that what one leaves would meet the next.
        Some((name, task(&folder, program)?.family("hostile")))
    });
    let mut rows: Vec<(String, Vec<String>)> = stream::iter(tasks)
        .map(async |(name, task)| {
            let ran = match rig.try_run(task, Controls::none(), |_| {}).await {
                Ok(ran) => ran,
                Err(error) => return (format!("{name}  LOST"), vec![format!("{name}: {error}")]),
            };
            let said: Vec<&str> = ran.stdout.lines().chain(ran.stderr.lines()).collect();
            let harmless = |line: &&str| HARMLESS.iter().any(|start| line.starts_with(start));
            let breaches = said.iter().filter(|line| line.starts_with("BREACH") && !harmless(line));
            let breaches: Vec<String> = breaches.map(|line| format!("{name}: {line}")).collect();
            let outcome = match (ran.report.exit, breaches.is_empty()) {
                (_, false) => "BREACH".to_owned(),
                (Exit::Code(0), true) => "held".to_owned(),
                (exit, true) => format!("{exit:?}"),
            };
            (format!("{name}  {outcome}  {}", ran.report.left_behind), breaches)
        })
        .buffer_unordered(4)
        .collect()
        .await;
    rows.sort();
    rows.iter().for_each(|(row, _)| eprintln!("{row}"));
    let breaches: Vec<String> = rows.into_iter().flat_map(|(_, breaches)| breaches).collect();
    assert_eq!(breaches, Vec::<String>::new());
    rig.engine.close().await;
    assert_eq!(rig.engine.sweep().await.unwrap(), 0);
}
