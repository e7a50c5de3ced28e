//! Sends the files that a task goes on from to its helper, behind the order that names them.

use std::io;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::plan::{Plan, SandboxError};

/// For one piece.
const PIECE_TIME: Duration = Duration::from_secs(30);
const PIECE_BYTES: usize = 128 * 1024;

/// Sends all contents, each as long as the order says.
///
/// # Errors
///
/// `Host` if one of them cannot be read, or is shorter. That the helper does not read is noticed where
/// its events are read.
pub(crate) async fn restore(
    plan: &Plan,
    helper: &mut (impl AsyncWrite + Unpin),
) -> Result<(), SandboxError> {
    let operation = "read what a task goes on from";
    let failed = |source| SandboxError::Host { operation, source };
    let mut buffer = vec![0; PIECE_BYTES];
    for restored in plan.checkpoints.iter().flat_map(|checkpoints| &checkpoints.restore) {
        let file = File::open(&restored.file).await.map_err(failed)?;
        let mut file = file.take(restored.size_bytes);
        let mut missing = restored.size_bytes;
        while missing > 0 {
            let read = file.read(&mut buffer).await.map_err(failed)?;
            if read == 0 {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            let sent = timeout(PIECE_TIME, helper.write_all(&buffer[..read])).await;
            if !matches!(sent, Ok(Ok(()))) {
                return Ok(());
            }
            missing -= read as u64;
        }
    }
    Ok(())
}
