//! The one place of this program that reads the clock.

use std::time::{Duration, Instant};

/// How long it took, and what came of it.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let start = Instant::now();
    let result = work.await;
    (start.elapsed(), result)
}
