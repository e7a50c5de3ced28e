//! Brings outputs into a folder: each resumed where it stopped, checked by its hash, and put in place
//! only when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_protocol::rest::OutputFile;
use campusgrid_protocol::text::check_path;
use indicatif::ProgressBar;
use nix::fcntl::OFlag;
use ureq::http::StatusCode;

use super::{BUFFER_BYTES, hash_of};
use crate::client::address::encoded;
use crate::client::{Ask, Client};
use crate::error::CliError;

/// How often a download is resumed that brings nothing new.
const BREAKS_MAX: u32 = 5;
const BREAK_PAUSE: Duration = Duration::from_secs(1);

/// What to do about a file that is there with other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTheWay {
    Keep,
    Replace,
}

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    New,
    /// It was there already.
    There,
}

/// Where files go, and from where.
#[derive(Debug)]
pub struct Downloader<'a> {
    pub client: Client,
    pub folder: PathBuf,
    pub in_the_way: InTheWay,
    pub bar: &'a ProgressBar,
}

impl Downloader<'_> {
    /// Brings one output of a task to `place`, a path below the folder.
    ///
    /// # Errors
    ///
    /// As `Client::get`; `Damaged`, `BrokenOff`, `InTheWay`, `Read`, `Write`. What has come stays, so that
    /// the next call goes on there.
    pub fn fetch(
        &self,
        job: u64,
        task: u32,
        file: &OutputFile,
        place: &str,
    ) -> Result<Fetched, CliError> {
        let target = self.target(place)?;
        if let Ok(found) = fs::symlink_metadata(&target) {
            let is_same = found.is_file()
                && found.len() == file.size_bytes
                && hash_of(&target)?.to_string() == file.blake3;
            if is_same {
                self.bar.inc(file.size_bytes);
                return Ok(Fetched::There);
            }
            if self.in_the_way == InTheWay::Keep || found.is_dir() {
                return Err(CliError::InTheWay { path: target });
            }
        }
        let from = format!("jobs/{job}/outputs/{task}/{}", encoded(&file.path));
        // By its content: what another run left begun is of another file.
        let begun = beside(&target, file.blake3.get(..16).unwrap_or(&file.blake3));
        let mut part = Part::open(&begun, file.size_bytes)?;
        self.bar.inc(part.length);
        self.bring(&from, file.size_bytes, &mut part)?;
        if part.hasher.finalize().to_string() != file.blake3 {
            drop(fs::remove_file(&begun));
            return Err(CliError::Damaged { what: place.to_owned() });
        }
        part.into_place(&target)?;
        Ok(Fetched::New)
    }

    /// Brings a file of unknown length and content whole, to a path of the caller's.
    ///
    /// # Errors
    ///
    /// As `fetch`; nothing stays.
    pub fn fetch_whole(&self, from: &str, target: &Path) -> Result<u64, CliError> {
        if self.in_the_way == InTheWay::Keep && fs::symlink_metadata(target).is_ok() {
            return Err(CliError::InTheWay { path: target.to_owned() });
        }
        let begun = beside(target, &std::process::id().to_string());
        drop(fs::remove_file(&begun));
        let mut part = Part::open(&begun, u64::MAX)?;
        let mut answer = self.client.ask(&Ask::get(from))?;
        let copied = part.take(&mut answer.body_mut().as_reader(), self.bar, u64::MAX);
        if let Err(stop) = copied {
            drop(fs::remove_file(&begun));
            return Err(stop.into_error(from, &begun));
        }
        let length = part.length;
        part.into_place(target)?;
        Ok(length)
    }

    /// Takes what is missing, over as many connections as it needs.
    fn bring(&self, from: &str, size_bytes: u64, part: &mut Part) -> Result<(), CliError> {
        let mut breaks = 0;
        while part.length < size_bytes {
            let mut ask = Ask::get(from);
            if part.length > 0 {
                ask.headers.push(("range", format!("bytes={}-", part.length)));
            }
            let mut answer = self.client.ask(&ask)?;
            if answer.status() != StatusCode::PARTIAL_CONTENT && part.length > 0 {
                part.restart()?;
            }
            let before = part.length;
            let mut reader = answer.body_mut().with_config().limit(u64::MAX).reader();
            let stopped = part.take(&mut reader, self.bar, size_bytes);
            if let Err(Stop::Write(error)) = stopped {
                return Err(Stop::Write(error).into_error(from, &part.path));
            }
            if part.length == size_bytes {
                return Ok(());
            }
            breaks = if part.length > before { 0 } else { breaks + 1 };
            if breaks > BREAKS_MAX {
                let stop = stopped.err().unwrap_or(Stop::Read(ErrorKind::UnexpectedEof.into()));
                return Err(stop.into_error(from, &part.path));
            }
            std::thread::sleep(BREAK_PAUSE);
        }
        Ok(())
    }

    /// Where a file goes, with the folders on the way made. None of them may be a link.
    fn target(&self, place: &str) -> Result<PathBuf, CliError> {
        // Each part by itself: with its task's folder in front a path may be longer than any alone.
        if !place.split('/').all(|part| check_path(part).is_ok()) {
            return Err(CliError::Damaged { what: format!("{place:?}") });
        }
        let mut path = self.folder.clone();
        make_folder(&path)?;
        let mut parts = place.split('/').peekable();
        while let Some(part) = parts.next() {
            path.push(part);
            if parts.peek().is_some() {
                make_folder(&path)?;
                let found = fs::symlink_metadata(&path);
                let found =
                    found.map_err(|source| CliError::Read { path: path.clone(), source })?;
                if !found.is_dir() {
                    return Err(CliError::InTheWay { path });
                }
            }
        }
        Ok(path)
    }
}

