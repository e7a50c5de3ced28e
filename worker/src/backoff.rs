//! How long to wait before dialling again: decorrelated jitter, so that a restarted manager is not
//! run down by all of its workers at once.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// The pause before the next attempt; each is drawn between the shortest and thrice the last.
///
/// Source: Brooker, "Exponential backoff and jitter", 2015.
#[derive(Debug)]
pub struct Backoff {
    last: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// As after a good session.
    pub fn new() -> Self {
        Self { last: SHORTEST }
    }

    /// Begins anew after a good session.
    pub fn reset(&mut self) {
        self.last = SHORTEST;
    }

    /// The next pause; `random` is uniform over all of `u32`.
    pub fn next(&mut self, random: u32) -> Duration {
        let span = (self.last * 3).saturating_sub(SHORTEST);
        let share = span.as_millis() as u64 * u64::from(random) / u64::from(u32::MAX);
        self.last = (SHORTEST + Duration::from_millis(share)).min(LONGEST);
        self.last
    }
}

/// A random number; where the system has none, spreading workers out is what is lost.
pub fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_start_again_after_a_session() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.next(0), SHORTEST);
        let pauses: Vec<u128> = (0..7).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(pauses, [300, 900, 2700, 8100, 24_300, 30_000, 30_000]);
        backoff.reset();
        assert_eq!(backoff.next(u32::MAX).as_millis(), 300);
    }
}
