//! The directory at a zip's end: where it is, and what it says.

use std::io::{Read, Seek, SeekFrom};

use crate::archive::{ArchiveError, damaged, unread};

const END_BYTES: usize = 22;
const END_64_BYTES: usize = 56;
const LOCATOR_BYTES: usize = 20;
const CENTRAL_BYTES: usize = 46;

/// Longest comment at an archive's end, and longest name. Bytes.
const COMMENT_MAX_BYTES: usize = 0xFFFF;

/// Of a directory, for each entry that may be: its fixed part, and room for a name and more. Bytes.
const ENTRY_MAX_BYTES: u64 = 1024;

/// An entry of the directory.
pub(super) struct Listed {
    pub(super) name: Vec<u8>,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
    /// Where its content begins, behind a header of its own.
    pub(super) at: u64,
    /// Of Unix; 0 if it was made elsewhere.
    pub(super) mode: u32,
}

/// Where the directory lies.
pub(super) struct Directory {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) at: u64,
}

/// Finds the record at the end, and the one for large archives that it may lead to.
pub(super) fn find_directory<R: Read + Seek>(
    archive: &mut R,
    archive_bytes: u64,
) -> Result<Directory, ArchiveError> {
    let most = (END_BYTES + COMMENT_MAX_BYTES) as u64;
    let tail_at = archive_bytes.saturating_sub(most);
    let tail = read_at(archive, tail_at, (archive_bytes - tail_at).try_into().unwrap_or(0))?;
    let is_end = |at: &usize| {
        let end = Fields(&tail[*at..]);
        // Only with a comment that reaches the very end: else whoever looks from the other side finds
        // another directory.
        end.u32(0) == 0x0605_4b50 && end.u16(20) as usize == tail.len() - at - END_BYTES
    };
    let last = tail.len().checked_sub(END_BYTES);
    let at = last.and_then(|last| (0..=last).rev().find(is_end));
    let at = at.ok_or_else(|| damaged("the directory at its end is missing"))?;
    let end = Fields(&tail[at..]);
    let end_at = tail_at + at as u64;
    let (disks, here) = (end.u16(4), end.u16(6));
    let entries = [end.u16(8), end.u16(10)];
    let (bytes, directory_at) = (end.u32(12), end.u32(16));
    let is_large = entries.contains(&0xFFFF) || bytes == u32::MAX || directory_at == u32::MAX;
    if is_large && end_at >= (LOCATOR_BYTES + END_64_BYTES) as u64 {
        return find_directory_64(archive, end_at);
    }
    let directory =
        Directory { entries: entries[0].into(), bytes: bytes.into(), at: directory_at.into() };
    let is_whole = (disks, here) == (0, 0) && entries[0] == entries[1];
    if !is_whole || directory.at.checked_add(directory.bytes) != Some(end_at) {
        return Err(damaged("its directory is not where it should be"));
    }
    Ok(directory)
}

fn find_directory_64<R: Read + Seek>(
    archive: &mut R,
    end_at: u64,
) -> Result<Directory, ArchiveError> {
    let wrong = || damaged("its directory for large archives is not where it should be");
    let locator_at = end_at - LOCATOR_BYTES as u64;
    let locator = read_at(archive, locator_at, LOCATOR_BYTES)?;
    let locator = Fields(&locator);
    let end_64_at = locator.u64(8);
    let is_right = locator.u32(0) == 0x0706_4b50 && locator.u32(4) == 0 && locator.u32(16) == 1;
    if !is_right || end_64_at.checked_add(END_64_BYTES as u64).is_none_or(|end| end > locator_at) {
        return Err(wrong());
    }
    let end = read_at(archive, end_64_at, END_64_BYTES)?;
    let end = Fields(&end);
    let directory = Directory { entries: end.u64(24), bytes: end.u64(40), at: end.u64(48) };
    let is_whole = end.u32(0) == 0x0606_4b50
        && end.u32(16) == 0
        && end.u32(20) == 0
        && end.u64(32) == directory.entries
        && end.u64(4).checked_add(12 + end_64_at) == Some(locator_at);
    if !is_whole || directory.at.checked_add(directory.bytes) != Some(end_64_at) {
        return Err(wrong());
    }
    Ok(directory)
}

pub(super) fn list<R: Read + Seek>(
    archive: &mut R,
    directory: &Directory,
) -> Result<Vec<Listed>, ArchiveError> {
    if directory.bytes > directory.entries.saturating_mul(ENTRY_MAX_BYTES) {
        return Err(damaged("its directory is too large for its entries"));
    }
    let bytes =
        usize::try_from(directory.bytes).map_err(|_| damaged("its directory is too large"))?;
    let raw = read_at(archive, directory.at, bytes)?;
    let mut rest = &raw[..];
    let mut entries = Vec::new();
    for _ in 0..directory.entries {
        let (entry, behind) =
            listed(rest).ok_or_else(|| damaged("its directory cannot be read"))?;
        entries.push(entry);
        rest = behind;
    }
    if rest.is_empty() { Ok(entries) } else { Err(damaged("its directory is longer than it says")) }
}

/// The first entry of a part of the directory, and what is behind it.
fn listed(raw: &[u8]) -> Option<(Listed, &[u8])> {
    let (fixed, rest) = raw.split_at_checked(CENTRAL_BYTES)?;
    let fixed = Fields(fixed);
    if fixed.u32(0) != 0x0201_4b50 || fixed.u16(34) != 0 {
        return None;
    }
    let (name, rest) = rest.split_at_checked(fixed.u16(28).into())?;
    let (extra, rest) = rest.split_at_checked(fixed.u16(30).into())?;
    let (_comment, rest) = rest.split_at_checked(fixed.u16(32).into())?;
    let mut large = large_sizes(extra)?;
    let mut wide = |narrow: u32| {
        if narrow < u32::MAX {
            return Some(u64::from(narrow));
        }
        let (number, rest) = large.split_at_checked(8)?;
        large = rest;
        Some(Fields(number).u64(0))
    };
    // In this order they follow each other, each only where the narrow field is full.
    let unpacked = wide(fixed.u32(24))?;
    let packed = wide(fixed.u32(20))?;
    let at = wide(fixed.u32(42))?;
    let is_unix = matches!(fixed.u16(4) >> 8, 3 | 19);
    let mode = if is_unix { fixed.u32(38) >> 16 } else { 0 };
    let (flags, method, crc) = (fixed.u16(8), fixed.u16(10), fixed.u32(16));
    Some((Listed { name: name.to_vec(), flags, method, crc, packed, unpacked, at, mode }, rest))
}

/// The field for large sizes among the extra ones; empty if there is none. None if they cannot be read.
fn large_sizes(mut extra: &[u8]) -> Option<&[u8]> {
    while extra.len() >= 4 {
        let (head, rest) = extra.split_at(4);
        let (field, rest) = rest.split_at_checked(Fields(head).u16(2).into())?;
        if Fields(head).u16(0) == 1 {
            return Some(field);
        }
        extra = rest;
    }
    Some(&[]) // Some programs pad with a few zeros.
}

fn read_at<R: Read + Seek>(
    archive: &mut R,
    at: u64,
    bytes: usize,
) -> Result<Vec<u8>, ArchiveError> {
    archive.seek(SeekFrom::Start(at)).map_err(unread)?;
    let mut read = Vec::new();
    archive.take(bytes as u64).read_to_end(&mut read).map_err(unread)?;
    if read.len() == bytes { Ok(read) } else { Err(damaged("it ends too early")) }
}

/// Numbers in a record, the lowest byte first.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().expect("a slice of N bytes is an array of N")
    }
}
