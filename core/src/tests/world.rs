//! A small campus around a real grid: three people, machines, a clock that a test moves, and a
//! watchdog that checks every promise of the grid after every input.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, BlobHash, JobId, SessionId, TaskId, UserId, WorkerId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::resource::{Capacity, Gpu, GpuLoad, Isolation, Load, Needs};
use campusgrid_protocol::rules::{Limits, Phase, Shares};
use campusgrid_protocol::task::{
    BlobRef, Ended, Outcome, Packages, Program, TaskSpec, Usage, Work,
};
use campusgrid_protocol::terms::{Sale, Terms, When};

use crate::durable::Durable;
use crate::effect::{Change, Effects, Reply};
use crate::grid::Grid;
use crate::input::{
    Enrolment, EnrolmentProof, FilesOf, Heartbeat, Input, Joined, NewDraft, Registration, Request,
    Submission, Ticket, WorkerEvent,
};
use crate::job::{After, Job};
use crate::ledger::AccountId;
use crate::market::{Award, Stage};
use crate::money::Micros;
use crate::policy::{Admission, Billing, Policy};
use crate::pricing::Prices;
use crate::snapshot::Shape;
use crate::tests::model::Disk;
use crate::tests::twin::{is_room, is_undecided, next, placements, ready};
use crate::tests::words::words;
use crate::time::Timestamp;
use crate::user::Role;
use crate::worker::{Grant, Room};

/// The people of the campus, by number from 1.
pub(super) const USERS: [&str; 3] = ["ada", "bob", "eve"];
pub(super) const ADA: UserId = UserId(1);
pub(super) const BOB: UserId = UserId(2);
pub(super) const EVE: UserId = UserId(3);

/// Midday of some day.
const START: Timestamp = Timestamp(1_700_000_000_000);

pub(super) struct World {
    pub(super) grid: Grid,
    pub(super) now: Timestamp,
    /// All that happened, in words.
    pub(super) log: String,
    disk: Disk,
    tickets: u64,
    /// The first lock of each job.
    locks: BTreeMap<JobId, Arc<str>>,
    /// What each job was to wait for, by its submitter's words.
    afters: BTreeMap<JobId, Vec<After>>,
}

/// A machine: cores and GiB of RAM, and what else it has.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) capacity: Capacity,
    pub(super) isolation: Isolation,
    pub(super) owner: UserId,
    pub(super) labels: Vec<String>,
    /// What it says of its sharing; nothing, if it speaks an older version.
    pub(super) shares: Option<Shares>,
}

/// Of a machine that takes and runs tasks, whatever it has.
pub(super) fn open_shares() -> Shares {
    Shares { phase: Phase::Open, why: String::new(), since_ms: 0, limits: Limits::default() }
}

pub(super) fn worker(cores: u32, ram_gib: u32) -> Machine {
    let (cpu_millis, ram_mib) = (cores * 1000, ram_gib * 1024);
    let capacity = Capacity { cpu_millis, ram_mib, disk_mib: 10_000, gpus: Vec::new() };
    let (isolation, labels, shares) = (Isolation::Full, Vec::new(), Some(open_shares()));
    Machine { capacity, isolation, owner: BOB, labels, shares }
}

impl Machine {
    pub(super) fn gpu(mut self, memory_gib: u32) -> Self {
        let memory_mib = memory_gib * 1024;
        self.capacity.gpus.push(Gpu {
            model: "T4".to_owned(),
            memory_mib,
            driver: "550".to_owned(),
        });
        self
    }

    pub(super) fn of(self, owner: UserId) -> Self {
        Self { owner, ..self }
    }

    pub(super) fn confined(self, isolation: Isolation) -> Self {
        Self { isolation, ..self }
    }

    pub(super) fn offers(self, labels: &[&str]) -> Self {
        Self { labels: strings(labels), ..self }
    }
}

/// A job: cores and GiB of RAM of each task, and what else it asks for.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) owner: UserId,
    pub(super) spec: TaskSpec,
    pub(super) terms: Terms,
    pub(super) priority: i8,
    pub(super) on_hold: bool,
    pub(super) after: Vec<After>,
    pub(super) files: FilesOf,
    pub(super) key: Option<String>,
}

