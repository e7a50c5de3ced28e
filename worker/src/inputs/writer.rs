//! Writes contents as they come, on a thread of its own, and keeps those that are what their names say.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use campusgrid_protocol::id::BlobHash;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::cache::{Fetching, keep_all};

/// Pieces that wait for the disk.
const WAITING: usize = 16;

const BUFFER_BYTES: usize = 128 << 10;

/// What comes, in the order of the claims.
#[derive(Debug)]
pub(super) enum Part {
    /// The next content begins, where it was left.
    Next,
    Data(Vec<u8>),
}

/// Why writing came to its end before the last content was whole.
#[derive(Debug)]
pub(super) enum WriteError {
    Damaged(BlobHash),
    Disk(io::Error),
}

/// What has become of the claims.
#[derive(Debug)]
pub(super) struct Written {
    /// Those that are not whole yet.
    pub(super) left: Vec<Fetching>,
    pub(super) error: Option<WriteError>,
}

/// Writes what is sent until the sender is gone. The claims are given back by the thread that writes:
/// nobody else can begin with the same contents before it has ended.
pub(super) fn write(claims: Vec<Fetching>) -> (mpsc::Sender<Part>, JoinHandle<Written>) {
    let (sender, mut parts) = mpsc::channel(WAITING);
    let writing = tokio::task::spawn_blocking(move || {
        let mut left = claims.into_iter();
        let mut whole = Vec::new();
        let mut error = write_all(&mut left, &mut whole, &mut parts).err();
        let mut left: Vec<Fetching> = left.collect();
        if let Err((failed, unkept)) = keep_all(whole) {
            error.get_or_insert(WriteError::Disk(failed));
            left.extend(unkept);
        }
        Written { left, error }
    });
    (sender, writing)
}

/// Takes whole contents out of `left`.
fn write_all(
    left: &mut std::vec::IntoIter<Fetching>,
    whole: &mut Vec<Fetching>,
    parts: &mut mpsc::Receiver<Part>,
) -> Result<(), WriteError> {
    while let Some(Part::Next) = parts.blocking_recv() {
        let Some(claim) = left.as_slice().first() else { return Ok(()) };
        let mut content = Content::resume(claim).map_err(WriteError::Disk)?;
        while content.missing_bytes > 0 {
            match parts.blocking_recv() {
                Some(Part::Data(bytes)) => content.append(&bytes).map_err(WriteError::Disk)?,
                Some(Part::Next) | None => return Ok(()),
            }
        }
        if *content.hasher.finalize().as_bytes() != claim.blob().hash.0 {
            let hash = claim.blob().hash;
            claim.begin_anew().map_err(WriteError::Disk)?;
            return Err(WriteError::Damaged(hash));
        }
        whole.extend(left.next());
    }
    Ok(())
}

/// The content of the moment.
struct Content {
    file: File,
    hasher: blake3::Hasher,
    missing_bytes: u64,
}

impl Content {
    /// Reads what is there of it; the rest is to be appended.
    fn resume(claim: &Fetching) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(claim.partial())?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut here_bytes = 0;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            here_bytes += read as u64;
        }
        let missing_bytes = claim.blob().size_bytes.saturating_sub(here_bytes);
        Ok(Self { file, hasher, missing_bytes })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)?;
        self.missing_bytes = self.missing_bytes.saturating_sub(bytes.len() as u64);
        Ok(())
    }
}
