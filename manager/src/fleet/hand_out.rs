//! A task's files on their way to the machine that runs it: from the disk piece by piece, never whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::message::{BulkToWorker, CHUNK_MAX_BYTES};
use campusgrid_protocol::task::BlobRef;
use tokio::time::{Instant, timeout};

use super::FleetError;
use super::bulk::{Bulk, Stop};
use super::check::bad;
use super::inputs::Named;
use super::pace::Pace;

/// Files on their way at once, to all machines: each has one piece in memory, and what TLS makes of it.
pub(super) const AT_ONCE: usize = 256;

/// How long one waits for its turn.
const TURN: Duration = Duration::from_secs(30);

/// Read and sent at once. Bytes.
const PIECE_BYTES: usize = 128 << 10;
const _: () = assert!(PIECE_BYTES <= CHUNK_MAX_BYTES);

/// What each manifest of an attempt names.
pub(super) type NamedBy = BTreeMap<BlobHash, Arc<Named>>;

/// A file that is being read.
struct Outgoing {
    file: File,
    blob: BlobRef,
    left_bytes: u64,
    /// None where it is read from the middle on: then its end alone does not say whether it is whole.
    hasher: Option<Box<blake3::Hasher>>,
}

/// What may be told to a machine of why it cannot have a file.
#[derive(Debug, thiserror::Error)]
enum OutgoingError {
    #[error("the file {hash} is not here any more")]
    Gone { hash: BlobHash, source: io::Error },
    #[error("the file {hash} is damaged here: it has {found} bytes, not {expected}")]
    Length { hash: BlobHash, expected: u64, found: u64 },
    #[error("the file {hash} is damaged here: its content's hash is {found}")]
    WrongHash { hash: BlobHash, found: BlobHash },
    #[error("the file {hash} cannot be read here")]
    Read { hash: BlobHash, source: io::Error },
}

impl Outgoing {
    fn open(mut file: File, blob: BlobRef, offset_bytes: u64) -> Result<Self, OutgoingError> {
        let hash = blob.hash;
        let read = |source| OutgoingError::Read { hash, source };
        let found = file.metadata().map_err(read)?.len();
        if found != blob.size_bytes {
            return Err(OutgoingError::Length { hash, expected: blob.size_bytes, found });
        }
        file.seek(SeekFrom::Start(offset_bytes)).map_err(read)?;
        let hasher = (offset_bytes == 0).then(Box::default);
        Ok(Self { file, blob, left_bytes: blob.size_bytes - offset_bytes, hasher })
    }

    /// The next piece, not empty; the last one only if all of them are what the hash says.
    fn piece(&mut self) -> Result<Vec<u8>, OutgoingError> {
        let hash = self.blob.hash;
        let most =
            usize::try_from(self.left_bytes).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        let mut piece = vec![0; most];
        self.file.read_exact(&mut piece).map_err(|source| OutgoingError::Read { hash, source })?;
        self.left_bytes -= piece.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece);
            if self.left_bytes == 0 {
                let found = BlobHash(*hasher.finalize().as_bytes());
                if found != hash {
                    return Err(OutgoingError::WrongHash { hash, found });
                }
            }
        }
        Ok(piece)
    }
}

