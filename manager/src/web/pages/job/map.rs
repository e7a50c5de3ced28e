//! The tasks of a job at a glance: a few hundred cells, however many tasks there are.

use campusgrid_protocol::rest::arrays::{Cell, TaskMap};

use super::standing::{Progress, grouped};

/// Cells at most: as many as fit a phone without scrolling far.
pub(super) const CELLS_MAX: u32 = 240;

/// A map, and what its signs mean.
pub(super) struct MapView {
    pub(super) cells: Vec<CellView>,
    pub(super) legend: Vec<Entry>,
    /// At most.
    pub(super) tasks_per_cell: u32,
}

/// Neighbouring tasks.
pub(super) struct CellView {
    /// Indices.
    pub(super) first: u32,
    pub(super) last: u32,
    /// All that the cell shows, in words.
    pub(super) label: String,
    /// Of its most urgent tasks.
    pub(super) sign: &'static str,
    /// From top to bottom.
    pub(super) bars: Vec<Bar>,
    /// Whether the table of tasks shows these.
    pub(super) chosen: bool,
}

/// A part of a cell. Hundredths of its height.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) class: &'static str,
    pub(super) top: u32,
    pub(super) height: u32,
}

/// What a sign means, and how many tasks are so.
pub(super) struct Entry {
    /// As addresses and the API write it.
    pub(super) key: &'static str,
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) words: &'static str,
    pub(super) count: String,
}

/// How tasks can be, the most urgent first: its class, its sign, its words.
const KINDS: [(&str, &str, &str); 5] = [
    ("failed", "✕", "failed"),
    ("running", "▸", "running"),
    ("queued", "·", "waiting"),
    ("cancelled", "–", "cancelled"),
    ("succeeded", "✓", "succeeded"),
];

impl MapView {
    pub(super) fn new(map: &TaskMap, progress: &Progress, chosen: Option<(u32, u32)>) -> Self {
        let tasks = |cell: &Cell| counts(cell).iter().sum::<u32>();
        let p = progress;
        let totals = [p.failed, p.running, p.queued, p.cancelled, p.succeeded];
        let legend = KINDS.iter().zip(totals).filter(|(_, count)| *count > 0);
        Self {
            tasks_per_cell: map.cells.iter().map(tasks).max().unwrap_or(1),
            cells: map.cells.iter().map(|cell| CellView::new(cell, chosen)).collect(),
            legend: legend
                .map(|(&(class, sign, words), count)| Entry {
                    key: class,
                    class,
                    sign,
                    words,
                    count: grouped(count),
                })
                .collect(),
        }
    }
}

impl CellView {
    fn new(cell: &Cell, chosen: Option<(u32, u32)>) -> Self {
        let counts = counts(cell);
        let sign = KINDS.iter().zip(counts).find(|(_, count)| *count > 0);
        Self {
            first: cell.first_index,
            last: cell.last_index,
            label: label(cell, counts),
            sign: sign.map_or("", |(kind, _)| kind.1),
            bars: bars(counts),
            chosen: chosen == Some((cell.first_index, cell.last_index)),
        }
    }
}

/// In the order of [`KINDS`].
fn counts(cell: &Cell) -> [u32; 5] {
    [cell.failed, cell.running, cell.queued, cell.cancelled, cell.succeeded]
}

fn label(cell: &Cell, counts: [u32; 5]) -> String {
    let some = KINDS.iter().zip(counts).filter(|(_, count)| *count > 0);
    if cell.first_index == cell.last_index {
        let state = some.map(|(kind, _)| kind.2).next().unwrap_or("waiting");
        return format!("Task {}: {state}", cell.first_index);
    }
    let parts: Vec<String> =
        some.map(|(kind, count)| format!("{} {}", grouped(count), kind.2)).collect();
    let (first, last) = (grouped(cell.first_index), grouped(cell.last_index));
    format!("Tasks {first} to {last}: {}", parts.join(", "))
}

/// Heights by share; what is there is seen, however small its share.
fn bars(counts: [u32; 5]) -> Vec<Bar> {
    let all: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    let mut heights = counts.map(|count| match count {
        0 => 0,
        count => u32::try_from(u64::from(count) * 100 / all).unwrap_or(100).max(8),
    });
    let sum: u32 = heights.iter().sum();
    if let Some(largest) = heights.iter_mut().max() {
        // The largest is at least a fifth, and four others add at most four times eight.
        *largest = (*largest + 100).saturating_sub(sum);
    }
    let mut top = 0;
    let mut bars = Vec::new();
    for ((class, _, _), height) in KINDS.into_iter().zip(heights) {
        if height > 0 {
            bars.push(Bar { class, top, height });
            top += height;
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rest::arrays::Cell;

    use super::{CellView, bars};

    fn cell(queued: u32, running: u32, succeeded: u32, failed: u32) -> Cell {
        let last_index = 10 + queued + running + succeeded + failed - 1;
        Cell { first_index: 10, last_index, queued, running, succeeded, failed, cancelled: 0 }
    }

    #[test]
    fn a_cell_says_in_words_all_that_it_shows() {
        for (cell, sign, label) in [
            (cell(1, 0, 0, 0), "·", "Task 10: waiting"),
            (cell(0, 0, 1, 0), "✓", "Task 10: succeeded"),
            (cell(4, 0, 95, 1), "✕", "Tasks 10 to 109: 1 failed, 4 waiting, 95 succeeded"),
            (cell(4, 2, 4, 0), "▸", "Tasks 10 to 19: 2 running, 4 waiting, 4 succeeded"),
        ] {
            let view = CellView::new(&cell, None);
            assert_eq!((view.sign, view.label.as_str()), (sign, label));
        }
    }

    #[test]
    fn bars_fill_the_cell_and_nothing_is_too_small_to_see() {
        for counts in [[1, 0, 0, 0, 4999], [1, 1, 1, 1, 1], [0, 0, 7, 0, 0], [1, 2, 3, 4, 100_000]]
        {
            let bars = bars(counts);
            assert_eq!(bars.len(), counts.iter().filter(|count| **count > 0).count());
            assert_eq!(bars.iter().map(|bar| bar.height).sum::<u32>(), 100, "{bars:?}");
            assert!(bars.iter().all(|bar| bar.height >= 8), "{bars:?}");
        }
    }
}
