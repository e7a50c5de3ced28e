//! What people and programs see: lines, tables and JSON on standard output, notes on standard error.

use std::io::{ErrorKind, IsTerminal, Write};

use campusgrid_protocol::rest::{JobState, TaskState};
use campusgrid_protocol::text::is_hidden;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    People,
    /// One JSON object, or one a line.
    Json,
}

/// Standard output, and whether anybody looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    pub format: Format,
    colours: bool,
    /// Whether standard error is a terminal, where a progress bar is of use.
    pub is_live: bool,
}

/// What a cell's text is about, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Bad,
    Busy,
    Faint,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Bad => Some("31"),
            Self::Busy => Some("33"),
            Self::Faint => Some("2"),
        }
    }

    pub fn of_job(state: JobState) -> Self {
        match state {
            JobState::Draft | JobState::Queued => Self::Plain,
            JobState::Running => Self::Busy,
            JobState::Succeeded => Self::Good,
            JobState::Failed => Self::Bad,
            JobState::Cancelled => Self::Faint,
        }
    }

    pub fn of_task(state: TaskState) -> Self {
        match state {
            TaskState::Queued => Self::Plain,
            TaskState::Pausing | TaskState::Preparing | TaskState::Running => Self::Busy,
            TaskState::Succeeded => Self::Good,
            TaskState::Failed => Self::Bad,
            TaskState::Cancelled => Self::Faint,
        }
    }
}

/// A text in a table.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
    side: Side,
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Left,
    Right,
}

impl Cell {
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: visible(&text.into()), tone, side: Side::Left }
    }

    /// Numbers stand at the right.
    pub fn number(text: impl ToString) -> Self {
        Self { text: text.to_string(), tone: Tone::Plain, side: Side::Right }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

impl Screen {
    pub fn new(format: Format) -> Self {
        // https://no-color.org: set to anything but nothing.
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            format,
            colours: std::io::stdout().is_terminal() && !is_refused && !is_dumb,
            is_live: std::io::stderr().is_terminal() && !is_dumb,
        }
    }

    /// A line for people; programs do not get it.
    pub fn say(&self, text: impl AsRef<str>) {
        match self.format {
            Format::People => self.put(&format!("{}\n", visible_lines(text.as_ref()))),
            Format::Json => {}
        }
    }

    /// An object for programs; people do not get it.
    pub fn object(&self, value: &impl Serialize) {
        match self.format {
            Format::People => {}
            Format::Json => {
                let text = serde_json::to_string(value).expect("answers are good JSON");
                self.put(&format!("{text}\n"));
            }
        }
    }

    /// A table for people, with a head.
    pub fn table(&self, head: &[&str], rows: &[Vec<Cell>]) {
        match self.format {
            Format::People => self.put(&self.drawn(head, rows)),
            Format::Json => {}
        }
    }

    /// Names and values below each other, for people.
    pub fn pairs(&self, pairs: &[(&str, Cell)]) {
        let width = pairs.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        for (name, cell) in pairs {
            let line = format!("{name:<width$}  {}\n", self.painted(&cell.text, cell.tone));
            match self.format {
                Format::People => self.put(&line),
                Format::Json => {}
            }
        }
    }

    pub fn painted(&self, text: &str, tone: Tone) -> String {
        match tone.code() {
            Some(code) if self.colours => format!("\x1b[{code}m{text}\x1b[0m"),
            Some(_) | None => text.to_owned(),
        }
    }

    fn drawn(&self, head: &[&str], rows: &[Vec<Cell>]) -> String {
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                let cells = rows.iter().filter_map(|row| row.get(column));
                let widest = cells.map(|cell| cell.text.width()).max().unwrap_or(0);
                widest.max(head[column].width())
            })
            .collect();
        let heads = head.iter().enumerate().map(|(column, text)| {
            let side =
                rows.first().and_then(|row| row.get(column)).map_or(Side::Left, |it| it.side);
            Cell { text: (*text).to_owned(), tone: Tone::Faint, side }
        });
        let head_row: Vec<Cell> = heads.collect();
        let mut text = String::new();
        for row in std::iter::once(&head_row).chain(rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let gap = " ".repeat(width.saturating_sub(cell.text.width()));
                let painted = self.painted(&cell.text, cell.tone);
                match cell.side {
                    Side::Left => line.push_str(&format!("{painted}{gap}  ")),
                    Side::Right => line.push_str(&format!("{gap}{painted}  ")),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// Bytes as they are.
    pub fn put(&self, text: &str) {
        put_bytes(text.as_bytes());
    }
}

/// Writes to standard output; where nobody reads any longer, as behind `| head`, this is the end.
pub fn put_bytes(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush())
        && error.kind() == ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}

/// A note on standard error, where it does not matter whether anybody reads it.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", visible_lines(text));
}

/// What comes from elsewhere, with a mark for everything that would steer a terminal.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

/// The same, with its lines.
pub fn visible_lines(text: &str) -> String {
    let mark = |c: char| if is_hidden(c) && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::{Cell, Format, Screen, Tone, visible};

    #[test]
    fn tables_align_and_numbers_stand_at_the_right() {
        let screen = Screen { format: Format::People, colours: false, is_live: false };
        let rows = [
            vec![Cell::number(7), "größe".into(), Cell::toned("done", Tone::Good)],
            vec![Cell::number(123), "日本".into(), Cell::toned("failed", Tone::Bad)],
        ];
        let text = screen.drawn(&["JOB", "NAME", "STATE"], &rows);
        assert_eq!(text, "JOB  NAME   STATE\n  7  größe  done\n123  日本   failed\n");
        let coloured = Screen { colours: true, ..screen }.drawn(&["A"], &rows[..0]);
        assert_eq!(coloured, "\x1b[2mA\x1b[0m\n");
    }

    #[test]
    fn what_comes_from_elsewhere_steers_no_terminal() {
        assert_eq!(visible("a\x1b[2Jb\u{202e}\n"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
    }
}
