//! The list of a job's files, which a worker gets from a manager that it has to trust with its disk.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use campusgrid_protocol::input::{INPUTS_MAX, Manifest};

use crate::Verdict;

/// A blob's content.
pub fn run(bytes: &[u8]) -> Verdict {
    let Ok(manifest) = Manifest::decode(bytes) else { return Verdict::Refused };
    assert!(manifest.files.len() <= INPUTS_MAX);
    assert_eq!(Manifest::decode(&manifest.encode()).expect("what was encoded"), manifest);
    let mut directories = BTreeSet::new();
    let mut files = BTreeSet::new();
    for file in &manifest.files {
        let path = Path::new(&file.path);
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
        assert!(files.insert(path), "{path:?} is there twice");
        directories.extend(path.ancestors().skip(1));
    }
    assert!(files.is_disjoint(&directories), "a file is where a directory has to be");
    Verdict::Taken
}
