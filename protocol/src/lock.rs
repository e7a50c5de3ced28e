//! What a job's packages came to: requirements that each name one version and the hashes of its files,
//! checked line by line and written anew, so that an installer sees only what was understood here.
//!
//! Taken is what `uv` and `pip-compile` write: one package each, extras, a marker, hashes, comments
//! and continued lines. Options, addresses and paths are not: they would let a stranger choose what
//! this machine reads and from where.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::message::LOCK_MAX_BYTES;
use crate::python::Specifiers;
use crate::requirement::{
    Requirement, is_marker, is_name, normalised, uncommented, without_extras,
};

/// Begins the line that says for which versions of Python a lock was made.
const REQUIRES_PYTHON: &str = "# requires-python: ";

const HASH: &str = "--hash=sha256:";

/// Shown of a line that is refused. Characters.
const SHOWN_MAX: usize = 80;

/// Why a text is no lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    #[error("it has more than {LOCK_MAX_BYTES} bytes")]
    TooLong,
    #[error(
        "line {number}, '{line}', is not 'name==version' with an optional marker and at least one \
         --hash=sha256:…; options, addresses and paths are not taken"
    )]
    Line { number: usize, line: String },
    #[error("it does not say in the words of PEP 440 which versions of Python it is for")]
    Python,
}

/// A checked lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    text: String,
    /// Number of packages, with all their alternatives.
    packages: usize,
    /// Of the packages, as they are compared.
    names: BTreeSet<String>,
    python: Option<Specifiers>,
}

impl Lock {
    /// Checks a text from outside.
    ///
    /// # Errors
    ///
    /// All of [`LockError`].
    pub fn check(text: &str) -> Result<Self, LockError> {
        if text.len() > LOCK_MAX_BYTES {
            return Err(LockError::TooLong);
        }
        let mut lock = Self::default();
        let mut pending = String::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(python) = line.strip_prefix(REQUIRES_PYTHON) {
                lock.python = Some(Specifiers::parse(python).ok_or(LockError::Python)?);
                continue;
            }
            // A comment neither ends nor goes on with what a backslash continues.
            let line = if line.starts_with('#') { "\\" } else { uncommented(line) };
            let is_continued = match line.strip_suffix('\\') {
                Some(begun) => {
                    pending.push_str(begun);
                    !pending.is_empty()
                }
                None => {
                    pending.push_str(line);
                    false
                }
            };
            if !is_continued {
                lock.take(index + 1, &std::mem::take(&mut pending))?;
            }
            pending.push_str(if pending.is_empty() { "" } else { " " });
        }
        lock.take(text.lines().count(), &pending)?;
        lock.write_python();
        // Written anew it may be longer, and whoever is told it checks it as well.
        if lock.text.len() > LOCK_MAX_BYTES { Err(LockError::TooLong) } else { Ok(lock) }
    }

    /// The lock as it is meant for these versions of Python, whatever it says itself.
    pub fn for_python(mut self, python: Specifiers) -> Self {
        if let Some((_, packages)) = self.text.split_once('\n')
            && self.python.is_some()
        {
            self.text = packages.to_owned();
        }
        self.python = Some(python);
        self.write_python();
        self
    }

    /// Puts the versions of Python before the packages.
    fn write_python(&mut self) {
        if let Some(python) = &self.python {
            self.text = format!("{REQUIRES_PYTHON}{python}\n{}", self.text);
        }
    }

    /// One package a line; a comment before them says for which versions of Python.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Number of packages, with all their alternatives.
    pub fn packages(&self) -> usize {
        self.packages
    }

    /// For which versions of Python it was made, if it says so.
    pub fn python(&self) -> Option<&Specifiers> {
        self.python.as_ref()
    }

    /// The first of these requirements of which it has no package, though every machine needs it. A
    /// requirement with a marker may be for other machines only.
    pub fn lacks<'a>(&self, requirements: &'a [String]) -> Option<&'a str> {
        let is_met = |line: &&str| {
            line.is_empty()
                || Requirement::parse(line).is_some_and(|requirement| {
                    requirement.has_marker || self.names.contains(&requirement.name)
                })
        };
        requirements.iter().map(|line| line.trim()).find(|line| !is_met(line))
    }

    fn take(&mut self, number: usize, line: &str) -> Result<(), LockError> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(());
        }
        let Some((name, canonical)) = canonical(line) else {
            let shown = line.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect();
            return Err(LockError::Line { number, line: shown });
        };
        self.text.push_str(&canonical);
        self.text.push('\n');
        self.packages += 1;
        self.names.insert(normalised(name));
        Ok(())
    }
}