fn make_folder(path: &Path) -> Result<(), CliError> {
    fs::create_dir_all(path).map_err(|source| CliError::Write { path: path.to_owned(), source })
}

fn beside(target: &Path, mark: &str) -> PathBuf {
    let name = target.file_name().map(|name| name.to_string_lossy().into_owned());
    // A long name has no room for more behind it.
    let name: String = name.unwrap_or_default().chars().take(40).collect();
    target.with_file_name(format!(".{name}.{mark}.part"))
}

/// A file that has come so far.
struct Part {
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    length: u64,
}

/// Why a copy stopped.
enum Stop {
    Read(std::io::Error),
    Write(std::io::Error),
}

impl Stop {
    fn into_error(self, what: &str, path: &Path) -> CliError {
        match self {
            Self::Read(source) => CliError::BrokenOff { what: what.to_owned(), source },
            Self::Write(source) => CliError::Write { path: path.to_owned(), source },
        }
    }
}

impl Part {
    /// Opens what was begun, and hashes it; anew if it is longer than it may be.
    fn open(path: &Path, size_bytes: u64) -> Result<Self, CliError> {
        let failed = |source| CliError::Write { path: path.to_owned(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(path)
            .map_err(failed)?;
        let mut part =
            Self { path: path.to_owned(), file, hasher: blake3::Hasher::new(), length: 0 };
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match part.file.read(&mut buffer).map_err(failed)? {
                0 => break,
                read => {
                    part.hasher.update(&buffer[..read]);
                    part.length += read as u64;
                }
            }
        }
        if part.length > size_bytes {
            part.restart()?;
        }
        Ok(part)
    }

    fn restart(&mut self) -> Result<(), CliError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|source| CliError::Write { path: self.path.clone(), source })?;
        self.hasher = blake3::Hasher::new();
        self.length = 0;
        Ok(())
    }

    fn take(
        &mut self,
        reader: &mut impl Read,
        bar: &ProgressBar,
        size_bytes: u64,
    ) -> Result<(), Stop> {
        let mut buffer = vec![0; BUFFER_BYTES];
        while self.length < size_bytes {
            let most = usize::try_from(size_bytes - self.length).unwrap_or(usize::MAX);
            let most = most.min(buffer.len());
            match reader.read(&mut buffer[..most]).map_err(Stop::Read)? {
                0 => break,
                read => {
                    self.file.write_all(&buffer[..read]).map_err(Stop::Write)?;
                    self.hasher.update(&buffer[..read]);
                    self.length += read as u64;
                    bar.inc(read as u64);
                }
            }
        }
        Ok(())
    }

    fn into_place(self, target: &Path) -> Result<(), CliError> {
        let placed = self.file.sync_all().and_then(|()| fs::rename(&self.path, target));
        placed.map_err(|source| CliError::Write { path: target.to_owned(), source })
    }
}
