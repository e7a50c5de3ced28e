//! The clocks of this machine; nothing else in the worker reads one.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since the machine was started, the time it was suspended included.
///
/// # Panics
///
/// On a kernel without CLOCK_BOOTTIME, which is older than Linux 2.6.39.
pub fn boot_ms() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has had this clock since 2011");
    time.tv_sec().unsigned_abs() * 1000 + time.tv_nsec().unsigned_abs() / 1_000_000
}

/// Seconds since 1970, by a clock that may be set back; only for the age of cached things.
#[expect(clippy::disallowed_methods, reason = "this is the file that reads clocks")]
pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
