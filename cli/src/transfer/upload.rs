//! Takes files to a draft: attached where the manager has their content already, whole if they are
//! small, in pieces that go on where they stopped otherwise.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::rest::files::{Attach, Limits, Upload, Uploaded};
use indicatif::ProgressBar;
use ureq::http::Method;

use super::hash_of;
use crate::client::address::encoded;
use crate::client::{Ask, Client, Repeat};
use crate::error::CliError;
use crate::job::files::LocalFile;

/// Files up to here are sent without asking whether the manager has them. Bytes.
const ASK_FROM_BYTES: u64 = 64 << 10;
/// Files up to here are sent whole. Bytes.
const WHOLE_MAX_BYTES: u64 = 4 << 20;
/// A piece of a larger one, if the manager takes that much. Bytes: what is lost when a connection breaks
/// is sent again.
const PIECE_BYTES: u64 = 16 << 20;
/// Files on their way at once: while one is hashed or waits for the manager's disk, others are sent.
const AT_ONCE: usize = 4;
/// How often the manager may say that an upload stands elsewhere than it should.
const SURPRISES_MAX: u32 = 5;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    /// The manager unpacks it.
    Archive,
}

/// Sends files to a draft. Whoever calls it again after it has failed sends what is missing.
#[derive(Debug)]
pub struct Uploader<'a> {
    client: Client,
    job: u64,
    piece_bytes: u64,
    bar: &'a ProgressBar,
}

/// What was not sent, and why.
#[derive(Debug)]
pub struct Stopped {
    pub left: Vec<(LocalFile, Kind)>,
    pub error: CliError,
}

impl<'a> Uploader<'a> {
    /// # Errors
    ///
    /// As `Client::get`; `Usage` if a file is larger than the manager takes.
    pub fn new(
        client: &Client,
        job: u64,
        files: &[(LocalFile, Kind)],
        bar: &'a ProgressBar,
    ) -> Result<Self, CliError> {
        let limits: Limits = client.get("limits")?;
        let largest = files.iter().max_by_key(|(file, _)| file.size_bytes);
        if let Some((file, _)) = largest.filter(|(file, _)| file.size_bytes > limits.file_max_bytes)
        {
            let max = crate::units::bytes(limits.file_max_bytes);
            let path = file.local.display();
            return Err(CliError::Usage(format!("{path} is larger than the manager takes: {max}")));
        }
        let piece_bytes = PIECE_BYTES.min(limits.piece_max_bytes).max(1);
        Ok(Self { client: client.patient(), job, piece_bytes, bar })
    }

    /// Sends all of them, some at once.
    ///
    /// # Errors
    ///
    /// What was not sent, with the first reason.
    pub fn send_all(&self, files: &[(LocalFile, Kind)]) -> Result<(), Stopped> {
        let next = AtomicUsize::new(0);
        let failed: Mutex<Vec<(usize, CliError)>> = Mutex::default();
        let is_over = || !failed.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let work = || {
            while !is_over() {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some((file, kind)) = files.get(place) else { return };
                if let Err(error) = self.send(file, *kind) {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).push((place, error));
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(files.len()) {
                scope.spawn(work);
            }
        });
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut places: Vec<usize> = failed.iter().map(|(place, _)| *place).collect();
        let Some((_, error)) = failed.into_iter().next() else { return Ok(()) };
        places.extend(next.into_inner()..files.len());
        places.sort_unstable();
        places.dedup();
        let left = places.into_iter().filter_map(|place| files.get(place).cloned()).collect();
        Err(Stopped { left, error })
    }

    fn send(&self, file: &LocalFile, kind: Kind) -> Result<(), CliError> {
        let hash = hash_of(&file.local)?;
        let may_be_there = kind == Kind::File && file.size_bytes > ASK_FROM_BYTES;
        if may_be_there && self.attach(file, hash)? {
            self.bar.inc(file.size_bytes);
            return Ok(());
        }
        let opened = File::open(&file.local);
        let opened =
            opened.map_err(|source| CliError::Read { path: file.local.clone(), source })?;
        let sending = Sending { uploader: self, file, kind, hash, opened };
        if file.size_bytes <= WHOLE_MAX_BYTES { sending.whole() } else { sending.in_pieces() }
    }

