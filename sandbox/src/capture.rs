//! Keeps the first and the last part of a stream, within a bound.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::plan::Captured;

/// One stream as far as it came.
#[derive(Debug)]
pub struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    cut_bytes: u64,
}

impl Capture {
    /// Keeps at most `keep_bytes`, half of them from the start.
    pub fn new(keep_bytes: u64) -> Self {
        let half = usize::try_from(keep_bytes / 2).unwrap_or(usize::MAX);
        Self { head: Vec::new(), tail: VecDeque::new(), half, cut_bytes: 0 }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(self.half - self.head.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(self.half);
        self.tail.drain(..over);
        self.cut_bytes += over as u64;
    }

    /// All bytes that ever came, kept or not.
    pub fn total_bytes(&self) -> u64 {
        self.head.len() as u64 + self.tail.len() as u64 + self.cut_bytes
    }

    /// The first line, for an error that has to explain itself.
    pub fn first_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.head);
        text.lines().next().unwrap_or("").to_owned()
    }

    /// Writes what was kept, with a line where the middle is missing.
    ///
    /// # Errors
    ///
    /// Those of creating and writing `file`.
    pub fn save(&self, file: PathBuf) -> io::Result<Captured> {
        let mut out = File::create_new(&file)?;
        out.write_all(&self.head)?;
        if self.cut_bytes > 0 {
            writeln!(out, "\n[... {} bytes cut here ...]", self.cut_bytes)?;
        }
        let (front, back) = self.tail.as_slices();
        out.write_all(front)?;
        out.write_all(back)?;
        let size_bytes = out.metadata()?.len();
        Ok(Captured { file, size_bytes, cut_bytes: self.cut_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(keep_bytes: u64, pieces: &[&str]) -> (String, u64) {
        let mut capture = Capture::new(keep_bytes);
        pieces.iter().for_each(|piece| capture.push(piece.as_bytes()));
        let bytes = capture.head.iter().chain(&capture.tail).copied().collect();
        (String::from_utf8(bytes).unwrap(), capture.cut_bytes)
    }

    #[test]
    fn a_short_stream_is_kept_whole() {
        assert_eq!(kept(10, &["abc", "defg", "hij"]), ("abcdefghij".into(), 0));
    }

    #[test]
    fn a_long_stream_loses_its_middle() {
        assert_eq!(kept(10, &["abcdefg", "hijkl", "m"]), ("abcdeijklm".into(), 3));
        assert_eq!(kept(4, &["abcdefghijklm"]), ("ablm".into(), 9));
        assert_eq!(kept(0, &["abc"]), (String::new(), 3));
    }
}
