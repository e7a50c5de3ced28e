//! The process above one task: makes its room, runs its steps, and outlives all of it.
//!
//! It is the worker's own binary, executed afresh with an empty environment: small, with a single
//! thread (parent-death signals belong to threads), and cheap to fork from. It ends when the
//! daemon's side of its socket does, however that comes about, and kills the task first; so neither
//! a crash of the daemon nor a dropped future leaves anything alive.

mod bare;
mod bwrap;
mod link;
mod processes;
mod room;
mod step;

use std::io;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::statvfs::statvfs;

use crate::order::{Event, Walls};
use crate::plan::SandboxError;
use link::Link;
use step::Children;

/// The first argument that makes a worker's binary a helper.
pub const HELPER_ARGUMENT: &str = "__sandbox";

/// Serves one task over the socket that is standard input, then exits.
///
/// To be called before the program starts a thread or opens a file, when its first argument is
/// [`HELPER_ARGUMENT`].
pub fn helper_main() -> ! {
    let code = match Link::open() {
        Ok(mut link) => {
            if let Err(error) = serve(&mut link) {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                let message = match cause {
                    Some(cause) => format!("{error}: {cause}"),
                    None => error.to_string(),
                };
                link.tell(&Event::Failed { message });
                link.wait_for_the_end();
            }
            0
        }
        Err(_) => 1, // Nobody is there to be told.
    };
    std::process::exit(code)
}

fn serve(link: &mut Link) -> Result<(), SandboxError> {
    let failed = |operation| move |source| SandboxError::Host { operation, source };
    let mut children =
        Children::adopt().map_err(failed("become the parent of what is orphaned"))?;
    let Some(order) = link.receive().map_err(failed("receive the plan"))? else {
        return Ok(()); // Never needed.
    };
    let order = room::enter(order)?;
    link.receive_files(&order)?;

    for step in 0..order.steps.len() {
        if !children.run(link, &order, step)? || link.is_stopped() {
            break;
        }
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_err(|errno| failed("read what the task used")(errno.into()))?;
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    let cpu_us = micros(usage.user_time()) + micros(usage.system_time());
    let done = Event::Done {
        scratch_full: is_full(&order.walls),
        cpu_ms: u64::try_from(cpu_us / 1000).unwrap_or(0),
        ram_peak_kib: u64::try_from(usage.max_rss()).unwrap_or(0),
    };
    link::close_streams().map_err(failed("close the task's streams"))?;
    link.tell(&done);
    // The scratch space lives as long as this process: the daemon collects from it now.
    link.wait_for_the_end();
    Ok(())
}

/// Whether the scratch space has no block or no file left.
fn is_full(walls: &Walls) -> bool {
    match walls {
        Walls::Namespaces { .. } => statvfs(walls.scratch())
            .is_ok_and(|scratch| scratch.blocks_available() == 0 || scratch.files_available() == 0),
        Walls::Nothing { .. } => false, // It is the machine's own file system.
    }
}

/// Tells a failed system call as ours.
fn host<T>(operation: &'static str, result: nix::Result<T>) -> Result<T, SandboxError> {
    result.map_err(|errno| SandboxError::Host { operation, source: io::Error::from(errno) })
}

/// Tells a failed operation of the standard library as ours.
fn io_failed<T>(operation: &'static str, result: io::Result<T>) -> Result<T, SandboxError> {
    result.map_err(|source| SandboxError::Host { operation, source })
}
