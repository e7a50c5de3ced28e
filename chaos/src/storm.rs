//! Runs a plan against a grid, lets it settle, and checks what has come of it.

mod aftermath;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::check::{self, Finding, Rule};
use crate::clock::Stopwatch;
use crate::error::ChaosError;
use crate::grid::{EX_UNAVAILABLE, Grid, Programs};
use crate::plan::{Act, CLIENTS, LEASE_MS, Link, Plan, Step, Target, WORKERS};
use crate::proxy::Weather;
use crate::remains;
use crate::report::Report;
use crate::tamper::{Tampering, keep_database, lose_commits};

/// What a worker's end is called that finds its sandbox in want of something when it starts.
const NO_SANDBOX: &str = "start of a worker that found no sandbox";

/// Until such a worker is started again. Milliseconds.
const NO_SANDBOX_PAUSE_MS: u32 = 500;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct StormConfig {
    pub kills: u32,
    pub seed: u64,
    pub programs: Programs,
    /// Made, and removed again if nothing is found.
    pub folder: PathBuf,
    /// How long all may take to come to its end after the last fault.
    pub patience: Duration,
    /// Lies about what came of it, to show that the checks would find them.
    pub tampering: Vec<Tampering>,
}

/// Undoes a fault.
#[derive(Debug, Clone, Copy)]
enum Undo {
    Start(Target),
    /// If it is still the same process.
    Thaw(Target, u32),
    Fair(Link),
}

struct Storm {
    grid: Grid,
    clock: Stopwatch,
    /// By when they are due, and a number that tells equals apart.
    undoes: BTreeMap<(Duration, u32), Undo>,
    number: u32,
    acts: BTreeMap<String, u32>,
    findings: Vec<Finding>,
    /// Whether clients are to come to an end.
    is_finishing: bool,
    loses_commits: bool,
}

/// Runs a storm from beginning to end.
///
/// # Errors
///
/// Whatever keeps it from being run; what the storm breaks is in the report.
pub fn run(config: StormConfig) -> Result<Report, ChaosError> {
    let clock = Stopwatch::start();
    let adopt = |source| ChaosError::Signal { what: "the own process".to_owned(), source };
    remains::adopt_orphans().map_err(adopt)?;
    let grid = Grid::start(&config.folder, config.programs, config.seed, LEASE_MS)?;
    let mut storm = Storm {
        grid,
        clock,
        undoes: BTreeMap::new(),
        number: 0,
        acts: BTreeMap::new(),
        findings: Vec::new(),
        is_finishing: false,
        loses_commits: config.tampering.contains(&Tampering::LoseCommits),
    };
    if storm.loses_commits {
        let path = storm.grid.folder.join("manager");
        keep_database(&path).map_err(|source| ChaosError::Folder { path, source })?;
    }
    for number in 0..CLIENTS {
        storm.grid.start_process(Target::Client(number))?;
    }
    for step in Plan::draw(config.seed, config.kills).steps {
        storm.wait(&step)?;
        storm.perform(step.act)?;
    }
    let settling = Stopwatch::start();
    storm.settle(config.patience)?;
    let (mut clients, mut owner) = storm.truth()?;
    storm.clear_away()?;
    storm.check_books()?;
    let renewed = storm.grid.renewed.load(Ordering::Relaxed);
    let Storm { acts, mut findings, .. } = storm;
    for tampering in config.tampering {
        tampering.tell(&mut clients, &mut owner);
    }
    findings.extend(check::check(&clients, &owner));
    let kept = if findings.is_empty() {
        let path = config.folder.clone();
        fs::remove_dir_all(&path).map_err(|source| ChaosError::Folder { path, source })?;
        None
    } else {
        Some(config.folder.display().to_string())
    };
    Ok(Report {
        seed: config.seed,
        kills: config.kills,
        acts,
        figures: check::figures(&clients),
        renewed,
        findings,
        took: clock.elapsed(),
        settled_in: settling.elapsed(),
        kept,
    })
}

impl Storm {
    /// Lets clients work until the step is due, and undoes meanwhile what is to be undone.
    fn wait(&mut self, step: &Step) -> Result<(), ChaosError> {
        let waiting = Stopwatch::start();
        let limit = Duration::from_millis(step.within_ms.into());
        let until = self.grid.progress.events() + u64::from(step.after_events);
        loop {
            self.undo_what_is_due()?;
            self.look_after_all()?;
            let events = self.grid.progress.events();
            let left = waiting.left_of(limit);
            if events >= until || left.is_zero() {
                return Ok(());
            }
            let now = self.clock.elapsed();
            let next = self.undoes.keys().next().map(|(due, _)| due.saturating_sub(now));
            self.grid.progress.wait_for_more(events, left.min(next.unwrap_or(left)));
        }
    }

