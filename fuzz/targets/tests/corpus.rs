//! Replays on every test run what the fuzzer was given and what it has found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use campusgrid_fuzz_targets::{ALL, Verdict};

/// All inputs together; more of them find little that these do not. Bytes.
const CORPORA_MAX_BYTES: u64 = 1 << 20;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let path = |entry: std::io::Result<fs::DirEntry>| entry.expect("it can be read").path();
    let mut files: Vec<PathBuf> = entries.map(path).collect();
    files.sort();
    files
}

#[test]
fn every_kept_input_keeps_the_promises_and_some_pass_the_first_check() {
    let mut bytes = 0;
    for target in ALL {
        let inputs = files(&fuzz().join("corpus").join(target.name));
        let verdicts = inputs.iter().map(|path| {
            let input = fs::read(path).unwrap();
            bytes += input.len() as u64;
            (target.run)(&input)
        });
        let taken = verdicts.filter(|verdict| *verdict == Verdict::Taken).count();
        // Inputs that are all refused at once try nothing: messages have changed, and they have not.
        assert!(taken > 0, "none of {} inputs of {} is taken", inputs.len(), target.name);
    }
    assert!(bytes <= CORPORA_MAX_BYTES, "{bytes} bytes of inputs");
}

#[test]
fn every_target_has_a_binary_and_inputs() {
    let stems = |folder: &str| -> BTreeSet<String> {
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        files(&fuzz().join(folder)).into_iter().map(stem).collect()
    };
    let all: BTreeSet<String> = ALL.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(stems("fuzz_targets"), all);
    assert_eq!(stems("corpus"), all);
    assert!(ALL.is_sorted_by(|a, b| a.name < b.name));
}
