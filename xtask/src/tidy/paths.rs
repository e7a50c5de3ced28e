//! Every path that a file's code names, with the groups of `use` written out.

use crate::tidy::source::is_word;

/// A path and the line on which its last name stands, from 0 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) line: usize,
    pub(super) segments: Vec<String>,
}

impl Named {
    /// Whether the names of `path` stand in it one after the other.
    pub(super) fn holds(&self, path: &str) -> bool {
        let sought: Vec<&str> = path.split("::").collect();
        self.segments.windows(sought.len()).any(|part| part.iter().eq(sought.iter()))
    }
}

/// In the order of the code, in which comments and texts are gone already.
pub(super) fn all(code: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut open: Vec<Vec<String>> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut joined = false;
    let mut line = 0;
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        if is_word(c) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if !joined {
                finish(&mut path, line, &open, &mut found);
            }
            path.push(rest[..end].to_owned());
            joined = false;
            rest = &rest[end..];
            continue;
        }
        if let Some(after) = rest.strip_prefix("::") {
            joined = true;
            rest = after;
            continue;
        }
        match c {
            '{' if joined && !path.is_empty() => {
                let mut prefix = open.last().cloned().unwrap_or_default();
                prefix.append(&mut path);
                open.push(prefix);
                joined = false;
            }
            // A group in a group, all of whose names have been written.
            '{' if !open.is_empty() => {
                let prefix = open.last().cloned().unwrap_or_default();
                open.push(prefix);
            }
            '}' => {
                finish(&mut path, line, &open, &mut found);
                open.pop();
                joined = false;
            }
            '\n' => {
                // A path goes on over a line's end only within `use`, behind its `::`.
                if !joined {
                    finish(&mut path, line, &open, &mut found);
                }
                line += 1;
            }
            c if c.is_whitespace() => {}
            _ => {
                finish(&mut path, line, &open, &mut found);
                joined = false;
            }
        }
        rest = &rest[c.len_utf8()..];
    }
    finish(&mut path, line, &open, &mut found);
    found
}

fn finish(path: &mut Vec<String>, line: usize, open: &[Vec<String>], found: &mut Vec<Named>) {
    if !path.is_empty() {
        let mut segments = open.last().cloned().unwrap_or_default();
        segments.append(path);
        found.push(Named { line, segments });
    }
}

#[cfg(test)]
mod tests {
    use super::all;

    fn check(code: &str, expected: &[&str]) {
        let named = all(code);
        let shown: Vec<String> =
            named.iter().map(|it| format!("{} {}", it.line, it.segments.join("::"))).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn groups_are_written_out() {
        check(
            "use a::{b, c::{d, e as f},\n g};\nh",
            &["0 use", "0 a::b", "0 a::c::d", "0 a::c::e", "0 a::as", "0 a::f", "1 a::g", "2 h"]
                .map(|it| match it {
                    "0 a::as" => "0 a::c::as",
                    "0 a::f" => "0 a::c::f",
                    other => other,
                }),
        );
    }

    #[test]
    fn blocks_are_no_groups() {
        check("fn f() { a::b(c) } d", &["0 fn", "0 f", "0 a::b", "0 c", "0 d"]);
    }
}
