//! Texts of arrays and of sets of tasks: what is taken is one value with one form, and every task has
//! one index.

use campusgrid_protocol::array::{Array, INDEX_MAX, Indices, TASKS_MAX};
use campusgrid_protocol::ranges::Ranges;

use crate::{Verdict, choice};

/// Positions that are looked at from either end: there may be a million.
const LOOK: u32 = 200;

/// The first byte says what the text is.
pub fn run(bytes: &[u8]) -> Verdict {
    let Some((kind, text)) = choice(bytes) else { return Verdict::Refused };
    let Ok(text) = std::str::from_utf8(text) else { return Verdict::Refused };
    match kind % 3 {
        0 => Verdict::of(text.parse::<Array>().ok().map(|array| {
            assert_ne!(array.at_once, Some(0));
            check_indices(&array.indices);
        })),
        1 => Verdict::of(text.parse::<Ranges>().ok().map(|ranges| check_ranges(&ranges))),
        // Some tasks of an array, by their indices: how people cancel them.
        _ => Verdict::of(text.split_once(' ').and_then(|(array, wanted)| {
            let (array, wanted): (Array, Ranges) = (array.parse().ok()?, wanted.parse().ok()?);
            check_chosen(&array.indices, &wanted);
            Some(())
        })),
    }
}

fn check_indices(indices: &Indices) {
    let tasks = indices.len();
    assert!((1..=TASKS_MAX).contains(&tasks), "{tasks} tasks");
    assert_eq!(indices.to_string().parse().as_ref(), Ok(indices));
    let mut before = None;
    for position in ends(tasks) {
        let index = indices.index(position).expect("every task has an index");
        assert!(index <= INDEX_MAX && before < Some(index), "{before:?}, {index}");
        assert_eq!(indices.position(index), Some(position));
        before = Some(index);
    }
    assert_eq!(indices.index(tasks), None);
}

fn check_ranges(ranges: &Ranges) {
    assert_eq!(ranges.to_string().parse().as_ref(), Ok(ranges));
    let mut all = 0_u64;
    let mut before: Option<u32> = None;
    for (first, last) in ranges.ranges() {
        assert!(first <= last && before.is_none_or(|before| before + 1 < first), "{ranges}");
        assert!(ranges.contains(first) && ranges.contains(last));
        all += u64::from(last - first) + 1;
        before = Some(last);
    }
    assert_eq!(u64::from(ranges.len()), all);
    let mut none = ranges.clone();
    none.remove_all(ranges);
    assert!(none.is_empty() && ranges.common(ranges) == *ranges);
}

fn check_chosen(indices: &Indices, wanted: &Ranges) {
    let positions = indices.positions(wanted);
    check_ranges(&positions);
    for position in ends(indices.len()) {
        let index = indices.index(position).expect("every task has an index");
        assert_eq!(positions.contains(position), wanted.contains(index), "{index}");
    }
    if let Ok(only) = indices.only(&positions) {
        assert_eq!(only.len(), positions.len());
        assert!(wanted.contains(only.index(0).expect("a job has a task")));
    }
}

/// The first positions and the last.
fn ends(tasks: u32) -> impl Iterator<Item = u32> {
    let last = tasks.saturating_sub(LOOK).max(LOOK.min(tasks));
    (0..LOOK.min(tasks)).chain(last..tasks)
}
