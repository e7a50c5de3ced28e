//! The one place of this crate that reads the clock.

use std::time::{Duration, Instant};

/// Measures from its making on.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins to measure.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// What has passed since.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// What is left of `limit`; zero once it is over.
    pub fn left_of(self, limit: Duration) -> Duration {
        limit.saturating_sub(self.elapsed())
    }
}
