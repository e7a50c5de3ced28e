//! Keeps what anybody can make us say from filling the log: so many lines a second, then a number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How often lines are allowed anew.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// Lines in that time.
const LINES_MAX: u32 = 5;

/// Lines so far. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Quiet {
    told: Arc<AtomicU32>,
    kept_back: Arc<AtomicU64>,
}

impl Quiet {
    /// Whether there may be one more line now; if not, it is counted.
    pub(super) fn may_tell(&self) -> bool {
        let one_more = |told: u32| (told < LINES_MAX).then_some(told + 1);
        let may = self.told.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if !may {
            self.kept_back.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// Tells how many lines were kept back, and allows new ones.
    pub(super) fn begin_anew(&self) {
        let kept_back = self.kept_back.swap(0, Ordering::Relaxed);
        if kept_back > 0 {
            tracing::warn!(kept_back, "more connections were refused or failed");
        }
        self.told.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::{LINES_MAX, Quiet};

    #[test]
    fn a_flood_of_failures_is_a_few_lines_a_second_and_a_number() {
        let quiet = Quiet::default();
        let told = |count| (0..count).filter(|_| quiet.may_tell()).count();
        assert_eq!(told(1000), LINES_MAX as usize);
        assert_eq!(quiet.kept_back.load(Ordering::Relaxed), 995);
        quiet.begin_anew();
        assert_eq!(quiet.kept_back.load(Ordering::Relaxed), 0);
        assert_eq!(told(3), 3);
    }
}
