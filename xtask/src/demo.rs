//! `cargo xtask demo`: a whole grid on this machine that runs the example jobs and then serves.

mod batch;
mod examples;
mod logins;
mod receipt;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::account::register_fresh;
use crate::client::{Client, has_ended, number, state};
use crate::clock::Stopwatch;
use crate::command::{self, Shell};
use crate::demo::examples::{EXAMPLES, Example};
use crate::demo::logins::Logins;
use crate::grid::{self, Door, Manager, Plan, Ports, Worker, make_private};
use crate::interrupt::Daemons;
use crate::places::{Places, Profile};
use crate::setup;

/// Installing scikit-learn over a slow line is the longest part.
const JOBS_LIMIT: Duration = Duration::from_secs(900);
/// How often the display looks at the jobs.
const LOOK_STEP: Duration = Duration::from_millis(200);

/// The words after `demo`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    then: Then,
    data_dir: Option<PathBuf>,
}

/// What follows when the jobs have ended.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    Serve,
    Exit,
}

/// One of the examples, submitted.
struct Submitted {
    example: &'static Example,
    job: u64,
    /// What was last shown of it.
    shown: String,
    /// How it stood in the end.
    ended: Option<serde_json::Value>,
}

impl Options {
    /// # Errors
    ///
    /// On a word that is not known.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self { then: Then::Serve, data_dir: None };
        let mut rest = words.iter();
        while let Some(&word) = rest.next() {
            match word {
                "--once" => options.then = Then::Exit,
                "--data-dir" => {
                    let folder = rest.next().context("--data-dir needs a folder")?;
                    options.data_dir = Some(PathBuf::from(folder));
                }
                other => bail!("demo has no option {other}"),
            }
        }
        Ok(options)
    }
}

/// # Errors
///
/// When the grid cannot be started; jobs that fail are told, and by the exit status.
pub(crate) fn run(places: &Places, options: &Options) -> Result<ExitCode> {
    let clock = Stopwatch::start();
    let daemons = Daemons::watched()?;
    let result = run_with(places, options, &daemons, clock);
    daemons.stop();
    result
}

fn run_with(
    places: &Places,
    options: &Options,
    daemons: &Daemons,
    clock: Stopwatch,
) -> Result<ExitCode> {
    let folder = match &options.data_dir {
        Some(folder) => std::path::absolute(folder).context("the name of the data directory")?,
        None => places.cache.join("demo"),
    };
    make_private(&folder)?;
    let _alone = lock(&folder)?;
    println!("Data, logs and logins are in {}", folder.display());
    prepare(places)?;
    let manager = start_manager(places, &folder, daemons)?;
    let mut logins = Logins::load(&folder)?;
    let owner = logins.owner.enter(&manager.client)?;
    let token = manager.join_token(&owner)?;
    let worker = manager.start_worker(places, Door::Token(&token), daemons)?;
    worker.wait_until_joined(&manager, &owner)?;
    println!("A worker of user {} has joined", logins.owner.name);
    let (student, user) = register_fresh(&manager.client, "student", logins.runs + 1)?;
    logins.runs += 1;
    logins.save(&folder)?;
    println!("User {} has registered and submits {} jobs\n", student.name, EXAMPLES.len());
    let before = receipt::Balances::ask(&user, &owner)?;
    let shell = Shell::open(places, &manager, &user, &folder.join("home"))?;
    let mut jobs = submit(places, &shell)?;
    follow(&user, &mut jobs, &worker, clock)?;
    let mut wrong = receipt::show(&user, &owner, &jobs)?;
    wrong.extend(batch::run(places, &shell, &manager, &folder)?);
    before.show_change(&user, &owner, &student.name, &logins.owner.name)?;
    println!("\nDashboard   {}", manager.url);
    println!("Submitter   {} / {}", student.name, student.password);
    println!("Owner       {} / {}", logins.owner.name, logins.owner.password);
    for why in &wrong {
        eprintln!("WRONG: {why}");
    }
    if options.then == Then::Serve {
        println!("\nServing until Ctrl-C.");
        daemons.serve();
        serve(&manager, &worker)?;
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Installs and builds at once: the one waits for the network, the other for the processor.
fn prepare(places: &Places) -> Result<()> {
    let clock = Stopwatch::start();
    thread::scope(|scope| {
        let setup = scope.spawn(|| setup::run(places, setup::Purpose::Demo));
        println!("Building release binaries");
        let built = grid::build_with(places, Profile::Release, &[command::PACKAGE]);
        setup.join().map_err(|_| anyhow!("the set-up broke down"))??;
        built
    })?;
    println!("Ready to start after {:.1} s", clock.elapsed().as_secs_f32());
    Ok(())
}

fn start_manager(places: &Places, folder: &Path, daemons: &Daemons) -> Result<Manager> {
    let ports = if grid::USUAL.are_free() {
        grid::USUAL
    } else {
        let free = Ports::free()?;
        println!(
            "Ports {} or {} are taken: using {} for workers and {} for the dashboard",
            grid::USUAL.workers,
            grid::USUAL.dashboard,
            free.workers,
            free.dashboard
        );
        free
    };
    let plan = Plan {
        profile: Profile::Release,
        folder: folder.to_owned(),
        ports,
        starting_credits: None,
        worker_name: "demo-laptop".to_owned(),
    };
    let manager = grid::start_manager(places, plan, daemons)?;
    println!("The manager serves {} and workers on port {}", manager.url, ports.workers);
    Ok(manager)
}

/// Submits the examples by the command, as a student at a shell would.
fn submit(places: &Places, shell: &Shell) -> Result<Vec<Submitted>> {
    let mut jobs = Vec::new();
    for example in &EXAMPLES {
        let words = example.words(&places.root.join("examples"))?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let quoted = words
            .iter()
            .map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() });
        println!("$ campusgrid {}", quoted.collect::<Vec<_>>().join(" "));
        let submitted = shell.object(&words)?;
        let job = number(&submitted, "job")?;
        jobs.push(Submitted { example, job, shown: String::new(), ended: None });
    }
    println!();
    Ok(jobs)
}

