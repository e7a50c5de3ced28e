//! How many lines a file has of which each is a task's, and whether tasks can be given them.

use std::io::{BufRead, BufReader, Read};

use campusgrid_protocol::array::TASKS_MAX;
use campusgrid_protocol::rest::LINE_MAX_BYTES;

/// Read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Why a file cannot be tasks.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinesError {
    #[error("failed to read the lines of tasks")]
    Read(#[source] std::io::Error),
    #[error("must have at most {TASKS_MAX} lines")]
    TooMany,
    #[error("has a line, {line}, of more than {LINE_MAX_BYTES} bytes")]
    TooLong { line: u32 },
    #[error("has a NUL character in line {line}, which no environment can hold")]
    Nul { line: u32 },
    #[error("has no UTF-8 in line {line}")]
    Encoding { line: u32 },
}

/// The lines of a file, of which each can be given to a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) count: u32,
    /// Of the longest, its end not counted. Bytes.
    pub(super) longest_bytes: usize,
}

/// Counts lines; a last one without an end counts, an empty one after the last end does not.
///
/// # Errors
///
/// All of [`LinesError`]; nothing beyond the first line that is wrong is read.
pub(super) fn count(content: impl Read) -> Result<Lines, LinesError> {
    let mut content = BufReader::with_capacity(CHUNK_BYTES, content);
    let (mut lines, mut text) = (Lines::default(), Vec::new());
    loop {
        text.clear();
        // One more than a line may have, and its end.
        let most = LINE_MAX_BYTES as u64 + 2;
        let read = content.by_ref().take(most).read_until(b'\n', &mut text);
        if read.map_err(LinesError::Read)? == 0 {
            return Ok(lines);
        }
        if lines.count == TASKS_MAX {
            return Err(LinesError::TooMany);
        }
        lines.count += 1;
        let line = lines.count;
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        if text.contains(&0) {
            return Err(LinesError::Nul { line });
        }
        if text.len() > LINE_MAX_BYTES {
            return Err(LinesError::TooLong { line });
        }
        if std::str::from_utf8(text).is_err() {
            return Err(LinesError::Encoding { line });
        }
        lines.longest_bytes = lines.longest_bytes.max(text.len());
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::array::TASKS_MAX;
    use campusgrid_protocol::rest::LINE_MAX_BYTES;

    use super::count;

    #[test]
    fn lines_are_counted_as_people_see_them() {
        let told = |content: &[u8]| {
            count(content).map(|lines| lines.count).map_err(|error| error.to_string())
        };
        for (content, lines) in
            [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n", 1), ("a\n\n", 2), ("a\r\nb\r\n", 2)]
        {
            assert_eq!(told(content.as_bytes()), Ok(lines), "{content:?}");
        }
        let most = "\n".repeat(TASKS_MAX as usize);
        assert_eq!(told(most.as_bytes()), Ok(TASKS_MAX));
        let more = most + "x";
        assert_eq!(told(more.as_bytes()), Err("must have at most 1000000 lines".to_owned()));
        let long = "x".repeat(LINE_MAX_BYTES);
        assert_eq!(told(format!("a\n{long}\n").as_bytes()), Ok(2));
        let error = told(format!("a\n{long}x").as_bytes()).unwrap_err();
        assert_eq!(error, "has a line, 2, of more than 32768 bytes");
        assert!(told(b"a\nb\0").unwrap_err().contains("line 2"));
        assert_eq!(told(b"a\n\xff"), Err("has no UTF-8 in line 2".to_owned()));
        assert_eq!(count(&b"a\nbcd\nef"[..]).unwrap().longest_bytes, 3);
    }
}
