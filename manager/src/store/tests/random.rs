//! Whatever people and machines do on a market with checkpoints and checked results: what is on disk is what
//! is in memory after each input, and the books balance after each step.

use campusgrid_core::ask::Ask;
use campusgrid_core::input::{Request, Submission, WorkerEvent};
use campusgrid_core::job::Job;
use campusgrid_core::money::Micros;
use campusgrid_core::pricing::Prices;
use campusgrid_protocol::id::{AttemptId, BlobHash, JobId, UserId, WorkerId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::task::{
    BlobRef, Ended, Failure, Outcome, Output, Saved, TaskSpec, Usage, WorkerFault,
};
use campusgrid_protocol::terms::{Sale, Terms};
use proptest::prelude::*;

use super::campus::Campus;
use super::{shell, submission};

/// What happens next; the numbers choose of whom, of what, and how much.
#[derive(Debug, Clone, Copy)]
struct Step {
    what: u8,
    which: u8,
    size: u16,
}

fn step() -> impl Strategy<Value = Step> {
    (0..14_u8, any::<u8>(), 0..300_u16).prop_map(|(what, which, size)| Step { what, which, size })
}

fn terms(which: u8) -> Terms {
    let plain = Terms::plain(1);
    match which % 6 {
        0 => plain,
        1 => Terms { sale: Sale::Hand, ..plain },
        2 => {
            Terms { sale: Sale::Rule { max_price_micros: 20_000_000, close_after_s: 30 }, ..plain }
        }
        3 => Terms { verify: true, deterministic: true, ..plain },
        4 => Terms { deterministic: true, ..plain },
        _ => Terms { retries: 2, ..plain },
    }
}

/// What runs, with its machine.
fn running(campus: &Campus) -> Vec<(AttemptId, WorkerId)> {
    let loaded = campus.store.load().unwrap();
    let leases = loaded.jobs.values().flat_map(Job::leases);
    leases.map(|(attempt, lease)| (attempt, lease.worker)).collect()
}

fn open(campus: &Campus, which: u8) -> Option<JobId> {
    let jobs: Vec<JobId> = campus.store.load().unwrap().jobs.into_keys().collect();
    jobs.get(usize::from(which) % jobs.len().max(1)).copied()
}

fn blob(number: u8) -> BlobRef {
    BlobRef { hash: BlobHash([number; 32]), size_bytes: u64::from(number) }
}

fn take(campus: &mut Campus, Step { what, which, size }: Step) {
    let worker = WorkerId(u64::from(which % 2) + 1);
    let user = UserId(worker.0 + 1);
    match what {
        0 | 1 => {
            let spec = TaskSpec { time_limit_s: 600, ..shell() };
            campus.submit(Submission { terms: terms(which), ..submission("random", spec) });
        }
        2 | 3 => {
            let Some(job) = open(campus, which / 2) else { return };
            let price = Micros(i64::from(size) * 100_000 + 1);
            campus.ask(Request::Bid { user, job, worker, price, start_within_s: 60 });
        }
        4 => {
            let Some(job) = open(campus, which / 2) else { return };
            campus.ask(Request::WithdrawBid { user, job, worker });
        }
        5 | 6 => {
            let loaded = campus.store.load().unwrap();
            let bids = loaded.jobs.values().filter_map(|job| Some((job.id, job.market.as_ref()?)));
            let bids: Vec<_> = bids
                .flat_map(|(id, market)| {
                    market.bids.iter().map(move |(worker, bid)| (id, *worker, bid.price))
                })
                .collect();
            let Some((job, worker, price)) = bids.get(usize::from(which) % bids.len().max(1))
            else {
                return;
            };
            let (job, worker, price) = (*job, *worker, *price);
            campus.ask(Request::Accept { user: UserId(1), job, worker, price });
        }
        7 => {
            let prices = Prices { base: Micros(i64::from(size)), ..Prices::default() };
            let ask = Ask { prices: (size > 100).then_some(prices), automatic: which & 2 > 0 };
            campus.ask(Request::SetAsk { user, worker, ask });
        }
        8 => {
            let Some(job) = open(campus, which) else { return };
            campus.ask(Request::Cancel { user: UserId(1), job, tasks: None });
        }
        9 => campus.wait(u64::from(size) * 1000),
        _ => act(campus, Step { what, which, size }),
    }
}

/// A machine does something with what it runs.
fn act(campus: &mut Campus, Step { what, which, size }: Step) {
    let running = running(campus);
    let Some(&(attempt, worker)) = running.get(usize::from(which) % running.len().max(1)) else {
        return;
    };
    let machine = u8::try_from(worker.0).unwrap();
    let (number, run_ms) = (which % 3 + 1, u64::from(size) * 1000);
    campus.report(machine, WorkerEvent::Started { attempt });
    match what {
        10 => {
            campus.wait(run_ms);
            let file =
                InputFile { path: "state".to_owned(), blob: blob(number), executable: false };
            let saved = Saved { manifest: blob(number + 10), run_ms };
            let files = vec![file];
            campus.report(machine, WorkerEvent::Checkpoint { attempt, saved, files });
        }
        11 => campus.report(machine, WorkerEvent::Gone),
        _ => {
            let outcome = match which % 5 {
                0 => Outcome::Failed(Failure::ExitCode(i32::from(number))),
                1 => Outcome::Returned(WorkerFault::Leaving),
                2 => Outcome::Returned(WorkerFault::Restarted),
                _ => Outcome::Succeeded,
            };
            let outputs = vec![Output { path: "out".to_owned(), blob: blob(number) }];
            let ended = Ended::empty(attempt, outcome);
            let usage = Usage { run_ms, ..ended.usage };
            campus.wait(run_ms / 2);
            campus.report(machine, WorkerEvent::Ended(Box::new(Ended { outputs, usage, ..ended })));
        }
    }
    if what == 11 {
        let attempts: Vec<String> = running
            .iter()
            .filter(|(_, of)| *of == worker)
            .map(|(attempt, _)| attempt.to_string())
            .collect();
        let attempts: Vec<&str> = attempts.iter().map(String::as_str).collect();
        campus.join(machine, if size > 150 { &attempts } else { &[] });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn disk_and_memory_are_one_and_the_books_balance(
        fee_permille in prop_oneof![Just(0_u32), Just(100), Just(1000)],
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut campus = Campus { checks: false, ..Campus::with_fee(fee_permille) };
        for step in steps {
            take(&mut campus, step);
            campus.check();
        }
        // In the end nothing is held, whatever came of it.
        for job in campus.store.load().unwrap().jobs.into_keys() {
            campus.ask(Request::Cancel { user: UserId(1), job, tasks: None });
        }
        for (attempt, worker) in running(&campus) {
            let ended = Ended::empty(attempt, Outcome::Cancelled);
            campus.report(u8::try_from(worker.0).unwrap(), WorkerEvent::Ended(Box::new(ended)));
        }
        prop_assert_eq!(campus.store.load().unwrap().jobs.len(), 0);
        let held = "SELECT balance FROM account WHERE id = 2";
        let held = campus.store.connection.query_row(held, [], |row| row.get::<_, i64>(0));
        prop_assert_eq!(held.unwrap_or(0), 0);
    }
}
