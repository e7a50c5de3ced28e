//! Writes the outputs that a helper sends, trusting neither it nor the names.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::text::check_path;
use campusgrid_sandbox::plan::{Collected, Limits};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::EngineError;
use crate::event::NAMED_MAX;

/// Pieces that wait for the disk.
const WAITING: usize = 16;

/// A part of what was left, in the order in which the helper sends it.
#[derive(Debug)]
pub enum Part {
    File { path: String, size_bytes: u64 },
    Data(Vec<u8>),
    Left { path: String, why: String },
    Unnamed(u32),
}

/// What was taken and what was not.
#[derive(Debug, Default)]
pub struct Outputs {
    pub files: Vec<Collected>,
    pub left_behind: String,
}

/// Writes on a thread of its own.
#[derive(Debug)]
pub struct Unpacker {
    parts: mpsc::Sender<Part>,
    done: JoinHandle<Result<Outputs, EngineError>>,
}

impl Unpacker {
    /// Will write to `target`, a directory not there yet.
    pub fn start(target: PathBuf, limits: &Limits) -> Self {
        let (parts, mut receiver) = mpsc::channel(WAITING);
        let mut unpacking = Unpacking::new(target, limits);
        let done = tokio::task::spawn_blocking(move || {
            while let Some(part) = receiver.blocking_recv() {
                unpacking.take(part)?;
            }
            unpacking.finish()
        });
        Self { parts, done }
    }

    /// Takes the next part; one that comes after an error is dropped.
    pub async fn take(&self, part: Part) {
        let _failed = self.parts.send(part).await;
    }

    /// # Errors
    ///
    /// `Helper` for what no helper of ours sends, `Host` if our own disk fails.
    pub async fn finish(self) -> Result<Outputs, EngineError> {
        drop(self.parts);
        let operation = "finish writing outputs on another thread";
        self.done.await.map_err(io::Error::other).map_err(EngineError::host(operation))?
    }
}

/// What has come so far, checked as it comes.
#[derive(Debug)]
pub struct Unpacking {
    target: PathBuf,
    outputs_left: u32,
    bytes_left: u64,
    current: Option<Current>,
    files: Vec<Collected>,
    named: Vec<String>,
    unnamed: u32,
}

/// The file that is being received.
#[derive(Debug)]
struct Current {
    path: String,
    file: PathBuf,
    writer: File,
    hasher: blake3::Hasher,
    size_bytes: u64,
    missing_bytes: u64,
}

impl Unpacking {
    /// Will write to `target`, a directory not there yet.
    pub fn new(target: PathBuf, limits: &Limits) -> Self {
        Self {
            target,
            outputs_left: limits.outputs,
            bytes_left: limits.outputs_bytes,
            current: None,
            files: Vec::new(),
            named: Vec::new(),
            unnamed: 0,
        }
    }

    /// Takes the next part; after an error this is of no more use.
    ///
    /// # Errors
    ///
    /// `Helper` for what no helper of ours sends, `Host` if our own disk fails.
    pub fn take(&mut self, part: Part) -> Result<(), EngineError> {
        match part {
            Part::File { path, size_bytes } => self.begin(path, size_bytes),
            Part::Data(bytes) => self.append(&bytes),
            Part::Left { path, why } => {
                if self.named.len() < NAMED_MAX {
                    // Names are the task's; escaped and cut, they cannot play tricks on a reader.
                    let shown: String = path.escape_debug().take(80).collect();
                    let why: String = why.escape_debug().take(120).collect();
                    self.named.push(format!("{shown} ({why})"));
                } else {
                    self.unnamed = self.unnamed.saturating_add(1);
                }
                Ok(())
            }
            Part::Unnamed(more) => {
                self.unnamed = self.unnamed.saturating_add(more);
                Ok(())
            }
        }
    }

