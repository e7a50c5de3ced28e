//! Arrays: which index each task of a job has, and how people write that.
//!
//! Inside, a task is known by its *position*, from 0 without gaps; people and programs see its
//! *index*.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ranges::Ranges;

/// Most tasks of one job.
pub const TASKS_MAX: u32 = 1_000_000;

/// The highest index of a task.
pub const INDEX_MAX: u32 = 2_000_000_000;

/// The longest text of indices that is read. Bytes.
pub const INDICES_MAX_BYTES: usize = 256 << 10;

/// The indices of a job's tasks, at least one, rising with their positions. In words: `1-100`,
/// `0-9:2` (every second), `1,5,9-12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indices {
    /// At least one; each begins after the one before ends.
    runs: Vec<Run>,
}

/// Indices that follow each other at equal distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u32,
    step: u32,
    count: u32,
    /// Of its first index.
    position: u32,
}

impl Run {
    fn last(&self) -> u32 {
        self.first + (self.count - 1) * self.step
    }
}

/// An array as a submitter writes it: indices, and after `%` how many tasks may run at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    pub indices: Indices,
    pub at_once: Option<u32>,
}

/// What is wrong with a text of indices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArrayError {
    #[error("must be indices such as 1-100, 0-9:2 or 1,5,9-12, with %4 for at most 4 at once")]
    Form,
    #[error("its indices must rise: {index} comes after {before}")]
    Order { before: u32, index: u32 },
    #[error("must have at most {TASKS_MAX} tasks, with indices up to {INDEX_MAX}")]
    TooMany,
    #[error("must be at most {INDICES_MAX_BYTES} bytes long: it has too many gaps")]
    TooLong,
}

impl Indices {
    /// From 0, `tasks` of them; at least one.
    pub fn counted(tasks: u32) -> Self {
        assert!(tasks > 0, "a job has a task");
        Self { runs: vec![Run { first: 0, step: 1, count: tasks, position: 0 }] }
    }

    /// How many tasks there are.
    pub fn len(&self) -> u32 {
        self.runs.last().map_or(0, |run| run.position + run.count)
    }

    /// Never: a job has a task.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The index of the task at a position, if there is one.
    pub fn index(&self, position: u32) -> Option<u32> {
        let after = self.runs.partition_point(|run| run.position <= position);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let offset = position - run.position;
        (offset < run.count).then(|| run.first + offset * run.step)
    }

    /// The position of the task with an index, if there is one.
    pub fn position(&self, index: u32) -> Option<u32> {
        let after = self.runs.partition_point(|run| run.first <= index);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let offset = index - run.first;
        let is_one = offset.is_multiple_of(run.step) && offset / run.step < run.count;
        is_one.then(|| run.position + offset / run.step)
    }

    /// The positions of those tasks whose index is among `indices`.
    pub fn positions(&self, indices: &Ranges) -> Ranges {
        let mut positions = Ranges::default();
        for (first, last) in indices.ranges() {
            for run in &self.runs {
                if run.first > last || run.last() < first {
                    continue;
                }
                let begin = first.saturating_sub(run.first).div_ceil(run.step);
                let end = (last.min(run.last()) - run.first) / run.step;
                if begin <= end {
                    positions.insert_range(run.position + begin, run.position + end);
                }
            }
        }
        positions
    }

    /// The tasks at these positions alone, with the indices that they have here.
    ///
    /// # Errors
    ///
    /// `TooLong` if they lie too far apart to be written down; `Form` if there are none, or no such.
    pub fn only(&self, positions: &Ranges) -> Result<Self, ArrayError> {
        let mut only = Self { runs: Vec::new() };
        for (first, last) in positions.ranges() {
            for run in self.runs.iter().filter(|run| run.position <= last) {
                let begin = first.saturating_sub(run.position);
                let end = (last - run.position + 1).min(run.count);
                if begin >= end {
                    continue;
                }
                let (first, count) = (run.first + begin * run.step, end - begin);
                // Of one index the step says nothing.
                let step = if count == 1 { 1 } else { run.step };
                only.runs.push(Run { first, step, count, position: only.len() });
            }
        }
        if only.is_empty() || only.len() < positions.len() {
            return Err(ArrayError::Form);
        }
        if only.to_string().len() > INDICES_MAX_BYTES {
            return Err(ArrayError::TooLong);
        }
        Ok(only)
    }
}

impl fmt::Display for Indices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, run) in self.runs.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match (run.count, run.step) {
                (1, _) => write!(f, "{comma}{}", run.first)?,
                (_, 1) => write!(f, "{comma}{}-{}", run.first, run.last())?,
                (_, step) => write!(f, "{comma}{}-{}:{step}", run.first, run.last())?,
            }
        }
        Ok(())
    }
}

impl FromStr for Indices {
    type Err = ArrayError;

