//! When what is over: things that last until a time of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::time::Timestamp;

/// Things with the time at which each is over.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    ends: BTreeMap<K, Timestamp>,
    order: BTreeSet<(Timestamp, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { ends: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Deadlines<K> {
    /// Begins one, or moves its end.
    pub(crate) fn renew(&mut self, key: K, until: Timestamp) {
        self.close(&key);
        self.ends.insert(key.clone(), until);
        self.order.insert((until, key));
    }

    pub(crate) fn close(&mut self, key: &K) {
        if let Some((key, end)) = self.ends.remove_entry(key) {
            self.order.remove(&(end, key));
        }
    }

    /// When the next one is over.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.order.first().map(|(end, _)| *end)
    }

    /// When this one is over, if it has begun and [`Deadlines::pop_over`] has not yielded it.
    pub(crate) fn end(&self, key: &K) -> Option<Timestamp> {
        self.ends.get(key).copied()
    }

    /// When each of these is over.
    pub(crate) fn range(&self, keys: RangeInclusive<K>) -> impl Iterator<Item = Timestamp> {
        self.ends.range(keys).map(|(_, end)| *end)
    }

    /// Ends one that is over.
    pub(crate) fn pop_over(&mut self, now: Timestamp) -> Option<K> {
        let key = self.order.first().filter(|(end, _)| *end <= now)?.1.clone();
        self.close(&key);
        Some(key)
    }

    #[cfg(test)]
    pub(crate) fn is_of<'a>(&self, keys: impl Iterator<Item = &'a K>) -> bool
    where
        K: 'a,
    {
        let expected: BTreeSet<K> = keys.cloned().collect();
        self.order.len() == expected.len() && self.ends.keys().eq(&expected)
    }
}
