//! The policy file as it stands: read when the worker starts and whenever it has changed.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use campusgrid_protocol::rules::Rules;

use crate::policy;

/// What tells one state of the file from another, without reading it.
type Stamp = Option<(SystemTime, u64)>;

/// A file that may come, change and go.
#[derive(Debug)]
pub(super) struct PolicyFile {
    path: PathBuf,
    stamp: Stamp,
    /// Whether there is one.
    is_there: bool,
}

impl PolicyFile {
    /// Reads it for the first time; what it says, or why it cannot be followed.
    pub(super) fn open(path: PathBuf) -> (Self, Result<Rules, String>) {
        let mut file = Self { path, stamp: None, is_there: false };
        file.stamp = file.look();
        let policy = file.read();
        (file, policy)
    }

    /// What it says if it has changed since it was read last.
    pub(super) fn changed(&mut self) -> Option<Result<Rules, String>> {
        let stamp = self.look();
        if stamp == self.stamp {
            return None;
        }
        self.stamp = stamp;
        Some(self.read())
    }

    /// Where it is, if it is there.
    pub(super) fn words(&self) -> Option<String> {
        self.is_there.then(|| self.path.display().to_string())
    }

    fn look(&self) -> Stamp {
        let metadata = fs::metadata(&self.path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    fn read(&mut self) -> Result<Rules, String> {
        let read = policy::read(&self.path);
        self.is_there = !matches!(read, Ok(None));
        read.map(|rules| rules.unwrap_or_else(policy::permissive))
            .map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_as_it_stands_now() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("policy.toml");
        let (mut file, first) = PolicyFile::open(path.clone());
        assert_eq!(first, Ok(policy::permissive()));
        assert!(file.changed().is_none() && file.words().is_none());
        fs::write(&path, "[limits]\ncores = 1\n").unwrap();
        assert_eq!(file.changed().unwrap().unwrap().limits.cores, Some(1));
        assert!(file.changed().is_none() && file.words().is_some());
        fs::write(&path, "[limits]\nnonsense = 1\n").unwrap();
        assert!(file.changed().unwrap().unwrap_err().contains("nonsense"));
        fs::remove_file(&path).unwrap();
        assert_eq!(file.changed(), Some(Ok(policy::permissive())));
    }
}
