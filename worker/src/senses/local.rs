//! What is looked up on the machine itself, from time to time: power, heat, terminals, processes.

use std::collections::BTreeSet;

use campusgrid_sharing::senses::Now;
use campusgrid_sharing::sharing::Sharing;

use super::processes::{Found, Processes};
use super::report::Report;
use super::{Places, power, terminals};

/// How often all processes are looked at, which is more work than the rest.
const PROCESSES_MS: u64 = 6000;

/// What rules ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wants {
    presence: bool,
    temperature: bool,
    load: bool,
    programs: BTreeSet<String>,
}

impl Wants {
    pub(super) fn of(sharing: &Sharing) -> Self {
        Self {
            presence: sharing.asks_for_presence(),
            temperature: sharing.asks_for_temperature(),
            load: sharing.asks_for_load(),
            programs: sharing.programs(),
        }
    }

    /// All but processes, which take two looks.
    pub(super) fn all() -> Self {
        Self { presence: true, temperature: true, load: false, programs: BTreeSet::new() }
    }
}

/// Looks up.
#[derive(Debug)]
pub(super) struct Local {
    places: Places,
    processes: Processes,
    /// When processes are due, by the boot clock.
    due_ms: u64,
    found: Found,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Looked {
    pub(super) reports: Vec<Report>,
    /// Of the programs that rules name: those that run.
    pub(super) programs: Vec<String>,
}

impl Local {
    pub(super) fn new(places: Places) -> Self {
        let processes = Processes::new(&places.proc);
        Self { places, processes, due_ms: 0, found: Found::nothing() }
    }

    /// Looks everything up that is wanted. Blocks: batteries and thermometers can be slow to read.
    pub(super) fn look(&mut self, now: Now, wants: &Wants) -> Looked {
        let mut reports = Vec::new();
        if wants.presence {
            reports.push(terminals::noted(&self.places.dev, now));
        }
        reports.push(power::feed(&self.places.sys));
        if wants.temperature {
            reports.push(power::temperature(&self.places.sys));
        }
        if !wants.load && wants.programs.is_empty() {
            self.due_ms = 0;
            self.found = Found::nothing();
        } else if now.boot_ms >= self.due_ms {
            // A first look measures nothing, so that the next one is due at once.
            let pause_ms = if self.due_ms == 0 { 1 } else { PROCESSES_MS };
            self.found = self.processes.look(now.boot_ms, &wants.programs);
            self.due_ms = now.boot_ms + pause_ms;
        }
        if wants.load {
            reports.push(self.found.load.clone());
        }
        Looked { reports, programs: self.found.programs.clone() }
    }
}
