//! The stream of a helper in a container: whatever it says, files appear only beneath the folder that
//! they are for, and no more than may be.

use std::fs;
use std::path::Path;
use std::time::Duration;

use campusgrid_container::error::EngineError;
use campusgrid_container::event::Event;
use campusgrid_container::unpack::{Outputs, Part, Unpacking};
use campusgrid_container::wire::{Decoder, Frame, Kind};
use campusgrid_protocol::text::is_hidden;
use campusgrid_sandbox::plan::Limits;

use crate::{Verdict, choice};

/// Few and short, so that the fuzzer finds what lies behind them.
const OUTPUTS_MAX: u32 = 4;
const BYTES_MAX: u64 = 64;

/// Frames, cut as the first byte says.
pub fn run(bytes: &[u8]) -> Verdict {
    let Some((cut, stream)) = choice(bytes) else { return Verdict::Refused };
    let around = tempfile::tempdir().expect("a folder can be made");
    let target = around.path().join("outputs");
    let Ok(outputs) = unpack(stream, usize::from(cut) + 1, &target) else {
        check_written(&target);
        assert!(fs::read_dir(around.path()).expect("it is there").count() <= 1);
        return Verdict::Refused;
    };
    check_written(&target);
    assert!(fs::read_dir(around.path()).expect("it is there").count() <= 1);
    let bytes: u64 = outputs.files.iter().map(|file| file.size_bytes).sum();
    assert!(outputs.files.len() <= OUTPUTS_MAX as usize && bytes <= BYTES_MAX);
    assert!(outputs.files.is_sorted_by(|a, b| a.path < b.path), "two files of one path");
    for file in &outputs.files {
        assert_eq!(file.file, target.join(&file.path));
        let content = fs::read(&file.file).expect("what was taken is there");
        assert_eq!(content.len() as u64, file.size_bytes);
        assert_eq!(blake3::hash(&content).as_bytes(), &file.hash.0);
    }
    assert!(outputs.left_behind.len() < 16 << 10 && !outputs.left_behind.contains(is_hidden));
    if outputs.files.is_empty() { Verdict::Refused } else { Verdict::Taken }
}

/// As [`campusgrid_container`] hands on what its helper sends.
fn unpack(stream: &[u8], piece: usize, target: &Path) -> Result<Outputs, EngineError> {
    let limits = Limits {
        cpu_millis: 1000,
        core_percent: 100,
        ram_mib: 64,
        scratch_mib: 1,
        scratch_files: 10,
        file_mib: 1,
        processes: 10,
        log_keep_bytes: 0,
        log_flood_bytes: 0,
        outputs: OUTPUTS_MAX,
        outputs_bytes: BYTES_MAX,
        grace: Duration::ZERO,
    };
    let mut unpacking = Unpacking::new(target.to_owned(), &limits);
    let mut decoder = Decoder::default();
    for piece in stream.chunks(piece) {
        decoder.push(piece);
        while let Ok(Some(frame)) = decoder.next_frame() {
            if let Some(part) = part(frame) {
                unpacking.take(part)?;
            }
        }
    }
    unpacking.finish()
}

fn part(frame: Frame) -> Option<Part> {
    match frame.kind {
        Kind::Data => Some(Part::Data(frame.payload)),
        Kind::Event => match serde_json::from_slice(&frame.payload).ok()? {
            Event::File { path, size_bytes } => Some(Part::File { path, size_bytes }),
            Event::Left { path, why } => Some(Part::Left { path, why }),
            Event::Collected { unnamed } => Some(Part::Unnamed(unnamed)),
            Event::Hello { .. }
            | Event::Began { .. }
            | Event::Ended { .. }
            | Event::Frozen
            | Event::Saving
            | Event::Saved
            | Event::Unchanged
            | Event::Done(_)
            | Event::Ready { .. }
            | Event::Failed { .. } => None,
        },
        Kind::Order
        | Kind::Content
        | Kind::Terminate
        | Kind::Kill
        | Kind::Ping
        | Kind::Warn
        | Kind::Freeze
        | Kind::Thaw
        | Kind::Save
        | Kind::HandBack
        | Kind::Stdout
        | Kind::Stderr => None,
    }
}

/// Plain files and folders only, and no more bytes than may be.
fn check_written(folder: &Path) {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry.expect("it can be read");
            let metadata = entry.path().symlink_metadata().expect("it is there");
            assert!(metadata.is_file() || metadata.is_dir(), "{:?}", entry.path());
            bytes += if metadata.is_file() { metadata.len() } else { 0 };
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes were written");
}
