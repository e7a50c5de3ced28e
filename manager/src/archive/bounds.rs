//! What holds for archives of every form: how many files, how large, under which names.

use std::io::{self, BufRead, Read};

use campusgrid_protocol::text::check_path;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{
    ArchiveError, Limits, Part, RATIO_FREE_BYTES, RATIO_MAX, Stopped, damaged, readable, unread,
};

/// Folders and the like, for each file that may be.
const ENTRIES_PER_FILE: usize = 4;

/// Handed on at once. Bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Hands on what is found, as long as it is within the limits.
pub(super) struct Taker<'a, E> {
    limits: Limits,
    /// How much may come of an archive of this size.
    ratio_bytes: u64,
    take: &'a mut dyn FnMut(Part<'_>) -> Result<(), E>,
    entries: usize,
    bytes: u64,
    paths: Vec<String>,
    buffer: Vec<u8>,
}

impl<'a, E> Taker<'a, E> {
    pub(super) fn new(
        limits: Limits,
        archive_bytes: u64,
        take: &'a mut dyn FnMut(Part<'_>) -> Result<(), E>,
    ) -> Self {
        let ratio_bytes = ratio_bytes(archive_bytes);
        let (paths, buffer) = (Vec::new(), vec![0; PIECE_BYTES]);
        Self { limits, ratio_bytes, take, entries: 0, bytes: 0, paths, buffer }
    }

    /// The most entries of any kind.
    pub(super) fn entries_max(&self) -> usize {
        self.limits.files.saturating_mul(ENTRIES_PER_FILE)
    }

    /// Counts an entry of any kind.
    pub(super) fn entry(&mut self) -> Result<(), ArchiveError> {
        self.entries += 1;
        let max = self.entries_max();
        if self.entries > max { Err(ArchiveError::TooManyFiles { max }) } else { Ok(()) }
    }

    /// Takes a file whose content is the next `bytes` of `content`.
    pub(super) fn file(
        &mut self,
        entry: Entry,
        bytes: u64,
        content: &mut impl Read,
    ) -> Result<(), Stopped<E>> {
        let Entry { path, executable } = entry;
        let Limits { files, file_bytes, all_bytes } = self.limits;
        if self.paths.len() >= files {
            return Err(ArchiveError::TooManyFiles { max: files }.into());
        }
        if bytes > file_bytes {
            let name = readable(path.as_bytes());
            return Err(ArchiveError::FileTooLarge { name, max: file_bytes }.into());
        }
        // Sizes are announced, so nothing is unpacked in vain.
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > all_bytes {
            return Err(ArchiveError::TooLarge { max: all_bytes }.into());
        }
        if self.bytes > self.ratio_bytes {
            return Err(ArchiveError::Bomb.into());
        }
        self.paths.push(path.clone());
        (self.take)(Part::File { path, executable }).map_err(Stopped::Taker)?;
        let mut left = bytes;
        while left > 0 {
            let most = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = match content.read(&mut self.buffer[..most]) {
                Ok(0) => return Err(damaged("a file in it ends too early").into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unread(error).into()),
            };
            (self.take)(Part::Data(&self.buffer[..read])).map_err(Stopped::Taker)?;
            left -= read as u64;
        }
        (self.take)(Part::End).map_err(Stopped::Taker)
    }

    /// Looks at all names together.
    pub(super) fn finish(self) -> Result<(), ArchiveError> {
        let mut paths = self.paths;
        // By parts, so that what lies in a folder follows what has its name at once.
        paths.sort_by(|one, other| one.split('/').cmp(other.split('/')));
        for pair in paths.windows(2) {
            let rest = pair[1].strip_prefix(pair[0].as_str());
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                return Err(ArchiveError::Twice { name: readable(pair[0].as_bytes()) });
            }
        }
        Ok(())
    }
}

/// A file as an archive names it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) executable: bool,
}

/// What a name in an archive stands for.
#[derive(Debug)]
pub(super) enum Named {
    File(String),
    Folder,
}

/// Reads a name: one that ends with `/` is a folder's. `./` before it, as tar writes it, means nothing.
pub(super) fn named(raw: &[u8]) -> Result<Named, ArchiveError> {
    let Ok(name) = std::str::from_utf8(raw) else {
        return Err(ArchiveError::NotUtf8 { name: readable(raw) });
    };
    let mut path = name;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    let folder = path.strip_suffix('/').or((path.is_empty() || path == ".").then_some(""));
    if folder == Some("") && !name.starts_with('/') {
        return Ok(Named::Folder); // The one that all of it is in.
    }
    let checked = check_path(folder.unwrap_or(path));
    checked.map_err(|why| ArchiveError::Name { name: readable(raw), why })?;
    Ok(if folder.is_some() { Named::Folder } else { Named::File(path.to_owned()) })
}

fn ratio_bytes(archive_bytes: u64) -> u64 {
    archive_bytes.saturating_mul(RATIO_MAX).saturating_add(RATIO_FREE_BYTES)
}

/// More came of an archive than may come of one of its size.
#[derive(Debug, thiserror::Error)]
#[error("the archive unpacks to too much")]
struct TooMuch;

/// Whether a read failed because too much came.
pub(super) fn is_bomb(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TooMuch>())
}

/// What an archive unpacks to, with all that is between its files, as long as it is not too much.
pub(super) struct Bounded<R> {
    unpacked: R,
    left: u64,
}

impl<R> Bounded<R> {
    pub(super) fn new(unpacked: R, archive_bytes: u64) -> Self {
        Self { unpacked, left: ratio_bytes(archive_bytes) }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.unpacked.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(TooMuch)),
        }
        Ok(read)
    }
}

/// What a row of Zstandard frames unpacks to, with their checksums checked.
pub(super) struct Inflated<R> {
    packed: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Inflated<R> {
    pub(super) fn new(packed: R) -> Self {
        Self { packed, decoder: FrameDecoder::new(), in_frame: false }
    }

    /// Yields whether there is another frame.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.packed.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.packed) {
                Ok(()) => return Ok(true),
                // What programs leave for each other between frames.
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut (&mut self.packed).take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    fn end_of_frame(&self) -> io::Result<()> {
        let said = self.decoder.get_checksum_from_data();
        if said.is_some() && said != self.decoder.get_calculated_checksum() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.decoder.decode_blocks(&mut self.packed, one);
                decoded.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.end_of_frame()?;
            self.in_frame = false;
        }
    }
}
