//! Single lines of a long file, found without reading all that is before them each time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// A place is noted so often. Lines.
const EVERY: u32 = 1024;

/// The longest line that a task can be given: together with what is before it in a variable it is below
/// what Linux passes to a program in one piece (128 KiB). Bytes.
pub(super) const LINE_MAX_BYTES: usize = 64 << 10;

/// Where each of so many lines begins in a file.
#[derive(Debug)]
pub(super) struct Marks {
    /// Of line 0, 1024, 2048…
    offsets: Vec<u64>,
    lines: u64,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadLine {
    Missing {
        lines: u64,
    },
    TooLong,
    /// Not UTF-8, or with a NUL in it, which no argument can have.
    Odd,
}

impl Marks {
    /// Reads a file once. A last line that is empty does not count. Blocks.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        let (mut offsets, mut lines, mut offset) = (Vec::new(), 0, 0);
        loop {
            let bytes = file.skip_until(b'\n')?;
            if bytes == 0 {
                return Ok(Self { offsets, lines });
            }
            if lines % u64::from(EVERY) == 0 {
                offsets.push(offset);
            }
            lines += 1;
            offset += bytes as u64;
        }
    }

    /// The line of this number, counted from 1, without its end. Blocks.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(super) fn line(&self, path: &Path, number: u32) -> io::Result<Result<String, BadLine>> {
        let missing = BadLine::Missing { lines: self.lines };
        let Some(before) = number.checked_sub(1).filter(|&it| u64::from(it) < self.lines) else {
            return Ok(Err(missing));
        };
        let Some(&offset) = self.offsets.get((before / EVERY) as usize) else {
            return Ok(Err(missing));
        };
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut file = BufReader::new(file);
        for _ in 0..before % EVERY {
            file.skip_until(b'\n')?;
        }
        let mut line = Vec::new();
        file.take(LINE_MAX_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        // As some editors end lines; no program wants it in its argument.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > LINE_MAX_BYTES {
            return Ok(Err(BadLine::TooLong));
        }
        let text = String::from_utf8(line.to_vec()).ok().filter(|text| !text.contains('\0'));
        Ok(text.ok_or(BadLine::Odd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(content: &[u8], number: u32) -> Result<String, BadLine> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        std::fs::write(&path, content).unwrap();
        Marks::of(&path).unwrap().line(&path, number).unwrap()
    }

    #[test]
    fn lines_are_counted_from_one_and_a_last_empty_one_does_not_count() {
        for content in ["a\nb", "a\nb\n", "a\r\nb\r\n"] {
            assert_eq!(line(content.as_bytes(), 1).as_deref(), Ok("a"));
            assert_eq!(line(content.as_bytes(), 2).as_deref(), Ok("b"));
            for number in [0, 3, u32::MAX] {
                assert_eq!(line(content.as_bytes(), number), Err(BadLine::Missing { lines: 2 }));
            }
        }
        assert_eq!(line(b"a\n\n", 2).as_deref(), Ok(""));
        assert_eq!(line(b"", 1), Err(BadLine::Missing { lines: 0 }));
    }

    #[test]
    fn any_line_of_many_is_found() {
        let content: String = (1..=5000).map(|number| format!("line {number}\n")).collect();
        for number in [1, 2, 1024, 1025, 2048, 2049, 4999, 5000] {
            assert_eq!(line(content.as_bytes(), number), Ok(format!("line {number}")));
        }
    }

    #[test]
    fn what_no_argument_can_be_is_refused() {
        assert_eq!(line(b"ok\n\xff\n", 2), Err(BadLine::Odd));
        assert_eq!(line(b"a\0b\n", 1), Err(BadLine::Odd));
        let long = vec![b'x'; LINE_MAX_BYTES];
        assert_eq!(line(&long, 1).unwrap().len(), LINE_MAX_BYTES);
        assert_eq!(line(&[long.as_slice(), b"x\nnext"].concat(), 1), Err(BadLine::TooLong));
    }
}
