//! The one place of this room that reads a clock.

use std::time::{Duration, Instant};

/// Counts from its making.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn passed(self) -> Duration {
        self.0.elapsed()
    }
}
