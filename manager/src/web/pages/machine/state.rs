//! How a machine is, in words, and why it does nothing.

use campusgrid_protocol::resource::Speed;
use campusgrid_protocol::rest::workers::Worker;
use campusgrid_protocol::rules::Phase;

use crate::web::words;

/// How a machine is, and how that looks.
pub(in crate::web::pages) fn of(worker: &Worker) -> (String, &'static str) {
    match (worker.silent_ms, worker.phase) {
        (Some(silent_ms), _) => (format!("silent for {}", words::span(silent_ms)), "silent"),
        (None, _) if !worker.online => ("offline".to_owned(), "offline"),
        (None, _) if worker.set_aside.is_some() => ("set aside".to_owned(), "silent"),
        (None, Some(Phase::Frozen)) => ("standing still".to_owned(), "silent"),
        (None, Some(Phase::Closed)) => ("not shared".to_owned(), "offline"),
        (None, Some(Phase::Open) | None) => ("online".to_owned(), "online"),
    }
}

/// Why it does nothing, for its owner, while so many tasks wait on the whole grid; empty if it runs
/// something, is not connected, or something else says why already.
pub(in crate::web::pages) fn why_idle(worker: &Worker, waiting: u64) -> String {
    if !worker.online || worker.set_aside.is_some() {
        return String::new();
    }
    let why = words::one_line(&worker.why);
    if worker.phase.is_none() {
        return "It runs an older version of the worker, which knows no rules: update it there."
            .to_owned();
    }
    match worker.phase {
        Some(Phase::Frozen) => format!("Its tasks stand still: {why}."),
        Some(Phase::Closed) => format!("Not shared: {why}."),
        Some(Phase::Open) | None if worker.running > 0 => String::new(),
        Some(Phase::Open) | None if waiting == 0 => {
            "It takes tasks; none waits right now.".to_owned()
        }
        Some(Phase::Open) | None => {
            "It takes tasks; those that wait are to be bid for, need more or something else, pay less \
             than it asks, or are kept out by its rules."
                .to_owned()
        }
    }
}

/// How fast it is, in words.
pub(in crate::web::pages) fn speed(speed: Speed) -> String {
    let times = |permille: u32| format!("{}.{}", permille / 1000, permille % 1000 / 100);
    format!("speed {} a core, {} in all", times(speed.core_permille), times(speed.all_permille))
}
