//! Files on their way: up to the manager, and down from it.

pub mod download;
pub mod upload;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use campusgrid_protocol::id::BlobHash;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::CliError;
use crate::screen::Screen;

/// Read at once. Bytes: BLAKE3 is fastest on pieces that it can spread over all lanes.
const BUFFER_BYTES: usize = 128 << 10;

/// A bar over bytes, where anybody looks.
pub fn bar(screen: &Screen, size_bytes: u64) -> ProgressBar {
    let style = "{msg:.dim} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    drawn(screen, size_bytes, style)
}

/// A bar over tasks, where anybody looks.
pub fn task_bar(screen: &Screen, tasks: u32) -> ProgressBar {
    drawn(screen, u64::from(tasks), "{bar:30} {pos}/{len} {msg}")
}

fn drawn(screen: &Screen, length: u64, style: &str) -> ProgressBar {
    let target =
        if screen.is_live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    bar.set_style(ProgressStyle::with_template(style).expect("the template is good"));
    bar
}

/// The hash of all that a file holds.
fn hash_of(path: &Path) -> Result<BlobHash, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(BlobHash(*hasher.finalize().as_bytes())),
            read => hasher.update(&buffer[..read]),
        };
    }
}
