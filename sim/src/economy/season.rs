//! One season on the real core: machines come and go, jobs are put up, owners bid what a run costs them,
//! the core sells, and what was sold is run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::num::NonZeroU32;

use campusgrid_core::auction::SealedBid;
use campusgrid_core::effect::{Change, Effects, Reply, Verdict};
use campusgrid_core::grid::Grid;
use campusgrid_core::input::{Input, Joined, Request, Ticket, WorkerEvent};
use campusgrid_core::market::BidFate;
use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{AttemptId, JobId, SessionId, WorkerId};
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::resource::{Capacity, Isolation};
use campusgrid_protocol::rules::{Limits, Phase, Shares};
use campusgrid_protocol::task::{Ended, Outcome, Usage, WorkerFault};
use fastrand::Rng;

use crate::economy::campus::{Campus, Work};
use crate::economy::lies::Auction;
use crate::economy::table::Sums;

mod setup;

/// How long a machine is there, and then away, on average.
const ON_MS: u64 = 6 * 3_600_000;
const OFF_MS: u64 = 2 * 3_600_000;

const START: Timestamp = Timestamp(1_700_000_000_000);

/// What has happened in a season.
#[derive(Debug)]
pub struct Season {
    /// Of each round of each job, the bids that were made.
    pub(super) auctions: Vec<Auction>,
    pub(super) sums: Sums,
}

/// What happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Submit {
        job: usize,
    },
    /// Owners look at what is open.
    Look {
        job: JobId,
    },
    Finish {
        attempt: AttemptId,
    },
    Come {
        machine: usize,
    },
    Go {
        machine: usize,
    },
}

/// A season under way.
struct Play<'c> {
    campus: &'c Campus,
    grid: Grid,
    now: Timestamp,
    events: BinaryHeap<Reverse<(Timestamp, Event)>>,
    /// Of each machine that is there.
    sessions: BTreeMap<usize, SessionId>,
    last_session: u64,
    /// What runs: on which machine, and since when.
    running: BTreeMap<AttemptId, (usize, Timestamp)>,
    /// The job of each number.
    works: BTreeMap<JobId, Work>,
    season: Season,
}

impl Season {
    pub(super) fn play(campus: &Campus, rng: &mut Rng) -> Self {
        let season = Self { auctions: Vec::new(), sums: Sums::default() };
        let mut play = Play {
            campus,
            grid: setup::grid(campus, START),
            now: START,
            events: BinaryHeap::new(),
            sessions: BTreeMap::new(),
            last_session: 0,
            running: BTreeMap::new(),
            works: BTreeMap::new(),
            season,
        };
        play.run(rng);
        play.season
    }

    /// Jobs that were put up, and those of them that somebody ran to their end.
    pub fn jobs_served(&self) -> (u64, u64) {
        (self.sums.jobs, self.sums.served)
    }

    /// What all that was served cost its owners, and what was paid for it.
    pub fn cost_and_price(&self) -> (Micros, Micros) {
        (self.sums.cost, self.sums.price)
    }
}

