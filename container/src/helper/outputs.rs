//! Sends what is to be kept of a task's directory, when nothing of it is alive.
//!
//! The worker checks all that the walk has bounded again.

use std::fs::File;
use std::io::{self, Read};

use campusgrid_sandbox::walk::{Bounds, Taker, Wanted, walk};

use super::link::Link;
use crate::event::{Event, JOB, NAMED_MAX, Order};
use crate::wire::{Kind, PIECE_BYTES};

/// Names looked at in all, which must not take the memory that the task has left either.
const ENTRIES_MAX: usize = 20_000;

/// Sends what a walk finds.
pub(super) struct Sending<'a> {
    link: &'a mut Link,
    left: usize,
}

/// Sends the outputs and what is to be said of them.
///
/// # Errors
///
/// Those of the link, and of files that cannot be read though they can be opened.
pub(super) fn send(link: &mut Link, order: &Order) -> io::Result<()> {
    let bounds = Bounds { files: order.outputs, bytes: order.outputs_bytes, entries: ENTRIES_MAX };
    let mut sending = Sending::new(link);
    let wanted = Wanted { patterns: &order.patterns, except: &order.given };
    walk(File::open(JOB)?.into(), "", wanted, bounds, &mut sending)?;
    let unnamed = sending.left.saturating_sub(NAMED_MAX);
    link.tell(&Event::Collected { unnamed: u32::try_from(unnamed).unwrap_or(u32::MAX) })
}

impl<'a> Sending<'a> {
    pub(super) fn new(link: &'a mut Link) -> Self {
        Self { link, left: 0 }
    }
}

impl Taker for Sending<'_> {
    fn take(&mut self, path: &str, file: File, size_bytes: u64) -> io::Result<()> {
        self.link.tell(&Event::File { path: path.to_owned(), size_bytes })?;
        let mut source = file.take(size_bytes);
        let mut buffer = [0; PIECE_BYTES];
        loop {
            let read = source.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            self.link.send(Kind::Data, &buffer[..read])?;
        }
    }

    fn leave(&mut self, path: &str, why: &str) -> io::Result<()> {
        self.left += 1;
        if self.left > NAMED_MAX {
            return Ok(());
        }
        let path = path.chars().take(200).collect();
        self.link.tell(&Event::Left { path, why: why.to_owned() })
    }
}
