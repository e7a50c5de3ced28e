//! The one place of this program that reads the clock: worlds are measured against real time.

use std::time::{Duration, Instant};

/// Measures from its making on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
