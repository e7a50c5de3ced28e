//! Apply and commit: the heart of the engine.

use campusgrid_core::effect::Effects;
use campusgrid_core::grid::Grid;
use campusgrid_core::input::Input;
use campusgrid_core::time::Timestamp;

use crate::store::{Store, StoreError};

/// What a batch of inputs led to, now on disk; only now may messages and replies go out.
pub(super) struct Committed {
    pub(super) effects: Effects,
    pub(super) newest_event: Option<u64>,
}

/// Applies a batch and writes all that changed in one transaction.
///
/// # Errors
///
/// `Commit`. The process must then end: nothing has left it, and what is on disk is what was told.
pub(super) fn apply_and_commit(
    grid: &mut Grid,
    store: &mut Store,
    now: Timestamp,
    inputs: Vec<Input>,
) -> Result<Committed, StoreError> {
    let mut effects = Effects::default();
    for input in inputs {
        grid.handle(now, input, &mut effects);
    }
    grid.dispatch(&mut effects);
    let newest_event =
        if effects.changes.is_empty() { None } else { store.commit(&effects.changes)? };
    Ok(Committed { effects, newest_event })
}
