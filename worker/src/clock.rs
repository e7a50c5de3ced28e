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

/// The time of day, by a clock that may be wrong and may be set back; only for the age of cached
/// things and of certificates.
#[expect(clippy::disallowed_methods, reason = "this is the file that reads clocks")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// [`now`] in seconds since 1970.
pub fn unix_s() -> u64 {
    now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// [`now`] in milliseconds since 1970, for people to read.
pub fn unix_ms() -> u64 {
    let since = now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::boot_ms;

    /// Says to this test's own program that it is the one in the namespace.
    const INSIDE: &str = "CAMPUSGRID_TEST_BOOT_CLOCK";

    /// Only the clock that runs on while the machine is suspended has this offset.
    const AHEAD_S: u64 = 50_000_000;

    #[test]
    fn the_clock_of_leases_is_the_one_that_runs_on_while_the_machine_sleeps() {
        if std::env::var_os(INSIDE).is_some() {
            println!("boot_ms={}", boot_ms());
            return;
        }
        let before_ms = boot_ms();
        let name =
            "clock::tests::the_clock_of_leases_is_the_one_that_runs_on_while_the_machine_sleeps";
        let inside = Command::new("unshare")
            .args(["--user", "--map-root-user", "--time", "--fork", "--boottime"])
            .arg(AHEAD_S.to_string())
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .stdin(Stdio::null())
            .output();
        let said = inside.map(|done| String::from_utf8_lossy(&done.stdout).into_owned());
        let told = said.iter().flat_map(|said| said.lines()).find_map(|line| {
            line.split_once("boot_ms=")?.1.split_whitespace().next()?.parse::<u64>().ok()
        });
        let Some(told) = told else {
            eprintln!("skipped: no time namespace can be made here");
            return;
        };
        let ahead_ms = told - before_ms;
        assert!((AHEAD_S * 1000..AHEAD_S * 1000 + 60_000).contains(&ahead_ms), "{ahead_ms}");
    }
}
