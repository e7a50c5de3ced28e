//! Which versions of Python a program says it runs on: the specifiers of PEP 440, as far as released
//! interpreters need them.
//!
//! <https://peps.python.org/pep-0440/#version-specifiers>. Interpreters are taken as releases, so a
//! pre-release in a specifier counts as the release that it leads to.

use std::fmt;

/// Characters of a specifier set that are looked at.
const TEXT_MAX: usize = 200;

/// A released version of Python: major, minor, micro.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PythonVersion(pub u32, pub u32, pub u32);

/// Specifiers that must all hold; none at all always do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Specifiers {
    text: String,
    all: Vec<Specifier>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Specifier {
    operator: Operator,
    /// As many numbers as were written.
    release: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    EqualPrefix,
    NotEqual,
    NotEqualPrefix,
    AtLeast,
    AtMost,
    Above,
    Below,
    Compatible,
}

impl Specifiers {
    /// Reads a comma-separated list such as `>=3.11,<3.14`; none if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // It becomes a line of a file, so it must not be two.
        if text.len() > TEXT_MAX || text.contains(char::is_control) {
            return None;
        }
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let all = parts.map(Specifier::parse).collect::<Option<Vec<_>>>()?;
        Some(Self { text: text.to_owned(), all })
    }

    /// Whether an interpreter of this version will do.
    pub fn hold_for(&self, version: PythonVersion) -> bool {
        self.all.iter().all(|specifier| specifier.holds_for(version))
    }

    /// Whether some release of this minor version of Python 3 will do.
    pub fn hold_for_minor(&self, minor: u32) -> bool {
        // Bounds within a minor version are rare; its first and its last release find them.
        [0, u32::MAX].iter().any(|&micro| self.hold_for(PythonVersion(3, minor, micro)))
    }
}

impl Specifier {
    fn parse(text: &str) -> Option<Self> {
        use Operator::{
            Above, AtLeast, AtMost, Below, Compatible, Equal, EqualPrefix, NotEqual, NotEqualPrefix,
        };
        // The longer ones first, since some begin with others.
        let operators = [
            ("===", Equal),
            ("==", Equal),
            ("~=", Compatible),
            ("!=", NotEqual),
            ("<=", AtMost),
            (">=", AtLeast),
            ("<", Below),
            (">", Above),
        ];
        let (rest, operator) = operators
            .iter()
            .find_map(|&(sign, operator)| Some((text.strip_prefix(sign)?, operator)))?;
        let version = rest.trim();
        let (version, operator) = match (version.strip_suffix(".*"), operator) {
            (Some(version), Equal) => (version, EqualPrefix),
            (Some(version), NotEqual) => (version, NotEqualPrefix),
            (Some(_), _) => return None,
            (None, operator) => (version, operator),
        };
        let release = release(version)?;
        if operator == Compatible && release.len() < 2 {
            return None;
        }
        Some(Self { operator, release })
    }

    fn holds_for(&self, version: PythonVersion) -> bool {
        let found = [version.0, version.1, version.2];
        let wanted = |place: usize| self.release.get(place).copied().unwrap_or(0);
        let wanted = [wanted(0), wanted(1), wanted(2)];
        let begins = |numbers: usize| {
            found.iter().zip(&self.release).take(numbers).all(|(found, wanted)| found == wanted)
        };
        match self.operator {
            Operator::Equal => found == wanted,
            Operator::NotEqual => found != wanted,
            Operator::EqualPrefix => begins(self.release.len()),
            Operator::NotEqualPrefix => !begins(self.release.len()),
            Operator::AtLeast => found >= wanted,
            Operator::AtMost => found <= wanted,
            Operator::Above => found > wanted,
            Operator::Below => found < wanted,
            Operator::Compatible => found >= wanted && begins(self.release.len() - 1),
        }
    }
}

