//! Turns the bytes of a log into text, piece by piece, without splitting a character.

use campusgrid_protocol::text::is_hidden;

/// Longest piece. Bytes.
pub(super) const PIECE_MAX_BYTES: usize = 32 << 10;

/// Whether more bytes of the stream can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    MayFollow,
    Never,
}

/// Takes the first piece of `bytes` as text; yields it and how many bytes it stands for.
///
/// A character or a line's end that is cut waits for its rest, unless nothing can follow. What is not
/// UTF-8 becomes U+FFFD.
pub(super) fn first_piece(bytes: &[u8], more: More) -> (String, usize) {
    let piece = &bytes[..bytes.len().min(PIECE_MAX_BYTES)];
    let is_last = piece.len() == bytes.len();
    let length = if is_last && more == More::Never {
        piece.len()
    } else if piece.ends_with(b"\r") {
        piece.len() - 1 // It may be half of a line's end.
    } else {
        piece.len() - unfinished_bytes(piece)
    };
    (String::from_utf8_lossy(&piece[..length]).into_owned(), length)
}

/// Takes all of `bytes` as text; yields it and how many bytes it stands for.
pub(super) fn all_text(bytes: &[u8], more: More) -> (String, usize) {
    let (mut text, mut taken) = (String::new(), 0);
    loop {
        let (piece, length) = first_piece(&bytes[taken..], more);
        if length == 0 {
            return (text, taken);
        }
        text.push_str(&piece);
        taken += length;
    }
}

/// How many bytes at the end begin a character whose rest is missing: 0 to 3.
fn unfinished_bytes(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    // Of a valid beginning, the reader says that the end came too early; of an invalid one, how
    // long the mistake is.
    (0..tail.len())
        .map(|start| &tail[start..])
        .find(|rest| {
            matches!(std::str::from_utf8(rest), Err(error)
                if error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .map_or(0, <[u8]>::len)
}

/// Text that a job printed, with what would not be seen, or would steer a terminal, named: `␛[31m` for
/// the beginning of red letters, `[U+202E]` for what turns text around. Lines and tabs stay.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' | '\t' => shown.push(c),
            '\r' if rest.peek() == Some(&'\n') => {}
            // Characters of their own stand for these (the Unicode block "Control Pictures").
            '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => shown.push('\u{2421}'),
            c if is_hidden(c) => shown.push_str(&format!("[U+{:04X}]", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{More, PIECE_MAX_BYTES, all_text, first_piece, shown};

    #[test]
    fn a_cut_character_waits_for_its_rest() {
        for (bytes, text, length) in [
            (&b""[..], "", 0),
            (b"plain", "plain", 5),
            (b"caf\xc3\xa9", "café", 5),
            (b"caf\xc3", "caf", 3),
            (b"\xe2\x82", "", 0),
            (b"1 \xf0\x9f\x92", "1 ", 2),
            (b"1 \xf0\x9f\x92\xa1", "1 💡", 6),
            (b"bad \xff", "bad \u{fffd}", 5),
            (b"bad \xe2\x28", "bad \u{fffd}(", 6),
            (b"\x80\x80\x80", "\u{fffd}\u{fffd}\u{fffd}", 3),
        ] {
            let found = first_piece(bytes, More::MayFollow);
            assert_eq!(found, (text.to_owned(), length), "{bytes:?}");
        }
    }

    #[test]
    fn at_the_end_nothing_waits() {
        assert_eq!(first_piece(b"caf\xc3", More::Never), ("caf\u{fffd}".to_owned(), 4));
    }

    #[test]
    fn pieces_of_any_size_add_up_to_the_whole() {
        let whole = "aé€💡".repeat(PIECE_MAX_BYTES / 5);
        for start in 0..4 {
            let text = "x".repeat(start) + &whole;
            let (first, length) = first_piece(text.as_bytes(), More::MayFollow);
            assert!(length > PIECE_MAX_BYTES - 4 && length <= PIECE_MAX_BYTES);
            assert!(text.starts_with(&first));
            assert_eq!(all_text(text.as_bytes(), More::MayFollow), (text.clone(), text.len()));
        }
    }

    #[test]
    fn a_line_end_is_not_split() {
        assert_eq!(first_piece(b"50 %\r", More::MayFollow), ("50 %".to_owned(), 4));
        assert_eq!(first_piece(b"50 %\r\n", More::MayFollow), ("50 %\r\n".to_owned(), 6));
        assert_eq!(first_piece(b"50 %\r", More::Never), ("50 %\r".to_owned(), 5));
    }

    #[test]
    fn what_steers_terminals_is_shown_and_steers_nothing() {
        for (text, expected) in [
            ("plain\n\ttext", "plain\n\ttext"),
            ("line\r\nnext", "line\nnext"),
            ("10 %\r20 %", "10 %␍20 %"),
            ("\u{1b}[1;31mred\u{1b}[0m", "␛[1;31mred␛[0m"),
            ("\u{1b}]0;title\u{7}after", "␛]0;title␇after"),
            ("back\u{8}\0\u{7f}", "back␈␀␡"),
            ("\u{9b}31m C1", "[U+009B]31m C1"),
            ("txt\u{202e}fdp.exe", "txt[U+202E]fdp.exe"),
            ("a\u{200b}b", "a[U+200B]b"),
            ("größe 💡", "größe 💡"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }
}
