//! Moments that are computed anew with each look, and are to be said the same.

/// Readings that differ by less mean the same moment: a call takes a while, and clocks are read one after
/// another. Milliseconds.
const STEADY_MS: u64 = 1000;

/// A moment that is computed anew with each look, and is to stay the same.
#[derive(Debug, Default)]
pub(super) struct Steady(u64);

impl Steady {
    /// The moment as it was said at first. Milliseconds of the boot clock.
    pub(super) fn take(&mut self, moment_ms: u64) -> u64 {
        if moment_ms.abs_diff(self.0) >= STEADY_MS {
            self.0 = moment_ms;
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_that_is_computed_stays_the_same() {
        let mut steady = Steady::default();
        let taken = [50_000, 50_013, 49_990, 51_000, 51_020].map(|ms| steady.take(ms));
        assert_eq!(taken, [50_000, 50_000, 50_000, 51_000, 51_000]);
    }
}
