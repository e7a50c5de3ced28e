//! A campus in memory: three people, two of whom own a machine, on real SQLite.

use campusgrid_core::grid::Grid;
use campusgrid_core::input::{
    EnrolmentProof, Heartbeat, Input, Joined, Registration, Request, Submission, WorkerEvent,
};
use campusgrid_core::job::Job;
use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{SessionId, UserId, WorkerId};
use campusgrid_protocol::resource::{Capacity, Isolation, Load, Speed};
use campusgrid_protocol::rules::{Limits, Phase, Shares};
use campusgrid_protocol::task::{Ended, LABEL_4, Outcome, Usage};

use super::{apply_at, enrolment, reader};
use crate::config::Config;
use crate::store::Store;
use crate::store::numbering::Numberings;
use crate::store::read::Reader;

/// The grid, what it has on disk, and the time.
pub(super) struct Campus {
    pub(super) grid: Grid,
    pub(super) store: Store,
    pub(super) now: u64,
    /// Whether the books are checked after each input.
    pub(super) checks: bool,
}

impl Campus {
    /// ada (1), bob (2) and carol (3), with 1,000 credits each; worker 1 is bob's and worker 2 carol's, of
    /// four cores each.
    pub(super) fn new() -> Self {
        Self::with_fee(0)
    }

    /// Of all that is charged, so much is the grid's.
    pub(super) fn with_fee(fee_permille: u32) -> Self {
        let mut policy = Config::read(None, [], []).unwrap().policy;
        policy.starting_credits = Micros::from_credits(1000);
        policy.fee_permille = fee_permille;
        let store = Store::in_memory().unwrap();
        let grid = Grid::recover(policy.into(), store.load().unwrap(), Timestamp(1));
        let mut campus = Self { grid, store, now: 1000, checks: true };
        for name in ["ada", "bob", "carol"] {
            campus.register(name);
        }
        for worker in [1, 2] {
            campus.enrol(worker);
        }
        campus
    }

    /// The next user.
    pub(super) fn register(&mut self, name: &str) {
        self.ask(Request::Register(Registration {
            name: name.to_owned(),
            email: Some(format!("{name}@campus.example")),
            password_hash: "x".to_owned(),
            local: true,
            invitation: None,
        }));
    }

    /// The next machine, which has this number and is the next user's; it connects.
    pub(super) fn enrol(&mut self, worker: u8) {
        let proof = EnrolmentProof::Code { code: "CODE".to_owned(), claimed_owner: None };
        self.ask(Request::Enrol(enrolment([worker; 32], proof)));
        let user = UserId(u64::from(worker) + 1);
        self.ask(Request::ApproveWorker { user, code: "CODE".to_owned() });
        self.join(worker, &[]);
    }

    /// A machine connects, and runs these attempts.
    pub(super) fn join(&mut self, worker: u8, attempts: &[&str]) {
        let capacity =
            Capacity { cpu_millis: 4000, ram_mib: 8000, disk_mib: 8000, gpus: Vec::new() };
        let (why, limits) = (String::new(), Limits::default());
        let shares = Shares { phase: Phase::Open, why, since_ms: 0, limits };
        let joined = Joined {
            key_hash: [worker; 32],
            name: format!("laptop-{worker}"),
            capacity,
            isolation: Isolation::Full,
            isolation_notes: Vec::new(),
            labels: vec![LABEL_4.to_owned()],
            attempts: attempts.iter().map(|attempt| attempt.parse().unwrap()).collect(),
            speed: Some(Speed { core_permille: 1000, all_permille: 4000 }),
            shares: Some(shares),
        };
        self.report(worker, WorkerEvent::Joined(Box::new(joined)));
    }

    pub(super) fn ask(&mut self, request: Request) {
        self.apply(Input::Request { ticket: campusgrid_core::input::Ticket(0), request });
    }

    pub(super) fn submit(&mut self, submission: Submission) {
        self.ask(Request::Submit(Box::new(submission)));
    }

    /// From a machine's session, which has its number.
    pub(super) fn report(&mut self, worker: u8, event: WorkerEvent) {
        self.apply(Input::FromWorker { session: SessionId(worker.into()), event });
    }

    pub(super) fn start(&mut self, worker: u8, attempt: &str) {
        self.report(worker, WorkerEvent::Started { attempt: attempt.parse().unwrap() });
    }

    /// After so much running time.
    pub(super) fn end(&mut self, worker: u8, attempt: &str, outcome: Outcome, run_ms: u64) {
        self.wait(run_ms);
        let ended = Ended::empty(attempt.parse().unwrap(), outcome);
        let usage = Usage { run_ms, ..ended.usage };
        self.report(worker, WorkerEvent::Ended(Box::new(Ended { usage, ..ended })));
    }

    /// So much time passes, while those machines that are connected say every ten seconds that they are.
    pub(super) fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.now < until {
            self.now = until.min(self.now + 10_000);
            for worker in [1, 2] {
                let loaded = self.store.load().unwrap();
                let leases = loaded.jobs.values().flat_map(Job::leases);
                let of = WorkerId(worker.into());
                let attempts =
                    leases.filter(|(_, lease)| lease.worker == of).map(|(attempt, _)| attempt);
                let attempts = attempts.collect();
                let load = Load::default();
                let heartbeat = Heartbeat { sequence: self.now, attempts, load };
                self.report(worker, WorkerEvent::Heartbeat(heartbeat));
            }
            self.apply(Input::Tick);
        }
    }

    fn apply(&mut self, input: Input) {
        apply_at(&mut self.grid, &mut self.store, self.now, input);
        if self.checks {
            self.check();
        }
    }

    pub(super) fn check(&self) {
        assert_eq!(self.store.fsck().unwrap().broken, Vec::<String>::new());
    }

    /// Looks without closing the store.
    pub(super) fn look<T>(&mut self, read: impl FnOnce(&Reader) -> T) -> T {
        let reader = reader(std::mem::replace(&mut self.store, Store::in_memory().unwrap()));
        let seen = read(&reader);
        self.store = Store { connection: reader.connection, numberings: Numberings::default() };
        seen
    }

    /// The kinds of a job's events, and what they say.
    pub(super) fn told(&mut self, job: u64) -> String {
        let sql = "SELECT group_concat(kind || ': ' || message, '\n') FROM event WHERE job = ?1";
        self.store.connection.query_row(sql, [job], |row| row.get(0)).unwrap()
    }
}