impl Bulk<'_> {
    /// Sends the rest of a blob from a place on, if this attempt may have it.
    pub(super) async fn hand_out(
        &mut self,
        attempt: AttemptId,
        blob: BlobRef,
        offset_bytes: u64,
    ) -> Result<Result<(), Stop>, FleetError> {
        if offset_bytes > blob.size_bytes {
            return Err(bad("a wish for what comes after a file's end"));
        }
        if let Err(stop) = self.may_have(attempt, blob).await? {
            return Ok(Err(stop));
        }
        let turns = Arc::clone(&self.fleet.handed_out);
        let Ok(turn) = timeout(TURN, turns.acquire_owned()).await else {
            return Ok(Err(Stop::Later("too many files are on their way already".to_owned())));
        };
        let _turn = turn.map_err(|_| FleetError::Stopping)?;
        let path = self.fleet.around.blobs.path(blob.hash);
        let mut opened = on_thread(move || {
            let gone = |source| OutgoingError::Gone { hash: blob.hash, source };
            Outgoing::open(File::open(path).map_err(gone)?, blob, offset_bytes)
        })
        .await?;
        let mut pace = Pace::default();
        loop {
            let outgoing = match opened {
                Ok(outgoing) if outgoing.left_bytes == 0 => return Ok(Ok(())),
                Ok(outgoing) => outgoing,
                Err(error) => return Ok(Err(self.spoiled(&error))),
            };
            if let Err(stop) = self.fleet.runner(&self.member, attempt) {
                return Ok(Err(stop));
            }
            let read = on_thread(move || {
                let mut outgoing = outgoing;
                outgoing.piece().map(|piece| (outgoing, piece))
            });
            opened = match read.await? {
                Ok((outgoing, piece)) => {
                    let (asked, bytes) = (Instant::now(), piece.len());
                    self.send_within(pace.left(), BulkToWorker::Chunk(piece)).await?;
                    pace.note(asked.elapsed(), bytes);
                    Ok(outgoing)
                }
                Err(error) => Err(error),
            };
        }
    }

    /// Whether a blob is the manifest of the attempt's job or of its checkpoint, or a file that one of
    /// them names.
    async fn may_have(
        &mut self,
        attempt: AttemptId,
        blob: BlobRef,
    ) -> Result<Result<(), Stop>, FleetError> {
        if let Err(stop) = self.fleet.runner(&self.member, attempt) {
            return Ok(Err(stop));
        }
        let manifests = self.fleet.budgets.manifests(attempt).into_iter().flatten();
        for manifest in manifests {
            if blob == manifest {
                return Ok(Ok(()));
            }
            let named = match self.named.get(&manifest.hash) {
                Some(named) => Arc::clone(named),
                None => match self.fleet.inputs.named(manifest).await {
                    Ok(named) => named,
                    Err(error) => return Ok(Err(self.spoiled(&error))),
                },
            };
            let is_named = named.has(blob);
            self.named.insert(manifest.hash, named);
            if is_named {
                return Ok(Ok(()));
            }
        }
        let reason = format!("job {} brings no such file", attempt.task.job);
        Ok(Err(Stop::Refused(reason)))
    }

    /// What somebody has to look at here; the machine that asked can do nothing about it.
    fn spoiled(&self, error: &(dyn std::error::Error + 'static)) -> Stop {
        if self.fleet.quiet.may_tell() {
            tracing::error!(error, "a task's file cannot be handed out");
        }
        Stop::Refused(error.to_string())
    }
}

/// Disks block, and a thread that serves other sessions must not.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OutgoingError> + Send + 'static,
) -> Result<Result<T, OutgoingError>, FleetError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| FleetError::Stopping)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use campusgrid_protocol::id::BlobHash;
    use campusgrid_protocol::task::BlobRef;

    use super::{Outgoing, OutgoingError, PIECE_BYTES};

    fn opened(name: &str, content: &[u8], blob: BlobRef, offset_bytes: u64) -> Outgoing {
        let path = std::env::temp_dir().join(format!("cg-out-{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        Outgoing::open(file, blob, offset_bytes).unwrap()
    }

    fn rest(mut outgoing: Outgoing) -> Result<Vec<u8>, OutgoingError> {
        let mut all = Vec::new();
        while outgoing.left_bytes > 0 {
            let piece = outgoing.piece()?;
            assert!((1..=PIECE_BYTES).contains(&piece.len()));
            all.extend(piece);
        }
        Ok(all)
    }

    #[test]
    fn all_of_the_rest_is_read_and_a_damaged_file_never_to_its_end() {
        let content: Vec<u8> = (0..3 * PIECE_BYTES + 7).map(|at| (at % 251) as u8).collect();
        let hash = BlobHash(*blake3::hash(&content).as_bytes());
        let blob = BlobRef { hash, size_bytes: content.len() as u64 };
        assert_eq!(rest(opened("whole", &content, blob, 0)).unwrap(), content);
        for offset in [1, PIECE_BYTES, content.len() - 1, content.len()] {
            let found = rest(opened("rest", &content, blob, offset as u64)).unwrap();
            assert_eq!(found, content[offset..]);
        }
        let mut damaged = content.clone();
        damaged[5] ^= 1;
        let refused = rest(opened("damaged", &damaged, blob, 0));
        assert!(matches!(refused, Err(OutgoingError::WrongHash { .. })));
    }

    #[test]
    fn a_file_of_another_length_is_not_begun() {
        let file = File::open("/dev/null").unwrap();
        let blob = BlobRef { hash: BlobHash([0; 32]), size_bytes: 5 };
        let refused = Outgoing::open(file, blob, 0);
        assert!(matches!(refused, Err(OutgoingError::Length { expected: 5, found: 0, .. })));
    }
}
