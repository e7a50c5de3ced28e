//! Writes zip archives piece by piece: files as they are, each behind a header that says all of it, so
//! that even readers that never see the end can unpack it. Source: PKWARE's APPNOTE.TXT 6.3.10.
//!
//! Sizes and places beyond 4 GiB, and more than 65,534 files, are told in the ZIP64 way.

use bytes::Bytes;

/// What is too large for the narrow fields, or as large as what says so.
const NARROW_MAX: u64 = 0xFFFF_FFFE;
const FEW_MAX: u64 = 0xFFFE;

/// Understood by version 4.5 on, which brought ZIP64; and 2.0 for everything else.
const VERSION_64: u16 = 45;
const VERSION: u16 = 20;

/// Made on Unix, so that the mode is read.
const MADE_BY: u16 = 3 << 8 | VERSION_64;
const MODE: u32 = 0o100_644 << 16;

/// Names are UTF-8.
const FLAGS: u16 = 0x800;

/// Most that the directory may come to: it waits in memory until the end of the archive. Bytes.
const DIRECTORY_MAX_BYTES: usize = 32 << 20;

/// 1 January 1980, the first that can be told: the archive of the same files is the same archive.
const DATE: u16 = 1 << 5 | 1;

/// An archive as it grows.
#[derive(Debug, Default)]
pub(super) struct Zip {
    at: u64,
    files: u64,
    directory: Vec<u8>,
}

/// A file that goes into it.
#[derive(Debug)]
pub(super) struct Zipped<'a> {
    /// At most 65,535 bytes.
    pub(super) name: &'a str,
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

impl Zip {
    /// Whether its directory takes no more files.
    pub(super) fn is_full(&self) -> bool {
        self.directory.len() >= DIRECTORY_MAX_BYTES
    }

    /// What is to be written before the content of a file, which is to follow at once.
    pub(super) fn begin(&mut self, file: &Zipped<'_>) -> Bytes {
        let Zipped { name, bytes, crc } = *file;
        let name_bytes = u16::try_from(name.len()).expect("paths are short");
        let mut header = Vec::with_capacity(64 + name.len());
        // Both sizes, or none, are in the extra field here.
        let both = [bytes, bytes];
        let wide = if bytes > NARROW_MAX { &both[..] } else { &[] };
        let narrow = narrow(bytes);
        put32(&mut header, &[0x0403_4b50]);
        put_common(&mut header, version(wide), crc, [narrow, narrow]);
        put16(&mut header, &[name_bytes, extra_bytes(wide)]);
        header.extend_from_slice(name.as_bytes());
        put_extra(&mut header, wide);
        self.list(file, narrow, name_bytes);
        self.files += 1;
        self.at += header.len() as u64 + bytes;
        header.into()
    }

    fn list(&mut self, file: &Zipped<'_>, narrow_bytes: u32, name_bytes: u16) {
        let mut wide = Vec::new();
        if file.bytes > NARROW_MAX {
            wide.extend([file.bytes, file.bytes]);
        }
        if self.at > NARROW_MAX {
            wide.push(self.at);
        }
        let directory = &mut self.directory;
        put32(directory, &[0x0201_4b50]);
        put16(directory, &[MADE_BY]);
        put_common(directory, version(&wide), file.crc, [narrow_bytes, narrow_bytes]);
        put16(directory, &[name_bytes, extra_bytes(&wide), 0, 0, 0]);
        put32(directory, &[MODE, narrow(self.at)]);
        directory.extend_from_slice(file.name.as_bytes());
        put_extra(directory, &wide);
    }

    /// What is to be written last.
    pub(super) fn finish(self) -> Bytes {
        let Self { at, files, directory: mut end } = self;
        let bytes = end.len() as u64;
        if at > NARROW_MAX || bytes > NARROW_MAX || files > FEW_MAX {
            put32(&mut end, &[0x0606_4b50]);
            put64(&mut end, &[44]);
            put16(&mut end, &[MADE_BY, VERSION_64]);
            put32(&mut end, &[0, 0]);
            put64(&mut end, &[files, files, bytes, at]);
            put32(&mut end, &[0x0706_4b50, 0]);
            put64(&mut end, &[at + bytes]);
            put32(&mut end, &[1]);
        }
        let few = u16::try_from(files.min(FEW_MAX + 1)).expect("at most 65,535");
        put32(&mut end, &[0x0605_4b50]);
        put16(&mut end, &[0, 0, few, few]);
        put32(&mut end, &[narrow(bytes), narrow(at)]);
        put16(&mut end, &[0]);
        end.into()
    }
}

fn version(wide: &[u64]) -> u16 {
    if wide.is_empty() { VERSION } else { VERSION_64 }
}

/// What both headers of a file have in common: content that is stored as it is.
fn put_common(bytes: &mut Vec<u8>, version: u16, crc: u32, sizes: [u32; 2]) {
    put16(bytes, &[version, FLAGS, 0, 0, DATE]);
    put32(bytes, &[crc, sizes[0], sizes[1]]);
}

fn extra_bytes(wide: &[u64]) -> u16 {
    let bytes = if wide.is_empty() { 0 } else { 4 + 8 * wide.len() };
    u16::try_from(bytes).expect("at most three numbers")
}

fn put_extra(bytes: &mut Vec<u8>, wide: &[u64]) {
    if !wide.is_empty() {
        put16(bytes, &[1, extra_bytes(wide) - 4]);
        put64(bytes, wide);
    }
}

