//! Where the socket is, and how to name it to the system, which takes no path of more than 107 bytes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const NAME: &str = "manager.sock";

/// `sun_path` of unix(7), less its final zero. Bytes.
const PATH_MAX_BYTES: usize = 107;

/// A path of the socket that the system takes, as long as this is kept.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// Which a long path goes by.
    _directory: Option<File>,
}

impl Place {
    /// In this data directory.
    ///
    /// # Errors
    ///
    /// If the directory cannot be opened.
    pub(super) fn of(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(NAME);
        if path.as_os_str().as_bytes().len() <= PATH_MAX_BYTES {
            return Ok(Self { path, _directory: None });
        }
        let directory = File::open(data_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd()));
        Ok(Self { path, _directory: Some(directory) })
    }
}
