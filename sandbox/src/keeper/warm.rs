//! Lanes that wait for another task of the same family.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::lane::Lane;
use crate::plan::{Limits, Network, Plan};

/// Lanes that wait; more than a laptop has cores.
const WARM_MAX: usize = 16;
/// The next task of an array comes within milliseconds, or its submitter has nothing more here.
const WARM_TIME: Duration = Duration::from_secs(5);

/// What tasks must have in common to share a lane: their family and what the cgroup was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Family {
    name: String,
    shared_tmp: bool,
    limits: [u32; 6],
}

impl Family {
    /// `None` for a task that shares with nobody.
    pub(crate) fn of(plan: &Plan) -> Option<Self> {
        let Limits { cpu_millis, ram_mib, scratch_mib, scratch_files, processes, .. } = plan.limits;
        let may_share = plan.network == Network::None;
        plan.family.clone().filter(|_| may_share).map(|name| Self {
            name,
            shared_tmp: plan.shared_tmp,
            limits: [
                cpu_millis,
                u32::from(plan.limits.core_percent),
                ram_mib,
                scratch_mib,
                scratch_files,
                processes,
            ],
        })
    }
}

/// Lanes that wait for another task of the same kind, the longest waiting first.
#[derive(Debug, Default)]
pub(super) struct Warm(Mutex<Vec<Waiting>>);

#[derive(Debug)]
struct Waiting {
    lane: Lane,
    family: Family,
    since: Stopwatch,
}

impl Warm {
    /// The one of this family that was used last.
    pub(super) fn take(&self, family: &Family) -> Option<Lane> {
        let mut waiting = self.lock();
        let place = waiting.iter().rposition(|waiting| waiting.family == *family)?;
        Some(waiting.remove(place).lane)
    }

    /// Adds a lane. Returns one that has to go instead, and whether there was none before.
    pub(super) fn add(&self, lane: Lane, family: Family) -> (Option<Lane>, bool) {
        let mut waiting = self.lock();
        let is_first = waiting.is_empty();
        let surplus = (waiting.len() >= WARM_MAX).then(|| waiting.remove(0).lane);
        waiting.push(Waiting { lane, family, since: Stopwatch::start() });
        (surplus, is_first)
    }

    /// The one that waits longest, whatever its family.
    pub(super) fn take_oldest(&self) -> Option<Lane> {
        let mut waiting = self.lock();
        (!waiting.is_empty()).then(|| waiting.remove(0).lane)
    }

    pub(super) fn take_all(&self) -> Vec<Lane> {
        self.lock().drain(..).map(|waiting| waiting.lane).collect()
    }

    /// How long the oldest may still wait; `None` if there is none.
    pub(super) fn time_left(&self) -> Option<Duration> {
        let waiting = self.lock();
        waiting.first().map(|oldest| WARM_TIME.saturating_sub(oldest.since.passed()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // No panic leaves it half changed.
    }
}
