//! Which cores a task may use: the ones with the fewest tasks on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The cores that tasks are spread over, and how many tasks each has.
#[derive(Debug, Clone)]
pub struct Cpus(Arc<Mutex<BTreeMap<u32, u32>>>);

/// The cores of one task, given back when this is dropped.
#[derive(Debug)]
pub struct CpuShare {
    pub cpus: BTreeSet<u32>,
    book: Cpus,
}

impl Cpus {
    pub fn new(cpus: &BTreeSet<u32>) -> Self {
        Self(Arc::new(Mutex::new(cpus.iter().map(|&cpu| (cpu, 0)).collect())))
    }

    /// Grants `millis` thousandths of a core, as whole cores rounded up; all if that is more.
    pub fn take(&self, millis: u32) -> CpuShare {
        self.take_near(millis, &BTreeSet::new())
    }

    /// As [`Self::take`], but of cores with as many tasks these come first.
    pub fn take_near(&self, millis: u32, wanted: &BTreeSet<u32>) -> CpuShare {
        let mut book = self.lock();
        let place = |(&cpu, &tasks)| (tasks, !wanted.contains(&cpu), cpu);
        let mut order: Vec<(u32, bool, u32)> = book.iter().map(place).collect();
        order.sort_unstable();
        let cores = millis.div_ceil(1000).max(1) as usize;
        let cpus: BTreeSet<u32> = order.into_iter().take(cores).map(|(.., cpu)| cpu).collect();
        for cpu in &cpus {
            *book.entry(*cpu).or_default() += 1;
        }
        CpuShare { cpus, book: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // Counts stay whole in any panic.
    }
}

impl Drop for CpuShare {
    fn drop(&mut self) {
        let mut book = self.book.lock();
        for cpu in &self.cpus {
            book.entry(*cpu).and_modify(|tasks| *tasks -= 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_cores_are_granted_and_come_back() {
        let cpus = Cpus::new(&BTreeSet::from([0, 1, 4]));
        let first = cpus.take(500);
        let second = cpus.take(1001);
        assert_eq!(first.cpus, BTreeSet::from([0]));
        assert_eq!(second.cpus, BTreeSet::from([1, 4]));
        drop(first);
        assert_eq!(cpus.take(1000).cpus, BTreeSet::from([0]));
        drop(second);
        assert_eq!(cpus.take_near(1000, &BTreeSet::from([4])).cpus, BTreeSet::from([4]));
        assert_eq!(cpus.take(9000).cpus, BTreeSet::from([0, 1, 4]));
    }
}
