//! Turns the bytes of a log into text, piece by piece, without splitting a character.

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
/// A character that is cut at the end waits for its rest, unless nothing can follow. What is not
/// UTF-8 becomes U+FFFD.
pub(super) fn first_piece(bytes: &[u8], more: More) -> (String, usize) {
    let piece = &bytes[..bytes.len().min(PIECE_MAX_BYTES)];
    let is_last = piece.len() == bytes.len();
    let length = if is_last && more == More::Never {
        piece.len()
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

/// Removes terminal escape sequences (ECMA-48 CSI and OSC) and other control characters but
/// newlines and tabs, for text that people read in a page.
pub(super) fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            match rest.peek() {
                Some('[') => skip_through(&mut rest, |c| ('\u{40}'..='\u{7e}').contains(&c)),
                Some(']') => skip_through(&mut rest, |c| c == '\u{7}' || c == '\\'),
                Some(_) | None => {}
            }
        } else if !c.is_control() || c == '\n' || c == '\t' {
            plain.push(c);
        }
    }
    plain
}

/// Skips the introducer and all up to the first character that ends the sequence.
fn skip_through(rest: &mut impl Iterator<Item = char>, ends: impl Fn(char) -> bool) {
    rest.next();
    rest.find(|&c| ends(c));
}

#[cfg(test)]
mod tests {
    use super::{More, PIECE_MAX_BYTES, all_text, first_piece, without_escapes};

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
    fn escapes_of_terminals_are_not_shown() {
        for (text, plain) in [
            ("plain\n\ttext", "plain\n\ttext"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("bell\u{7} back\u{8}", "bell back"),
            ("cut \u{1b}[3", "cut "),
            ("alone \u{1b}", "alone "),
            ("\u{9b}31m C1", "31m C1"),
        ] {
            assert_eq!(without_escapes(text), plain, "{text:?}");
        }
    }
}
