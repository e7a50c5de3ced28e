//! Somebody who looks at the dashboard all the time, and how long that takes.

use std::fs;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::api::Api;
use crate::clock::Stopwatch;

/// An answer that takes longer counts as none.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// What is looked at, in turn: pages for people and lists for programs, the longest of which is that of
/// all workers.
const LOOKS: [&str; 6] =
    ["/", "/workers", "/jobs", "/api/v1/stats", "/api/v1/workers", "/api/v1/credits"];

/// How long answers took.
#[derive(Debug, Clone, Default)]
pub struct Times {
    pub answers: usize,
    pub failures: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

/// What a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Use {
    pub(super) memory_mib: u64,
    pub(super) memory_peak_mib: u64,
    pub(super) cpu: Duration,
}

/// Looks until it is stopped.
pub(super) struct Prober {
    stop: SyncSender<()>,
    thread: JoinHandle<Times>,
    manager: u32,
}

impl Prober {
    /// Looks as the user of this token at the dashboard that process `manager` serves.
    pub(super) fn start(base: &str, token: &str, manager: u32) -> Self {
        let api = Api::new(base, ANSWER_LIMIT).logged_in(token);
        let (stop, stopped) = sync_channel(1);
        let thread = thread::spawn(move || {
            let (mut times, mut failures) = (Vec::new(), 0);
            for look in LOOKS.iter().cycle() {
                let clock = Stopwatch::start();
                match api.look_at(look) {
                    Ok(answer) if answer.status == 200 => times.push(clock.elapsed()),
                    Ok(_) | Err(_) => failures += 1,
                }
                match stopped.recv_timeout(PAUSE) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            Times::of(times, failures)
        });
        Self { stop, thread, manager }
    }

    pub(super) fn stop(self) -> (Times, Use) {
        let used = Use::of(self.manager);
        let _ = self.stop.send(());
        (self.thread.join().unwrap_or_default(), used)
    }
}

impl Times {
    fn of(mut times: Vec<Duration>, failures: usize) -> Self {
        times.sort();
        // The value below which so many of a thousand lie (nearest rank).
        let at = |permille: usize| {
            let rank = (times.len() * permille).div_ceil(1000).max(1);
            times.get(rank - 1).copied().unwrap_or_default()
        };
        Self { answers: times.len(), failures, p50: at(500), p99: at(990), max: at(1000) }
    }
}

impl Use {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            kib.unwrap_or(0) / 1024
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Fields 14 and 15 of proc_pid_stat(5), in hundredths of a second, counted after the name.
        let fields =
            stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').skip(11).take(2);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        let cpu = Duration::from_millis(ticks * 10);
        Self { memory_mib: mib("VmRSS:"), memory_peak_mib: mib("VmHWM:"), cpu }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Times, Use};

    #[test]
    fn percentiles_are_values_that_occurred() {
        let times = Times::of((1..=200).rev().map(Duration::from_millis).collect(), 3);
        let ms = [times.p50, times.p99, times.max].map(|time| time.as_millis());
        assert_eq!((ms, times.answers, times.failures), ([100, 198, 200], 200, 3));
        assert_eq!(Times::of(Vec::new(), 0).max, Duration::ZERO);
    }

    #[test]
    fn the_own_process_uses_something() {
        let used = Use::of(std::process::id());
        assert!(used.memory_mib > 0 && used.memory_peak_mib >= used.memory_mib, "{used:?}");
    }
}
