//! Archives of every form: whatever they say, what comes of them are plain files of names that lead
//! nowhere else, each once, no more and no larger than may be.

use std::collections::BTreeSet;
use std::io::Cursor;

use campusgrid_manager::archive::{self, ArchiveError, Kind, Limits, Part, Stopped};
use campusgrid_protocol::text::{check_path, is_hidden};

use crate::{Verdict, choice};

/// Few and short, so that the fuzzer finds what lies behind them.
const LIMITS: Limits = Limits { files: 6, file_bytes: 4096, all_bytes: 8192 };

/// The first byte says of what form the rest is.
pub fn run(bytes: &[u8]) -> Verdict {
    let Some((form, archive)) = choice(bytes) else { return Verdict::Refused };
    let kind = match form % 4 {
        0 => Kind::Zip,
        1 => Kind::Tar,
        2 => Kind::TarGz,
        _ => Kind::TarZst,
    };
    let (mut paths, mut is_open, mut current, mut all) = (Vec::new(), false, 0, 0);
    let read = archive::read(kind, Cursor::new(archive), LIMITS, |part| -> Result<(), ()> {
        match part {
            Part::File { path, executable: _ } => {
                assert!(!is_open, "a file within a file");
                check_path(&path).expect("a name that leads elsewhere");
                (is_open, current) = (true, 0);
                paths.push(path);
            }
            Part::Data(piece) => {
                assert!(is_open && !piece.is_empty());
                current += piece.len() as u64;
                all += piece.len() as u64;
            }
            Part::End => {
                assert!(is_open, "an end without a file");
                is_open = false;
            }
        }
        assert!(paths.len() <= LIMITS.files && current <= LIMITS.file_bytes);
        assert!(all <= LIMITS.all_bytes);
        Ok(())
    });
    match read {
        Ok(()) => {}
        Err(Stopped::Archive(ArchiveError::Read(error))) => panic!("memory can be read: {error}"),
        Err(Stopped::Archive(error)) => {
            let words = error.to_string();
            assert!(words.len() < 2048 && !words.contains(is_hidden), "{words}");
            return Verdict::Refused;
        }
        Err(Stopped::Taker(())) => unreachable!("nothing was refused"),
    }
    assert!(!is_open, "a file without an end");
    let distinct: BTreeSet<&String> = paths.iter().collect();
    assert_eq!(distinct.len(), paths.len(), "a name comes twice");
    for path in &paths {
        let is_folder = |other: &&String| other.starts_with(&format!("{path}/"));
        assert_eq!(paths.iter().find(is_folder), None, "a file is a folder as well");
    }
    if paths.is_empty() { Verdict::Refused } else { Verdict::Taken }
}