impl Play<'_> {
    fn run(&mut self, rng: &mut Rng) {
        for (job, work) in self.campus.jobs.iter().enumerate() {
            let at = START.plus_ms(work.at_ms);
            self.events.push(Reverse((at, Event::Submit { job })));
        }
        for machine in 0..self.campus.owners.len() {
            let first = rng.u64(0..=OFF_MS) * u64::from(rng.u8(0..4) == 0);
            self.events.push(Reverse((START.plus_ms(first), Event::Come { machine })));
        }
        let jobs = self.campus.jobs.len() as u64;
        while self.season.sums.over() < jobs {
            let event = self.events.peek().map(|Reverse((at, _))| *at);
            let tick = self.grid.next_deadline();
            if tick.is_some_and(|tick| event.is_none_or(|event| tick < event)) {
                self.now = tick.expect("it is some").max(self.now);
                self.tell(Input::Tick);
            } else if let Some(Reverse((at, event))) = self.events.pop() {
                self.now = at;
                self.play_event(event, rng);
            } else {
                return; // Nothing can happen any more.
            }
        }
    }

    fn play_event(&mut self, event: Event, rng: &mut Rng) {
        match event {
            Event::Submit { job } => self.submit(job),
            Event::Look { job } => self.look(job, rng),
            Event::Finish { attempt } => self.finish(attempt, Outcome::Succeeded),
            Event::Come { machine } => {
                self.come(machine);
                let until = self.now.plus_ms(around(ON_MS, rng));
                self.events.push(Reverse((until, Event::Go { machine })));
            }
            Event::Go { machine } => {
                self.go(machine);
                let until = self.now.plus_ms(around(OFF_MS, rng));
                self.events.push(Reverse((until, Event::Come { machine })));
            }
        }
    }

    /// Lets one thing happen to the grid, and answers for the machines.
    fn tell(&mut self, input: Input) -> Option<Reply> {
        let mut effects = Effects::default();
        self.grid.handle(self.now, input, &mut effects);
        self.grid.dispatch(&mut effects);
        for change in &effects.changes {
            self.note(change);
        }
        for (session, message) in &effects.sends {
            if let ToWorker::Start { attempt, .. } = message {
                self.start(*session, *attempt);
            }
        }
        effects.replies.pop().map(|(_, reply)| reply)
    }

    fn ask(&mut self, request: Request) -> Option<Reply> {
        self.tell(Input::Request { ticket: Ticket(0), request })
    }

    fn submit(&mut self, index: usize) {
        let work = self.campus.jobs[index];
        let client = setup::client(self.campus, index);
        self.season.sums.jobs += 1;
        let request = Request::Submit(Box::new(setup::submission(&work, client)));
        if let Some(Reply::Submitted { job, held: _ }) = self.ask(request) {
            self.works.insert(job, work);
            self.events.push(Reverse((self.now.plus_ms(1), Event::Look { job })));
        }
    }

    /// Some owners look at a job that is open, and bid what a run of it costs them.
    fn look(&mut self, job: JobId, rng: &mut Rng) {
        let work = self.works[&job];
        let scores: BTreeMap<WorkerId, u32> = {
            let snapshot = self.grid.snapshot();
            snapshot.workers.iter().map(|worker| (worker.id, worker.score_permille)).collect()
        };
        let mut bids = Vec::new();
        for (machine, owner) in self.campus.owners.iter().enumerate() {
            if rng.u32(0..1000) >= work.seen_permille {
                continue;
            }
            let (user, worker) = setup::ids(machine);
            let price = owner.cost_of(work.cores, work.limit_ms());
            let bid = Request::Bid { user, job, worker, price, start_within_s: 300 };
            if let Some(Reply::Done) = self.ask(bid) {
                let score_permille = NonZeroU32::new(scores[&worker]).unwrap_or(NonZeroU32::MIN);
                let at = self.now;
                bids.push(SealedBid { owner: user, worker, price, score_permille, at });
            }
        }
        if bids.iter().any(|bid| bid.price <= work.worth) {
            self.season.sums.wanted.insert(job);
        }
        self.season.auctions.push(Auction { bids, price_max: work.worth });
    }

    fn come(&mut self, machine: usize) {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        self.sessions.insert(machine, session);
        let cores = self.campus.owners[machine].cores;
        let shares = Shares {
            phase: Phase::Open,
            why: String::new(),
            since_ms: self.now.0,
            limits: Limits::default(),
        };
        let joined = Joined {
            key_hash: setup::key_hash(machine),
            name: format!("machine-{machine}"),
            capacity: Capacity {
                cpu_millis: cores * 1000,
                ram_mib: cores * 2048,
                disk_mib: 100_000,
                gpus: Vec::new(),
            },
            isolation: Isolation::Full,
            isolation_notes: Vec::new(),
            labels: Vec::new(),
            attempts: Vec::new(),
            speed: None,
            shares: Some(shares),
        };
        let event = WorkerEvent::Joined(Box::new(joined));
        self.tell(Input::FromWorker { session, event });
    }

    /// The owner takes the machine: what runs there is handed back.
    fn go(&mut self, machine: usize) {
        let of_it = self.running.iter().filter(|(_, (on, _))| *on == machine);
        for attempt in Vec::from_iter(of_it.map(|(attempt, _)| *attempt)) {
            self.finish(attempt, Outcome::Returned(WorkerFault::Leaving));
        }
        if let Some(session) = self.sessions.remove(&machine) {
            self.tell(Input::FromWorker { session, event: WorkerEvent::Gone });
        }
    }

    fn start(&mut self, session: SessionId, attempt: AttemptId) {
        let mut sessions = self.sessions.iter();
        let Some((&machine, _)) = sessions.find(|(_, of)| **of == session) else { return };
        self.running.insert(attempt, (machine, self.now));
        let run_ms = self.works[&attempt.task.job].run_ms;
        let finish = Event::Finish { attempt };
        self.events.push(Reverse((self.now.plus_ms(run_ms), finish)));
        self.tell(Input::FromWorker { session, event: WorkerEvent::Started { attempt } });
    }

    /// An attempt ends, unless it was given up before.
    fn finish(&mut self, attempt: AttemptId, outcome: Outcome) {
        let Some((machine, since)) = self.running.remove(&attempt) else { return };
        let Some(&session) = self.sessions.get(&machine) else { return };
        let run_ms = self.now.since_ms(since);
        if outcome == Outcome::Succeeded {
            let work = self.works[&attempt.task.job];
            let cost = self.campus.owners[machine].cost_of(work.cores, run_ms);
            self.season.sums.ran(&work, run_ms, cost);
        }
        let usage = Usage { run_ms, ..Usage::default() };
        let ended = Ended { usage, ..Ended::empty(attempt, outcome) };
        let event = WorkerEvent::Ended(Box::new(ended));
        self.tell(Input::FromWorker { session, event });
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "of all changes, few are of the market")]
    fn note(&mut self, change: &Change) {
        let sums = &mut self.season.sums;
        match change {
            Change::BidOver { fate: BidFate::Failed, .. } => sums.bids_failed += 1,
            Change::JobReopened { job, .. } => {
                self.events.push(Reverse((self.now.plus_ms(1), Event::Look { job: *job })));
            }
            Change::AttemptPaid { charged, .. } => sums.price += *charged,
            Change::TaskEnded(end) => match end.verdict {
                Verdict::Succeeded => sums.served += 1,
                Verdict::Failed { .. } => sums.failed += 1,
                Verdict::Cancelled => sums.unsold += 1,
            },
            Change::UntouchedCancelled { .. } => sums.unsold += 1,
            _ => {}
        }
    }
}

/// Between nothing and twice as much.
fn around(mean_ms: u64, rng: &mut Rng) -> u64 {
    rng.u64(0..=2 * mean_ms)
}
