//! What may be said of a job, on the command line and at the top of a script.

use std::path::PathBuf;

use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::rest::After;
use campusgrid_protocol::terms::When;
use clap::{Args, ValueEnum};

use crate::units::{parse_credits, parse_mib, parse_seconds};

/// The options of a job. Those that may be given several times add up; of all others those on the
/// command line outweigh those in the script.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Flags {
    /// The script is Python [default: by its ending, or its #! line]
    #[arg(long, group = "language")]
    pub python: bool,
    /// The script is C; it is compiled with gcc -O2 -fopenmp
    #[arg(long, group = "language")]
    pub c: bool,
    /// The script is for /bin/sh
    #[arg(long, group = "language")]
    pub shell: bool,
    /// The job's name [default: the script's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// One task for each index: 1-100, 0-9:2, 1,5,9-12; 1-50%4 runs at most 4 at once
    #[arg(long, short = 'a', value_name = "INDICES")]
    pub array: Option<String>,
    /// One task for each line of this file, which is {line} and $CAMPUSGRID_TASK_LINE
    #[arg(long, value_name = "FILE", conflicts_with = "array")]
    pub lines: Option<String>,
    /// How many tasks may run at once
    #[arg(long, value_name = "COUNT")]
    pub at_once: Option<u32>,
    /// Cores of each task [default: 1]
    #[arg(long, short = 'c', value_name = "COUNT")]
    pub cpus: Option<u32>,
    /// Memory of each task, such as 512M or 4G [default: 512M]
    #[arg(long, short = 'm', value_name = "SIZE", value_parser = parse_mib)]
    pub ram: Option<u32>,
    /// Scratch space of each task, outputs included [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = parse_mib)]
    pub disk: Option<u32>,
    /// GPUs of each task; 1:16G asks for one with at least so much memory
    #[arg(long, value_name = "COUNT[:SIZE]", value_parser = parse_gpus)]
    pub gpus: Option<Gpus>,
    /// Longest time for each task, such as 45s, 90m, 1h30m or 1:30:00 [default: 10m]
    #[arg(long, short = 't', value_name = "TIME", value_parser = parse_seconds)]
    pub time: Option<u32>,
    /// A file or folder that the task finds in its directory, as DEST if that is given; repeatable
    #[arg(long = "file", short = 'f', value_name = "SRC[:DEST]")]
    pub files: Vec<String>,
    /// An archive (.zip, .tar, .tar.gz, .tar.zst) that is unpacked into DEST; repeatable
    #[arg(long = "archive", value_name = "SRC[:DEST]")]
    pub archives: Vec<String>,
    /// The file to run, of those that come with the job, instead of a script
    #[arg(long, value_name = "PATH")]
    pub entry: Option<String>,
    /// Files to keep beside those in $OUTPUT_DIR, such as '*.csv' or 'results/**'; repeatable
    #[arg(long = "out", short = 'o', value_name = "PATTERN")]
    pub outputs: Vec<String>,
    /// Start once these jobs have started
    #[arg(long, value_name = "JOB,…", value_delimiter = ',')]
    pub after: Vec<u64>,
    /// Start once these jobs have succeeded
    #[arg(long, value_name = "JOB,…", value_delimiter = ',')]
    pub after_ok: Vec<u64>,
    /// Start once these jobs are over
    #[arg(long, value_name = "JOB,…", value_delimiter = ',')]
    pub after_any: Vec<u64>,
    /// Start once these jobs are over and have not succeeded
    #[arg(long, value_name = "JOB,…", value_delimiter = ',')]
    pub after_failed: Vec<u64>,
    /// Each task waits for the one at the same place of those jobs alone
    #[arg(long)]
    pub each: bool,
    /// How often to run a task again that has failed, each time at its price
    #[arg(long, value_name = "COUNT")]
    pub retries: Option<u8>,
    /// The pause before that, twice as long each time
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub backoff: Option<u32>,
    /// Send SIGUSR1 so long before the time limit
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub warn: Option<u32>,
    /// Save what a task has written into $CHECKPOINT_DIR so often; 0 for only when it is handed back
    /// [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub checkpoint_every: Option<u32>,
    /// Owners bid for it, instead of the grid's formula
    #[arg(long, value_name = "BY")]
    pub market: Option<SoldBy>,
    /// Credits, at most, of one that goes to the best bid by rule
    #[arg(long, value_name = "CREDITS", value_parser = parse_credits)]
    pub max_price: Option<i64>,
    /// How long such a one takes bids
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub close_after: Option<u32>,
    /// It leaves the same wherever it runs: some of its results are checked where the operator takes a
    /// fee, at no cost to you
    #[arg(long)]
    pub deterministic: bool,
    /// Run it on two owners' machines, both paid, until their results agree
    #[arg(long)]
    pub verify: bool,
    /// Cancel and refund what has not started by then: +2h, "2026-11-24 18:00", RFC 3339
    #[arg(long, value_name = "MOMENT")]
    pub deadline: Option<String>,
    /// Among one's own jobs, -100 to 100; higher goes first
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub priority: Option<i8>,
    /// Wait until campusgrid release
    #[arg(long)]
    pub hold: bool,
    /// What to tell: start, end, failure
    #[arg(long, value_name = "WHAT,…", value_delimiter = ',')]
    pub notify: Vec<Event>,
    /// Tell it by e-mail [default where --notify is given without --webhook]
    #[arg(long)]
    pub mail: bool,
    /// Tell it by a signed POST to this address
    #[arg(long, value_name = "URL")]
    pub webhook: Option<String>,
    /// Python packages: a requirements.txt or a uv.lock
    #[arg(long, short = 'r', value_name = "FILE")]
    pub requirements: Option<PathBuf>,
    /// One Python package, such as numpy==2.3; repeatable
    #[arg(long = "with", value_name = "PACKAGE", conflicts_with = "requirements")]
    pub packages: Vec<String>,
    /// A flag for gcc, such as --cflag=-O3; repeatable
    #[arg(long = "cflag", value_name = "FLAG", allow_hyphen_values = true)]
    pub compiler_flags: Vec<String>,
    /// A container image by its digest, or "default" for that of the worker
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// What the machine must offer, such as python3.12 or R; repeatable
    #[arg(long = "label", value_name = "LABEL")]
    pub labels: Vec<String>,
    /// The least confinement that will do [default: docker]
    #[arg(long, value_name = "LEVEL")]
    pub isolation: Option<Level>,
    /// Tasks that follow each other on one machine share /tmp
    #[arg(long)]
    pub shared_tmp: bool,
}