    fn from_str(text: &str) -> Result<Self, ArrayError> {
        if text.len() > INDICES_MAX_BYTES {
            return Err(ArrayError::TooLong);
        }
        let mut runs = Vec::<Run>::new();
        for part in text.split(',') {
            let (span, step) = part.split_once(':').unwrap_or((part, "1"));
            let (first, last) = span.split_once('-').unwrap_or((span, span));
            let (first, last, step) = (number(first)?, number(last)?, number(step)?);
            if step == 0 || last > INDEX_MAX {
                return Err(if step == 0 { ArrayError::Form } else { ArrayError::TooMany });
            }
            let before = runs.last().map(Run::last);
            if let Some(before) = before.filter(|before| *before >= first) {
                return Err(ArrayError::Order { before, index: first });
            }
            if last < first {
                return Err(ArrayError::Order { before: first, index: last });
            }
            let position = runs.last().map_or(0, |run| run.position + run.count);
            let count = (last - first) / step + 1;
            if position.saturating_add(count) > TASKS_MAX {
                return Err(ArrayError::TooMany);
            }
            // Of one index the step says nothing; two ways to write the same are one value.
            let step = if count == 1 { 1 } else { step };
            runs.push(Run { first, step, count, position });
        }
        Ok(Self { runs })
    }
}

impl FromStr for Array {
    type Err = ArrayError;

    fn from_str(text: &str) -> Result<Self, ArrayError> {
        let Some((indices, at_once)) = text.split_once('%') else {
            return Ok(Self { indices: text.parse()?, at_once: None });
        };
        let at_once = Some(number(at_once)?).filter(|at_once| *at_once > 0);
        Ok(Self { indices: indices.parse()?, at_once: Some(at_once.ok_or(ArrayError::Form)?) })
    }
}

fn number(text: &str) -> Result<u32, ArrayError> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(ArrayError::Form)
}

impl Serialize for Indices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Indices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Array, ArrayError, Indices, TASKS_MAX};
    use crate::ranges::Ranges;

    #[test]
    fn people_write_arrays() {
        for (text, at_once, indices) in [
            ("7", None, vec![7]),
            ("1-4", None, vec![1, 2, 3, 4]),
            ("0-9:2", None, vec![0, 2, 4, 6, 8]),
            ("1,5,9-12", None, vec![1, 5, 9, 10, 11, 12]),
            ("1-50%4", Some(4), (1..=50).collect()),
            (" 1 - 2 , 4 ", None, vec![1, 2, 4]),
        ] {
            let array: Array = text.parse().unwrap();
            let all = (0..array.indices.len()).map(|at| array.indices.index(at).unwrap());
            assert_eq!((array.at_once, all.collect::<Vec<_>>()), (at_once, indices), "{text}");
        }
        for (text, error) in [
            ("", ArrayError::Form),
            ("1-", ArrayError::Form),
            ("a", ArrayError::Form),
            ("1-9:0", ArrayError::Form),
            ("1%0", ArrayError::Form),
            ("1%", ArrayError::Form),
            ("-1", ArrayError::Form),
            ("5-1", ArrayError::Order { before: 5, index: 1 }),
            ("1-5,5", ArrayError::Order { before: 5, index: 5 }),
            ("0-1000000", ArrayError::TooMany),
            ("0-2000000001:2000000001", ArrayError::TooMany),
        ] {
            assert_eq!(text.parse::<Array>(), Err(error), "{text}");
        }
        assert_eq!("1-1000000".parse::<Indices>().unwrap().len(), TASKS_MAX);
    }

    proptest! {
        #[test]
        fn every_task_has_one_index(gaps in proptest::collection::vec((1..9_u32, 1..5_u32, 1..6_u32), 1..8), asked in (0..80_u32, 0..80_u32)) {
            let mut text = Vec::new();
            let mut all = Vec::new();
            let mut next = 0;
            for (gap, step, count) in gaps {
                let first = next + gap;
                let last = first + (count - 1) * step;
                text.push(format!("{first}-{last}:{step}"));
                all.extend((0..count).map(|at| first + at * step));
                next = last;
            }
            let indices: Indices = text.join(",").parse().unwrap();
            prop_assert_eq!(indices.len() as usize, all.len());
            prop_assert_eq!(&indices.to_string().parse::<Indices>().unwrap(), &indices);
            for (position, index) in all.iter().enumerate() {
                let position = u32::try_from(position).unwrap();
                prop_assert_eq!(indices.index(position), Some(*index));
                prop_assert_eq!(indices.position(*index), Some(position));
            }
            prop_assert_eq!(indices.index(indices.len()), None);
            prop_assert!((0..next + 3).filter(|index| indices.position(*index).is_some()).eq(all.iter().copied()));
            let mut wanted = Ranges::default();
            wanted.insert_range(asked.0.min(asked.1), asked.0.max(asked.1));
            let positions = indices.positions(&wanted);
            let expected = all.iter().enumerate().filter(|(_, index)| wanted.contains(**index));
            prop_assert!(positions.numbers().map(|at| at as usize).eq(expected.map(|(at, _)| at)));
            if !positions.is_empty() {
                let only = indices.only(&positions).unwrap();
                prop_assert!((0..only.len()).all(|at| wanted.contains(only.index(at).unwrap())));
                prop_assert_eq!(only.len(), positions.len());
                prop_assert_eq!(&only.to_string().parse::<Indices>().unwrap(), &only);
            }
        }
    }
}
