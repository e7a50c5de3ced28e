//! What to do next after a task has failed, where its outcome does not say so itself.

use campusgrid_protocol::task::{Failure, WorkerFault};

/// How the core begins the words for a task that it gives up.
const GIVEN_UP: &str = "given up by the grid and refunded: ";

/// What it says of one that machine after machine was lost with.
const LOST_ON_ALL: &str = "three different workers were lost";

/// A sentence for the submitter of a task that ended with this outcome, as its words are kept;
/// empty if the words say what to do.
pub(super) fn next_step(outcome: &str) -> &'static str {
    let none = String::new;
    // The words of these begin alike, whatever the message.
    let begins = |words: String| outcome.starts_with(&words);
    if begins(Failure::Requirements { message: none() }.to_string()) {
        return "Check the names and the versions; only wheels can be installed, and nothing is \
                built from source.";
    }
    if begins(Failure::Image { message: none() }.to_string()) {
        return "The submit form lists the images that workers hold ready.";
    }
    if outcome.contains(LOST_ON_ALL) {
        return "Maybe it takes machines down: ask for more memory if it needs more, and try it on a \
                machine of your own. Nothing was charged.";
    }
    let faults = [
        WorkerFault::Sandbox { message: none() },
        WorkerFault::Environment { message: none() },
        WorkerFault::Engine { message: none() },
        WorkerFault::Gpu { message: none() },
        WorkerFault::Disk { message: none() },
        WorkerFault::Inputs { message: none() },
        WorkerFault::LeaseOver,
        WorkerFault::Restarted,
        WorkerFault::Leaving,
    ];
    let of_grid = outcome.strip_prefix(GIVEN_UP).unwrap_or(outcome);
    if faults.iter().any(|fault| of_grid.starts_with(&fault.to_string())) {
        return "That was the grid's fault, and nothing was charged: submit it again, or tell the \
                owner of the worker.";
    }
    ""
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::task::{Failure, WorkerFault};

    use super::{GIVEN_UP, LOST_ON_ALL, next_step};

    #[test]
    fn faults_of_the_grid_are_told_from_those_of_the_job() {
        let message = || "no such thing".to_owned();
        let requirements = Failure::Requirements { message: message() }.to_string();
        assert!(next_step(&requirements).contains("wheels"));
        let image = Failure::Image { message: message() }.to_string();
        assert!(next_step(&image).contains("images"));
        for fault in [
            WorkerFault::Engine { message: message() },
            WorkerFault::Gpu { message: message() },
            WorkerFault::LeaseOver,
        ] {
            assert!(next_step(&fault.to_string()).contains("nothing was charged"), "{fault}");
        }
        for failure in [Failure::OutOfMemory { limit_mib: 64 }, Failure::ExitCode(1)] {
            assert_eq!(next_step(&failure.to_string()), "", "{failure}");
        }
        let given_up = format!("{GIVEN_UP}{}", WorkerFault::LeaseOver);
        assert!(next_step(&given_up).contains("nothing was charged"));
        let poison =
            format!("{GIVEN_UP}{LOST_ON_ALL} while they ran it: worker 1 (a) in attempt 1");
        assert!(next_step(&poison).contains("takes machines down"));
        assert_eq!(next_step(""), "");
    }
}
