//! Sends what a task goes on from: while it stands still, or when nothing of it is alive.

use std::fs::File;
use std::io;

use campusgrid_sandbox::checkpoint::{CHECKPOINT, Print, bounds};
use campusgrid_sandbox::walk::walk_all;
use nix::sys::signal::Signal;

use super::link::Link;
use super::outputs::Sending;
use super::processes::{freeze, signal_all};
use crate::event::{Event, JOB, Order};

/// Stops the task and sends what has changed since it was saved last, if anything has.
///
/// # Errors
///
/// Those of the link, and of files that cannot be read though they can be opened.
pub(super) fn save(link: &mut Link, order: &Order) -> io::Result<()> {
    let bounds = bounds(order.outputs, order.outputs_bytes);
    let print = Print::of(File::open(JOB)?, CHECKPOINT, bounds)?;
    if order.restored.is_none() || print.is_empty() || !link.is_news(print) {
        return link.tell(&Event::Unchanged);
    }
    freeze();
    send(link, order)?;
    if !link.is_frozen() {
        signal_all(Signal::SIGCONT);
    }
    Ok(())
}

/// Sends all of it.
///
/// # Errors
///
/// As those of [`save`].
pub(super) fn send(link: &mut Link, order: &Order) -> io::Result<()> {
    link.tell(&Event::Saving)?;
    let bounds = bounds(order.outputs, order.outputs_bytes);
    walk_all(File::open(JOB)?.into(), CHECKPOINT, bounds, &mut Sending::new(link))?;
    link.tell(&Event::Saved)
}
