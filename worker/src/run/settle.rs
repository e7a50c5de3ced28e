//! From the sandbox's report to the end that is spooled: logs that are short travel inside.

use std::fs;
use std::path::Path;

use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::message::{INLINE_LOG_MAX_BYTES, OUTPUTS_MAX};
use campusgrid_protocol::task::{BlobRef, Content, Ended, Log, Outcome, Output, Saved};
use campusgrid_protocol::text::check_path;
use campusgrid_sandbox::plan::{Captured, Report};
use tracing::warn;

use super::Settled;
use super::checkpoint::pack;
use crate::error::WorkerError;
use crate::spool::NewBlob;

/// Of the words about what was left behind. Characters.
const LEFT_BEHIND_MAX: usize = 4000;

/// Reads what is short and names the rest by its hash: of an attempt that was run in `results`, and that
/// went on from `begun_ms` of its task's time. Blocks on the disk.
pub(super) fn settle(
    attempt: AttemptId,
    report: Report,
    outcome: Outcome,
    (results, begun_ms): (&Path, u64),
) -> Result<Settled, WorkerError> {
    let mut blobs = Vec::new();
    let stdout = log(report.stdout, &mut blobs)?;
    let stderr = log(report.stderr, &mut blobs)?;
    let mut outputs = Vec::new();
    for collected in report.outputs.into_iter().take(OUTPUTS_MAX) {
        // The manager would refuse the whole end for one bad name, so none may get that far.
        if check_path(&collected.path).is_err() {
            continue;
        }
        let blob = BlobRef { hash: collected.hash, size_bytes: collected.size_bytes };
        outputs.push(Output { path: collected.path, blob });
        blobs.push(NewBlob { hash: collected.hash, file: collected.file });
    }
    let checkpoint = match report.checkpoint {
        files if files.is_empty() => None,
        files => match pack(files, &results.join("checkpoint")) {
            Ok(packed) => {
                let run_ms = begun_ms.saturating_add(report.usage.run_ms);
                let saved = Saved { manifest: packed.manifest, run_ms };
                blobs.extend(packed.into_new());
                Some(saved)
            }
            Err(error) => {
                // The end is worth more: without it the attempt would be a lost one. And it needs room.
                let _ = fs::remove_dir_all(results.join("checkpoint"));
                warn!(%attempt, "a checkpoint is lost: {:#}", anyhow::Error::new(error));
                None
            }
        },
    };
    blobs.sort_by_key(|blob| blob.hash);
    blobs.dedup_by_key(|blob| blob.hash);
    let left_behind = report.left_behind.chars().take(LEFT_BEHIND_MAX).collect();
    let usage = report.usage;
    let ended = Ended { attempt, outcome, usage, stdout, stderr, outputs, left_behind, checkpoint };
    Ok(Settled { ended, blobs })
}

fn log(captured: Captured, blobs: &mut Vec<NewBlob>) -> Result<Log, WorkerError> {
    let failed = |source| WorkerError::ReadLog { path: captured.file.clone(), source };
    let cut_bytes = captured.cut_bytes;
    if captured.size_bytes == 0 {
        return Ok(Log { content: Content::Inline(Vec::new()), cut_bytes });
    }
    let bytes = fs::read(&captured.file).map_err(failed)?;
    let content = if bytes.len() <= INLINE_LOG_MAX_BYTES {
        Content::Inline(bytes)
    } else {
        let hash = BlobHash(*blake3::hash(&bytes).as_bytes());
        blobs.push(NewBlob { hash, file: captured.file });
        Content::Blob(BlobRef { hash, size_bytes: bytes.len() as u64 })
    };
    Ok(Log { content, cut_bytes })
}
