//! How fast files that tasks need and leave may travel, in each direction, for the whole machine.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// With less than this a piece would be on its way for so long that the manager gives up. KiB per
/// second.
const LEAST_KIB_S: u32 = 16;

/// The owner's limit; cheap to clone, and one for all who share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pacing(Arc<Both>);

#[derive(Debug, Default)]
struct Both {
    /// 0: none.
    kib_s: AtomicU32,
    sent: Direction,
    received: Direction,
}

/// When the next piece may pass; none before the first.
#[derive(Debug, Default)]
struct Direction(Mutex<Option<Instant>>);

impl Pacing {
    /// From now on; none for as fast as it goes. KiB per second.
    pub(crate) fn limit(&self, kib_s: Option<u32>) {
        self.0.kib_s.store(kib_s.map_or(0, |kib_s| kib_s.max(LEAST_KIB_S)), Ordering::Relaxed);
    }

    /// Waits until so many bytes may be sent.
    pub(crate) async fn send(&self, bytes: usize) {
        self.pass(&self.0.sent, bytes).await;
    }

    /// Waits for as long as so many bytes that have come should have taken.
    pub(crate) async fn receive(&self, bytes: usize) {
        self.pass(&self.0.received, bytes).await;
    }

    async fn pass(&self, direction: &Direction, bytes: usize) {
        let kib_s = self.0.kib_s.load(Ordering::Relaxed);
        if kib_s == 0 {
            return;
        }
        let takes = Duration::from_secs_f64(bytes as f64 / f64::from(kib_s) / 1024.0);
        let now = Instant::now();
        let begin = {
            let mut next = direction.0.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = next.map_or(now, |next| next.max(now));
            *next = Some(begin + takes);
            begin
        };
        sleep_until(begin).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_who_share_a_limit_keep_it_together() {
        let pacing = Pacing::default();
        let begun = Instant::now();
        pacing.send(1 << 30).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "there is no limit");
        pacing.limit(Some(100));
        let others = pacing.clone();
        let send = async |pacing: &Pacing| {
            for _ in 0..5 {
                pacing.send(10 << 10).await;
            }
        };
        tokio::join!(send(&pacing), send(&others), pacing.receive(1 << 20));
        // The first ten pieces of a tenth of a second each; the last has been let out, not arrived.
        assert_eq!(begun.elapsed().as_millis(), 900);
        pacing.limit(None);
        pacing.send(1 << 30).await;
        assert_eq!(begun.elapsed().as_millis(), 900);
    }
}
