//! Reads tar: the old form, POSIX's with its extended headers, and GNU's long names. Source: POSIX.1-2017,
//! pax, "ustar Interchange Format" and "pax Extended Header"; the GNU tar manual, "Basic Tar Format".
//!
//! Extended headers have a bound here: libraries read them as a whole, of whatever size they say.

use std::io::{self, Read};

use super::bounds::{Entry, Named, Taker, named};
use super::{ArchiveError, Stopped, damaged, readable, unread};

const BLOCK_BYTES: usize = 512;

/// Where a header says of what kind its entry is.
const KIND: usize = 156;

/// Largest extended header, or long name. Bytes.
const EXTENDED_MAX_BYTES: u64 = 64 << 10;

/// Most that may follow the end: tar fills up to whole records, of 10 KiB unless it is told otherwise.
/// Bytes.
const BEHIND_END_MAX_BYTES: u64 = 1 << 20;

type Block = [u8; BLOCK_BYTES];

/// What an extended header says of the entry that follows.
#[derive(Debug, Default)]
struct Extended {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    /// Some of the file's holes are left out, which only some programs understand.
    is_sparse: bool,
}

/// Reads all entries, and then to the end, so that whatever `stream` checks there is checked.
pub(super) fn read<E>(mut stream: impl Read, taker: &mut Taker<'_, E>) -> Result<(), Stopped<E>> {
    let mut extended = Extended::default();
    loop {
        let block = read_block(&mut stream)?;
        if block.iter().all(|&byte| byte == 0) {
            break;
        }
        check_sum(&block)?;
        taker.entry()?;
        let size = number(&block[124..136])?;
        match block[KIND] {
            b'x' => take_extended(&read_words(&mut stream, size)?, &mut extended)?,
            b'g' => {
                let mut of_all = Extended::default();
                take_extended(&read_words(&mut stream, size)?, &mut of_all)?;
                if of_all.path.is_some() || of_all.size.is_some() || of_all.is_sparse {
                    return Err(damaged("one name or size for all of its files").into());
                }
            }
            b'L' => {
                let name = read_words(&mut stream, size)?;
                extended.path.get_or_insert(until_zero(&name).to_vec());
            }
            kind => {
                let said = std::mem::take(&mut extended);
                take_entry(&mut stream, taker, &block, Said { kind, size, extended: said })?;
            }
        }
    }
    // What follows the end is padding; whoever compressed it has put a checksum behind that.
    let behind = io::copy(&mut stream.take(BEHIND_END_MAX_BYTES + 1), &mut io::sink());
    if behind.map_err(unread)? > BEHIND_END_MAX_BYTES {
        return Err(damaged("much follows its end").into());
    }
    Ok(())
}

/// What is said of an entry.
struct Said {
    kind: u8,
    size: u64,
    extended: Extended,
}

fn take_entry<E>(
    stream: &mut impl Read,
    taker: &mut Taker<'_, E>,
    block: &Block,
    said: Said,
) -> Result<(), Stopped<E>> {
    let Said { kind, size, extended } = said;
    let name = extended.path.unwrap_or_else(|| name(block));
    let size = extended.size.unwrap_or(size);
    let is_plain = matches!(kind, b'0' | 0 | b'7' | b'5') && !extended.is_sparse;
    if !is_plain {
        return Err(ArchiveError::NotAFile { name: readable(&name) }.into());
    }
    match named(&name)? {
        Named::File(path) if kind != b'5' => {
            let executable = number(&block[100..108])? & 0o111 != 0;
            taker.file(Entry { path, executable }, size, stream)?;
            skip(stream, padding(size))?;
        }
        Named::File(_) | Named::Folder if size == 0 => {}
        Named::File(_) | Named::Folder => return Err(damaged("a folder with content").into()),
    }
    Ok(())
}

fn read_block(stream: &mut impl Read) -> Result<Block, ArchiveError> {
    let mut block = [0; BLOCK_BYTES];
    stream.read_exact(&mut block).map_err(unread)?;
    Ok(block)
}

/// The content of an extended header.
fn read_words(stream: &mut impl Read, size: u64) -> Result<Vec<u8>, ArchiveError> {
    if size > EXTENDED_MAX_BYTES {
        return Err(damaged("a name or a header that is too long"));
    }
    let mut words = Vec::new();
    stream.by_ref().take(size).read_to_end(&mut words).map_err(unread)?;
    if (words.len() as u64) < size {
        return Err(damaged("it ends too early"));
    }
    skip(stream, padding(size))?;
    Ok(words)
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK_BYTES as u64
}

fn skip(stream: &mut impl Read, bytes: u64) -> Result<(), ArchiveError> {
    let skipped = io::copy(&mut stream.take(bytes), &mut io::sink()).map_err(unread)?;
    if skipped == bytes { Ok(()) } else { Err(damaged("it ends too early")) }
}

/// The sum of all bytes, with blanks for the sum itself.
fn check_sum(block: &Block) -> Result<(), ArchiveError> {
    let said = number(&block[148..156])?;
    let others = block[..148].iter().chain(&block[156..]);
    let sum = others.map(|&byte| u64::from(byte)).sum::<u64>() + 8 * u64::from(b' ');
    if sum == said { Ok(()) } else { Err(damaged("a header's checksum is wrong")) }
}

/// A number in octal digits, or, as GNU tar writes what they do not hold, in binary.
fn number(field: &[u8]) -> Result<u64, ArchiveError> {
    let wrong = || damaged("a number in a header is none");
    if let [first @ 0x80..=0xff, rest @ ..] = field {
        let add = |number: u64, byte: &u8| number.checked_mul(256)?.checked_add((*byte).into());
        let number = rest.iter().try_fold(0, add);
        return number.filter(|_| *first == 0x80).ok_or_else(wrong);
    }
    let digits: &[u8] = until_zero(field).trim_ascii();
    let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
    if digits.is_empty() {
        return Ok(0);
    }
    if !digits.bytes().all(|digit| matches!(digit, b'0'..=b'7')) {
        return Err(wrong());
    }
    u64::from_str_radix(digits, 8).map_err(|_| wrong())
}

fn name(block: &Block) -> Vec<u8> {
    let name = until_zero(&block[..100]);
    // GNU's own form has other things in that place.
    let prefix = if &block[257..263] == b"ustar\0" { until_zero(&block[345..500]) } else { &[] };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Lines such as `18 path=some/name\n`, each beginning with its own length.
fn take_extended(words: &[u8], extended: &mut Extended) -> Result<(), ArchiveError> {
    let wrong = || damaged("an extended header cannot be read");
    let mut rest = words;
    while !rest.is_empty() {
        let blank = rest.iter().position(|&byte| byte == b' ').ok_or_else(wrong)?;
        let length = decimal(&rest[..blank]).ok_or_else(wrong)?;
        let length = usize::try_from(length).map_err(|_| wrong())?;
        if length <= blank + 1 || length > rest.len() || rest[length - 1] != b'\n' {
            return Err(wrong());
        }
        let line = &rest[blank + 1..length - 1];
        rest = &rest[length..];
        let equals = line.iter().position(|&byte| byte == b'=').ok_or_else(wrong)?;
        let (key, value) = (&line[..equals], &line[equals + 1..]);
        match key {
            b"path" if value.contains(&0) => return Err(wrong()),
            b"path" => extended.path = Some(value.to_vec()),
            b"size" => extended.size = Some(decimal(value).ok_or_else(wrong)?),
            key if key.starts_with(b"GNU.sparse") => extended.is_sparse = true,
            _ => {}
        }
    }
    Ok(())
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}