    fn perform(&mut self, act: Act) -> Result<(), ChaosError> {
        *self.acts.entry(act.kind()).or_default() += 1;
        match act {
            Act::Kill { target, down_ms } => {
                self.ensure_started(target)?;
                if let Some(process) = self.grid.slot(target).take() {
                    process.kill()?;
                }
                if target == Target::Manager {
                    self.look_into_the_database()?;
                }
                self.undo_after(down_ms, Undo::Start(target));
            }
            Act::Freeze { target, for_ms } => {
                self.ensure_started(target)?;
                if let Some(process) = self.grid.slot(target) {
                    process.freeze()?;
                    let pid = process.pid();
                    self.undo_after(for_ms, Undo::Thaw(target, pid));
                }
            }
            Act::Weather { link, weather, for_ms } => {
                self.grid.proxy(link).set(weather);
                self.undo_after(for_ms, Undo::Fair(link));
            }
            Act::Strike { link, strike } => {
                self.grid.proxy(link).strike(strike);
            }
        }
        Ok(())
    }

    /// Whatever a manager was doing when it was killed, its books balance.
    fn look_into_the_database(&mut self) -> Result<(), ChaosError> {
        if self.loses_commits {
            let path = self.grid.folder.join("manager");
            lose_commits(&path).map_err(|source| ChaosError::Folder { path, source })?;
        }
        self.check_books()
    }

    fn check_books(&mut self) -> Result<(), ChaosError> {
        let books = self.grid.check_books()?.into_iter();
        self.findings.extend(books.map(|words| Finding { rule: Rule::Books, words }));
        Ok(())
    }

    fn undo_after(&mut self, ms: u32, undo: Undo) {
        self.number += 1;
        let due = self.clock.elapsed() + Duration::from_millis(ms.into());
        self.undoes.insert((due, self.number), undo);
    }

    fn undo_what_is_due(&mut self) -> Result<(), ChaosError> {
        while let Some(entry) = self.undoes.first_entry()
            && entry.key().0 <= self.clock.elapsed()
        {
            let undo = entry.remove();
            self.undo(undo)?;
        }
        Ok(())
    }

    fn undo(&mut self, undo: Undo) -> Result<(), ChaosError> {
        match undo {
            Undo::Start(target) => self.ensure_started(target),
            Undo::Thaw(target, pid) => match self.grid.slot(target) {
                Some(process) if process.pid() == pid => process.thaw(),
                Some(_) | None => Ok(()),
            },
            Undo::Fair(link) => {
                self.grid.proxy(link).set(Weather::Fair);
                Ok(())
            }
        }
    }

    fn ensure_started(&mut self, target: Target) -> Result<(), ChaosError> {
        if self.grid.slot(target).is_none() { self.grid.start_process(target) } else { Ok(()) }
    }

    /// A process that ends without being told to is a finding, and is started again.
    fn look_after_all(&mut self) -> Result<(), ChaosError> {
        for target in all() {
            let Some(process) = self.grid.slot(target) else { continue };
            if let Some(status) = process.ended() {
                if status.code() == Some(EX_UNAVAILABLE) {
                    // Its sandbox worked before and will again: what else runs on this machine was
                    // in its way. A service would start it again, too.
                    *self.acts.entry(NO_SANDBOX.to_owned()).or_default() += 1;
                    *self.grid.slot(target) = None;
                    self.undo_after(NO_SANDBOX_PAUSE_MS, Undo::Start(target));
                    continue;
                }
                if let Target::Client(_) = target
                    && self.is_finishing
                    && status.success()
                {
                    *self.grid.slot(target) = None;
                    continue;
                }
                let words = format!("{target} ended by itself: {status}\n{}", process.tail());
                self.findings.push(Finding { rule: Rule::Alive, words });
                *self.grid.slot(target) = None;
                self.grid.start_process(target)?;
            }
        }
        Ok(())
    }
}

fn all() -> impl Iterator<Item = Target> {
    let clients = (0..CLIENTS).map(Target::Client);
    [Target::Manager].into_iter().chain((0..WORKERS).map(Target::Worker)).chain(clients)
}
