//! What an archive holds as files of a job: all of it or nothing.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::UserId;
use campusgrid_protocol::input::{INPUTS_MAX, InputFile};
use campusgrid_protocol::text::check_path;
use tokio_util::sync::CancellationToken;

use crate::archive::{self, ArchiveError, Kind, Limits, Part, Stopped};
use crate::blobs::{BlobError, Blobs, Expected, Incoming, Written};
use crate::clock::Clock;
use crate::web::error::WebError;

/// Longest that an archive is unpacked: others wait meanwhile.
const UNPACK_MAX_MS: u64 = 600_000;

/// An archive that is here, and where its files go.
pub(super) struct Unpacking {
    pub(super) blobs: Blobs,
    pub(super) user: UserId,
    pub(super) kind: Kind,
    pub(super) archive: PathBuf,
    /// The path of the archive among the files of the job; its files go beside it.
    pub(super) path: String,
    /// Of one file. Bytes.
    pub(super) file_bytes: u64,
    /// Of all. Bytes.
    pub(super) all_bytes: u64,
    /// Nobody waits for it any more.
    pub(super) given_up: CancellationToken,
    pub(super) clock: Clock,
}

/// Why a file of the archive was not taken.
enum Refused {
    Name(ArchiveError),
    Blob(BlobError),
    GivenUp,
}

impl Unpacking {
    /// Unpacks it; blocks. No file is in its place then.
    ///
    /// # Errors
    ///
    /// `Archive`, `Keep`, `File`; `UploadReplaced` if it was given up.
    pub(super) fn run(self) -> Result<(Vec<InputFile>, Vec<Written>), WebError> {
        let file = File::open(&self.archive).map_err(WebError::File)?;
        let (clock, until) = (self.clock, self.clock.now().plus_ms(UNPACK_MAX_MS));
        let archive = Watched { file, clock, until, given_up: &self.given_up };
        let limits =
            Limits { files: INPUTS_MAX, file_bytes: self.file_bytes, all_bytes: self.all_bytes };
        let mut files = Files { unpacking: &self, current: None, taken: Vec::new() };
        let read = archive::read(self.kind, archive, limits, |part| files.take(part));
        match read {
            Ok(()) => {}
            Err(_) if self.given_up.is_cancelled() => return Err(WebError::UploadReplaced),
            Err(_) if clock.now() >= until => {
                return Err(WebError::Archive(ArchiveError::TooLong));
            }
            Err(Stopped::Archive(error) | Stopped::Taker(Refused::Name(error))) => {
                return Err(WebError::Archive(error));
            }
            Err(Stopped::Taker(Refused::Blob(error))) => return Err(error.into()),
            Err(Stopped::Taker(Refused::GivenUp)) => return Err(WebError::UploadReplaced),
        }
        Ok(files.taken.into_iter().unzip())
    }

    /// The path of a file of the archive, beside it.
    fn path_of(&self, path: &str) -> Result<String, ArchiveError> {
        let Some((folder, _)) = self.path.rsplit_once('/') else { return Ok(path.to_owned()) };
        let joined = format!("{folder}/{path}");
        match check_path(&joined) {
            Ok(()) => Ok(joined),
            Err(why) => Err(ArchiveError::Name { name: joined, why }),
        }
    }
}

/// An archive on the disk, which can be read for as long as somebody waits and its time is not over.
struct Watched<'a> {
    file: File,
    clock: Clock,
    until: Timestamp,
    given_up: &'a CancellationToken,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given_up.is_cancelled() || self.clock.now() >= self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.file.read(buffer)
    }
}

impl Seek for Watched<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// The files as they come.
struct Files<'a> {
    unpacking: &'a Unpacking,
    current: Option<(String, bool, Incoming)>,
    taken: Vec<(InputFile, Written)>,
}

impl Files<'_> {
    fn take(&mut self, part: Part<'_>) -> Result<(), Refused> {
        let Unpacking { blobs, user, file_bytes, given_up, .. } = self.unpacking;
        if given_up.is_cancelled() {
            return Err(Refused::GivenUp);
        }
        match part {
            Part::File { path, executable } => {
                let path = self.unpacking.path_of(&path).map_err(Refused::Name)?;
                let expected = Expected::AtMost { bytes: *file_bytes, hash: None };
                let incoming = blobs.receive(expected, 0, *user).map_err(Refused::Blob)?;
                self.current = Some((path, executable, incoming));
            }
            Part::Data(piece) => {
                let (_, _, incoming) = self.current.as_mut().expect("a file comes before its data");
                incoming.add(piece).map_err(Refused::Blob)?;
            }
            Part::End => {
                let (path, executable, incoming) =
                    self.current.take().expect("a file comes before its end");
                let written = incoming.written().map_err(Refused::Blob)?;
                self.taken.push((InputFile { path, blob: written.blob(), executable }, written));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read;

    use campusgrid_core::time::Timestamp;
    use campusgrid_protocol::id::UserId;
    use tokio_util::sync::CancellationToken;

    use super::{Unpacking, Watched};
    use crate::archive::Kind;
    use crate::blobs::Blobs;
    use crate::clock::Clock;
    use crate::web::error::WebError;

    #[test]
    fn what_nobody_waits_for_is_read_no_further() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(directory.path().join("blobs"), 0).unwrap();
        let archive = directory.path().join("in.tar");
        fs::write(&archive, [0; 1024]).unwrap();
        let clock = Clock::start(Timestamp(0));
        let run = |given_up| {
            let unpacking = Unpacking {
                blobs: blobs.clone(),
                user: UserId(1),
                kind: Kind::Tar,
                archive: archive.clone(),
                path: "in.tar".to_owned(),
                file_bytes: 1,
                all_bytes: 1,
                given_up,
                clock,
            };
            unpacking.run()
        };
        let given_up = CancellationToken::new();
        assert!(run(given_up.clone()).unwrap().0.is_empty());
        given_up.cancel();
        // It has no file at which that could be noticed.
        assert!(matches!(run(given_up.clone()), Err(WebError::UploadReplaced)));
        for (until, reads) in [(0, false), (60_000, true)] {
            let (file, given_up) = (File::open(&archive).unwrap(), &CancellationToken::new());
            let until = clock.now().plus_ms(until);
            let mut watched = Watched { file, clock, until, given_up };
            assert_eq!(watched.read(&mut [0; 8]).is_ok(), reads);
        }
    }
}