    fn begin(&mut self, path: String, size_bytes: u64) -> Result<(), EngineError> {
        self.end()?;
        if check_path(&path).is_err() || self.outputs_left == 0 || size_bytes > self.bytes_left {
            return Err(broken());
        }
        self.outputs_left -= 1;
        self.bytes_left -= size_bytes;
        let file = self.target.join(&path);
        let made = (|| {
            fs::create_dir_all(file.parent().unwrap_or(&self.target))?;
            File::create_new(&file)
        })();
        let writer = made.map_err(EngineError::host("make an output file"))?;
        self.current = Some(Current {
            path,
            file,
            writer,
            hasher: blake3::Hasher::new(),
            size_bytes,
            missing_bytes: size_bytes,
        });
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let current = self.current.as_mut().ok_or_else(broken)?;
        let missing = current.missing_bytes.checked_sub(bytes.len() as u64);
        current.missing_bytes = missing.ok_or_else(broken)?;
        current.hasher.update(bytes);
        current.writer.write_all(bytes).map_err(EngineError::host("write an output file"))
    }

    fn end(&mut self) -> Result<(), EngineError> {
        let Some(current) = self.current.take() else { return Ok(()) };
        if current.missing_bytes > 0 {
            return Err(broken());
        }
        let hash = BlobHash(*current.hasher.finalize().as_bytes());
        let Current { path, file, size_bytes, .. } = current;
        self.files.push(Collected { path, file, size_bytes, hash });
        Ok(())
    }

    /// What was taken, by its path.
    ///
    /// # Errors
    ///
    /// `Helper` if the last file is not whole.
    pub fn finish(mut self) -> Result<Outputs, EngineError> {
        self.end()?;
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut left_behind = self.named.join(", ");
        if self.unnamed > 0 {
            left_behind.push_str(&format!(" and {} more", self.unnamed));
        }
        Ok(Outputs { files: self.files, left_behind })
    }
}

fn broken() -> EngineError {
    EngineError::Helper { message: "it sent other outputs than it may".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits() -> Limits {
        Limits {
            cpu_millis: 1000,
            core_percent: 100,
            ram_mib: 64,
            scratch_mib: 1,
            scratch_files: 10,
            file_mib: 1,
            processes: 10,
            log_keep_bytes: 0,
            log_flood_bytes: 0,
            outputs: 2,
            outputs_bytes: 10,
            grace: Duration::ZERO,
        }
    }

    async fn unpack(parts: Vec<Part>) -> Result<Vec<(String, String)>, EngineError> {
        let directory = tempfile::tempdir().unwrap();
        let unpacker = Unpacker::start(directory.path().join("outputs"), &limits());
        for part in parts {
            unpacker.take(part).await;
        }
        let outputs = unpacker.finish().await?;
        let content = |output: &Collected| fs::read_to_string(&output.file).unwrap();
        Ok(outputs.files.iter().map(|output| (output.path.clone(), content(output))).collect())
    }

    fn file(path: &str, size_bytes: u64) -> Part {
        Part::File { path: path.to_owned(), size_bytes }
    }

    #[tokio::test]
    async fn files_are_put_together() {
        let parts = vec![
            file("b/c", 4),
            Part::Data(b"ab".to_vec()),
            Part::Data(b"cd".to_vec()),
            file("a", 0),
        ];
        let found = unpack(parts).await.unwrap();
        assert_eq!(found, [("a".into(), String::new()), ("b/c".into(), "abcd".into())]);
    }

    #[tokio::test]
    async fn what_a_helper_may_not_send_is_refused() {
        let data = |bytes: &[u8]| Part::Data(bytes.to_vec());
        for parts in [
            vec![file("../x", 1)],
            vec![file("/etc/x", 1)],
            vec![file("x", 11)],
            vec![file("x", 6), data(b"123456"), file("y", 6)],
            vec![file("a", 0), file("b", 0), file("c", 0)],
            vec![file("a", 1), file("b", 0)],
            vec![file("a", 1), data(b"12")],
            vec![file("a", 3), data(b"12")],
            vec![file("a", 0), file("a/b", 0)],
            vec![data(b"1")],
        ] {
            assert!(unpack(parts).await.is_err());
        }
    }
}