/// Shows every change until all have ended.
fn follow(user: &Client, jobs: &mut [Submitted], worker: &Worker, clock: Stopwatch) -> Result<()> {
    let waiting = Stopwatch::start();
    while jobs.iter().any(|job| job.ended.is_none()) {
        for job in jobs.iter_mut().filter(|job| job.ended.is_none()) {
            let detail = user.get(&format!("jobs/{}", job.job))?;
            let text = stands(&detail);
            if text != job.shown {
                let seconds = clock.elapsed().as_secs_f32();
                println!("{seconds:7.1} s  {:<18} {text}", job.example.name);
                job.shown = text;
            }
            if has_ended(&detail) {
                job.ended = Some(detail);
            }
        }
        if waiting.elapsed() > JOBS_LIMIT {
            bail!(
                "the jobs did not end in {JOBS_LIMIT:?}; the worker says:\n{}",
                worker.log_tail()
            );
        }
        thread::sleep(LOOK_STEP);
    }
    Ok(())
}

/// Where a job of one task stands, in words.
fn stands(detail: &serde_json::Value) -> String {
    let task = detail["task_list"][0]["state"].as_str();
    match (state(detail), detail["waiting"].as_str()) {
        ("queued", Some(why)) => format!("waiting: {why}"),
        ("running", _) => task.unwrap_or("running").to_owned(),
        (state, _) => state.to_owned(),
    }
}

fn serve(manager: &Manager, worker: &Worker) -> Result<()> {
    loop {
        thread::sleep(Duration::from_secs(1));
        if manager.is_over() || worker.is_over() {
            bail!("a daemon has ended by itself:\n{}{}", manager.log_tail(), worker.log_tail());
        }
    }
}

/// Two demos on one set of data would start two managers on one database.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("failed to open {}", path.display()))?;
    file.try_lock().with_context(|| format!("another demo runs with {}", folder.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::{Options, Then};

    #[test]
    fn options_come_in_any_order_and_unknown_ones_are_refused() {
        let options = Options::parse(&["--data-dir", "/tmp/x", "--once"]).unwrap();
        assert_eq!(options, Options { then: Then::Exit, data_dir: Some("/tmp/x".into()) });
        assert_eq!(Options::parse(&[]).unwrap().then, Then::Serve);
        assert!(Options::parse(&["--data-dir"]).is_err());
        assert!(Options::parse(&["--onec"]).is_err());
    }
}
