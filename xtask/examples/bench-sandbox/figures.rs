//! Times of one thing, measured many times over, and the numbers that stand for them.

use std::fmt;
use std::time::Duration;

/// All times of one subject.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        let place = self.0.partition_point(|&other| other <= time);
        self.0.insert(place, time);
    }

    /// Of what was left out.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value below which so many of a hundred lie (nearest rank), in ms.
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default().as_secs_f64() * 1e3
    }

    pub(crate) fn median_ms(&self) -> f64 {
        self.percentile_ms(50)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p10, p50, p90] = [10, 50, 90].map(|percent| self.percentile_ms(percent));
        write!(f, "{p50:8.2} {p10:8.2} {p90:8.2}")
    }
}
