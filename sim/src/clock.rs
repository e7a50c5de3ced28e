//! The manager's clock: the wall's when the process started, but not before what is on disk, plus what
//! the boot clock has counted since.

use campusgrid_core::time::Timestamp;

/// When the world begins, by a wall clock that nobody has set.
const EPOCH_MS: u64 = 1_700_000_000_000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// At the beginning of the world.
    origin: Timestamp,
}

impl Clock {
    /// Starts now, with the wall clock set so far beside the right time.
    pub(crate) fn start(now_ms: u64, wall_ms: i64, at_least: Timestamp) -> Self {
        let wall = Timestamp((EPOCH_MS + now_ms).saturating_add_signed(wall_ms));
        Self { origin: Timestamp(wall.max(at_least).0 - now_ms) }
    }

    pub(crate) fn now(self, now_ms: u64) -> Timestamp {
        self.origin.plus_ms(now_ms)
    }

    /// A moment of this clock in milliseconds since the world began.
    pub(crate) fn ms_of(self, moment: Timestamp) -> u64 {
        moment.since_ms(self.origin)
    }
}
