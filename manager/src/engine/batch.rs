//! Apply and commit: the heart of the engine.

use std::time::Duration;

use campusgrid_core::effect::Effects;
use campusgrid_core::grid::Grid;
use campusgrid_core::input::Input;
use campusgrid_core::time::Timestamp;

use crate::clock::since_boot;
use crate::store::{Store, StoreError};

/// What a batch of inputs led to, now on disk; only now may messages and replies go out.
pub(super) struct Committed {
    pub(super) effects: Effects,
    pub(super) newest_event: Option<u64>,
    /// How long it took to write what changed; None if nothing has.
    pub(super) wrote_for: Option<Duration>,
}

/// Applies a batch and writes all that changed in one transaction. A commit that fails is left to
/// `mend`: if that can, the same transaction is tried again, and nothing is told meanwhile.
///
/// # Errors
///
/// `Commit`, as `mend` yields it. The process must then end: nothing has left it, and what is on disk is
/// what was told.
pub(super) fn apply_and_commit(
    grid: &mut Grid,
    store: &mut Store,
    now: Timestamp,
    inputs: Vec<Input>,
    mut mend: impl FnMut(StoreError) -> Result<(), StoreError>,
) -> Result<Committed, StoreError> {
    let mut effects = Effects::default();
    for input in inputs {
        grid.handle(now, input, &mut effects);
    }
    grid.dispatch(&mut effects);
    if effects.changes.is_empty() {
        return Ok(Committed { effects, newest_event: None, wrote_for: None });
    }
    let began = since_boot();
    let newest_event = loop {
        match store.commit(&effects.changes) {
            Ok(newest) => break newest,
            Err(error) => mend(error)?,
        }
    };
    let wrote_for = Some(since_boot().saturating_sub(began));
    Ok(Committed { effects, newest_event, wrote_for })
}
