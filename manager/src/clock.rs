//! The only place that asks the machine for the time.

use std::time::{Duration, SystemTime};

use campusgrid_core::time::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Wall time at start plus what the boot clock has counted since: it never steps back, and it
/// counts while the machine is suspended.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall_at_start: Timestamp,
    boot_at_start_ms: u64,
}

impl Clock {
    /// Starts from the wall clock, but not before `at_least`, the latest time on disk.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start(at_least: Timestamp) -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let wall_ms = since_epoch.map_or(0, |since| since.as_millis());
        let wall = Timestamp(u64::try_from(wall_ms).unwrap_or(u64::MAX));
        Self { wall_at_start: wall.max(at_least), boot_at_start_ms: boot_ms() }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.wall_at_start.plus_ms(boot_ms().saturating_sub(self.boot_at_start_ms))
    }

    /// The time now, as certificates are made and judged by it.
    pub fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.now().0)
    }
}

/// What the boot clock counts: for how long something took, finer than [`Clock::now`].
pub(crate) fn since_boot() -> Duration {
    let boot =
        clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has had the boot clock since 2.6.39");
    boot.into()
}

fn boot_ms() -> u64 {
    u64::try_from(since_boot().as_millis()).expect("the boot clock counts from 0")
}