pub(super) fn job(cores: u32, ram_gib: u32) -> Wish {
    let (cpu_millis, ram_mib) = (cores * 1000, ram_gib * 1024);
    let needs = Needs { cpu_millis, ram_mib, disk_mib: 100, gpus: 0, gpu_memory_mib: 0 };
    let work = Work::Shell { program: Program::Source("true".to_owned()) };
    let spec = TaskSpec {
        work,
        needs,
        time_limit_s: 600,
        isolation: Isolation::Full,
        labels: Vec::new(),
        image: None,
        shared_tmp: false,
        tasks: 1,
        arguments: Vec::new(),
        inputs: None,
        lines: None,
        outputs: Vec::new(),
        warn_s: 0,
        checkpoint_s: 300,
    };
    Wish {
        owner: ADA,
        spec,
        terms: Terms::plain(1),
        priority: 0,
        on_hold: false,
        after: Vec::new(),
        files: FilesOf::None,
        key: None,
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().copied().map(str::to_owned).collect()
}

impl Wish {
    pub(super) fn gpus(mut self, gpus: u16, memory_gib: u32) -> Self {
        (self.spec.needs.gpus, self.spec.needs.gpu_memory_mib) = (gpus, memory_gib * 1024);
        self
    }

    pub(super) fn disk(mut self, mib: u32) -> Self {
        self.spec.needs.disk_mib = mib;
        self
    }

    pub(super) fn tasks(mut self, tasks: u32) -> Self {
        self.spec.tasks = tasks;
        self.terms.indices = Terms::plain(tasks).indices;
        self
    }

    /// Tasks of these indices.
    pub(super) fn array(mut self, indices: &str) -> Self {
        self.terms.indices = indices.parse().unwrap();
        self.spec.tasks = self.terms.indices.len();
        self
    }

    pub(super) fn at_once(mut self, tasks: u32) -> Self {
        self.terms.at_once = Some(tasks);
        self
    }

    pub(super) fn retries(mut self, retries: u8, backoff_s: u32) -> Self {
        (self.terms.retries, self.terms.backoff_s) = (retries, backoff_s);
        self
    }

    /// Sold by bids.
    pub(super) fn sold(mut self, sale: Sale) -> Self {
        self.terms.sale = sale;
        self
    }

    /// Results are the same wherever it runs; checked as a sample, or always.
    pub(super) fn deterministic(mut self, verify: bool) -> Self {
        (self.terms.deterministic, self.terms.verify) = (true, verify);
        self
    }

    /// So many seconds after the world began.
    pub(super) fn deadline_s(mut self, seconds: u64) -> Self {
        self.terms.deadline_at_ms = Some(START.plus_ms(seconds * 1000).0);
        self
    }

    pub(super) fn after(mut self, job: u64, when: When) -> Self {
        self.after.push(After { job: JobId(job), when, each: false });
        self
    }

    /// Each task after its counterpart.
    pub(super) fn each_after(mut self, job: u64, when: When) -> Self {
        self.after.push(After { job: JobId(job), when, each: true });
        self
    }

    pub(super) fn priority(self, priority: i8) -> Self {
        Self { priority, ..self }
    }

    pub(super) fn held(self) -> Self {
        Self { on_hold: true, ..self }
    }

    pub(super) fn limit_s(mut self, seconds: u32) -> Self {
        self.spec.time_limit_s = seconds;
        self
    }

    pub(super) fn confined(mut self, isolation: Isolation) -> Self {
        self.spec.isolation = isolation;
        self
    }

    /// In order, each once.
    pub(super) fn requires(mut self, labels: &[&str]) -> Self {
        self.spec.labels = strings(labels);
        self
    }

    /// Python that imports something.
    pub(super) fn python(mut self) -> Self {
        let (requirements, requires_python) = (strings(&["numpy"]), None);
        let packages = Packages::Names { requirements, requires_python };
        let program = Program::Source("pass".to_owned());
        self.spec.work = Work::Python { program, packages };
        self
    }

    pub(super) fn by(self, owner: UserId) -> Self {
        Self { owner, ..self }
    }

    pub(super) fn key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }
}

/// As the web makes it of a wish, if no job that it waits for is over.
pub(super) fn submission(wish: Wish) -> Submission {
    let Wish { owner: user, spec, terms, priority, on_hold, after, files, key } = wish;
    let (name, ended) = ("job".to_owned(), BTreeMap::new());
    Submission { user, key, name, spec, terms, priority, on_hold, after, ended, files }
}

/// The seed's prices, its 100 credits, and rounds of ten seconds.
pub(super) fn policy() -> Policy {
    Policy {
        admission: Admission::Open,
        starting_credits: Micros::from_credits(100),
        prices: Prices {
            base: Micros::from_credits(5),
            core: Micros::from_credits(2),
            ram_gib: Micros::from_credits(1),
            gpu: Micros::from_credits(10),
            minute: Micros::from_credits(1),
            ..Prices::default()
        },
        rate_permille: 1000,
        premium: false,
        verified_grants: false,
        billing: Billing::Actual,
        fee_permille: 0,
        tries: 3,
        lease_ms: 90_000,
        heartbeat_ms: 10_000,
        active_jobs_max: 100,
        draft_ms: 1_800_000,
        submit_key_ms: 3_600_000,
    }
}