/// The name, and `name==version ; marker --hash=…`, if that is what the line says.
fn canonical(line: &str) -> Option<(&str, String)> {
    let (requirement, hashes) = line.split_once("--hash=")?;
    let hashes: Vec<&str> = hashes.split_whitespace().collect();
    let (requirement, marker) = match requirement.split_once(';') {
        Some((requirement, marker)) => (requirement, Some(marker.trim())),
        None => (requirement, None),
    };
    let (name, version) = requirement.split_once("==")?;
    let (name, version) = (name.trim(), version.trim());
    let (bare, extras) = name.split_at(name.find('[').unwrap_or(name.len()));
    let bare = bare.trim_end();
    let has_name = is_name(bare) && without_extras(extras) == Some("");
    if !has_name || !is_version(version) || !marker.is_none_or(is_marker) {
        return None;
    }
    let mut canonical = format!("{bare}=={version}");
    if let Some(marker) = marker {
        write!(canonical, " ; {marker}").ok()?;
    }
    for (index, hash) in hashes.iter().enumerate() {
        let hash = if index == 0 { *hash } else { hash.strip_prefix("--hash=")? };
        let hex = hash.strip_prefix("sha256:")?;
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        write!(canonical, " {HASH}{hex}").ok()?;
    }
    (!hashes.is_empty()).then_some((bare, canonical))
}

