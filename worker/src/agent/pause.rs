//! How long the agent waits before it says something again that the manager has not answered.

const FIRST_MS: u64 = 5_000;
const LONGEST_MS: u64 = 60_000;

/// Pauses that double: a manager that is slow for a moment hears it soon again, and one whose disk
/// is full for a day is not run down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    ms: u64,
}

impl Pause {
    pub(super) fn new() -> Self {
        Self { ms: FIRST_MS }
    }

    /// This pause; the next one is longer.
    pub(super) fn next_ms(&mut self) -> u64 {
        let ms = self.ms;
        self.ms = (ms * 2).min(LONGEST_MS);
        ms
    }
}