/// The hash of every package.
const HASH: &str =
    " --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// The lock that says of each word which version a package has.
pub(super) fn lock_of(versions: &str) -> String {
    versions.split_whitespace().map(|version| format!("{version}{HASH}\n")).collect()
}

/// `1.0#2` as an attempt.
pub(super) fn attempt(text: &str) -> AttemptId {
    text.parse().unwrap()
}

pub(super) fn attempts(texts: &[&str]) -> Vec<AttemptId> {
    texts.iter().map(|text| attempt(text)).collect()
}

/// A worker's report that an attempt is over after so many seconds of its own clock.
pub(super) fn end(attempt: AttemptId, outcome: Outcome, run_s: u64) -> WorkerEvent {
    let usage = Usage { run_ms: run_s.saturating_mul(1000), cpu_ms: 0, ram_peak_mib: 0 };
    WorkerEvent::Ended(Box::new(Ended { usage, ..Ended::empty(attempt, outcome) }))
}

/// A machine's introduction; its key and its name come from its number.
pub(super) fn join(number: u8, machine: &Machine, attempts: Vec<AttemptId>) -> Joined {
    Joined {
        key_hash: [number; 32],
        name: format!("laptop-{number}"),
        capacity: machine.capacity.clone(),
        isolation: machine.isolation,
        isolation_notes: Vec::new(),
        labels: machine.labels.clone(),
        attempts,
        speed: None,
        shares: machine.shares.clone(),
    }
}

/// What a machine says that has no certificate yet: it shows the code of its number.
pub(super) fn enrolment(number: u8, claimed_owner: Option<&str>) -> Enrolment {
    let claimed_owner = claimed_owner.map(str::to_owned);
    Enrolment {
        session: SessionId(0), // Filled in by World::enrol.
        key_hash: [number; 32],
        name: format!("laptop-{number}"),
        address: format!("10.0.0.{number}"),
        proof: EnrolmentProof::Code { code: format!("CODE-{number}"), claimed_owner },
    }
}

impl World {
    /// The three people, nothing else.
    pub(super) fn new() -> Self {
        Self::with(policy())
    }

    pub(super) fn with(policy: Policy) -> Self {
        let mut world = Self::empty(policy);
        for name in USERS {
            world.register(name);
        }
        world.log.clear();
        world
    }

    /// Nobody.
    pub(super) fn empty(policy: Policy) -> Self {
        let grid = Grid::recover(Arc::new(policy), Durable::empty(), START);
        let log = String::new();
        let disk = Disk::default();
        let locks = BTreeMap::new();
        Self { grid, now: START, log, disk, tickets: 0, locks, afters: BTreeMap::new() }
    }

    pub(super) fn register(&mut self, name: &str) -> Reply {
        self.ask(Request::Register(Registration {
            name: name.to_owned(),
            email: None,
            password_hash: "argon2".to_owned(),
            local: false,
            invitation: None,
        }))
    }

    /// Lets one thing happen, dispatches, and checks everything that must always hold.
    pub(super) fn happen(&mut self, input: Input) -> Effects {
        let mut effects = Effects::default();
        let operated = self.is_operated();
        self.grid.handle(self.now, input, &mut effects);
        assert!(self.is_operated() || !operated, "the last operator stays one");
        self.check_shut(&effects);
        let expected = placements(&self.grid);
        let handled = effects.changes.len();
        self.grid.dispatch(&mut effects);
        let mut placed = Vec::new();
        for change in &effects.changes[handled..] {
            if let Change::TaskLeased { attempt, worker, .. } = change {
                placed.push((attempt.task, *worker));
            }
        }
        assert_eq!(placed, expected, "dispatch and its naive twin");
        self.disk.write(&effects.changes);
        self.log.push_str(&words(&effects));
        self.check_books();
        self.check_tasks();
        self.check_chains(&effects);
        self.check_room(&placed);
        self.check_gpus(&placed);
        self.check_sends(&effects);
        let mut again = Effects::default();
        self.grid.dispatch(&mut again);
        assert!(again.changes.is_empty() && again.sends.is_empty(), "dispatch left something");
        effects
    }

    pub(super) fn ask(&mut self, request: Request) -> Reply {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let mut effects = self.happen(Input::Request { ticket, request });
        let (answered, reply) = effects.replies.pop().unwrap();
        assert_eq!(answered, ticket);
        if let Reply::Refused(refusal) = &reply {
            assert!(effects.changes.is_empty(), "{refusal} changed {:?}", effects.changes);
        }
        reply
    }

    /// A heading in the log.
    pub(super) fn note(&mut self, words: &str) {
        self.log.push_str(&format!("# {words}\n"));
    }

