//! Jobs as people plan them: what is to run, on what terms, after what.

use campusgrid_core::job::After;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::resource::{Isolation, Needs};
use campusgrid_protocol::task::{Packages, Program, TaskSpec, Work};
use campusgrid_protocol::terms::{Notify, Sale, Terms, When};

use crate::agenda::Agenda;
use crate::fate::{POISON, SAME};

/// What jobs require by name.
const REQUIRED: [&[&str]; 4] =
    [&["R"], &["image:lab/gcc"], &["R", "python3.11"], &["image:lab/r", "octave"]];

/// The indices of arrays.
const ARRAYS: [&str; 4] = ["0-3", "1-3", "5-20:5", "7,9-11,100"];

/// Links of a chain at most.
const LINKS_MAX: usize = 4;

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) spec: TaskSpec,
    /// Without the deadline.
    pub(crate) terms: Terms,
    /// From when it is first asked for.
    pub(crate) deadline_in_ms: Option<u64>,
    pub(crate) priority: i8,
    pub(crate) on_hold: bool,
    pub(crate) after: Vec<After>,
    links: usize,
}

impl Plan {
    pub(crate) fn draw(agenda: &mut Agenda) -> Self {
        let tasks = agenda.dice.u32(1..5);
        let mut terms = Terms::plain(tasks);
        if agenda.chance(300) {
            let array = ARRAYS[agenda.dice.usize(0..ARRAYS.len())];
            terms.indices = array.parse().expect("they are written as they must be");
        }
        if agenda.chance(300) {
            (terms.retries, terms.backoff_s) = (agenda.dice.u8(1..4), agenda.dice.u32(0..40));
        }
        terms.at_once = agenda.chance(200).then(|| agenda.dice.u32(1..3));
        let told = agenda.chance(200);
        terms.notify =
            Notify { start: told, end: told, failure: told, mail: told, ..Notify::default() };
        let spec = spec(terms.indices.len(), agenda);
        let plan = Self {
            spec,
            terms,
            deadline_in_ms: agenda.chance(120).then(|| agenda.dice.u64(20_000..400_000)),
            priority: if agenda.chance(300) { agenda.dice.i8(-3..4) } else { 0 },
            on_hold: agenda.chance(80),
            after: Vec::new(),
            links: 1,
        };
        match agenda.dice.u32(0..100) {
            0..15 => plan.for_sale(agenda),
            15..35 => plan.deterministic(agenda),
            _ => plan,
        }
    }

    /// On the market, where one task is sold at a time.
    fn for_sale(mut self, agenda: &mut Agenda) -> Self {
        self.spec.tasks = 1;
        self.terms = Terms { notify: self.terms.notify, ..Terms::plain(1) };
        self.terms.sale = if agenda.dice.bool() {
            Sale::Hand
        } else {
            let max_price_micros = agenda.dice.i64(1..40) * 1_000_000;
            Sale::Rule { max_price_micros, close_after_s: agenda.dice.u32(5..150) }
        };
        Self { on_hold: false, ..self }
    }

    /// The same on every machine, which makes it possible to check; some are checked in any case.
    fn deterministic(mut self, agenda: &mut Agenda) -> Self {
        self.spec.work = Work::Shell { program: Program::Source(SAME.to_owned()) };
        self.terms.deterministic = true;
        self.terms.verify = agenda.chance(400);
        if self.terms.verify {
            (self.terms.retries, self.terms.backoff_s) = (0, 0);
        }
        self
    }

    /// A job that is to follow this one, which has got this number; none if the chain is long enough.
    pub(crate) fn follower(&self, job: JobId, agenda: &mut Agenda) -> Option<Self> {
        if self.links >= LINKS_MAX {
            return None;
        }
        let whens = [When::Started, When::Ok, When::Ok, When::Any, When::Failed];
        let when = whens[agenda.dice.usize(0..whens.len())];
        let each = agenda.dice.bool();
        let mut next = Self::draw(agenda);
        if next.terms.sale != Sale::Formula {
            return None; // What is for sale follows nothing.
        }
        if each {
            next.terms.indices = self.terms.indices.clone();
            next.spec.tasks = self.spec.tasks;
        }
        next.after.push(After { job, when, each });
        // Sometimes it waits for what the other has waited for as well.
        let is_fit = |after: &&After| !after.each || next.spec.tasks == self.spec.tasks;
        let before = self.after.first().filter(is_fit).filter(|_| agenda.chance(300));
        next.after.extend(before.copied());
        next.links = self.links + 1;
        Some(next)
    }
}

fn spec(tasks: u32, agenda: &mut Agenda) -> TaskSpec {
    let gpus = u16::from(agenda.chance(200));
    let labels =
        if agenda.chance(200) { REQUIRED[agenda.dice.usize(0..REQUIRED.len())] } else { &[] };
    let source = |text: &str| Program::Source(text.to_owned());
    let work = if agenda.chance(400) {
        let (requirements, requires_python) = (vec!["numpy".to_owned()], None);
        let packages = Packages::Names { requirements, requires_python };
        Work::Python { program: source("1"), packages }
    } else {
        Work::Shell { program: source(if agenda.chance(60) { POISON } else { "true" }) }
    };
    TaskSpec {
        work,
        needs: Needs {
            cpu_millis: agenda.dice.u32(1..8) * 500,
            ram_mib: agenda.dice.u32(1..16) * 256,
            disk_mib: agenda.dice.u32(1..10) * 100,
            gpus,
            gpu_memory_mib: u32::from(gpus) * 4096,
        },
        time_limit_s: agenda.dice.u32(1..150),
        isolation: if agenda.chance(800) { Isolation::Full } else { Isolation::None },
        labels: labels.iter().copied().map(str::to_owned).collect(),
        image: None,
        shared_tmp: false,
        tasks,
        arguments: Vec::new(),
        inputs: None,
        lines: None,
        outputs: Vec::new(),
        warn_s: 0,
        checkpoint_s: if agenda.chance(600) { 300 } else { 0 },
    }
}