fn narrow(number: u64) -> u32 {
    if number > NARROW_MAX { u32::MAX } else { u32::try_from(number).expect("it is narrow") }
}

fn put16(bytes: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

fn put32(bytes: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

fn put64(bytes: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read, Seek, SeekFrom};

    use super::{Zip, Zipped};
    use crate::archive::{Kind, Limits, Part, read};

    const ALL: Limits = Limits { files: usize::MAX, file_bytes: u64::MAX, all_bytes: u64::MAX };

    /// What our own reader, which is a strict one, finds in an archive.
    fn unpack(archive: impl Read + Seek) -> Vec<(String, u64, u32)> {
        let mut found = Vec::new();
        let mut hasher = crc32fast::Hasher::new();
        read(Kind::Zip, archive, ALL, |part| -> Result<(), ()> {
            match part {
                Part::File { path, executable } => {
                    assert!(!executable);
                    hasher = crc32fast::Hasher::new();
                    found.push((path, 0, 0));
                }
                Part::Data(piece) => {
                    hasher.update(piece);
                    found.last_mut().unwrap().1 += piece.len() as u64;
                }
                Part::End => found.last_mut().unwrap().2 = hasher.clone().finalize(),
            }
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn what_is_written_can_be_read() {
        let files = [("a.txt", "one"), ("b/größe.csv", "1,2\n"), ("empty", "")];
        let (mut zip, mut archive) = (Zip::default(), Vec::new());
        for (name, content) in files {
            let crc = crc32fast::hash(content.as_bytes());
            let file = Zipped { name, bytes: content.len() as u64, crc };
            archive.extend_from_slice(&zip.begin(&file));
            archive.extend_from_slice(content.as_bytes());
        }
        archive.extend_from_slice(&zip.finish());
        let found = unpack(Cursor::new(archive));
        let expected = files.map(|(name, content)| {
            (name.to_owned(), content.len() as u64, crc32fast::hash(content.as_bytes()))
        });
        assert_eq!(found, expected);
        assert_eq!(unpack(Cursor::new(Zip::default().finish().to_vec())), []);
    }

    #[test]
    fn many_files_are_counted_in_the_large_way() {
        let (mut zip, mut archive) = (Zip::default(), Vec::new());
        for number in 0..70_000 {
            let file = Zipped { name: &number.to_string(), bytes: 0, crc: 0 };
            archive.extend_from_slice(&zip.begin(&file));
        }
        archive.extend_from_slice(&zip.finish());
        assert_eq!(unpack(Cursor::new(archive)).len(), 70_000);
    }

    #[test]
    fn the_directory_has_a_bound() {
        let name = "n".repeat(60_000);
        let mut zip = Zip::default();
        let mut files = 0;
        while !zip.is_full() {
            zip.begin(&Zipped { name: &name, bytes: 0, crc: 0 });
            files += 1;
            assert!(files < 1000);
        }
        assert!(zip.finish().len() < 33 << 20);
    }

    /// An archive of which most is one stretch of zeros, which takes no memory.
    struct Sparse {
        before: Vec<u8>,
        zeros: u64,
        after: Vec<u8>,
        at: u64,
    }

    impl Read for Sparse {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let zeros_at = self.before.len() as u64;
            let after_at = zeros_at + self.zeros;
            let copied = if self.at < zeros_at {
                (&self.before[usize::try_from(self.at).unwrap()..]).read(buffer)?
            } else if self.at < after_at {
                let left = usize::try_from(after_at - self.at).unwrap().min(buffer.len());
                buffer[..left].fill(0);
                left
            } else {
                let at = usize::try_from(self.at - after_at).unwrap().min(self.after.len());
                (&self.after[at..]).read(buffer)?
            };
            self.at += copied as u64;
            Ok(copied)
        }
    }

    impl Seek for Sparse {
        fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
            let end = self.before.len() as u64 + self.zeros + self.after.len() as u64;
            self.at = match to {
                SeekFrom::Start(at) => at,
                SeekFrom::End(by) => end.checked_add_signed(by).unwrap(),
                SeekFrom::Current(by) => self.at.checked_add_signed(by).unwrap(),
            };
            Ok(self.at)
        }
    }

    #[test]
    fn files_beyond_4_gib_are_told_in_the_large_way() {
        let zeros = (4 << 30) + 17;
        let mut zip = Zip::default();
        let before = zip.begin(&Zipped { name: "large", bytes: zeros, crc: 0 }).to_vec();
        let mut after =
            zip.begin(&Zipped { name: "behind", bytes: 1, crc: crc32fast::hash(b"x") }).to_vec();
        after.push(b'x');
        after.extend_from_slice(&zip.finish());
        // That the directory was found, and the first file where it says, shows that both are told right;
        // to read all of it takes long without optimization.
        let archive = Sparse { before, zeros, after, at: 0 };
        let mut found = Vec::new();
        let stopped = read(Kind::Zip, archive, ALL, |part| match part {
            Part::File { path, .. } => {
                found.push(path);
                Ok(())
            }
            Part::Data(_) => Err("enough"),
            Part::End => Ok(()),
        });
        assert!(matches!(stopped, Err(crate::archive::Stopped::Taker("enough"))));
        assert_eq!(found, ["large"]);
    }
}
