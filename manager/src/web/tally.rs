//! What each of many holds of something, counted so that none of them takes all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// For each.
    pub(super) of_one: usize,
    /// For all together.
    pub(super) of_all: usize,
}

/// Who holds how many. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Tally<K: Ord> {
    bounds: Bounds,
    taken: Arc<Mutex<Taken<K>>>,
}

#[derive(Debug)]
struct Taken<K> {
    each: BTreeMap<K, usize>,
    all: usize,
}

/// One of them, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Held<K: Ord> {
    by: K,
    taken: Arc<Mutex<Taken<K>>>,
}

impl<K: Ord + Copy> Tally<K> {
    pub(super) fn new(bounds: Bounds) -> Self {
        let taken = Taken { each: BTreeMap::new(), all: 0 };
        Self { bounds, taken: Arc::new(Mutex::new(taken)) }
    }

    /// One more for this one; None if it, or all together, have what they may.
    pub(super) fn take(&self, by: K) -> Option<Held<K>> {
        let mut taken = lock(&self.taken);
        let held = taken.each.get(&by).copied().unwrap_or(0);
        if held >= self.bounds.of_one || taken.all >= self.bounds.of_all {
            return None;
        }
        taken.each.insert(by, held + 1);
        taken.all += 1;
        Some(Held { by, taken: Arc::clone(&self.taken) })
    }
}

impl<K: Ord> Drop for Held<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        let count = taken.each.get_mut(&self.by).expect("what is held is counted");
        *count -= 1;
        if *count == 0 {
            taken.each.remove(&self.by);
        }
        taken.all -= 1;
    }
}

fn lock<K>(taken: &Mutex<Taken<K>>) -> MutexGuard<'_, Taken<K>> {
    taken.lock().expect("nothing panics while it counts what is held")
}

#[cfg(test)]
mod tests {
    use super::{Bounds, Tally};

    #[test]
    fn one_leaves_room_for_others_and_all_have_a_bound() {
        let tally = Tally::new(Bounds { of_one: 2, of_all: 5 });
        let held: Vec<_> = ['a', 'a', 'a', 'b', 'b', 'b', 'c', 'd'].map(|by| tally.take(by)).into();
        let got: Vec<bool> = held.iter().map(Option::is_some).collect();
        assert_eq!(got, [true, true, false, true, true, false, true, false]);
        drop(held);
        assert!(tally.take('a').is_some());
        let taken = tally.taken.lock().unwrap();
        assert!(taken.each.is_empty() && taken.all == 0, "what is free is forgotten");
    }
}
