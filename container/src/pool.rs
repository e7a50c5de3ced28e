//! Containers that have served a task and wait for the next one of the same family.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campusgrid_sandbox::plan::Plan;

use crate::berth::Berth;
use crate::walls::Walls;

/// Kept at most; each holds some megabytes of memory.
const WARM_MAX: usize = 8;
/// Kept that long; far below the silence after which a helper gives up.
const WARM: Duration = Duration::from_secs(30);

/// Who may share a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) shared_tmp: bool,
}

impl Family {
    pub(crate) fn of(plan: &Plan) -> Option<Self> {
        Some(Self { name: plan.family.clone()?, shared_tmp: plan.shared_tmp })
    }
}

#[derive(Debug)]
struct Warm {
    family: Family,
    berth: Berth,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Warm>>>);

impl Pool {
    /// A container of that family with these walls whose helper is alive.
    pub(crate) async fn take(&self, family: &Family, walls: &Walls) -> Option<Berth> {
        loop {
            let mut berth = self.take_any(family, walls)?;
            if berth.channel.is_quiet().await {
                return Some(berth);
            }
            berth.container.remove().await;
        }
    }

    fn take_any(&self, family: &Family, walls: &Walls) -> Option<Berth> {
        let mut warm = self.lock();
        let fits = |one: &Warm| one.family == *family && one.berth.walls == *walls;
        let place = warm.iter().position(fits)?;
        Some(warm.remove(place).berth)
    }

    /// Keeps a container for a while. The oldest makes room.
    pub(crate) fn put(&self, family: Family, berth: Berth) {
        let id = berth.container.id.clone();
        let mut warm = self.lock();
        if warm.len() >= WARM_MAX {
            drop(warm.remove(0)); // Whose drop has it removed.
        }
        warm.push(Warm { family, berth });
        drop(warm);
        let pool = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(WARM).await;
            // If it has served another task meanwhile, it is somewhat younger, which does no harm.
            let old = pool.take_by_id(&id);
            if let Some(berth) = old {
                berth.container.remove().await;
            }
        });
    }

    fn take_by_id(&self, id: &str) -> Option<Berth> {
        let mut warm = self.lock();
        let place = warm.iter().position(|one| one.berth.container.id == id)?;
        Some(warm.remove(place).berth)
    }

    /// Removes all of them.
    pub(crate) async fn clear(&self) {
        let all = std::mem::take(&mut *self.lock());
        for one in all {
            one.berth.container.remove().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Warm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // A list stays whole in any panic.
    }
}
