//! Names and paths: what passes a check cannot lead anywhere else, nor look like something else.

use std::path::{Component, Path};

use campusgrid_protocol::compiler_flag::check_compiler_flag;
use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::pattern::matches;
use campusgrid_protocol::text::{
    check_feature, check_image, check_label, check_offer, check_path, check_pattern,
    check_user_name, is_hidden,
};

use crate::Verdict;

/// One text, put to all checks.
pub fn run(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::Refused };
    let taken = [path(text), pattern(text), attempt(text), name(text), feature(text), flag(text)];
    if taken.contains(&true) { Verdict::Taken } else { Verdict::Refused }
}

/// An output's path stays beneath the folder that it is joined to.
fn path(text: &str) -> bool {
    if check_path(text).is_err() {
        return false;
    }
    let path = Path::new(text);
    assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{text:?}");
    assert!(Path::new("/a/b").join(path).starts_with("/a/b"), "{text:?}");
    // One path for one file, or two outputs could be one.
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    assert_eq!(parts.join("/"), text);
    true
}

/// A pattern's paths stay there as well, and a path is a pattern of itself.
fn pattern(text: &str) -> bool {
    let is_one = check_pattern(text).is_ok();
    assert!(!is_one || check_path(text).is_ok(), "{text:?}");
    if is_one {
        // Whatever it is, it comes to an end.
        assert!(matches(text, text) || text.contains(['*', '?']), "{text:?}");
        matches(text, &text.replace(['*', '?'], "a"));
    }
    is_one
}

/// An attempt has one name, which is also a plain file's.
fn attempt(text: &str) -> bool {
    let Ok(attempt) = text.parse::<AttemptId>() else { return false };
    assert_eq!(attempt.to_string(), text);
    assert_eq!(Path::new(text).components().count(), 1, "{text:?}");
    true
}

fn name(text: &str) -> bool {
    if check_user_name(text).is_ok() {
        assert!(text.is_ascii() && check_label(text).is_ok() && check_path(text).is_ok());
    }
    if check_label(text).is_ok() {
        assert!(!text.contains(is_hidden) && !text.trim().is_empty(), "{text:?}");
        return true;
    }
    false
}

/// Features and images become arguments of engines and interpreters.
fn feature(text: &str) -> bool {
    if check_image(text).is_ok() {
        assert_eq!(check_feature(&format!("image:{text}")), Ok(()));
    }
    if check_feature(text).is_ok() {
        assert_eq!(check_offer(text), Ok(()));
    }
    let is_good = check_offer(text).is_ok();
    assert!(!is_good || (text.is_ascii() && !text.starts_with('-') && !text.contains(' ')));
    is_good
}

/// A flag is one argument of the compiler that names no file.
fn flag(text: &str) -> bool {
    let is_good = check_compiler_flag(text).is_ok();
    let is_odd = |c: char| "/\\:@$`'|;&%#".contains(c) || c.is_control();
    assert!(!is_good || (text.starts_with('-') && !text.contains(is_odd)), "{text:?}");
    is_good
}
