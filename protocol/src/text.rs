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
    #[error(
        "must name its content: sha256:… with 64 hexadecimal digits, name@sha256:… or \"default\"; \
         a name alone can mean another image tomorrow"
    )]
    Image,
    #[error("must be a name such as python3.12: letters, digits and any of .:_+/@- between them")]
    Feature,
    #[error(
        "is not among the flags that are taken: -O…, -g, -w, -W…, -pedantic, -ansi, -std=…, \
         -march=…, -mtune=…, -D…, -U…, -l…, -pthread, -static and those of -f… that are about \
         optimization and code generation"
    )]
    CompilerFlag,
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

/// A pattern of paths beneath a task's directory: as a path, but that `*` in a part stands for any
/// characters of it, `?` for one, and `**` as a part for any parts, or none.
///
/// # Errors
///
/// `Length` or `Path`.
pub fn check_pattern(pattern: &str) -> Result<(), TextError> {
    check_path(pattern)?;
    let is_odd = |part: &str| part.contains("**") && part != "**";
    if pattern.split('/').any(is_odd) { Err(TextError::Path) } else { Ok(()) }
}

/// The image that means the one that the worker's owner has built or named.
pub const DEFAULT_IMAGE: &str = "default";

/// Longest image reference. Bytes.
pub const IMAGE_MAX_BYTES: usize = 255;

/// Longest feature: an image is required by the label `image:REFERENCE`.
const FEATURE_MAX: usize = IMAGE_MAX_BYTES + "image:".len();

/// A container image by its content: `default`, `sha256:HEX` or `NAME@sha256:HEX`; at most
/// [`IMAGE_MAX_BYTES`].
///
/// # Errors
///
/// `Length` or `Image`.
pub fn check_image(image: &str) -> Result<(), TextError> {
    check_length(image, IMAGE_MAX_BYTES)?;
    let (name, digest) = image.rsplit_once('@').unwrap_or(("name", image));
    let is_digest = digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    // An engine's API has the name in its URLs, where a part like `..` would lead elsewhere.
    let is_name = name.split('/').all(|part| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
        let firm = |c: char| c.is_ascii_alphanumeric();
        part.chars().all(plain) && part.starts_with(firm) && part.ends_with(firm)
    });
    if image == DEFAULT_IMAGE || (is_digest && is_name) { Ok(()) } else { Err(TextError::Image) }
}

/// What a machine can offer and a job require, such as `python3.12`: 1 to 261 of
/// `A-Za-z0-9.:_+/@-`, the first a letter or a digit.
///
/// # Errors
///
/// `Length` or `Feature`.
pub fn check_feature(feature: &str) -> Result<(), TextError> {
    check_length(feature, FEATURE_MAX)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ".:_+/@-".contains(c);
    if feature.chars().all(plain) && feature.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Ok(())
    } else {
        Err(TextError::Feature)
    }
}

/// What a machine says that it offers: a feature, or `image:` and the beginning of references with a
/// `*` after it. Of anything else each is named, so that nobody offers what they cannot even know of.
///
/// # Errors
///
/// `Length` or `Feature`.
pub fn check_offer(label: &str) -> Result<(), TextError> {
    match label.strip_suffix('*') {
        Some(beginning) if label.starts_with("image:") => check_feature(beginning),
        Some(_) | None => check_feature(label),
    }
}

fn check_length(text: &str, max: usize) -> Result<(), TextError> {
    let found = text.chars().count();
    if found == 0 || found > max {
        return Err(TextError::Length { max, found });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
