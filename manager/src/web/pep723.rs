//! What a Python script says in its own header that it needs to run: the `script` block of PEP 723.
//!
//! Only packages and versions of Python are taken. Tables of tools are not: where packages come from
//! is for the owners of machines to say.

use campusgrid_protocol::rest::packages::check_names;
use campusgrid_protocol::rest::{FieldError, REQUIREMENTS_MAX};
use serde::Deserialize;

/// Longest list of versions of Python. Bytes.
const PYTHON_MAX_BYTES: usize = 200;

/// What the block asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    pub dependencies: Vec<String>,
    /// In the form of PEP 440.
    pub requires_python: Option<String>,
}

impl Header {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.dependencies.is_empty() && self.requires_python.is_none()
    }
}

/// The fields of the block that count here; all others may be what they like.
#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    dependencies: Vec<toml::Spanned<String>>,
    #[serde(rename = "requires-python")]
    requires_python: Option<toml::Spanned<String>>,
}

/// A block of any type.
#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    kind: &'a str,
    /// The line of the source, counted from 1, on which it begins.
    line: usize,
    /// Its lines without their marks.
    content: Vec<&'a str>,
}

/// Reads the header of a script; nothing if it has none.
///
/// # Errors
///
/// What is wrong with it, as said of the field `source`, with the line.
pub fn read(source: &str) -> Result<Header, Vec<FieldError>> {
    let mut blocks = blocks(source).into_iter().filter(|block| block.kind == "script");
    let Some(block) = blocks.next() else { return Ok(Header::default()) };
    if let Some(second) = blocks.next() {
        let message = format!("has a second \"# /// script\" block in line {}", second.line);
        return Err(vec![wrong(message)]);
    }
    let text = block.content.join("\n");
    let line_at = |start: usize| {
        block.line + 1 + text.bytes().take(start).filter(|&byte| byte == b'\n').count()
    };
    let metadata: Metadata = toml::from_str(&text).map_err(|error| {
        let line = line_at(error.span().map_or(0, |span| span.start));
        vec![wrong(format!("has a script block that is wrong in line {line}: {}", error.message()))]
    })?;
    let mut errors = Vec::new();
    if metadata.dependencies.len() > REQUIREMENTS_MAX {
        errors.push(wrong(format!("may name at most {REQUIREMENTS_MAX} packages in its block")));
    }
    for dependency in metadata.dependencies.iter().take(REQUIREMENTS_MAX) {
        let line = line_at(dependency.span().start);
        let found = check_names("source", &[dependency.get_ref().as_str()]);
        errors.extend(
            found.into_iter().map(|error| wrong(format!("line {line}: {}", error.message))),
        );
    }
    if let Some(python) = &metadata.requires_python
        && !is_versions(python.get_ref())
    {
        let line = line_at(python.span().start);
        let message = format!("line {line}: requires-python must be as in \">=3.11,<3.14\"");
        errors.push(wrong(message));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let plain = toml::Spanned::into_inner;
    Ok(Header {
        dependencies: metadata.dependencies.into_iter().map(plain).collect(),
        requires_python: metadata.requires_python.map(plain),
    })
}

/// All blocks of a script, of whatever type.
///
/// As the regular expression of PEP 723 finds them: a line `# /// TYPE`, lines that begin with a
/// mark of a comment, and of these the last that is `# ///`. What is never closed is no block, and
/// what stands inside of one does not begin another.
fn blocks(source: &str) -> Vec<Block<'_>> {
    let lines: Vec<&str> =
        source.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some(kind) = opened(lines[at]) else {
            at += 1;
            continue;
        };
        let first = at + 1;
        let length = lines[first..].iter().take_while(|line| content(line).is_some()).count();
        let run = &lines[first..first + length];
        // The last of the run ends the block, and there is no block without a line in it.
        let end = run.iter().rposition(|&line| line == "# ///").filter(|&end| end > 0);
        if let Some(end) = end {
            let content = run[..end].iter().filter_map(|line| content(line)).collect();
            blocks.push(Block { kind, line: at + 1, content });
            at = first + end + 1;
        } else {
            // No line of the run can begin a block either that ends: its end would be this one's.
            at = first + length;
        }
    }
    blocks
}

/// The type of the block that a line begins.
fn opened(line: &str) -> Option<&str> {
    let kind = line.strip_prefix("# /// ")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!kind.is_empty() && kind.bytes().all(plain)).then_some(kind)
}

/// What a line of a block holds.
fn content(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#')?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(' ') }
}

/// Whether a text has the form of a list of versions: comparisons with commas between them.
fn is_versions(text: &str) -> bool {
    const COMPARISONS: [&str; 8] = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"];
    let is_version = |version: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".*+!-_".contains(c);
        version.starts_with(|c: char| c.is_ascii_digit()) && version.chars().all(plain)
    };
    let is_clause = |clause: &str| {
        let clause = clause.trim();
        let version = COMPARISONS.iter().find_map(|comparison| clause.strip_prefix(comparison));
        version.is_some_and(|version| is_version(version.trim()))
    };
    text.len() <= PYTHON_MAX_BYTES && text.split(',').all(is_clause)
}

fn wrong(message: String) -> FieldError {
    FieldError { field: "source".to_owned(), message }
}

#[cfg(test)]
mod tests;