    pub(super) fn submit(&mut self, wish: &Wish) -> Reply {
        let new = self.wished(wish);
        self.ask(Request::Submit(Box::new(new)))
    }

    pub(super) fn submit_with_effects(&mut self, wish: &Wish) -> Effects {
        let request = Request::Submit(Box::new(self.wished(wish)));
        self.happen(Input::Request { ticket: Ticket(0), request })
    }

    /// With how those jobs ended that are over; what it is to wait for is noted.
    fn wished(&mut self, wish: &Wish) -> Submission {
        let over = |after: &After| Some((after.job, self.disk.over.get(&after.job)?.clone()));
        let ended = wish.after.iter().filter_map(over).collect();
        // Before it is asked: a job may start at once, and its counterparts be told.
        match wish.files {
            FilesOf::Draft { job, .. } if self.grid.drafts.contains_key(&job) => {
                self.afters.insert(job, wish.after.clone());
            }
            FilesOf::None | FilesOf::Draft { .. } | FilesOf::Job(_) => {
                self.afters.insert(JobId(self.grid.last_job.0 + 1), wish.after.clone());
            }
        }
        Submission { ended, ..submission(wish.clone()) }
    }

    pub(super) fn draft(&mut self, user: UserId, key: Option<String>) -> Reply {
        let (name, submit) = ("job".to_owned(), "{}".to_owned());
        self.ask(Request::Draft(NewDraft { user, key, name, submit }))
    }

    /// Files of these paths, with a byte for each letter of theirs.
    pub(super) fn put(&mut self, user: UserId, job: u64, paths: &[&str]) -> Reply {
        let file = |path: &&str| {
            let (hash, size_bytes) = (BlobHash([7; 32]), path.len() as u64);
            let blob = BlobRef { hash, size_bytes };
            InputFile { path: (*path).to_owned(), blob, executable: false }
        };
        let files = paths.iter().map(file).collect();
        self.ask(Request::PutFiles { user, job: JobId(job), files })
    }

    pub(super) fn cancel(&mut self, user: UserId, job: u64) -> Reply {
        self.ask(Request::Cancel { user, job: JobId(job), tasks: None })
    }

    /// Cancels some tasks, by position.
    pub(super) fn cancel_tasks(&mut self, user: UserId, job: u64, tasks: &str) -> Reply {
        let tasks: Ranges = tasks.parse().unwrap();
        self.ask(Request::Cancel { user, job: JobId(job), tasks: Some(tasks) })
    }

    pub(super) fn end_with_effects(
        &mut self,
        session: u64,
        text: &str,
        outcome: Outcome,
        run_s: u64,
    ) -> Effects {
        let event = end(attempt(text), outcome, run_s);
        self.happen(Input::FromWorker { session: SessionId(session), event })
    }

    /// Machine `number` comes back as session `number + 1` with nothing that runs.
    pub(super) fn own_again(&mut self, number: u8, machine: &Machine) {
        self.join(u64::from(number) + 1, join(number, machine, Vec::new()));
    }

    pub(super) fn hear(&mut self, session: u64, event: WorkerEvent) {
        self.happen(Input::FromWorker { session: SessionId(session), event });
    }

    /// Machine `number` is let in and joins as session `number`; what that says is not noted.
    pub(super) fn own(&mut self, number: u8, machine: &Machine) {
        let kept = std::mem::take(&mut self.log);
        self.let_in(number, machine.owner);
        let joined = WorkerEvent::Joined(Box::new(join(number, machine, Vec::new())));
        let mut effects = Effects::default();
        let session = SessionId(number.into());
        self.grid.handle(self.now, Input::FromWorker { session, event: joined }, &mut effects);
        self.log = kept;
        self.happen(Input::Tick);
    }

    /// Machine `number` asks to be let in, and its owner enters the code that it shows.
    pub(super) fn let_in(&mut self, number: u8, owner: UserId) {
        let code = format!("CODE-{number}");
        self.enrol(1000 + u64::from(number), &enrolment(number, None));
        self.ask(Request::ApproveWorker { user: owner, code });
    }

