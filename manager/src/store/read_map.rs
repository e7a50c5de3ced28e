//! Reads the tasks of a job as a map: how many of its neighbours are how far.

use std::ops::ControlFlow;

use campusgrid_protocol::array::Indices;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::arrays::{Cell, TaskMap};
use rusqlite::{Row, params};

use super::progress::{Progress, Run, positions};
use super::read::{Reader, Viewer};
use super::{StoreError, statements};

statements! {
    OPEN_STATES = "SELECT idx, state = 'leased' FROM task INDEXED BY task_open
        WHERE job = ?1 AND ended_at IS NULL";
}

impl Reader {
    /// The tasks of a job as counts, in at most `cells` cells of neighbours; None if the viewer has no
    /// such job. A draft has none.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn task_map(
        &self,
        viewer: Viewer,
        job: JobId,
        cells: u32,
    ) -> Result<Option<TaskMap>, StoreError> {
        let Some((indices, _)) = self.indices(viewer, job)? else { return Ok(None) };
        let Some(indices) = indices else { return Ok(Some(TaskMap { cells: Vec::new() })) };
        let mut map = Grouped::new(&indices, cells);
        let tasks = indices.len();
        let mut next = 0;
        self.each_chunk(job, 0, |chunk, states| {
            let positions = positions(chunk, tasks);
            map.add(next, positions.start, |cell| &mut cell.queued);
            next = positions.end;
            for Run { first, last, progress } in Run::of(chunk, states) {
                let count: fn(&mut Cell) -> &mut u32 = match progress {
                    Progress::Untouched => |cell| &mut cell.queued,
                    Progress::Begun => continue,
                    Progress::Succeeded => |cell| &mut cell.succeeded,
                    Progress::Failed => |cell| &mut cell.failed,
                    Progress::Cancelled => |cell| &mut cell.cancelled,
                };
                map.add(first, last + 1, count);
            }
            ControlFlow::Continue(())
        })?;
        map.add(next, tasks, |cell| &mut cell.queued);
        let open = |row: &Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, bool>(1)?));
        for (position, is_leased) in self.list("open tasks", OPEN_STATES, params![job.0], open)? {
            let count: fn(&mut Cell) -> &mut u32 =
                if is_leased { |cell| &mut cell.running } else { |cell| &mut cell.queued };
            map.add(position, position + 1, count);
        }
        Ok(Some(TaskMap { cells: map.cells }))
    }
}

/// The tasks of a job in cells of neighbours, all but for one equally large.
struct Grouped {
    cells: Vec<Cell>,
    tasks: u64,
}

impl Grouped {
    fn new(indices: &Indices, cells: u32) -> Self {
        let tasks = u64::from(indices.len());
        let count = u64::from(cells).clamp(1, tasks);
        let place = |number: u64| u32::try_from(number).expect("a job has at most u32 tasks");
        let index = |position: u64| indices.index(place(position)).unwrap_or(place(position));
        let cells = (0..count).map(|cell| Cell {
            first_index: index(cell * tasks / count),
            last_index: index((cell + 1) * tasks / count - 1),
            ..Cell::default()
        });
        Self { cells: cells.collect(), tasks }
    }

    /// Counts the tasks from one position to before another.
    fn add(&mut self, begin: u32, end: u32, count: impl Fn(&mut Cell) -> &mut u32) {
        let cells = self.cells.len() as u64;
        let (mut position, end) = (u64::from(begin), u64::from(end).min(self.tasks));
        while position < end {
            let cell = ((position + 1) * cells).div_ceil(self.tasks) - 1;
            let next = ((cell + 1) * self.tasks / cells).min(end);
            let place = usize::try_from(cell).expect("as many as cells");
            *count(&mut self.cells[place]) +=
                u32::try_from(next - position).expect("a job has at most u32 tasks");
            position = next;
        }
    }
}