/// The numbers of a version such as `3.11` or `3.13.0rc1`.
fn release(version: &str) -> Option<Vec<u32>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
    if version.is_empty() || !version.chars().all(plain) {
        return None;
    }
    let mut numbers = Vec::new();
    for part in version.split('.') {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, suffix) = part.split_at(end);
        match number.parse() {
            Ok(number) if numbers.len() < 3 => numbers.push(number),
            // `.post1` and `.dev1` name no other release.
            Err(_) if !numbers.is_empty() && number.is_empty() => break,
            Ok(_) | Err(_) => return None,
        }
        if !suffix.is_empty() {
            break;
        }
    }
    Some(numbers)
}

impl PythonVersion {
    /// Reads `3.11.2`, or what begins so.
    pub fn parse(text: &str) -> Option<Self> {
        match *release(text.trim())? {
            [major, minor, micro] => Some(Self(major, minor, micro)),
            _ => None,
        }
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl fmt::Display for Specifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 3.9.0, 3.11.2 and 3.13.1, those for which the specifiers hold.
    fn holding(text: &str) -> Vec<u32> {
        let specifiers = Specifiers::parse(text).unwrap();
        let versions = [PythonVersion(3, 9, 0), PythonVersion(3, 11, 2), PythonVersion(3, 13, 1)];
        versions.into_iter().filter(|&v| specifiers.hold_for(v)).map(|v| v.1).collect()
    }

    #[test]
    fn every_operator_means_what_pep_440_says() {
        assert_eq!(holding(""), [9, 11, 13]);
        assert_eq!(holding(">=3.11"), [11, 13]);
        assert_eq!(holding(">=3.11.3"), [13]);
        assert_eq!(holding(" >= 3.9 , < 3.13 "), [9, 11]);
        assert_eq!(holding("<=3.11"), [9]);
        assert_eq!(holding("<=3.11.2"), [9, 11]);
        assert_eq!(holding(">3.11"), [11, 13]);
        assert_eq!(holding("==3.11.*"), [11]);
        assert_eq!(holding("==3.11"), [0_u32; 0]);
        assert_eq!(holding("==3.9"), [9]);
        assert_eq!(holding("!=3.11.*,!=3.9.0"), [13]);
        assert_eq!(holding("~=3.11"), [11, 13]);
        assert_eq!(holding("~=3.11.1"), [11]);
        assert_eq!(holding("===3.11.2"), [11]);
        assert_eq!(holding(">=3.13.0rc1"), [13]);
        assert_eq!(holding("<4"), [9, 11, 13]);
    }

    #[test]
    fn what_is_no_list_of_specifiers_is_none() {
        for text in [
            "3.11",
            ">=",
            ">=x",
            "=>3",
            "~=3",
            ">=3.*",
            ">=3.11 <4",
            ">=3;x",
            "==3.1.2.3",
            ">=3\n,<4",
            ">=3,\u{b}<4",
        ] {
            assert_eq!(Specifiers::parse(text), None, "{text}");
        }
        assert_eq!(Specifiers::parse(&format!(">={}", "3".repeat(300))), None);
    }

    #[test]
    fn a_minor_version_will_do_if_one_of_its_releases_does() {
        let holding = |text: &str| -> Vec<u32> {
            let specifiers = Specifiers::parse(text).unwrap();
            (9..14).filter(|&minor| specifiers.hold_for_minor(minor)).collect()
        };
        assert_eq!(holding(">=3.10.4,<3.12"), [10, 11]);
        assert_eq!(holding("<3.10.4"), [9, 10]);
    }

    #[test]
    fn versions_are_read_as_interpreters_tell_them() {
        assert_eq!(PythonVersion::parse("3.11.2\n"), Some(PythonVersion(3, 11, 2)));
        assert_eq!(PythonVersion::parse("3.14.0rc1"), Some(PythonVersion(3, 14, 0)));
        assert_eq!(PythonVersion::parse("3.11"), None);
        assert_eq!(PythonVersion::parse("Python 3"), None);
    }
}
