//! What goes wrong, and when: drawn from a seed, so that the same seed is the same plan.

use std::fmt;

use fastrand::Rng;

use crate::proxy::{Strike, Way, Weather};

/// Workers of a storm.
pub const WORKERS: u8 = 3;

/// Clients of a storm.
pub const CLIENTS: u8 = 2;

/// Longer than a storm's leases. Milliseconds.
pub const LEASE_MS: u32 = 2000;

/// A process that something happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Manager,
    Worker(u8),
    Client(u8),
}

/// A stretch of network that something happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Between one worker and the manager.
    Worker(u8),
    /// Between all clients and the dashboard.
    Clients,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// `kill -9`, and started again after a while.
    Kill { target: Target, down_ms: u32 },
    /// SIGSTOP, and SIGCONT after a while.
    Freeze { target: Target, for_ms: u32 },
    /// Bad weather, and fair again after a while.
    Weather { link: Link, weather: Weather, for_ms: u32 },
    /// What happens once to connections that stand.
    Strike { link: Link, strike: Strike },
}

/// An act and when it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// After so many things have happened to clients since the step before…
    pub after_events: u32,
    /// …or after this time, if less happens.
    pub within_ms: u32,
    pub act: Act,
}

/// Everything that goes wrong in a storm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
}

impl Plan {
    /// A plan with so many kills and about one and a half times as many other faults.
    pub fn draw(seed: u64, kills: u32) -> Self {
        let mut random = Rng::with_seed(seed);
        let mut steps = Vec::new();
        for _ in 0..kills {
            for _ in 0..random.u8(..4) {
                let act = other_fault(&mut random);
                steps.push(step(&mut random, act));
            }
            let act = Act::Kill { target: target(&mut random), down_ms: random.u32(0..1200) };
            steps.push(step(&mut random, act));
        }
        Self { steps }
    }
}

fn step(random: &mut Rng, act: Act) -> Step {
    Step { after_events: random.u32(2..20), within_ms: random.u32(100..1200), act }
}

/// The manager as often as all workers together.
fn target(random: &mut Rng) -> Target {
    match random.u8(..10) {
        0..4 => Target::Manager,
        4..8 => Target::Worker(random.u8(..WORKERS)),
        _ => Target::Client(random.u8(..CLIENTS)),
    }
}

fn link(random: &mut Rng) -> Link {
    if random.u8(..4) == 0 { Link::Clients } else { Link::Worker(random.u8(..WORKERS)) }
}

fn way(random: &mut Rng) -> Way {
    if random.bool() { Way::Up } else { Way::Down }
}

/// Mostly for a moment, sometimes for longer than a lease.
fn duration_ms(random: &mut Rng) -> u32 {
    if random.u8(..4) == 0 { random.u32(LEASE_MS + 300..2 * LEASE_MS) } else { random.u32(30..900) }
}

fn other_fault(random: &mut Rng) -> Act {
    if random.u8(..4) == 0 {
        return Act::Freeze { target: target(random), for_ms: duration_ms(random) };
    }
    let link = link(random);
    let (way, bytes) = (way(random), random.u16(..3000));
    let strike = match random.u8(..14) {
        0..3 => Strike::Cut,
        3 => Strike::Shut(way),
        4..6 => Strike::DeafWorker,
        6..8 => Strike::DeafManager,
        8..10 => Strike::Truncate { way, bytes },
        // Between clients and the dashboard there is no TLS here, without which nobody can notice
        // that bytes came twice.
        10 if link != Link::Clients => Strike::Repeat { way, bytes },
        10 => Strike::Truncate { way, bytes },
        kind => {
            let weather = match kind {
                11 => Weather::Stalled(way),
                12 => Weather::StalledBoth,
                _ if random.bool() => Weather::Slow { delay_ms: random.u16(5..60) },
                _ => Weather::Refusing,
            };
            return Act::Weather { link, weather, for_ms: duration_ms(random) };
        }
    };
    Act::Strike { link, strike }
}

impl Act {
    /// What it is called in the table of a report.
    pub fn kind(&self) -> String {
        let of = |target: &Target| match target {
            Target::Manager => "manager",
            Target::Worker(_) => "worker",
            Target::Client(_) => "client",
        };
        let long = |ms: u32| if ms > LEASE_MS { "longer than a lease" } else { "short" };
        match self {
            Self::Kill { target, .. } => format!("kill -9 of a {}", of(target)),
            Self::Freeze { target, for_ms } => {
                format!("stop of a {}, {}", of(target), long(*for_ms))
            }
            Self::Weather { weather, for_ms, .. } => match weather {
                Weather::Fair => "fair weather".to_owned(),
                Weather::Stalled(_) => format!("stall one way, {}", long(*for_ms)),
                Weather::StalledBoth => format!("stall both ways, {}", long(*for_ms)),
                Weather::Slow { .. } => "delay".to_owned(),
                Weather::Refusing => "refusal of new connections".to_owned(),
            },
            Self::Strike { strike, .. } => match strike {
                Strike::Cut => "cut",
                Strike::Shut(_) => "cut one way",
                Strike::DeafWorker | Strike::DeafManager => "half-open connection",
                Strike::Truncate { .. } => "truncated frame",
                Strike::Repeat { .. } => "repeated bytes",
            }
            .to_owned(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manager => f.write_str("manager"),
            Self::Worker(number) => write!(f, "worker-{}", number + 1),
            Self::Client(number) => write!(f, "client-{}", number + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Act, Plan, Target};

    #[test]
    fn the_same_seed_is_the_same_plan_and_another_is_not() {
        assert_eq!(Plan::draw(1, 50), Plan::draw(1, 50));
        assert_ne!(Plan::draw(1, 50), Plan::draw(2, 50));
    }

    #[test]
    fn a_long_plan_has_as_many_kills_as_were_asked_for_and_every_kind_of_fault() {
        let plan = Plan::draw(1, 200);
        let kills: Vec<Target> = plan
            .steps
            .iter()
            .filter_map(|step| match step.act {
                Act::Kill { target, .. } => Some(target),
                Act::Freeze { .. } | Act::Weather { .. } | Act::Strike { .. } => None,
            })
            .collect();
        assert_eq!(kills.len(), 200);
        assert_eq!(kills.iter().collect::<BTreeSet<_>>().len(), 6, "every process is killed");
        let kinds: BTreeSet<String> = plan.steps.iter().map(|step| step.act.kind()).collect();
        assert_eq!(kinds.len(), 20, "{kinds:#?}");
    }
}
