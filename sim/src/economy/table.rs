//! A season in numbers.

use std::collections::BTreeSet;
use std::fmt;

use campusgrid_core::money::Micros;
use campusgrid_protocol::id::JobId;

use crate::economy::Economy;
use crate::economy::campus::Work;
use crate::economy::lies::{FACTORS, Tally};

/// What a season adds up to.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) jobs: u64,
    /// Those for which somebody bid no more than what is paid at most.
    pub(super) wanted: BTreeSet<JobId>,
    pub(super) served: u64,
    pub(super) failed: u64,
    /// Jobs that no bid was good enough for when they closed.
    pub(super) unsold: u64,
    pub(super) bids_failed: u64,
    /// Thousandths of a core times milliseconds, of what was served; and all that follows as well.
    core_ms: u64,
    pub(super) cost: Micros,
    pub(super) price: Micros,
    /// What it was worth to its clients, for the time that it took.
    worth: Micros,
}

impl Sums {
    /// Jobs that are over.
    pub(super) fn over(&self) -> u64 {
        self.served + self.failed + self.unsold
    }

    /// A run has come to its end, and has cost its owner so much.
    pub(super) fn ran(&mut self, work: &Work, run_ms: u64, cost: Micros) {
        self.core_ms += u64::from(work.cores) * run_ms;
        self.cost += cost;
        let worth = i128::from(work.worth.0) * i128::from(run_ms) / i128::from(work.limit_ms());
        self.worth += Micros(i64::try_from(worth).expect("a share of an i64 is one"));
    }

    /// For a core and an hour.
    fn of_core_hour(&self, sum: Micros) -> Micros {
        let of_hour = i128::from(sum.0) * 3_600_000 / i128::from(self.core_ms.max(1));
        Micros(i64::try_from(of_hour).expect("an hour of a core costs little"))
    }
}

impl fmt::Display for Economy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sums = &self.season.sums;
        let share = |part: u64| part * 1000 / sums.jobs.max(1);
        writeln!(
            f,
            "{} owners with costs of their own bid on {} jobs, each for what a run costs them.\n",
            self.scale.owners, self.scale.jobs
        )?;
        for (words, jobs) in [
            ("bid on, at a fit price", sums.wanted.len() as u64),
            ("served", sums.served),
            ("not sold", sums.unsold),
            ("failed", sums.failed),
        ] {
            let share = share(jobs);
            writeln!(f, "{words:<28}{jobs:>8} {:>6}.{} %", share / 10, share % 10)?;
        }
        writeln!(f, "{:<28}{:>8}", "accepted bids not kept", sums.bids_failed)?;
        for (words, sum) in [
            ("cost of a core-hour", sums.cost),
            ("price of a core-hour", sums.price),
            ("worth of a core-hour", sums.worth),
        ] {
            writeln!(f, "{words:<28}{:>8} credits", short(sums.of_core_hour(sum)))?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:<8}{:>10}{:>8}{:>10}{:>12}{:>8}{:>14}{:>12}",
            "owners", "auctions", "bids", "honest", "best lie", "asks", "lies that pay", "at most"
        )?;
        for (words, tally) in self.rows() {
            write_row(f, words, &tally)?;
        }
        writeln!(
            f,
            "\nhonest, best lie: gained on average by a bid, in credits, with the truth and with the \
             best of {} lies;\nasks: what that lie asks for, in per cent of the cost; lies that pay: \
             share of bids for which any lie\ngained more than the truth; at most: the most that one \
             gained, in credits.",
            FACTORS.len()
        )
    }
}

impl Economy {
    /// Auctions of one owner, of two, and of more.
    fn rows(&self) -> [(&'static str, Tally); 4] {
        let rows = [("1", 1..=1), ("2", 2..=2), ("3", 3..=3), ("4…", 4..=usize::MAX)];
        rows.map(|(words, owners)| {
            let mut sum = Tally::default();
            for (_, tally) in self.lies.by_owners.range(owners) {
                sum.add(tally);
            }
            (words, sum)
        })
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.auctions += other.auctions;
        self.bids += other.bids;
        self.honest += other.honest;
        for (sum, part) in self.lying.iter_mut().zip(other.lying) {
            *sum += part;
        }
        self.worth_a_lie += other.worth_a_lie;
        self.most_gained = self.most_gained.max(other.most_gained);
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, words: &str, tally: &Tally) -> fmt::Result {
    let bids = i64::try_from(tally.bids.max(1)).unwrap_or(i64::MAX);
    let lies = tally.lying.into_iter().zip(FACTORS);
    let (lying, factor) = lies.max_by_key(|(sum, _)| *sum).unwrap_or_default();
    let share = tally.worth_a_lie * 1000 / tally.bids.max(1);
    writeln!(
        f,
        "{words:<8}{:>10}{:>8}{:>10}{:>12}{factor:>6} %{:>10}.{} %{:>12}",
        tally.auctions,
        tally.bids,
        short(Micros(tally.honest / bids)),
        short(Micros(lying / bids)),
        share / 10,
        share % 10,
        short(Micros(tally.most_gained)),
    )
}

/// Credits with two decimals.
fn short(amount: Micros) -> String {
    let sign = if amount.0 < 0 { "-" } else { "" };
    let cents = (amount.0.unsigned_abs() + 5_000) / 10_000;
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}
