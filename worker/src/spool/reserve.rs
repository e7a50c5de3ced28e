//! Room that is kept for short ends, so that a worker whose disk is full can still keep why.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::PathBuf;

use nix::fcntl::posix_fallocate;
use tracing::debug;

/// For as many ends as may come while nobody frees space.
const WHOLE_BYTES: u64 = 1 << 20;

/// Given up at once: more than the longest end without blobs needs, and no more than that, since
/// whoever else has filled the disk takes what becomes free.
const STEP_BYTES: u64 = 64 << 10;

/// A file whose blocks are taken.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Takes back what was given up, as far as the disk has room. That it has none is no error: the
    /// next call tries again.
    pub(super) fn fill(&self) {
        let length = fs::metadata(&self.path).map_or(0, |facts| facts.len());
        if length >= WHOLE_BYTES {
            return;
        }
        let fill = || {
            let file =
                OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
            Ok::<(), io::Error>(posix_fallocate(&file, 0, WHOLE_BYTES.cast_signed())?)
        };
        if let Err(error) = fill() {
            debug!("no room could be kept for short results: {error}");
        }
    }

    /// Frees one step; false if there is nothing left.
    pub(super) fn give_up_some(&self) -> bool {
        let shrink = || {
            let file = OpenOptions::new().write(true).open(&self.path)?;
            let length = file.metadata()?.len();
            file.set_len(length.saturating_sub(STEP_BYTES))?;
            Ok::<u64, io::Error>(length)
        };
        shrink().is_ok_and(|length| length > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_up_in_steps_and_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::at(dir.path().join("reserve"));
        assert!(!reserve.give_up_some(), "there is none yet");
        reserve.fill();
        let facts = fs::metadata(dir.path().join("reserve")).unwrap();
        assert_eq!(facts.len(), WHOLE_BYTES);
        assert!(std::os::unix::fs::MetadataExt::blocks(&facts) * 512 >= WHOLE_BYTES, "not a hole");
        for _step in 0..WHOLE_BYTES / STEP_BYTES {
            assert!(reserve.give_up_some());
        }
        assert!(!reserve.give_up_some());
        reserve.fill();
        assert_eq!(fs::metadata(dir.path().join("reserve")).unwrap().len(), WHOLE_BYTES);
    }
}
