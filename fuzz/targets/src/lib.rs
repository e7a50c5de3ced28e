//! What the fuzzer runs on hostile bytes: one function a target, which panics if a promise is broken.
//!
//! The fuzzer's binaries and the test that replays the kept inputs call the same functions.

pub mod archive;
pub mod arrays;
pub mod credential;
pub mod front_door;
pub mod manifest;
pub mod messages;
pub mod outputs;
pub mod packages;
pub mod rest;
pub mod texts;
pub mod wire;

/// What came of an input that broke no promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was well-formed, so that what lies behind the first check was tried as well.
    Taken,
    Refused,
}

/// A target by the name of its binary and of its folder of inputs.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]) -> Verdict,
}

/// All targets, in the order of their names.
pub const ALL: &[Target] = &[
    Target { name: "archive", run: archive::run },
    Target { name: "arrays", run: arrays::run },
    Target { name: "bulk", run: messages::bulk },
    Target { name: "credential", run: credential::run },
    Target { name: "enrolment", run: messages::enrolment },
    Target { name: "frames", run: wire::frames },
    Target { name: "front_door", run: front_door::run },
    Target { name: "header", run: packages::header },
    Target { name: "hello", run: wire::hello },
    Target { name: "lock", run: packages::lock },
    Target { name: "manifest", run: manifest::run },
    Target { name: "outputs", run: outputs::run },
    Target { name: "requirements", run: packages::requirements },
    Target { name: "rest", run: rest::run },
    Target { name: "submit", run: rest::submit },
    Target { name: "texts", run: texts::run },
    Target { name: "to_manager", run: messages::to_manager },
    Target { name: "to_worker", run: messages::to_worker },
    Target { name: "uv_lock", run: packages::uv_lock },
    Target { name: "version_4", run: messages::version_4 },
];

impl Verdict {
    /// Of something that was read, or not.
    fn of<T>(read: Option<T>) -> Self {
        if read.is_some() { Self::Taken } else { Self::Refused }
    }
}

/// The first byte, which chooses between several kinds of input, and the rest.
fn choice(bytes: &[u8]) -> Option<(u8, &[u8])> {
    bytes.split_first().map(|(&first, rest)| (first, rest))
}
