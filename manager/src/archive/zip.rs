//! Reads zip: by its directory, whose every entry must agree with what lies at its place, one after the
//! other and none inside another. Source: PKWARE's APPNOTE.TXT 6.3.10; on entries inside each other,
//! D. Fifield, "A better zip bomb", WOOT 2019.
//!
//! The directory has a bound here: libraries take as many entries into memory as it has.

mod directory;

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use super::bounds::{Entry, Named, Taker, named};
use super::{ArchiveError, Stopped, damaged, readable, unread};
use directory::{Fields, Listed, find_directory, list};

const LOCAL_BYTES: usize = 30;

const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// The kind of file in a Unix mode, and what it is for plain files and folders.
const FORMAT: u32 = 0o170_000;
const PLAIN: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

/// Reads all entries of an archive of this many bytes.
pub(super) fn read<R: Read + Seek, E>(
    mut archive: R,
    archive_bytes: u64,
    taker: &mut Taker<'_, E>,
) -> Result<(), Stopped<E>> {
    let directory = find_directory(&mut archive, archive_bytes)?;
    let max = taker.entries_max();
    if directory.entries > max as u64 {
        return Err(ArchiveError::TooManyFiles { max }.into());
    }
    let mut entries = list(&mut archive, &directory)?;
    entries.sort_by_key(|entry| entry.at);
    let mut archive = BufReader::new(archive);
    let mut free_from = 0;
    for entry in entries {
        taker.entry()?;
        if entry.at < free_from {
            return Err(damaged("two of its files share a place").into());
        }
        if entry.at >= directory.at {
            return Err(damaged("a file reaches beyond its end").into());
        }
        let content_at = check_local(&mut archive, &entry)?;
        let end = content_at.checked_add(entry.packed).filter(|&end| end <= directory.at);
        free_from = end.ok_or_else(|| damaged("a file reaches beyond its end"))?;
        take_entry(&mut archive, taker, entry)?;
    }
    Ok(())
}

fn take_entry<R: BufRead, E>(
    archive: &mut R,
    taker: &mut Taker<'_, E>,
    entry: Listed,
) -> Result<(), Stopped<E>> {
    let Listed { name, flags, method, crc, packed, unpacked, mode, at: _ } = entry;
    if flags & ENCRYPTED != 0 {
        return Err(ArchiveError::Encrypted { name: readable(&name) }.into());
    }
    let path = match (named(&name)?, mode & FORMAT) {
        (Named::File(path), 0 | PLAIN) => path,
        (Named::Folder, 0 | FOLDER) if unpacked == 0 => return Ok(()),
        (Named::Folder, 0 | FOLDER) => return Err(damaged("a folder with content").into()),
        (Named::File(_) | Named::Folder, _) => {
            return Err(ArchiveError::NotAFile { name: readable(&name) }.into());
        }
    };
    let file = Entry { path, executable: mode & 0o111 != 0 };
    let packed_content = archive.take(packed);
    match method {
        _ if unpacked == 0 && crc != 0 => Err(damaged("the checksum of a file is wrong").into()),
        STORED if packed != unpacked => Err(damaged("the sizes of a file do not agree").into()),
        STORED => taker.file(file, unpacked, &mut Summed::new(packed_content, crc, unpacked)),
        DEFLATED => {
            let content = flate2::bufread::DeflateDecoder::new(packed_content);
            taker.file(file, unpacked, &mut Summed::new(content, crc, unpacked))
        }
        _ => Err(ArchiveError::Method { name: readable(&name) }.into()),
    }
}

/// Content whose last byte comes only if its checksum is right and nothing follows it.
struct Summed<R> {
    content: R,
    hasher: crc32fast::Hasher,
    crc: u32,
    left: u64,
}

impl<R: Read> Summed<R> {
    fn new(content: R, crc: u32, bytes: u64) -> Self {
        Self { content, hasher: crc32fast::Hasher::new(), crc, left: bytes }
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.content.read(&mut buffer[..most])?;
        self.hasher.update(&buffer[..read]);
        self.left -= read as u64;
        if self.left == 0 && read > 0 {
            let is_right = self.hasher.clone().finalize() == self.crc;
            if !is_right || self.content.read(&mut [0])? > 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(read)
    }
}

/// Checks the header before a file's content against the directory; yields where the content begins, and
/// leaves the archive there.
fn check_local<R: Read + Seek>(
    archive: &mut BufReader<R>,
    entry: &Listed,
) -> Result<u64, ArchiveError> {
    archive.seek(SeekFrom::Start(entry.at)).map_err(unread)?;
    let mut fixed = [0; LOCAL_BYTES];
    archive.read_exact(&mut fixed).map_err(unread)?;
    let fixed = Fields(&fixed);
    let (name_bytes, extra_bytes) = (fixed.u16(26), fixed.u16(28));
    let mut name = vec![0; name_bytes.into()];
    archive.read_exact(&mut name).map_err(unread)?;
    let agrees = fixed.u32(0) == 0x0403_4b50
        && name == entry.name
        && fixed.u16(8) == entry.method
        && fixed.u16(6) & ENCRYPTED == entry.flags & ENCRYPTED;
    if !agrees {
        return Err(damaged("its directory does not agree with what is at the places it names"));
    }
    archive.seek_relative(extra_bytes.into()).map_err(unread)?;
    Ok(entry.at + (LOCAL_BYTES as u64) + u64::from(name_bytes) + u64::from(extra_bytes))
}
