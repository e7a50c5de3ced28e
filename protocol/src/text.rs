//! Checks of text that comes from outside: names, paths, messages.

/// Why a text is refused, in words that say what would be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("must have 1 to {max} characters, has {found}")]
    Length { max: usize, found: usize },
    #[error("must not contain control characters")]
    Control,
    #[error("must not be blank")]
    Blank,
    #[error(
        "must start with a letter or a digit and contain only letters, digits, '.', '_' and '-'"
    )]
    UserName,
    #[error(
        "must be a relative path without '..', '.', empty parts, backslashes or control characters"
    )]
    Path,
}

/// A user name: 1 to 32 of `A-Za-z0-9._-`, the first a letter or a digit.
///
/// # Errors
///
/// `Length` or `UserName`.
pub fn check_user_name(name: &str) -> Result<(), TextError> {
    check_length(name, 32)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.chars().all(plain) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(TextError::UserName);
    }
    Ok(())
}

/// A label that people read, of a job or a machine: 1 to 64 characters, none of them hidden, not
/// all of them blank.
///
/// # Errors
///
/// `Length`, `Control` or `Blank`.
pub fn check_label(label: &str) -> Result<(), TextError> {
    check_length(label, 64)?;
    if label.chars().any(is_hidden) {
        return Err(TextError::Control);
    }
    if label.trim().is_empty() {
        return Err(TextError::Blank);
    }
    Ok(())
}

/// Control characters, line separators, and the format characters (bidirectional overrides among
/// them) that can make one text read as another.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A file's path beneath a task's directory: at most 255 bytes and 16 parts.
///
/// # Errors
///
/// `Length` or `Path`.
pub fn check_path(path: &str) -> Result<(), TextError> {
    check_length(path, 255)?;
    let part_is_bad = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.len() > 255
        || path.split('/').count() > 16
        || path.split('/').any(part_is_bad)
        || path.contains(|c: char| c.is_control() || c == '\\')
    {
        return Err(TextError::Path);
    }
    Ok(())
}

fn check_length(text: &str, max: usize) -> Result<(), TextError> {
    let found = text.chars().count();
    if found == 0 || found > max {
        return Err(TextError::Length { max, found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{TextError, check_label, check_path, check_user_name};

    fn long(part: &str, times: usize) -> String {
        part.repeat(times)
    }

    #[test]
    fn user_names_are_plain() {
        for name in ["a", "Ada", "ada.lovelace", "a_b-c.d", "007", &long("x", 32)] {
            assert_eq!(check_user_name(name), Ok(()), "{name:?}");
        }
        for (name, error) in [
            ("", TextError::Length { max: 32, found: 0 }),
            (&*long("x", 33), TextError::Length { max: 32, found: 33 }),
            (".ada", TextError::UserName),
            ("-r", TextError::UserName),
            ("_", TextError::UserName),
            ("a b", TextError::UserName),
            ("a/b", TextError::UserName),
            ("ada\n", TextError::UserName),
            ("ada\0", TextError::UserName),
            ("Zoë", TextError::UserName),
            ("аda", TextError::UserName), // Its first letter is Cyrillic.
            ("<b>", TextError::UserName),
        ] {
            assert_eq!(check_user_name(name), Err(error), "{name:?}");
        }
    }

    #[test]
    fn labels_show_what_they_hold() {
        for label in ["a", "Zoë's laptop", "学生のPC", "<b>&amp;", " a ", &long("ß", 64)] {
            assert_eq!(check_label(label), Ok(()), "{label:?}");
        }
        for (label, error) in [
            ("", TextError::Length { max: 64, found: 0 }),
            (&*long("ß", 65), TextError::Length { max: 64, found: 65 }),
            (" ", TextError::Blank),
            ("\u{a0}\u{3000}", TextError::Blank),
            ("a\nb", TextError::Control),
            ("a\0", TextError::Control),
            ("\x1b[31mred", TextError::Control),
            ("a\u{7f}", TextError::Control),
            ("a\u{85}", TextError::Control),
            ("a\u{ad}b", TextError::Control),
            ("a\u{61c}b", TextError::Control),
            ("a\u{200b}b", TextError::Control),
            ("a\u{2028}b", TextError::Control),
            ("cod\u{202e}exe", TextError::Control),
            ("a\u{2066}b", TextError::Control),
            ("\u{feff}a", TextError::Control),
            ("a\u{e0041}", TextError::Control),
        ] {
            assert_eq!(check_label(label), Err(error), "{label:?}");
        }
    }

    #[test]
    fn paths_stay_below_their_directory() {
        for path in ["a", "a/b.txt", "...", "..a", "a..", " ", "-rf", &long("x", 255)] {
            assert_eq!(check_path(path), Ok(()), "{path:?}");
        }
        assert_eq!(check_path(long("a/", 16).trim_end_matches('/')), Ok(()));
        for path in [
            "/",
            "/etc/passwd",
            "..",
            ".",
            "a/..",
            "../a",
            "a/../b",
            "./a",
            "a/.",
            "a//b",
            "a/",
            "a\\b",
            "..\\a",
            "a\nb",
            "a\0",
            "a\u{85}b",
            &long("ß", 200),
            long("a/", 17).trim_end_matches('/'),
        ] {
            assert_eq!(check_path(path), Err(TextError::Path), "{path:?}");
        }
        for (path, found) in [(String::new(), 0), (long("x", 256), 256)] {
            assert_eq!(check_path(&path), Err(TextError::Length { max: 255, found }));
        }
    }

    proptest! {
        #[test]
        fn a_path_that_passes_leads_downwards(path in "[a./\\\\\u{0}-\u{20}]{0,12}") {
            if check_path(&path).is_ok() {
                let parts = std::path::Path::new(&path).components();
                prop_assert!(parts.clone().all(|part| matches!(part, std::path::Component::Normal(_))));
                prop_assert_eq!(parts.count(), path.split('/').count());
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            drop((check_user_name(&text), check_label(&text), check_path(&text)));
        }
    }
}
