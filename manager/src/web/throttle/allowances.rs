//! How much each of many may do in a while: one number for each, and a bound on how many are kept.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_core::time::Timestamp;

/// What each may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// So many at once, after a long rest.
    pub(super) burst: u64,
    /// And one more whenever this much time has passed. Milliseconds.
    pub(super) every_ms: u64,
}

/// Allowances under one rule, by the generic cell rate algorithm (ITU-T I.371): of each key only the
/// moment is kept at which it will have rested fully, and nothing of those that have.
///
/// At most `keys_max` keys are kept. When one more comes, the one that would be the first to have
/// rested is forgotten: the one that has done the least harm, and nothing that keeps on asking.
#[derive(Debug)]
pub(super) struct Allowances<K> {
    rule: Rule,
    keys_max: usize,
    rested_at: BTreeMap<K, Timestamp>,
    /// The same, by the moment.
    order: BTreeSet<(Timestamp, K)>,
}

impl<K: Ord + Copy> Allowances<K> {
    pub(super) fn new(rule: Rule, keys_max: usize) -> Self {
        Self { rule, keys_max, rested_at: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// How long until this key may take one. Milliseconds; 0 if it may now.
    pub(super) fn wait_ms(&self, now: Timestamp, key: &K) -> u64 {
        self.wait_for_ms(now, key, 1)
    }

    /// How long until this key may take so many, at most the burst. Milliseconds; 0 if it may now.
    pub(super) fn wait_for_ms(&self, now: Timestamp, key: &K, count: u64) -> u64 {
        let Rule { burst, every_ms } = self.rule;
        let taken_until = self.rested_at.get(key).copied().unwrap_or(now).max(now);
        let would_rest = taken_until.plus_ms(count * every_ms).since_ms(now);
        would_rest.saturating_sub(burst * every_ms)
    }

    /// Takes one, whether there is one or not.
    pub(super) fn take(&mut self, now: Timestamp, key: K) {
        self.take_many(now, key, 1);
    }

    /// Takes so many, whether there are as many or not.
    pub(super) fn take_many(&mut self, now: Timestamp, key: K, count: u64) {
        let taken_until = self.forget(&key).unwrap_or(now).max(now);
        self.keep(now, key, taken_until.plus_ms(count * self.rule.every_ms));
    }

    /// Undoes one [`take`](Self::take).
    pub(super) fn give_back(&mut self, now: Timestamp, key: K) {
        self.give_back_many(now, key, 1);
    }

    /// Undoes one [`take_many`](Self::take_many).
    pub(super) fn give_back_many(&mut self, now: Timestamp, key: K, count: u64) {
        if let Some(rested_at) = self.forget(&key) {
            let rested_at = Timestamp(rested_at.0.saturating_sub(count * self.rule.every_ms));
            self.keep(now, key, rested_at);
        }
    }

    /// Lets a key begin anew.
    pub(super) fn forget(&mut self, key: &K) -> Option<Timestamp> {
        let rested_at = self.rested_at.remove(key)?;
        self.order.remove(&(rested_at, *key));
        Some(rested_at)
    }

    fn keep(&mut self, now: Timestamp, key: K, rested_at: Timestamp) {
        // Two of those that have rested for each that comes: they never pile up, and no request pays
        // for all of them.
        for _ in 0..2 {
            if let Some((at, rested)) = self.order.first().copied()
                && at <= now
            {
                self.forget(&rested);
            }
        }
        if rested_at <= now {
            return;
        }
        if self.order.len() >= self.keys_max
            && let Some((_, least)) = self.order.first().copied()
        {
            self.forget(&least);
        }
        self.rested_at.insert(key, rested_at);
        self.order.insert((rested_at, key));
    }

    /// Keys that have not rested, and maybe some that have.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.rested_at.len(), self.order.len());
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_core::time::Timestamp;
    use proptest::prelude::*;

    use super::{Allowances, Rule};

    const RULE: Rule = Rule { burst: 3, every_ms: 100 };

    /// Takes one at each of these moments if there is one; yields the waits.
    fn waits(moments: &[u64]) -> Vec<u64> {
        let mut allowances = Allowances::new(RULE, 4);
        let step = |at: &u64| {
            let wait = allowances.wait_ms(Timestamp(*at), &'a');
            if wait == 0 {
                allowances.take(Timestamp(*at), 'a');
            }
            wait
        };
        moments.iter().map(step).collect()
    }

    #[test]
    fn a_burst_then_one_at_a_time() {
        for (moments, expected) in [
            (&[0, 0, 0, 0, 50, 100, 100][..], &[0, 0, 0, 100, 50, 0, 100][..]),
            (&[0, 0, 0, 250, 250, 250], &[0, 0, 0, 0, 0, 50]),
            (&[7, 7, 7, 10_000, 10_000, 10_000, 10_000], &[0, 0, 0, 0, 0, 0, 100]),
        ] {
            assert_eq!(waits(moments), expected, "{moments:?}");
        }
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let mut allowances = Allowances::new(RULE, 4);
        let now = Timestamp(1000);
        for _ in 0..10 {
            allowances.take(now, 'a');
            allowances.give_back(now, 'a');
        }
        assert_eq!((allowances.wait_ms(now, &'a'), allowances.len()), (0, 0));
    }

    #[test]
    fn whoever_asked_most_is_forgotten_last() {
        let mut allowances = Allowances::new(RULE, 2);
        let now = Timestamp(0);
        for key in ['a', 'a', 'a', 'b', 'c', 'd', 'e'] {
            allowances.take(now, key);
        }
        assert_eq!(allowances.len(), 2);
        assert!(allowances.wait_ms(now, &'a') > 0);
    }

    proptest! {
        #[test]
        fn memory_is_bounded(takes in prop::collection::vec((0_u64..40, 0_u8..12), 0..300)) {
            let mut allowances = Allowances::new(RULE, 5);
            let mut now = 0;
            for (later, key) in takes {
                now += later;
                allowances.take(Timestamp(now), key);
                prop_assert!(allowances.len() <= 5);
            }
        }

        #[test]
        fn no_stretch_of_time_holds_more_than_the_burst_and_what_came_back(
            laters in prop::collection::vec(0_u64..120, 1..200),
        ) {
            let mut allowances = Allowances::new(RULE, 1);
            let (mut now, mut got) = (0, Vec::new());
            for later in laters {
                now += later;
                if allowances.wait_ms(Timestamp(now), &()) == 0 {
                    allowances.take(Timestamp(now), ());
                    got.push(now);
                }
            }
            for (index, from) in got.iter().enumerate() {
                for (more, until) in got[index..].iter().enumerate() {
                    let allowed = RULE.burst + (until - from) / RULE.every_ms;
                    prop_assert!((more as u64) < allowed, "{from} to {until}");
                }
            }
        }
    }
}
