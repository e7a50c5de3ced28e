//! Who is there: owners whose costs nobody else knows, and clients to whom a job is worth something.

use campusgrid_core::money::Micros;
use fastrand::Rng;

/// How large a season is.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub owners: usize,
    pub jobs: usize,
}

/// The people, machines and jobs of one season.
#[derive(Debug)]
pub(super) struct Campus {
    pub(super) owners: Vec<Owner>,
    pub(super) jobs: Vec<Work>,
}

/// An owner with one machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) cores: u32,
    /// Of electricity and wear, for a core and a minute; the owner's secret.
    pub(super) cost: Micros,
}

/// A job that is sold to the best bid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) at_ms: u64,
    pub(super) cores: u32,
    pub(super) limit_min: u32,
    pub(super) run_ms: u64,
    /// For the whole time limit; also what is offered at most.
    pub(super) worth: Micros,
    /// How many owners in a thousand look at it.
    pub(super) seen_permille: u32,
}

/// Owners' costs lie between this and ten times as much. Micro-credits per core-minute.
const COST_MIN: f64 = 100_000.0;
/// What jobs are worth lies between this and ten times as much. Micro-credits per core-minute.
const WORTH_MIN: f64 = 200_000.0;
/// Between two jobs, on average.
const INTERVAL_MS: u64 = 15_000;

impl Campus {
    pub(super) fn new(scale: Scale, rng: &mut Rng) -> Self {
        let owners = (0..scale.owners).map(|_| Owner::new(rng)).collect();
        let mut at_ms = 0;
        let job = |_| {
            at_ms += rng.u64(0..=2 * INTERVAL_MS);
            Work::new(at_ms, rng)
        };
        Self { owners, jobs: (0..scale.jobs).map(job).collect() }
    }
}

impl Owner {
    fn new(rng: &mut Rng) -> Self {
        Self { cores: pick(&[2, 4, 8, 16], rng), cost: within_a_decade(COST_MIN, rng) }
    }

    /// What so many minutes of so many cores cost this owner.
    pub(super) fn cost_of(&self, cores: u32, run_ms: u64) -> Micros {
        let cost = i128::from(self.cost.0) * i128::from(cores) * i128::from(run_ms) / 60_000;
        Micros(i64::try_from(cost).expect("a job of hours costs little"))
    }
}

impl Work {
    fn new(at_ms: u64, rng: &mut Rng) -> Self {
        let (cores, limit_min) = (pick(&[1, 2, 4, 8], rng), rng.u32(5..=60));
        let limit_ms = u64::from(limit_min) * 60_000;
        let of_minute = within_a_decade(WORTH_MIN, rng);
        Self {
            at_ms,
            cores,
            limit_min,
            run_ms: limit_ms * rng.u64(30..=100) / 100,
            worth: Micros(of_minute.0 * i64::from(cores * limit_min)),
            seen_permille: pick(&[5, 10, 20, 100], rng),
        }
    }

    pub(super) fn limit_ms(&self) -> u64 {
        u64::from(self.limit_min) * 60_000
    }
}

fn pick(choices: &[u32], rng: &mut Rng) -> u32 {
    choices[rng.usize(0..choices.len())]
}

/// Between `least` and ten times that, each doubling as likely as any other.
fn within_a_decade(least: f64, rng: &mut Rng) -> Micros {
    Micros((least * 10_f64.powf(rng.f64())) as i64)
}