/// GPUs, and the memory that each must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gpus {
    pub count: u16,
    pub memory_mib: u32,
}

fn parse_gpus(text: &str) -> Result<Gpus, String> {
    let (count, memory) = text.split_once(':').unwrap_or((text, "0"));
    let count = count.parse().map_err(|_| format!("{text:?} is no count such as 1 or 1:16G"))?;
    Ok(Gpus { count, memory_mib: parse_mib(memory)? })
}

/// How the price of a job comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SoldBy {
    /// Owners bid, and you accept one: campusgrid bids, campusgrid accept
    Hand,
    /// Owners bid under seal, and the best bid below --max-price gets it after --close-after
    Rule,
}

/// Of what somebody wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Event {
    Start,
    End,
    #[value(alias = "fail")]
    Failure,
}

/// How well a worker has to confine a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    None,
    Restricted,
    Docker,
    Full,
}

impl From<Level> for Isolation {
    fn from(level: Level) -> Self {
        match level {
            Level::None => Self::None,
            Level::Restricted => Self::Restricted,
            Level::Docker => Self::Docker,
            Level::Full => Self::Full,
        }
    }
}

impl Flags {
    /// These, and where they say nothing, those of a script.
    #[must_use]
    pub fn over(self, script: Self) -> Self {
        let both = |first: Vec<String>, mut then: Vec<String>| {
            let mut all = first;
            all.append(&mut then);
            all
        };
        let jobs = |first: Vec<u64>, then: Vec<u64>| [first, then].concat();
        let has_language = self.python || self.c || self.shell;
        // Tasks are counted in one way: the other one's script does not count.
        let has_tasks = self.array.is_some() || self.lines.is_some();
        let has_packages = self.requirements.is_some() || !self.packages.is_empty();
        Self {
            python: self.python || (!has_language && script.python),
            c: self.c || (!has_language && script.c),
            shell: self.shell || (!has_language && script.shell),
            name: self.name.or(script.name),
            array: self.array.or(script.array.filter(|_| !has_tasks)),
            lines: self.lines.or(script.lines.filter(|_| !has_tasks)),
            at_once: self.at_once.or(script.at_once),
            cpus: self.cpus.or(script.cpus),
            ram: self.ram.or(script.ram),
            disk: self.disk.or(script.disk),
            gpus: self.gpus.or(script.gpus),
            time: self.time.or(script.time),
            files: both(script.files, self.files),
            archives: both(script.archives, self.archives),
            entry: self.entry.or(script.entry),
            outputs: both(script.outputs, self.outputs),
            after: jobs(script.after, self.after),
            after_ok: jobs(script.after_ok, self.after_ok),
            after_any: jobs(script.after_any, self.after_any),
            after_failed: jobs(script.after_failed, self.after_failed),
            each: self.each || script.each,
            retries: self.retries.or(script.retries),
            backoff: self.backoff.or(script.backoff),
            warn: self.warn.or(script.warn),
            checkpoint_every: self.checkpoint_every.or(script.checkpoint_every),
            market: self.market.or(script.market),
            max_price: self.max_price.or(script.max_price),
            close_after: self.close_after.or(script.close_after),
            deterministic: self.deterministic || script.deterministic,
            verify: self.verify || script.verify,
            deadline: self.deadline.or(script.deadline),
            priority: self.priority.or(script.priority),
            hold: self.hold || script.hold,
            notify: if self.notify.is_empty() { script.notify } else { self.notify },
            mail: self.mail || script.mail,
            webhook: self.webhook.or(script.webhook),
            requirements: self.requirements.or(script.requirements.filter(|_| !has_packages)),
            packages: if has_packages { self.packages } else { script.packages },
            compiler_flags: both(script.compiler_flags, self.compiler_flags),
            image: self.image.or(script.image),
            labels: both(script.labels, self.labels),
            isolation: self.isolation.or(script.isolation),
            shared_tmp: self.shared_tmp || script.shared_tmp,
        }
    }

    /// What the job waits for.
    pub fn edges(&self) -> Vec<After> {
        let kinds = [
            (&self.after, When::Started),
            (&self.after_ok, When::Ok),
            (&self.after_any, When::Any),
            (&self.after_failed, When::Failed),
        ];
        let edge = |job: u64, when| After { job, when, each: self.each };
        kinds
            .into_iter()
            .flat_map(|(jobs, when)| jobs.iter().map(move |job| edge(*job, when)))
            .collect()
    }
}
