//! Sets of whole numbers, kept as the ranges that they are made of: which tasks of an array.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Numbers below `u32::MAX`, as ranges that neither overlap nor touch. Takes room by the number of
/// ranges, not of numbers. In words: `0-4,7,9-10`; empty for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    /// The first number of each range, and the last.
    lasts: BTreeMap<u32, u32>,
    len: u32,
}

/// Not a list of ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be numbers and ranges in rising order, such as 0-4,7,9-10")]
pub struct RangesError;

impl Ranges {
    /// The numbers below `end`.
    pub fn below(end: u32) -> Self {
        let mut all = Self::default();
        if end > 0 {
            all.insert_range(0, end - 1);
        }
        all
    }

    /// One number.
    pub fn one(number: u32) -> Self {
        let mut one = Self::default();
        one.insert(number);
        one
    }

    /// How many numbers are in it.
    pub fn len(&self) -> u32 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn first(&self) -> Option<u32> {
        self.lasts.first_key_value().map(|(first, _)| *first)
    }

    pub fn last(&self) -> Option<u32> {
        self.lasts.last_key_value().map(|(_, last)| *last)
    }

    pub fn contains(&self, number: u32) -> bool {
        self.lasts.range(..=number).next_back().is_some_and(|(_, last)| *last >= number)
    }

    /// The ranges in rising order: the first and the last number of each.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.lasts.iter().map(|(&first, &last)| (first, last))
    }

    /// The numbers in rising order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges().flat_map(|(first, last)| first..=last)
    }

    /// Adds a number; yields whether it was not there.
    pub fn insert(&mut self, number: u32) -> bool {
        let before = self.len;
        self.insert_range(number, number);
        self.len > before
    }

    /// Adds all numbers from `first` to `last`; none if that comes before.
    pub fn insert_range(&mut self, mut first: u32, mut last: u32) {
        if first > last {
            return;
        }
        assert!(last < u32::MAX, "a number has one that follows it");
        // Whatever overlaps or touches becomes one range with it.
        while let Some((&begin, &end)) = self.lasts.range(..=last + 1).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            self.lasts.remove(&begin);
            self.len -= end - begin + 1;
            (first, last) = (first.min(begin), last.max(end));
        }
        self.lasts.insert(first, last);
        self.len += last - first + 1;
    }

    /// Takes a number out; yields whether it was there.
    pub fn remove(&mut self, number: u32) -> bool {
        let before = self.len;
        self.remove_range(number, number);
        self.len < before
    }

    /// Takes all numbers from `first` to `last` out.
    pub fn remove_range(&mut self, first: u32, last: u32) {
        if first > last {
            return;
        }
        while let Some((&begin, &end)) = self.lasts.range(..=last).next_back() {
            if end < first {
                break;
            }
            self.lasts.remove(&begin);
            self.len -= end - begin + 1;
            if begin < first {
                self.lasts.insert(begin, first - 1);
                self.len += first - begin;
            }
            if end > last {
                self.lasts.insert(last + 1, end);
                self.len += end - last;
            }
        }
    }

    /// Takes the lowest number out.
    pub fn pop_first(&mut self) -> Option<u32> {
        let first = self.first()?;
        self.remove(first);
        Some(first)
    }

    /// Adds all numbers of another set.
    pub fn insert_all(&mut self, other: &Self) {
        for (first, last) in other.ranges() {
            self.insert_range(first, last);
        }
    }

    /// Takes all numbers of another set out.
    pub fn remove_all(&mut self, other: &Self) {
        for (first, last) in other.ranges() {
            self.remove_range(first, last);
        }
    }

    /// The numbers that are in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let mut common = Self::default();
        let (few, many) =
            if self.lasts.len() <= other.lasts.len() { (self, other) } else { (other, self) };
        for (first, last) in few.ranges() {
            let before = many.lasts.range(..=first).next_back();
            let within = many.lasts.range(first..=last).filter(|(begin, _)| **begin > first);
            for (&begin, &end) in before.into_iter().chain(within) {
                common.insert_range(begin.max(first), end.min(last));
            }
        }
        common
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.ranges().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Ranges {
    type Err = RangesError;

    fn from_str(text: &str) -> Result<Self, RangesError> {
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| is_number);
            number.filter(|&number: &u32| number < u32::MAX).ok_or(RangesError)
        };
        let mut ranges = Self::default();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last || ranges.last().is_some_and(|before| before >= first) {
                return Err(RangesError);
            }
            ranges.insert_range(first, last);
        }
        Ok(ranges)
    }
}

impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ranges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{Ranges, RangesError};

    #[test]
    fn words_are_read_back() {
        for text in ["", "0", "0-4", "0-4,7,9-10"] {
            assert_eq!(text.parse::<Ranges>().unwrap().to_string(), text);
        }
        assert_eq!("0-4,5".parse::<Ranges>().unwrap().to_string(), "0-5");
        for text in [",", "1,", "-", "3-1", "2,1", "1,1", "+1", "1-", "4294967295", " 1"] {
            assert_eq!(text.parse::<Ranges>(), Err(RangesError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set(steps in proptest::collection::vec((0..4_u8, 0..40_u32, 0..12_u32), 0..60)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (step, first, more) in steps {
                let last = first + more;
                match step {
                    0 => { ranges.insert_range(first, last); set.extend(first..=last); }
                    1 => { ranges.remove_range(first, last); set.retain(|number| !(first..=last).contains(number)); }
                    2 => { prop_assert_eq!(ranges.insert(first), set.insert(first)); }
                    _ => { prop_assert_eq!(ranges.pop_first(), set.pop_first()); }
                }
                prop_assert_eq!(ranges.len() as usize, set.len());
                prop_assert!(ranges.numbers().eq(set.iter().copied()));
                prop_assert_eq!(&ranges.to_string().parse::<Ranges>().unwrap(), &ranges);
                prop_assert!((0..60).all(|number| ranges.contains(number) == set.contains(&number)));
            }
        }

        #[test]
        fn what_is_in_both_is_common(one in proptest::collection::btree_set(0..60_u32, 0..40), other in proptest::collection::btree_set(0..60_u32, 0..40)) {
            let of = |set: &BTreeSet<u32>| {
                let mut ranges = Ranges::default();
                set.iter().for_each(|number| { ranges.insert(*number); });
                ranges
            };
            let common = of(&one).common(&of(&other));
            prop_assert!(common.numbers().eq(one.intersection(&other).copied()));
            prop_assert_eq!(of(&other).common(&of(&one)), common);
        }
    }
}
