//! Signals to all processes of the container but this one.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// All processes that this one may signal, itself excepted: all others of the container.
pub(super) const EVERYBODY: Pid = Pid::from_raw(-1);

/// How often processes are looked for that still run after all were stopped, and the pause between:
/// one may just have woken another.
const ROUNDS: u32 = 200;
const ROUND: Duration = Duration::from_millis(1);

pub(super) fn signal_all(signal: Signal) {
    let _nobody = kill(EVERYBODY, signal);
}

/// Stops all, and looks until none runs.
pub(super) fn freeze() {
    for _ in 0..ROUNDS {
        signal_all(Signal::SIGSTOP);
        if is_still() {
            return;
        }
        thread::sleep(ROUND);
    }
}

/// Whether all others are stopped, or dead.
fn is_still() -> bool {
    let own = std::process::id().to_string();
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut others = pids.filter(|pid| *pid != own && pid.parse::<u32>().is_ok());
    others.all(|pid| match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => is_stopped(&stat),
        Err(_) => true, // It is gone.
    })
}

fn is_stopped(stat: &str) -> bool {
    // Field 3 of proc_pid_stat(5), after the name, which may hold anything.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::is_stopped;

    #[test]
    fn a_name_is_not_taken_for_a_state() {
        assert!(!is_stopped("7 (a) T 1 (b) R 3 7 7 0"));
        assert!(is_stopped("7 (sleep) T 3 7 7 0"));
    }
}
