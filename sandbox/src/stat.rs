//! What tasks find for `/proc/stat`, which counts each interrupt of the owner's keyboard.

use std::fs;
use std::io;

/// The kernel's file, and where tasks look for it.
pub const STAT: &str = "/proc/stat";

/// The file as it is now, in the form that programs need, without interrupts and switches.
///
/// # Errors
///
/// Those of reading it.
pub fn still() -> io::Result<String> {
    fs::read_to_string(STAT).map(|stat| of(&stat))
}

/// Only the processors' times and the machine's start are kept.
fn of(stat: &str) -> String {
    let is_kept = |line: &&str| line.starts_with("cpu") || line.starts_with("btime ");
    let kept: String = stat.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
    let softirq = "softirq 0 0 0 0 0 0 0 0 0 0 0";
    format!("{kept}intr 0\nctxt 0\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n{softirq}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_are_left_out_and_processors_are_not() {
        let stat = "cpu  9 1 8\ncpu0 5 1 4\ncpu1 4 0 4\nintr 77 1 2\nctxt 5\nbtime 17\n\
                    processes 6\nprocs_running 3\nprocs_blocked 0\nsoftirq 5 1\n";
        assert_eq!(
            of(stat),
            "cpu  9 1 8\ncpu0 5 1 4\ncpu1 4 0 4\nbtime 17\nintr 0\nctxt 0\nprocesses 1\n\
             procs_running 1\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n"
        );
    }
}
