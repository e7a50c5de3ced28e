//! Checks of text that comes from outside: names, paths, messages.

/// Why a text is refused, in words that say what would be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("must have 1 to {max} characters, has {found}")]
    Length { max: usize, found: usize },
    #[error("must not contain control characters")]
    Control,
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

/// A label that people read, of a job or a machine: 1 to 64 characters, none of them control.
///
/// # Errors
///
/// `Length` or `Control`.
pub fn check_label(label: &str) -> Result<(), TextError> {
    check_length(label, 64)?;
    // Format characters (bidirectional overrides among them) can make a label read as another.
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if label.chars().any(hidden) {
        return Err(TextError::Control);
    }
    Ok(())
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
