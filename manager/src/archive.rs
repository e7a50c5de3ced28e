//! Reads archives that anybody may have made, as a row of plain files. One thing that is wrong ends it:
//! names that lead elsewhere or come twice, links, devices, more than was allowed, ends that are missing.
//! It writes nothing: what becomes of the files is for whoever takes them.

mod bounds;
mod tar;
mod zip;

use std::io::{self, Read, Seek};

use campusgrid_protocol::text::{TextError, is_hidden};

use bounds::{Bounded, Inflated, Taker, is_bomb};

/// What an archive unpacks to may be so many times its own size, once it is beyond
/// [`RATIO_FREE_BYTES`]. Deflate reaches 1,032 at most, and text that people write less than 30.
pub const RATIO_MAX: u64 = 200;

/// As much may come of any archive, however small. Bytes.
pub const RATIO_FREE_BYTES: u64 = 256 << 20;

/// The form of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Zip,
    Tar,
    TarGz,
    TarZst,
}

impl Kind {
    /// By the end of its name.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let ends = [
            (".zip", Self::Zip),
            (".tar", Self::Tar),
            (".tar.gz", Self::TarGz),
            (".tgz", Self::TarGz),
            (".tar.zst", Self::TarZst),
            (".tzst", Self::TarZst),
        ];
        ends.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, kind)| kind)
    }
}

/// What may come of an archive.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub files: usize,
    /// Of one file. Bytes.
    pub file_bytes: u64,
    /// Of all files. Bytes.
    pub all_bytes: u64,
}

/// What is found, in order: a file, its content in pieces, its end.
#[derive(Debug)]
pub enum Part<'a> {
    /// Its path is one that [`campusgrid_protocol::text::check_path`] takes.
    File {
        path: String,
        executable: bool,
    },
    Data(&'a [u8]),
    End,
}

/// Why an archive is refused. Names in it are shown as they can be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archive cannot be read from the disk")]
    Read(#[source] io::Error),
    #[error("the archive is damaged or cut short: {what}")]
    Damaged { what: String },
    #[error("the archive has an entry named {name:?}; a name {why}")]
    Name { name: String, why: TextError },
    #[error("the archive has an entry whose name is not UTF-8: {name:?}")]
    NotUtf8 { name: String },
    #[error(
        "{name:?} in the archive is a link or a device: only plain files and folders are taken"
    )]
    NotAFile { name: String },
    #[error("{name:?} is in the archive twice, or as a file and a folder")]
    Twice { name: String },
    #[error("{name:?} in the archive is encrypted")]
    Encrypted { name: String },
    #[error(
        "{name:?} in the archive is compressed in a way that is not understood: make it with the \
         usual \"deflate\""
    )]
    Method { name: String },
    #[error("the archive has more than {max} entries")]
    TooManyFiles { max: usize },
    #[error("{name:?} in the archive is larger than {max} bytes")]
    FileTooLarge { name: String, max: u64 },
    #[error("the files in the archive have more than {max} bytes together")]
    TooLarge { max: u64 },
    #[error("to unpack the archive takes too long: bring it in parts")]
    TooLong,
    #[error("the archive unpacks to more than {RATIO_MAX} times its own size")]
    Bomb,
}

/// Why reading an archive ended early.
#[derive(Debug)]
pub enum Stopped<E> {
    Archive(ArchiveError),
    /// Whoever takes the files wants no more.
    Taker(E),
}

impl<E> From<ArchiveError> for Stopped<E> {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// Reads an archive from its beginning; folders are told by the paths of files only.
///
/// What it needs of memory does not grow with the archive, but for the names in it and 128 MiB at most
/// for the window of a `.tar.zst`.
///
/// # Errors
///
/// `Archive`, of which [`ArchiveError::Read`] alone is not the archive's fault; `Taker` with what `take`
/// yields. What was told until then is void.
pub fn read<R: Read + Seek, E>(
    kind: Kind,
    mut archive: R,
    limits: Limits,
    mut take: impl FnMut(Part<'_>) -> Result<(), E>,
) -> Result<(), Stopped<E>> {
    let bytes = archive.seek(io::SeekFrom::End(0)).map_err(ArchiveError::Read)?;
    archive.seek(io::SeekFrom::Start(0)).map_err(ArchiveError::Read)?;
    let mut taker = Taker::new(limits, bytes, &mut take);
    match kind {
        Kind::Zip => zip::read(archive, bytes, &mut taker)?,
        Kind::Tar => tar::read(io::BufReader::new(archive), &mut taker)?,
        Kind::TarGz => {
            let unpacked = flate2::bufread::MultiGzDecoder::new(io::BufReader::new(archive));
            tar::read(Bounded::new(unpacked, bytes), &mut taker)?;
        }
        Kind::TarZst => {
            let unpacked = Inflated::new(io::BufReader::new(archive));
            tar::read(Bounded::new(unpacked, bytes), &mut taker)?;
        }
    }
    Ok(taker.finish()?)
}

/// What a failed read of an archive, or of what it unpacks to, means.
fn unread(error: io::Error) -> ArchiveError {
    if is_bomb(&error) {
        ArchiveError::Bomb
    } else if error.raw_os_error().is_some() {
        ArchiveError::Read(error)
    } else if error.kind() == io::ErrorKind::UnexpectedEof {
        damaged("it ends too early")
    } else {
        damaged("its content cannot be unpacked")
    }
}

fn damaged(what: &str) -> ArchiveError {
    ArchiveError::Damaged { what: what.to_owned() }
}

/// A name from an archive, for people: its beginning, without what would not be seen.
fn readable(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    name.chars().take(100).map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