    /// A machine asks to be let in; the reply, unless it comes later.
    pub(super) fn enrol(&mut self, session: u64, enrolment: &Enrolment) -> Option<Reply> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let enrolment = Enrolment { session: SessionId(session), ..enrolment.clone() };
        let request = Request::Enrol(enrolment);
        let effects = self.happen(Input::Request { ticket, request });
        let mine = effects.replies.into_iter().find(|(answered, _)| *answered == ticket);
        mine.map(|(_, reply)| reply)
    }

    pub(super) fn join(&mut self, session: u64, joined: Joined) {
        self.hear(session, WorkerEvent::Joined(Box::new(joined)));
    }

    pub(super) fn heartbeat(&mut self, session: u64, attempts: Vec<AttemptId>) {
        self.heartbeat_with_gpus(session, attempts, &[]);
    }

    /// A heartbeat that says how many processes compute on each GPU.
    pub(super) fn heartbeat_with_gpus(
        &mut self,
        session: u64,
        attempts: Vec<AttemptId>,
        processes: &[u16],
    ) {
        let of_gpu = |&processes: &u16| GpuLoad { processes, ..GpuLoad::default() };
        let load = Load { gpus: processes.iter().map(of_gpu).collect(), ..Load::default() };
        let heartbeat = Heartbeat { sequence: 1, attempts, load };
        self.hear(session, WorkerEvent::Heartbeat(heartbeat));
    }

    pub(super) fn start(&mut self, session: u64, text: &str) {
        self.hear(session, WorkerEvent::Started { attempt: attempt(text) });
    }

    /// Its packages came to these versions.
    pub(super) fn locked(&mut self, session: u64, text: &str, versions: &str) {
        let (attempt, lock) = (attempt(text), lock_of(versions));
        self.hear(session, WorkerEvent::Locked { attempt, lock });
    }

    pub(super) fn end(&mut self, session: u64, text: &str, outcome: Outcome, run_s: u64) {
        self.hear(session, end(attempt(text), outcome, run_s));
    }

    /// Time passes, in one leap.
    pub(super) fn wait_s(&mut self, seconds: u64) {
        self.now = self.now.plus_ms(seconds * 1000);
        self.happen(Input::Tick);
    }

    /// Time passes, and every machine that is connected says each ten seconds what it has.
    pub(super) fn pass_s(&mut self, seconds: u64) {
        let steps = std::iter::repeat_n(10, usize::try_from(seconds / 10).unwrap());
        for step in steps.chain([seconds % 10]) {
            self.wait_s(step);
            let none = BTreeMap::new();
            let running = self.grid.links.iter().map(|(id, link)| {
                let occupancy = self.grid.occupancy.get(id).unwrap_or(&none);
                (link.session.0, occupancy.keys().copied().collect())
            });
            for (session, attempts) in Vec::from_iter(running) {
                self.heartbeat(session, attempts);
            }
        }
    }

    /// The manager dies and comes back with what is on disk.
    pub(super) fn restart(&mut self) {
        let policy = Arc::clone(&self.grid.policy);
        self.grid = Grid::recover(policy, self.disk.load(), self.now);
        self.happen(Input::Tick);
    }

    pub(super) fn balance(&self, user: UserId) -> Micros {
        self.grid.ledger.account(AccountId::User(user)).balance
    }

    /// Balances of people, then of escrow and fee, as far as they differ from the start.
    pub(super) fn note_balances(&mut self) {
        let account = |id| self.grid.ledger.account(id).balance;
        let mut words = String::new();
        for (user, name) in [ADA, BOB, EVE].into_iter().zip(USERS) {
            words.push_str(&format!("{name} {}, ", self.balance(user)));
        }
        words.push_str(&format!("escrow {}", account(AccountId::Escrow)));
        if account(AccountId::Fee) > Micros::ZERO {
            words.push_str(&format!(", fee {}", account(AccountId::Fee)));
        }
        self.log.push_str(&format!("{words}\n"));
    }

    /// Why each shape waits, oldest user first.
    pub(super) fn note_waiting(&mut self) {
        let snapshot = self.grid.snapshot();
        for line in snapshot.waiting.into_values() {
            self.log.push_str(&format!("waits: {line}\n"));
        }
        for (job, line) in snapshot.stalled {
            self.log.push_str(&format!("job {job} {line}\n"));
        }
    }

    fn check_books(&self) {
        let durable = self.grid.durable();
        assert_eq!(self.disk.load(), durable, "memory and disk");
        let accounts: BTreeMap<_, _> = durable.ledger.accounts().collect();
        assert_eq!(self.disk.recomputed_accounts(), accounts, "accounts and transfers");
        let sum: Micros = accounts.values().map(|account| account.balance).sum();
        assert_eq!(sum, Micros::ZERO);
        let overdrawn = |(id, account): (&AccountId, &crate::ledger::Account)| {
            *id != AccountId::Mint && account.balance < Micros::ZERO
        };
        assert!(!accounts.iter().any(overdrawn), "{accounts:?}");
        let held: Micros = durable.jobs.values().map(crate::job::Job::held).sum();
        assert_eq!(durable.ledger.account(AccountId::Escrow).balance, held, "escrow = open holds");
        for job in durable.jobs.values() {
            let quotes = job.quote.checked_times(job.spec.tasks * u32::from(job.terms.runs()));
            assert!(job.held_of_submitter() <= quotes.unwrap(), "job {} holds too much", job.id);
            assert!(job.tasks.values().all(|task| task.paid <= job.quote), "paid above the hold");
        }
        self.check_markets();
        self.check_records();
    }

    /// What is open or accepted is what the grid looks at, and nobody bids on their own.
    fn check_markets(&self) {
        let jobs = || self.grid.jobs.values();
        let open = jobs().filter(|job| job.open_market().is_some()).map(|job| job.id);
        assert!(self.grid.markets.open().eq(open), "open jobs");
        let waits =
            |job: &&Job| !job.on_hold && job.after.is_empty() && job.open_market().is_none();
        let waiting = jobs().filter(waits).map(|job| u64::from(job.waiting()));
        assert_eq!(self.grid.waiting, waiting.sum::<u64>(), "tasks that wait for machines");
        let awarded = jobs().filter_map(|job| Some((job.id, job.award()?.worker)));
        assert!(self.grid.markets.awarded.iter().map(|(&id, &of)| (id, of)).eq(awarded));
        let ends = jobs().filter(|job| match job.market.as_ref().map(|market| market.stage) {
            Some(Stage::Open { closes_at }) => closes_at.is_some(),
            Some(Stage::Awarded(award)) => award.start_by.is_some(),
            None => false,
        });
        let ends: Vec<JobId> = ends.map(|job| job.id).collect();
        assert!(self.grid.markets.ends.is_of(ends.iter()), "ends of markets");
        for job in jobs() {
            let market = job.market.iter();
            for worker in market.flat_map(|market| market.bids.keys()) {
                assert_ne!(self.grid.workers[worker].owner, job.owner, "job {}", job.id);
            }
            for (attempt, lease) in job.leases() {
                let award = job.award();
                assert!(award.is_none_or(|award| award.worker == lease.worker), "{attempt}");
                assert!(
                    award
                        .is_none_or(|award| award.start_by.is_none() == lease.started_at.is_some())
                );
            }
        }
    }

    /// What machines have earned is what they were paid.
    fn check_records(&self) {
        let mut earned = BTreeMap::<WorkerId, Micros>::new();
        for paid in self.disk.told.values() {
            *earned.entry(paid.worker).or_default() += paid.earned;
        }
        for worker in self.grid.workers.values() {
            let earned = earned.get(&worker.id).copied().unwrap_or_default();
            assert_eq!(worker.record.earned_micros, earned.0, "worker-{}", worker.id);
        }
    }

    fn is_operated(&self) -> bool {
        self.grid.users.values().any(|user| user.role == Role::Operator)
    }

    /// While nothing is taken in, nothing is settled either.
    fn check_shut(&self, effects: &Effects) {
        let settles = |change: &Change| {
            matches!(
                change,
                Change::Transferred(_)
                    | Change::TaskRequeued { .. }
                    | Change::TaskPausing(_)
                    | Change::TaskChecking(_)
                    | Change::AttemptPaid { .. }
                    | Change::JobAwarded { award: Award { start_by: Some(_), .. }, .. }
                    | Change::JobReopened { .. }
                    | Change::TaskRoused { .. }
                    | Change::AfterMet { .. }
                    | Change::TaskEnded(_)
                    | Change::UntouchedCancelled { .. }
                    | Change::JobEnded { .. }
                    | Change::JobLocked { .. }
            )
        };
        let shut = self.grid.is_shut();
        assert!(!shut || !effects.changes.iter().any(settles), "{:?}", effects.changes);
        assert!(shut || self.grid.late_cancels.is_empty());
        assert!(self.grid.voucher_ends.is_of(self.grid.vouchers.keys()));
        assert!(self.grid.draft_ends.is_of(self.grid.drafts.keys()));
        let mut drafts_of = BTreeMap::<UserId, BTreeSet<JobId>>::new();
        for draft in self.grid.drafts.values() {
            drafts_of.entry(draft.owner).or_default().insert(draft.id);
        }
        assert_eq!(self.grid.drafts_of, drafts_of);
    }

    /// Every task is in exactly one place, and whoever else counts it counts the same.
    fn check_tasks(&self) {
        let mut leased = BTreeMap::<WorkerId, BTreeSet<AttemptId>>::new();
        let mut jobs_of = BTreeMap::<UserId, BTreeSet<JobId>>::new();
        for job in self.grid.jobs.values() {
            let running = job.leases().count();
            let pausing = job.pausing().count();
            assert_eq!(job.open_tasks() + job.ended.len(), job.spec.tasks);
            assert_eq!(job.tasks.len(), running + job.requeued.len() + pausing);
            assert!(job.open_tasks() > 0, "job {} is over", job.id);
            assert!(job.requeued.iter().all(|index| job.tasks.contains_key(index)));
            assert!(!job.tasks.keys().any(|&index| job.untouched.contains(index)));
            assert!(job.tasks.values().all(|task| task.runs_left > 0));
            let at_once = job.terms.at_once.unwrap_or(u32::MAX);
            assert!(running <= at_once as usize, "job {} has too many at once", job.id);
            jobs_of.entry(job.owner).or_default().insert(job.id);
            for (attempt, lease) in job.leases() {
                leased.entry(lease.worker).or_default().insert(attempt);
            }
            let (nexts, lineup) = (next(&self.grid, job, &Vec::new()), &self.grid.lineups[&job.id]);
            let shapes: BTreeSet<&Shape> = lineup.shapes().collect();
            for shape in &shapes {
                let may_start = nexts.contains_key(shape);
                assert_eq!(self.grid.queue.has(shape, job.id), may_start, "job {}", job.id);
            }
            assert!(nexts.keys().all(|shape| shapes.contains(shape)), "job {}", job.id);
            let may_start = !nexts.is_empty();
            let waits = job.open_tasks() as usize > running;
            assert_eq!(self.grid.lineups[&job.id].is_stalled, waits && !may_start);
            assert_eq!(self.grid.lineups[&job.id].running as usize, running);
        }
        assert!(self.grid.lineups.keys().eq(self.grid.jobs.keys()));
        let pausing: Vec<TaskId> =
            self.grid.jobs.values().flat_map(|job| job.pausing()).map(|(task, _)| task).collect();
        assert!(self.grid.task_pauses.is_of(pausing.iter()), "ends of pauses");
        let occupied: BTreeMap<WorkerId, BTreeSet<AttemptId>> = self
            .grid
            .occupancy
            .iter()
            .map(|(&id, occupancy)| (id, occupancy.keys().copied().collect()))
            .collect();
        assert_eq!(occupied, leased, "occupancy and leases");
        assert_eq!(self.grid.jobs_of, jobs_of);
        assert!(self.grid.leases.is_of(leased.values().flatten()), "ends of leases");
    }

    /// Nothing started before what it was to follow, nothing was given up that could still start, and
    /// whoever waits waits for something undecided.
    fn check_chains(&self, effects: &Effects) {
        for job in self.grid.jobs.values() {
            assert!(is_undecided(&self.grid, job), "job {} waits for what is decided", job.id);
            let naive = ready(&self.grid, job, &Vec::new());
            if let Some(ready) = &self.grid.lineups[&job.id].ready {
                assert!(ready.numbers().eq(naive), "what is ready of job {}", job.id);
            } else {
                assert!(job.after.iter().all(|after| !after.each));
            }
            let deadline = job.terms.deadline_at_ms;
            let is_late = deadline.is_some_and(|deadline| deadline <= self.now.0);
            let waits = job.waiting() as usize + job.pausing().count();
            assert!(!is_late || waits == 0 || self.grid.is_shut(), "job {} is overdue", job.id);
        }
        assert!(self.grid.chains.is_of(self.grid.jobs.values()));
        for change in &effects.changes {
            if let Change::TaskLeased { attempt: AttemptId { task, number: 1 }, .. } = change {
                let after = self.afters.get(&task.job).into_iter().flatten();
                let far_enough = |after: &After| self.has_come(*after, task.index) == Some(true);
                assert!(after.clone().all(far_enough), "{task} started too early: {after:?}");
            }
            if let Change::UntouchedCancelled { job, tasks, reason: Some(reason), .. } = change {
                let after: Vec<After> =
                    self.afters.get(job).into_iter().flatten().copied().collect();
                let broken =
                    |index| after.iter().any(|after| self.has_come(*after, index) == Some(false));
                let is_late = reason.contains("deadline") || reason.contains("bids was at most");
                assert!(is_late || tasks.numbers().all(broken), "{job}.{tasks}: {reason}");
            }
        }
    }

    /// Whether what is waited for has come so far, by all that was ever written; `None` if that is
    /// undecided.
    fn has_come(&self, after: After, index: u32) -> Option<bool> {
        let over = self.disk.over.get(&after.job);
        let ended = over.or_else(|| self.grid.jobs.get(&after.job).map(|job| &job.ended)).unwrap();
        let started = self.disk.started.get(&after.job);
        let (is_started, ok, bad, is_over) = if after.each {
            let bad = ended.failed.contains(index) || ended.cancelled.contains(index);
            let ok = ended.succeeded.contains(index);
            (started.is_some_and(|started| started.contains(index)), ok, bad, ok || bad)
        } else {
            let bad = !ended.failed.is_empty() || !ended.cancelled.is_empty();
            (started.is_some(), over.is_some() && !bad, bad, over.is_some())
        };
        match after.when {
            When::Started => (is_started || is_over).then_some(true),
            When::Ok => (ok || bad).then_some(ok),
            When::Any => is_over.then_some(true),
            When::Failed => is_over.then_some(bad),
        }
    }

    fn check_room(&self, placed: &[(TaskId, WorkerId)]) {
        for (id, link) in &self.grid.links {
            let empty = BTreeMap::new();
            let occupancy = self.grid.occupancy.get(id).unwrap_or(&empty);
            assert_eq!(link.free, link.room(occupancy), "room of worker-{id}");
            assert_eq!(self.grid.worker_of_session.get(&link.session), Some(id));
            assert!(self.grid.workers.contains_key(id));
            for shape in self.grid.queue.waiting() {
                let idle = is_room(&self.grid, *id, link, shape);
                assert!(!idle, "worker-{id} could run {shape:?}, which waits");
            }
        }
        assert_eq!(self.grid.links.len(), self.grid.worker_of_session.len());
        let rooms = self.grid.links.iter().map(|(&id, link)| Room::of(id, link));
        assert_eq!(self.grid.rooms, rooms.collect(), "the order of rooms");
        for id in placed.iter().map(|(_, id)| id) {
            let (capacity, occupancy) = (&self.grid.links[id].capacity, &self.grid.occupancy[id]);
            let is_new = |attempt: &AttemptId| placed.contains(&(attempt.task, *id));
            let older: Vec<Needs> = occupancy
                .iter()
                .filter(|(attempt, _)| !is_new(attempt))
                .map(|(_, grant)| grant.needs)
                .collect();
            let all: Vec<Needs> = occupancy.values().map(|grant| grant.needs).collect();
            // A machine may come back smaller than what it runs.
            assert!(fit(capacity, &all) || !fit(capacity, &older), "worker-{id} is overfilled");
        }
    }

    /// No GPU is granted twice at a time, and nobody is given a larger one than the task needs while
    /// a smaller one is free.
    fn check_gpus(&self, placed: &[(TaskId, WorkerId)]) {
        for (id, occupancy) in &self.grid.occupancy {
            let granted: Vec<u16> =
                occupancy.values().flat_map(|grant| grant.gpus.numbers()).collect();
            let different: BTreeSet<u16> = granted.iter().copied().collect();
            assert_eq!(different.len(), granted.len(), "GPUs of worker-{id}: {granted:?}");
            for (attempt, Grant { needs, gpus, .. }) in occupancy {
                let lease = self.grid.jobs[&attempt.task.job].lease(*attempt).unwrap();
                assert_eq!(lease.gpus, *gpus);
                if !placed.contains(&(attempt.task, *id)) {
                    continue;
                }
                let link = &self.grid.links[id];
                let size =
                    |number: u16| (link.capacity.gpus[usize::from(number)].memory_mib, number);
                assert_eq!(gpus.len(), u32::from(needs.gpus));
                let is_larger = |number| gpus.numbers().all(|granted| size(granted) < size(number));
                assert!(gpus.numbers().all(|number| size(number).0 >= needs.gpu_memory_mib));
                let rest = link.free.gpus.iter().map(|gpu| gpu.number);
                let mut rest = rest.filter(|&number| size(number).0 >= needs.gpu_memory_mib);
                assert!(gpus.is_empty() || rest.all(is_larger), "{attempt} has {gpus:?}");
            }
        }
    }

    /// What workers are told of GPUs and locks is what is on disk.
    fn check_sends(&mut self, effects: &Effects) {
        for change in &effects.changes {
            if let Change::JobLocked { job, lock, at: _ } = change {
                assert!(self.locks.insert(*job, Arc::clone(lock)).is_none(), "locked twice");
            }
        }
        for (_, message) in &effects.sends {
            if let ToWorker::Start { attempt, gpus, lock, .. } = message {
                assert_eq!(lock.as_ref(), self.locks.get(&attempt.task.job));
                let lease = self.grid.jobs[&attempt.task.job].lease(*attempt).unwrap();
                assert_eq!(*gpus, lease.gpus.numbers().collect::<Vec<_>>());
            } else if let ToWorker::Locked { attempt, lock } = message {
                assert_eq!(Some(lock), self.locks.get(&attempt.task.job));
            }
        }
    }
}

/// Whether all of these can run side by side, but for their GPUs, counted without the grid's own
/// arithmetic.
fn fit(capacity: &Capacity, all: &[Needs]) -> bool {
    let sum =
        |of: &dyn Fn(&Needs) -> u32| all.iter().map(|needs| u64::from(of(needs))).sum::<u64>();
    sum(&|needs| needs.cpu_millis) <= capacity.cpu_millis.into()
        && sum(&|needs| needs.ram_mib) <= capacity.ram_mib.into()
        && sum(&|needs| needs.disk_mib) <= capacity.disk_mib.into()
}
