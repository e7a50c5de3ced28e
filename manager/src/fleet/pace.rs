//! How fast a file has to come, or to be taken: whoever sends or reads a byte now and then would hold
//! its place, and the room that was promised to it, for ever.

use std::time::Duration;

/// What the slowest line that is worth waiting for brings. Bytes per second.
const RATE_MIN: u64 = 16 << 10;

/// A stall that is forgiven.
const GRACE: Duration = Duration::from_secs(60);

/// How long we have waited for the pieces of one blob, and what came. Only waiting counts: that our own
/// disk is slow is not the sender's fault.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// How long the next piece may take at most; zero for one who is too slow.
    pub(super) fn left(&self) -> Duration {
        (GRACE + Duration::from_secs(self.bytes / RATE_MIN)).saturating_sub(self.waited)
    }

    /// A piece has come, or gone.
    pub(super) fn note(&mut self, waited: Duration, bytes: usize) {
        self.waited += waited;
        self.bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pace;

    /// Seconds until a sender who sends so many bytes every so many seconds is given up; None if it
    /// may go on for a day.
    fn given_up_after(every_s: u64, bytes: usize) -> Option<u64> {
        let mut pace = Pace::default();
        (1..=86_400 / every_s).map(|number| number * every_s).find(|_| {
            let is_over = pace.left() < Duration::from_secs(every_s);
            pace.note(Duration::from_secs(every_s), bytes);
            is_over
        })
    }

    #[test]
    fn who_trickles_is_given_up_and_who_is_slow_is_not() {
        assert_eq!(given_up_after(59, 1), Some(118));
        assert_eq!(given_up_after(1, 1 << 10), Some(64));
        assert_eq!(given_up_after(1, 16 << 10), None);
        assert_eq!(given_up_after(50, 1 << 20), None);
    }
}
