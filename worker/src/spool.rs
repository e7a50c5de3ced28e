//! Results that wait to be confirmed: on disk before the manager hears of them, until it has them.
//!
//! ```text
//! spool/12.0#1.ended         the end: magic, BLAKE3 of the rest, encoded `Ended`; its rename into
//!                            place is what makes the result durable
//! spool/12.0#1.blobs/HASH    its logs and outputs, if they are too long to travel with it, and what its
//!                            task goes on from
//! spool/reserve              room for short ends when the disk is full
//! spool/*.new                not finished when the worker died: removed
//! spool/*.damaged            set aside, for a person to look at
//! ```

mod reserve;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use campusgrid_protocol::frame;
use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::input::Manifest;
use campusgrid_protocol::task::{BlobRef, Ended};
use campusgrid_protocol::v4;
use tracing::warn;

use self::reserve::Reserve;
use crate::agent::blobs::blobs_of;
use crate::bulk::LocalBlob;
use crate::disk::{free_bytes, is_full, make_private};
use crate::error::WorkerError;

/// Opens every file; its number rises with any change of what follows.
const MAGIC: &[u8; 8] = b"CGEND\0\0\x02";
/// Of ends that a worker of version 4 has written.
const MAGIC_4: &[u8; 8] = b"CGEND\0\0\x01";

const HASH_BYTES: usize = 32;

/// The spool's directory. All calls block on the disk.
#[derive(Debug, Clone)]
pub struct Spool {
    dir: PathBuf,
}

/// A file that becomes a blob of the spool.
#[derive(Debug, Clone)]
pub struct NewBlob {
    pub hash: BlobHash,
    /// Moved away by [`Spool::store`]; must be on the spool's file system.
    pub file: PathBuf,
}

impl Spool {
    /// Opens the spool beneath `data_dir` and reads the ends that wait in it.
    ///
    /// What cannot be read is set aside with a warning: its task will run again elsewhere.
    ///
    /// # Errors
    ///
    /// `MakeDirectory`, `ReadSpool`.
    pub fn open(data_dir: &Path) -> Result<(Self, Vec<Ended>), WorkerError> {
        let dir = data_dir.join("spool");
        make_private(&dir)
            .map_err(|source| WorkerError::MakeDirectory { path: dir.clone(), source })?;
        let spool = Self { dir };
        spool.reserve().fill();
        let recovered = spool
            .recover()
            .map_err(|source| WorkerError::ReadSpool { path: spool.dir.clone(), source })?;
        Ok((spool, recovered))
    }

    /// Keeps an end and its blobs; when this returns they survive a loss of power. Returns it as it is
    /// kept: without its checkpoint, if the disk has no room for both.
    ///
    /// Costs two syncs, and two more with blobs and one for each of them. An end without blobs finds
    /// room even on a full disk, for a while: what was reserved for that is given up.
    ///
    /// # Errors
    ///
    /// `EncodeResult`, `Spool`; nothing is then kept.
    pub fn store(&self, ended: &Ended, blobs: &[NewBlob]) -> Result<Ended, WorkerError> {
        let (mut ended, mut blobs) = (ended.clone(), blobs.to_vec());
        loop {
            let Err(error) = self.try_store(&ended, &blobs) else { return Ok(ended) };
            if self.has_run_out(&error) {
                if blobs.is_empty() && self.reserve().give_up_some() {
                    continue;
                }
                if ended.checkpoint.take().is_some() {
                    warn!(attempt = %ended.attempt, "there is no room for what the task goes on from");
                    self.drop_unnamed(&ended, &mut blobs);
                    continue;
                }
            }
            let _ = fs::remove_dir_all(self.blobs_path(ended.attempt));
            return Err(error);
        }
    }

    fn try_store(&self, ended: &Ended, blobs: &[NewBlob]) -> Result<(), WorkerError> {
        let payload =
            frame::encode(ended).map_err(|source| WorkerError::EncodeResult { source })?;
        let path = self.end_path(ended.attempt);
        let taken = if blobs.is_empty() { Ok(()) } else { self.take_blobs(ended.attempt, blobs) };
        taken.and_then(|()| self.write(&path, &payload)).map_err(|source| {
            let _ = fs::remove_file(path.with_extension("new"));
            WorkerError::Spool { path, source }
        })
    }

    /// Deletes the blobs that an end does not name, wherever they lie by now.
    fn drop_unnamed(&self, ended: &Ended, blobs: &mut Vec<NewBlob>) {
        let dir = self.blobs_path(ended.attempt);
        let named = blobs_of(ended);
        blobs.retain(|blob| {
            let is_named = named.iter().any(|named| named.hash == blob.hash);
            if !is_named {
                // It is at one of the two.
                let _ = fs::remove_file(dir.join(blob.hash.to_string()));
                let _ = fs::remove_file(&blob.file);
            }
            is_named
        });
        if blobs.is_empty() {
            let _ = fs::remove_dir_all(dir);
        }
    }

