//! What a submit says of its packages: lines as in a `requirements.txt`, or the text of a `uv.lock`;
//! refused early with the words that the author needs. Workers check all of it again.

use super::{FieldError, REQUIREMENTS_MAX, field, quoted};
use crate::lock::{Lock, LockError};
use crate::requirement::{Requirement, uncommented};
use crate::task::Packages;

/// Longest requirement that is not hashed, bytes.
const REQUIREMENT_MAX_BYTES: usize = 200;

/// The requirements that lines name: without comments, and in one piece where lines end with `\`.
///
/// A comment ends what is continued, as it does for pip. A `\` at the end of one is part of it, which
/// for pip would make the next line another comment: no package may be lost so.
pub(super) fn requirements(lines: &[String]) -> Vec<String> {
    let mut requirements = Vec::new();
    let mut pending = String::new();
    for line in lines {
        let line = uncommented(line.trim());
        let (text, is_continued) = match line.strip_suffix('\\') {
            Some(begun) => (begun.trim_end(), true),
            None => (line, false),
        };
        if !pending.is_empty() && !text.is_empty() {
            pending.push(' ');
        }
        pending.push_str(text);
        if !is_continued && !pending.is_empty() {
            requirements.push(std::mem::take(&mut pending));
        }
    }
    requirements.extend(Some(pending).filter(|last| !last.is_empty()));
    requirements
}

/// Whether these pin what they name by hashes.
pub(super) fn are_hashed(requirements: &[String]) -> bool {
    requirements.iter().any(|requirement| requirement.contains("--hash="))
}

/// What is wrong with lines, whatever they name.
pub(super) fn check_lines(lines: &[String]) -> Result<(), FieldError> {
    let is_odd = |c: char| c.is_control() && c != '\t';
    match lines.iter().map(|line| line.trim()).find(|line| line.contains(is_odd)) {
        None => Ok(()),
        Some(odd) => {
            let message = format!("must not contain control characters, as {} does", quoted(odd));
            Err(field("requirements", &message))
        }
    }
}

/// What is wrong with lines that pin what they name by hashes.
pub(super) fn check_hashed(lines: &[String]) -> Result<(), FieldError> {
    let wrong =
        |error: LockError| field("requirements", &format!("with hashes cannot be taken: {error}"));
    Lock::check(&lines.join("\n")).map(drop).map_err(wrong)
}

/// What is wrong with requirements that are to be names of packages, as said of this field.
pub fn check_names<S: AsRef<str>>(name: &str, requirements: &[S]) -> Vec<FieldError> {
    if requirements.len() > REQUIREMENTS_MAX {
        // One complaint about each of a million would be a long answer.
        return vec![field(name, &format!("must be at most {REQUIREMENTS_MAX}"))];
    }
    let wrong = |requirement: &S| wrong(requirement.as_ref());
    requirements.iter().filter_map(wrong).map(|message| field(name, &message)).collect()
}

fn wrong(requirement: &str) -> Option<String> {
    if requirement.len() > REQUIREMENT_MAX_BYTES || requirement.contains(char::is_control) {
        let most = REQUIREMENT_MAX_BYTES;
        return Some(format!("each must have at most {most} bytes and no control characters"));
    }
    if Requirement::parse(requirement).is_some() {
        return None;
    }
    let shown = quoted(requirement);
    Some(if requirement.starts_with('-') || requirement.contains(" -") {
        format!("{shown} has an option; options such as -r and --index-url are not taken")
    } else {
        format!(
            "{shown} is not a package's name with an optional version, such as \"numpy\" or \
             \"scikit-learn>=1.4,<2\"; addresses and paths are not taken"
        )
    })
}

/// What a job's packages are, from the fields of a submit that were checked.
pub(super) fn packages(lines: &[String], uv_lock: Option<String>) -> Packages {
    if let Some(text) = uv_lock {
        return Packages::UvLock { text };
    }
    let requirements = requirements(lines);
    if are_hashed(&requirements) {
        Packages::Hashed { text: lines.join("\n") + "\n" }
    } else if requirements.is_empty() {
        Packages::None
    } else {
        Packages::Names { requirements, requires_python: None }
    }
}
