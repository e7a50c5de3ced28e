//! Reads server-sent events, of which each but the last ends with an empty line.

use std::io::{BufRead, Error, ErrorKind, Read};

/// The longest line. Bytes: the manager's pieces are 32 KiB of text, and JSON may make six of one.
const LINE_MAX_BYTES: u64 = 1 << 20;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Empty for the usual kind.
    pub name: String,
    pub data: String,
    pub id: Option<String>,
}

/// Reads the next event; None at the end of the stream.
///
/// # Errors
///
/// What the stream says, and `InvalidData` on a line that is too long or no text.
pub fn next(reader: &mut impl BufRead) -> Result<Option<Event>, Error> {
    let mut event = Event::default();
    let mut has_data = false;
    loop {
        let mut line = Vec::new();
        reader.by_ref().take(LINE_MAX_BYTES).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            let is_end = line.len() < usize::try_from(LINE_MAX_BYTES).unwrap_or(usize::MAX);
            // What has begun and not ended is told again on the next connection.
            return if is_end { Ok(None) } else { Err(ErrorKind::InvalidData.into()) };
        }
        let line = std::str::from_utf8(&line).map_err(|_| ErrorKind::InvalidData)?;
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            if has_data || !event.name.is_empty() {
                return Ok(Some(event));
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event.name = value.to_owned(),
            "id" => event.id = Some(value.to_owned()),
            "data" => {
                if has_data {
                    event.data.push('\n');
                }
                event.data.push_str(value);
                has_data = true;
            }
            _ => {} // A comment, or a field that nobody here needs.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, next};

    fn events(text: &str) -> Vec<Event> {
        let mut reader = text.as_bytes();
        std::iter::from_fn(|| next(&mut reader).unwrap()).collect()
    }

    #[test]
    fn events_are_read_and_comments_are_not() {
        let text =
            ": keep\n\nid: 1:5\ndata: a\ndata: b\n\nevent: end\r\ndata:complete\r\n\r\ndata: cut";
        let first = Event { name: String::new(), data: "a\nb".into(), id: Some("1:5".into()) };
        let second = Event { name: "end".into(), data: "complete".into(), id: None };
        assert_eq!(events(text), [first, second]);
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let text = format!("data: {}\n\n", "x".repeat(1 << 20));
        assert!(next(&mut text.as_bytes()).is_err());
        assert!(next(&mut &b"data: \xff\n\n"[..]).is_err());
    }
}