    fn write(&self, path: &Path, payload: &[u8]) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        let hash = blake3::hash(payload);
        file.write_all(&[MAGIC.as_slice(), hash.as_bytes(), payload].concat())?;
        file.sync_data()?;
        fs::rename(&new, path)?;
        self.sync()
    }

    /// Whether an error means that the spool's disk is full.
    pub(crate) fn has_run_out(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        is_full(&self.dir, error)
    }

    /// Free bytes of the spool's disk.
    ///
    /// # Errors
    ///
    /// `FreeDisk`.
    pub(crate) fn free_bytes(&self) -> Result<u64, WorkerError> {
        free_bytes(&self.dir)
            .map_err(|source| WorkerError::FreeDisk { path: self.dir.clone(), source })
    }

    fn reserve(&self) -> Reserve {
        Reserve::at(self.dir.join("reserve"))
    }

    /// Forgets an end. Not synced: after a loss of power it would be sent once more, which is
    /// harmless.
    pub fn remove(&self, attempt: AttemptId) {
        let gone = fs::remove_file(self.end_path(attempt));
        let blobs = self.blobs_path(attempt);
        let gone = gone.and_then(|()| match fs::remove_dir_all(blobs) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        });
        if let Err(error) = gone {
            warn!(%attempt, "a confirmed result could not be deleted: {error}");
        }
        self.reserve().fill();
    }

    /// Where blobs of a spooled end lie; with this manifest also the files that it names.
    ///
    /// # Errors
    ///
    /// In words, if the manifest cannot be read.
    pub(crate) fn local(
        &self,
        attempt: AttemptId,
        mut blobs: Vec<BlobRef>,
        checkpoint: Option<BlobRef>,
    ) -> Result<Vec<LocalBlob>, String> {
        let dir = self.blobs_path(attempt);
        if let Some(manifest) = checkpoint {
            let unreadable = |error: &dyn std::fmt::Display| {
                format!("has a checkpoint that cannot be read: {error}")
            };
            let bytes = fs::read(dir.join(manifest.hash.to_string()));
            let bytes = bytes.map_err(|error| unreadable(&error))?;
            let manifest = Manifest::decode(&bytes).map_err(|error| unreadable(&error))?;
            blobs.extend(manifest.files.into_iter().map(|file| file.blob));
            blobs.sort_unstable_by_key(|blob| blob.hash);
            blobs.dedup();
        }
        let local = |blob: BlobRef| LocalBlob { blob, file: dir.join(blob.hash.to_string()) };
        Ok(blobs.into_iter().map(local).collect())
    }

    fn take_blobs(&self, attempt: AttemptId, blobs: &[NewBlob]) -> io::Result<()> {
        let dir = self.blobs_path(attempt);
        fs::create_dir_all(&dir)?;
        for blob in blobs {
            let place = dir.join(blob.hash.to_string());
            // The first time may have come to an end in between.
            if !place.exists() {
                File::open(&blob.file)?.sync_all()?;
                fs::rename(&blob.file, place)?;
            }
        }
        File::open(&dir)?.sync_all()
    }

    fn recover(&self) -> io::Result<Vec<Ended>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        let mut recovered = Vec::new();
        for name in &names {
            let path = self.dir.join(name);
            if name.ends_with(".new") {
                fs::remove_file(&path)?;
            } else if let Some(stem) = name.strip_suffix(".blobs") {
                if !names.contains(&format!("{stem}.ended")) {
                    fs::remove_dir_all(&path)?;
                }
            } else if let Some(stem) = name.strip_suffix(".ended") {
                match self.read_end(stem, &path) {
                    Ok(ended) => recovered.push(ended),
                    Err(why) => {
                        warn!(file = %path.display(), "a kept result is set aside: it {why}");
                        fs::rename(&path, path.with_extension("damaged"))?;
                    }
                }
            }
        }
        Ok(recovered)
    }

    fn read_end(&self, stem: &str, path: &Path) -> Result<Ended, String> {
        let bytes = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
        let (magic, rest) = bytes.split_at_checked(MAGIC.len()).ok_or("is cut short")?;
        let (hash, payload) = rest.split_at_checked(HASH_BYTES).ok_or("is cut short")?;
        if blake3::hash(payload).as_bytes() != hash {
            return Err("has damaged bytes".to_owned());
        }
        let ended: Ended = match magic {
            magic if magic == MAGIC => frame::decode(payload),
            magic if magic == MAGIC_4 => frame::decode::<v4::Ended>(payload).map(Ended::from),
            _ => return Err("is of another version".to_owned()),
        }
        .map_err(|error| error.to_string())?;
        if ended.attempt.to_string() != stem {
            return Err(format!("speaks of attempt {}", ended.attempt));
        }
        let checkpoint = ended.checkpoint.map(|saved| saved.manifest);
        for local in self.local(ended.attempt, blobs_of(&ended), checkpoint)? {
            let found = fs::metadata(&local.file).map(|file| file.len());
            if found.ok() != Some(local.blob.size_bytes) {
                return Err(format!("misses its blob {}", local.blob.hash));
            }
        }
        Ok(ended)
    }

    fn end_path(&self, attempt: AttemptId) -> PathBuf {
        self.dir.join(format!("{attempt}.ended"))
    }

    fn blobs_path(&self, attempt: AttemptId) -> PathBuf {
        self.dir.join(format!("{attempt}.blobs"))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}
