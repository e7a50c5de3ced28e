//! What to do next after a task has failed, where its outcome does not say so itself.

use campusgrid_protocol::task::{Failure, WorkerFault};

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
    let faults = [
        WorkerFault::Sandbox { message: none() },
        WorkerFault::Environment { message: none() },
        WorkerFault::Engine { message: none() },
        WorkerFault::Gpu { message: none() },
        WorkerFault::LeaseOver,
        WorkerFault::Restarted,
        WorkerFault::Leaving,
    ];
    if faults.iter().any(|fault| begins(fault.to_string())) {
        return "That was the grid's fault, and nothing was charged: submit it again, or tell the \
                owner of the worker.";
    }
    ""
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::task::{Failure, WorkerFault};

    use super::next_step;

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
        assert_eq!(next_step(""), "");
    }
}