    /// Whether the manager has the content from this user already; it is then part of the draft.
    fn attach(&self, file: &LocalFile, hash: BlobHash) -> Result<bool, CliError> {
        let body = Attach {
            path: file.path.clone(),
            blake3: hash.to_string(),
            size_bytes: file.size_bytes,
            executable: file.executable,
        };
        let path = format!("jobs/{}/files", self.job);
        let body = serde_json::to_vec(&body).expect("bodies of requests are good JSON");
        let ask = Ask {
            method: Method::POST,
            headers: vec![("content-type", "application/json".to_owned())],
            body: &body,
            repeat: Repeat::Harmless,
            ..Ask::get(path)
        };
        match self.client.ask(&ask) {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("upload_needed") => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// One file on its way.
struct Sending<'a> {
    uploader: &'a Uploader<'a>,
    file: &'a LocalFile,
    kind: Kind,
    hash: BlobHash,
    opened: File,
}

impl Sending<'_> {
    fn whole(&self) -> Result<(), CliError> {
        let body = self.read(0, self.file.size_bytes)?;
        let path = format!("jobs/{}/files/{}", self.uploader.job, self.path_and_query());
        // An empty file is a body of no bytes, which is said.
        let mut headers = vec![
            ("content-type", "application/octet-stream".to_owned()),
            ("content-length", body.len().to_string()),
        ];
        headers.extend((self.file.size_bytes > ASK_FROM_BYTES).then(ask_first));
        let ask = Ask { method: Method::PUT, headers, body: &body, ..Ask::get(path) };
        self.uploader.client.ask(&ask)?;
        self.uploader.bar.inc(self.file.size_bytes);
        Ok(())
    }

    fn in_pieces(&self) -> Result<(), CliError> {
        let mut offset = self.stands_at()?;
        let mut surprises = 0;
        self.uploader.bar.inc(offset);
        loop {
            // None is left where the manager has all of it and could not take it in: it is then asked to.
            let length = self.uploader.piece_bytes.min(self.file.size_bytes - offset);
            match self.send_piece(offset, length) {
                Ok(()) => {
                    offset += length;
                    surprises = 0;
                    self.uploader.bar.inc(length);
                    if offset == self.file.size_bytes {
                        return Ok(());
                    }
                }
                // The connection broke, an answer was lost, or somebody else sends the same file.
                Err(error) if is_surprise(&error) && surprises < SURPRISES_MAX => {
                    surprises += 1;
                    let is_last = offset + length == self.file.size_bytes;
                    let is_file = self.kind == Kind::File;
                    if is_last && is_file && self.uploader.attach(self.file, self.hash)? {
                        return Ok(());
                    }
                    if error.code() == Some("upload_replaced") {
                        self.drop_begun()?; // What was begun has another content.
                    }
                    let now = self.stands_at()?;
                    self.uploader.bar.inc(now.saturating_sub(offset));
                    offset = now;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn send_piece(&self, offset: u64, length: u64) -> Result<(), CliError> {
        let body = self.read(offset, length)?;
        let headers = vec![
            ("content-type", "application/octet-stream".to_owned()),
            ask_first(),
            ("upload-offset", offset.to_string()),
            ("upload-length", self.file.size_bytes.to_string()),
        ];
        let path = format!("jobs/{}/uploads/{}", self.uploader.job, self.path_and_query());
        // What became of it is asked for before it is sent again.
        let repeat = Repeat::IfUnsent;
        let ask = Ask { method: Method::PATCH, headers, body: &body, repeat, ..Ask::get(path) };
        let mut answer = self.uploader.client.ask(&ask)?;
        if offset + length == self.file.size_bytes {
            // Only this answer says that all of it is there.
            let server = self.uploader.client.server().to_string();
            let text = answer.body_mut().read_to_string();
            let what = |error: &dyn std::fmt::Display| CliError::NotAGrid {
                server: server.clone(),
                what: error.to_string(),
            };
            let text = text.map_err(|error| what(&error))?;
            serde_json::from_str::<Uploaded>(&text).map_err(|error| what(&error))?;
        }
        Ok(())
    }

    /// How much of it the manager has from an earlier time.
    fn stands_at(&self) -> Result<u64, CliError> {
        match self.uploader.client.get::<Upload>(self.begun()) {
            Ok(upload) if upload.size_bytes == self.file.size_bytes => Ok(upload.offset_bytes),
            Ok(_) => {
                self.drop_begun()?; // It has become another file since.
                Ok(0)
            }
            Err(error) if error.code() == Some("not_found") => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn drop_begun(&self) -> Result<(), CliError> {
        match self.uploader.client.delete(self.begun()) {
            Err(error) if error.code() == Some("not_found") => Ok(()),
            dropped => dropped,
        }
    }

    fn begun(&self) -> String {
        format!("jobs/{}/uploads/{}", self.uploader.job, encoded(&self.file.path))
    }

    fn path_and_query(&self) -> String {
        let path = encoded(&self.file.path);
        let kind = match self.kind {
            Kind::File => "",
            Kind::Archive => "&unpack=true",
        };
        let executable = if self.file.executable { "&executable=true" } else { "" };
        format!("{path}?blake3={}{executable}{kind}", self.hash)
    }

    fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, CliError> {
        let length = usize::try_from(length).expect("pieces fit memory");
        let mut piece = vec![0; length];
        let read = self.opened.read_exact_at(&mut piece, offset);
        read.map_err(|source| CliError::Read { path: self.file.local.clone(), source })?;
        Ok(piece)
    }
}

/// Has the manager say that it wants a body before that is sent: one that is refused halfway breaks the
/// connection, and the reason is lost with it.
fn ask_first() -> (&'static str, String) {
    ("expect", "100-continue".to_owned())
}

fn is_surprise(error: &CliError) -> bool {
    let is_known = matches!(error.code(), Some("upload_offset" | "upload_replaced" | "not_found"));
    is_known || matches!(error, CliError::Unreachable { .. })
}
