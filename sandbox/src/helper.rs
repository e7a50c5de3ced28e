//! The process above the tasks of one lane: makes their room, runs their steps, outlives them.
//!
//! It is the worker's own binary, executed afresh with an empty environment: small, with a single
//! thread (parent-death signals belong to threads), and cheap to fork from. It ends when the
//! daemon's side of its socket does, however that comes about, and kills the task first; so neither
//! a crash of the daemon nor a dropped future leaves anything alive.

mod bare;
mod confined;
mod filter;
mod filtered;
mod init;
pub(crate) mod kernel;
pub(crate) mod landlock;
mod link;
mod privileges;
mod processes;
mod program;
mod room;
mod shelf;
mod step;
mod view;

use std::io;

use nix::unistd::Pid;

use crate::order::{Done, Event};
use crate::plan::SandboxError;
use kernel::Used;
use link::Link;
use room::Room;
use step::{Children, Task};

/// The first argument that makes a worker's binary a helper.
pub const HELPER_ARGUMENT: &str = "__sandbox";

/// Serves the tasks of one lane over the socket that is standard input, then exits.
///
/// To be called before the program starts a thread or opens a file, when its first argument is
/// [`HELPER_ARGUMENT`].
pub fn helper_main() -> ! {
    let code = match Link::open() {
        Ok(mut link) => {
            if let Err(error) = serve(&mut link) {
                link.tell(&Event::Failed { message: chain(&error) });
                link.wait_for_the_end();
            }
            0
        }
        Err(_) => 1, // Nobody is there to be told.
    };
    std::process::exit(code)
}

fn serve(link: &mut Link) -> Result<(), SandboxError> {
    let adopted = Children::adopt();
    let mut children = io_failed("become the parent of what is orphaned", adopted)?;
    let Some(walls) = io_failed("receive what room to make", link.setup())? else {
        return Ok(());
    };
    let mut room = Room::make(walls)?;
    while let Some((order, streams)) = io_failed("receive the plan", link.order())? {
        let order = room.furnish(order, link)?;
        let done = run(&mut children, link, &Task { room: &room, order: &order, streams })?;
        link.tell(&Event::Done(done));
        // The scratch space lies there until it was collected from.
        if !link.is_released() {
            break;
        }
        if room.clear().is_err() {
            break; // Nobody waits for this lane; whoever comes next finds it gone and takes another.
        }
    }
    Ok(())
}

/// Runs all steps, as far as they succeed. The streams end with it.
fn run(children: &mut Children, link: &mut Link, task: &Task) -> Result<Done, SandboxError> {
    let Task { room, order, .. } = task;
    let mut all = Used::default();
    let mut succeeded = true;
    for step in 0..order.steps.len() {
        let used;
        (succeeded, used) = children.run(link, task, step)?;
        all.cpu_us += used.cpu_us;
        all.ram_peak_kib = all.ram_peak_kib.max(used.ram_peak_kib);
        if !succeeded || link.is_stopped() {
            break;
        }
    }
    Ok(Done {
        full: room.full(),
        has_largest_file: !succeeded && room.has_file_of(order.file_bytes),
        cpu_ms: all.cpu_us / 1000,
        ram_peak_kib: all.ram_peak_kib,
    })
}

/// Lets all others of the machine go before this process, and what it will start from now on: in the use
/// of cores and of disks. It must have a single thread.
///
/// # Errors
///
/// The kernel's, when it is not ours or may not be moved.
pub fn step_back(pid: Pid) -> nix::Result<()> {
    kernel::step_back(pid)
}

/// Tells a failed system call as ours.
fn host<T>(operation: &'static str, result: nix::Result<T>) -> Result<T, SandboxError> {
    result.map_err(|errno| SandboxError::Host { operation, source: io::Error::from(errno) })
}

/// Tells a failed operation of the standard library as ours.
fn io_failed<T>(operation: &'static str, result: io::Result<T>) -> Result<T, SandboxError> {
    result.map_err(|source| SandboxError::Host { operation, source })
}

/// An error and its cause.
fn chain(error: &SandboxError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
