//! The command of a step, made ready so that a process has little left to do to become it.

use std::ffi::CString;
use std::io::{self, Write};

use nix::errno::Errno;
use nix::unistd::{execve, setsid};

use crate::order::Ending;
use crate::plan::SandboxError;

use super::{host, kernel};

/// What a shell answers for a command that it cannot find, and for one that it cannot execute.
pub(super) const NOT_FOUND: i32 = 127;
pub(super) const NOT_EXECUTABLE: i32 = 126;

/// What a step executes.
pub(super) struct Program {
    name: String,
    /// Where it may be, in order.
    places: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    pub(super) fn new(argv: &[String], environment: &[(String, String)]) -> Self {
        let text = |text: String| CString::new(text).expect("a checked plan has no NUL in it");
        let name = argv[0].clone();
        let path = environment.iter().find(|(name, _)| name == "PATH");
        let path = path.map_or("/usr/bin:/bin", |(_, value)| value.as_str());
        let places = match name.contains('/') {
            true => vec![text(name.clone())],
            false => path.split(':').map(|place| text(format!("{place}/{name}"))).collect(),
        };
        let variables = environment.iter().map(|(name, value)| text(format!("{name}={value}")));
        let arguments = argv.iter().cloned().map(text).collect();
        Self { name, places, arguments, environment: variables.collect() }
    }

    /// Runs it to its end, reaping what else becomes ours meanwhile.
    pub(super) fn run(&self) -> Result<Ending, SandboxError> {
        let started = kernel::fork_to_execute(&mut || self.become_it());
        let step = host("start the step", started)?;
        loop {
            let death = host("wait for the step", kernel::wait_and_reap())?;
            if death.pid == step {
                return Ok(death.ending);
            }
        }
    }

    /// Executes it. Returns the exit code to end with if that is impossible.
    pub(super) fn become_it(&self) -> i32 {
        let ready = setsid()
            .and_then(|_| kernel::reset_signals())
            .and_then(|()| kernel::close_most())
            .err();
        let errno = ready.unwrap_or_else(|| self.execute());
        let _closed = writeln!(io::stderr(), "{}: {}", self.name, errno.desc());
        if errno == Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTABLE }
    }

    /// Tries all places; returns the error that says most.
    fn execute(&self) -> Errno {
        let mut found = Errno::ENOENT;
        for place in &self.places {
            let Err(errno) = execve(place, &self.arguments, &self.environment);
            if !matches!(errno, Errno::ENOENT | Errno::ENOTDIR) {
                found = errno;
            }
        }
        found
    }
}