fn is_version(version: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '!' | '-');
    version.starts_with(|c: char| c.is_ascii_alphanumeric())
        && version.chars().all(plain)
        && version.len() <= 100
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn check(text: &str, expected: Expect) {
        let text = text.replace("AAA", A).replace("BBB", B);
        let said = match Lock::check(&text) {
            Ok(lock) => lock.text().replace(A, "AAA").replace(B, "BBB"),
            Err(error) => error.to_string().replace(A, "AAA"),
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn what_uv_and_pip_compile_write_is_taken_and_written_anew() {
        check(
            "#\n# This file is autogenerated by pip-compile\n#\n\
             cloudpickle==3.1.2 \\\n    --hash=sha256:AAA \\\n    --hash=sha256:BBB\n\
             \x20   # via joblib\n\
             numpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:AAA\n\
             \x20   # via\n    #   scikit-learn\n\
             numpy==2.5.5 ; python_full_version >= '3.12' \\\n    --hash=sha256:BBB\n\n\
             Requests[socks, x]==2.31.0+local.1 --hash=sha256:AAA # why not\n",
            expect![[r#"
                cloudpickle==3.1.2 --hash=sha256:AAA --hash=sha256:BBB
                numpy==2.4.6 ; python_full_version < '3.12' --hash=sha256:AAA
                numpy==2.5.5 ; python_full_version >= '3.12' --hash=sha256:BBB
                Requests==2.31.0+local.1 --hash=sha256:AAA
            "#]],
        );
        check("", expect![""]);
    }

    #[test]
    fn it_says_for_which_python_it_is_and_what_is_written_is_taken_again() {
        let text = "six==1 --hash=sha256:AAA\n".replace("AAA", A);
        let lock = Lock::check(&text).unwrap();
        assert_eq!((lock.packages(), lock.python()), (1, None));
        let lock = lock.for_python(Specifiers::parse(">=3.10").unwrap());
        let lock = lock.for_python(Specifiers::parse(">=3.11").unwrap());
        assert_eq!(lock.text(), format!("# requires-python: >=3.11\n{text}"));
        assert_eq!(Lock::check(lock.text()), Ok(lock));
        assert_eq!(Lock::check("# requires-python: x"), Err(LockError::Python));
    }

    #[test]
    fn what_everybody_needs_is_there_by_any_spelling_of_its_name() {
        let text = "Ruamel.Yaml==1 --hash=sha256:AAA\nsix==1 ; os_name == 'x' --hash=sha256:AAA";
        let lock = Lock::check(&text.replace("AAA", A)).unwrap();
        let lacks = |requirements: &[&str]| {
            let requirements: Vec<String> =
                requirements.iter().copied().map(str::to_owned).collect();
            lock.lacks(&requirements).map(str::to_owned)
        };
        assert_eq!(lacks(&[]), None);
        assert_eq!(lacks(&["ruamel_yaml>=1", " SIX[a] ", "", "tzdata; os_name == 'nt'"]), None);
        assert_eq!(lacks(&["six", "ruamel"]).as_deref(), Some("ruamel"));
        assert_eq!(lacks(&["--index-url x"]).as_deref(), Some("--index-url x"));
        assert_eq!(Lock::default().lacks(&["tzdata; os_name == 'nt'".to_owned()]), None);
    }

    #[test]
    fn what_grows_too_long_when_it_is_written_anew_is_refused() {
        let line = "a==1;x<'1' --hash=sha256:AAA\n".replace("AAA", A);
        let text = line.repeat(LOCK_MAX_BYTES / line.len());
        assert_eq!(Lock::check(&text), Err(LockError::TooLong));
    }

    #[test]
    fn the_line_that_is_refused_is_named() {
        check(
            "six==1 --hash=sha256:AAA\n--index-url https://evil.example\n",
            expect![
                "line 2, '--index-url https://evil.example', is not 'name==version' with an \
                 optional marker and at least one --hash=sha256:…; options, addresses and paths \
                 are not taken"
            ],
        );
    }

    #[test]
    fn everything_else_is_refused() {
        for line in [
            "six==1",
            "six>=1 --hash=sha256:AAA",
            "six==1.* --hash=sha256:AAA",
            "six --hash=sha256:AAA",
            "six== --hash=sha256:AAA",
            "six==1 --hash=md5:AAA",
            "six==1 --hash=sha256:AA",
            "six==1 --hash=sha256:AAAA",
            "six==1 --hash=sha256:AAA --hash=",
            "six==1 --hash=sha256:AAA --index-url=https://evil.example",
            "six==1 --hash=sha256:AAA https://evil.example",
            "six==1 ; --hash=sha256:AAA",
            "six==1 ; --index-url=evil.example --hash=sha256:AAA",
            "six==1 ; x -r /etc/passwd --hash=sha256:AAA",
            "six @ https://evil.example/six.whl --hash=sha256:AAA",
            "https://evil.example/six.whl --hash=sha256:AAA",
            "./six==1 --hash=sha256:AAA",
            "-r other.txt",
            "-e .",
            "six==1 --global-option=x --hash=sha256:AAA",
            "six[a==1 --hash=sha256:AAA",
            "six[a]x==1 --hash=sha256:AAA",
            "six==1==2 --hash=sha256:AAA",
            "six==${HOME} --hash=sha256:AAA",
            "six==1 tail==2 --hash=sha256:AAA",
            "--hash=sha256:AAA",
            "six==1 \\\n# comment\nfive==2 --hash=sha256:AAA",
        ] {
            let text = line.replace("AAA", A);
            assert!(Lock::check(&text).is_err(), "{line}");
        }
        assert_eq!(Lock::check(&"#".repeat(LOCK_MAX_BYTES + 1)), Err(LockError::TooLong));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_written_is_taken_again(
            text in "([a#= ;\\\\\n-]|a==1|--hash=sha256:(a{64})?|# requires-python: |>=3){0,12}",
        ) {
            if let Ok(lock) = Lock::check(&text) {
                prop_assert_eq!(Lock::check(lock.text()), Ok(lock));
            }
        }
    }
}
