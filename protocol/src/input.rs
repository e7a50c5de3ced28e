//! The files that a job brings: each by its path and content, all of them as one manifest, which is a
//! blob itself.

use serde::{Deserialize, Serialize};

use crate::frame::{self, FrameError};
use crate::task::BlobRef;
use crate::text::{TextError, check_path};

/// Most input files of one job.
pub const INPUTS_MAX: usize = 20_000;

/// A manifest is at most this long. Bytes.
pub const MANIFEST_MAX_BYTES: usize = 8 << 20;

/// A file that a job brings; every task of it sees it, read-only, at this path in its directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Relative, `/` between its parts, checked by [`check_path`].
    pub path: String,
    pub blob: BlobRef,
    pub executable: bool,
}

/// All files of a job, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub files: Vec<InputFile>,
}

/// Why these bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("it cannot be read")]
    Decode(#[source] FrameError),
    #[error("it has more than {INPUTS_MAX} files")]
    TooMany,
    #[error("{path:?} {error}")]
    Path { path: String, error: TextError },
    #[error("{path:?} is there twice, or as a file and a directory")]
    Twice { path: String },
}

impl Manifest {
    /// The files in the order of their paths, each path once, no file where another needs a directory.
    ///
    /// # Errors
    ///
    /// `TooMany`, `Path`, `Twice`.
    pub fn check(mut files: Vec<InputFile>) -> Result<Self, ManifestError> {
        if files.len() > INPUTS_MAX {
            return Err(ManifestError::TooMany);
        }
        // By parts, so that what lies in a directory follows it at once.
        files.sort_by(|one, other| one.path.split('/').cmp(other.path.split('/')));
        for file in &files {
            let path = || file.path.clone();
            check_path(&file.path).map_err(|error| ManifestError::Path { path: path(), error })?;
        }
        for pair in files.windows(2) {
            let rest = pair[1].path.strip_prefix(pair[0].path.as_str());
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                return Err(ManifestError::Twice { path: pair[1].path.clone() });
            }
        }
        Ok(Self { files })
    }

    /// As a blob's content.
    pub fn encode(&self) -> Vec<u8> {
        frame::encode_manifest(self).expect("as many files as it takes fit")
    }

    /// Reads a blob's content, which may be anything.
    ///
    /// # Errors
    ///
    /// All of [`ManifestError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let found: Self = frame::decode_manifest(bytes).map_err(ManifestError::Decode)?;
        Self::check(found.files)
    }
}

#[cfg(test)]
mod tests {
    use super::{InputFile, Manifest, ManifestError};
    use crate::samples;

    fn files(paths: &[&str]) -> Vec<InputFile> {
        let file = |path: &&str| InputFile {
            path: (*path).to_owned(),
            blob: samples::blob(),
            executable: false,
        };
        paths.iter().map(file).collect()
    }

    #[test]
    fn a_manifest_is_read_back() {
        let manifest = Manifest::check(files(&["b", "a/c", "a.b", "a/b/c"])).unwrap();
        let paths: Vec<_> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/b/c", "a/c", "a.b", "b"]);
        assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
    }

    #[test]
    fn paths_do_not_collide_or_leave() {
        for paths in [&["a", "a"][..], &["a/b", "a"], &["a", "a.b", "a/b"]] {
            assert!(matches!(Manifest::check(files(paths)), Err(ManifestError::Twice { .. })));
        }
        for path in ["/a", "../a", "a/../b", "", "a//b"] {
            let found = Manifest::check(files(&[path]));
            assert!(matches!(found, Err(ManifestError::Path { .. })), "{path}");
        }
    }
}
