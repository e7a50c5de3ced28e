//! The reader: asked for one setting after another, it yields values and gathers problems.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::file::ConfigFile;
use crate::nearest::{edits, nearest};
use crate::problem::Problems;
use crate::value::{Found, Origin, Raw};

/// Every setting has a variable of this prefix: `CAMPUSGRID_<SECTION>_<KEY>`.
const PREFIX: &str = "CAMPUSGRID_";

/// A value given on the command line, for the setting `key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// As the user typed it, for messages: `--port`.
    pub name: String,
    /// The setting that it stands for: `manager.port`.
    pub key: String,
    pub value: String,
}

/// Reads settings named `section.key`; flags win over the environment, that over the file.
///
/// Each question names a key, its default and what is allowed, and always gets a value: the default
/// stands in for one that cannot be taken, so that all problems are found in one go. [`Self::finish`]
/// then says whether the values may be used.
///
/// ```
/// use campusgrid_settings::file::ConfigFile;
/// use campusgrid_settings::reader::Reader;
///
/// let text = "[manager]\nport = 99999\nprot = 1\n[worker]\ncores = 2\n".to_owned();
/// let file = ConfigFile { name: "config.toml".to_owned(), text };
/// let environment = [("DASHBOARD_PORT".to_owned(), "abc".to_owned())];
/// let mut reader = Reader::new(Some(file), environment, []);
/// reader.leave_section("worker"); // Another program's: not a word about what is in it.
/// reader.alias("manager.dashboard_port", "DASHBOARD_PORT");
/// let port: u16 = reader.integer("manager.port", 9999, 1..=65535);
/// let dashboard: u16 = reader.integer("manager.dashboard_port", 5000, 0..=65535);
/// assert_eq!((port, dashboard), (9999, 5000));
/// assert_eq!(
///     reader.finish().unwrap_err().0,
///     [
///         "config.toml: manager.port = 99999: must be 1 to 65535",
///         "environment DASHBOARD_PORT=abc: not a whole number",
///         "config.toml: manager.prot: unknown setting; did you mean manager.port?",
///     ]
/// );
/// ```
#[derive(Debug)]
pub struct Reader {
    file_name: String,
    /// What the file says, by `section.key`, each value taken out when it is asked for.
    file: BTreeMap<String, toml::Value>,
    environment: BTreeMap<String, String>,
    flags: Vec<Flag>,
    aliases: BTreeMap<String, Vec<&'static str>>,
    /// Keys that were asked for.
    known: BTreeSet<&'static str>,
    others: BTreeSet<&'static str>,
    problems: Vec<String>,
}

impl Reader {
    /// Takes the three sources; variables that are set but empty count as unset.
    pub fn new(
        file: Option<ConfigFile>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = Flag>,
    ) -> Self {
        let file = file.unwrap_or(ConfigFile { name: String::new(), text: String::new() });
        let mut reader = Self {
            file_name: file.name,
            file: BTreeMap::new(),
            environment: environment.into_iter().filter(|(_, v)| !v.trim().is_empty()).collect(),
            flags: flags.into_iter().collect(),
            aliases: BTreeMap::new(),
            known: BTreeSet::new(),
            others: BTreeSet::new(),
            problems: Vec::new(),
        };
        reader.take_file(&file.text);
        reader
    }

    fn take_file(&mut self, text: &str) {
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
                let line = before.matches('\n').count() + 1;
                let why = error.message().replace('\n', " ");
                self.problems.push(format!("{} line {line}: {why}", self.file_name));
                return;
            }
        };
        for (section, value) in table {
            match value {
                // An empty key stands for the section itself, so that an empty one is known too.
                toml::Value::Table(settings) if settings.is_empty() => {
                    self.file.insert(format!("{section}."), toml::Value::Boolean(true));
                }
                toml::Value::Table(settings) => {
                    let named = |(key, value)| (format!("{section}.{key}"), value);
                    self.file.extend(settings.into_iter().map(named));
                }
                toml::Value::String(_)
                | toml::Value::Integer(_)
                | toml::Value::Float(_)
                | toml::Value::Boolean(_)
                | toml::Value::Datetime(_)
                | toml::Value::Array(_) => self.problems.push(format!(
                    "{}: {section}: stands outside of a section such as [manager]",
                    self.file_name
                )),
            }
        }
    }

    /// Marks a section of the file as another program's; its keys are neither read nor checked.
    pub fn leave_section(&mut self, section: &'static str) {
        self.others.insert(section);
    }

    /// Gives a setting one more variable beside its `CAMPUSGRID_<SECTION>_<KEY>`, which wins.
    pub fn alias(&mut self, key: &str, variable: &'static str) {
        self.aliases.entry(key.to_owned()).or_default().push(variable);
    }

    /// A whole number in `range`; its unit belongs into the key's name (`grace_ms`).
    pub fn integer<T>(&mut self, key: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: Copy + Display + PartialOrd + TryFrom<i64>,
    {
        self.optional_integer(key, range).unwrap_or(default)
    }

    /// A whole number in `range`, or none.
    pub fn optional_integer<T>(&mut self, key: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Display + PartialOrd + TryFrom<i64>,
    {
        self.take(key, |raw| {
            T::try_from(raw.integer()?)
                .ok()
                .filter(|number| range.contains(number))
                .ok_or_else(|| format!("must be {} to {}", range.start(), range.end()))
        })
    }

    /// `true` or `false`; variables may also say yes, no, on, off, 1 and 0.
    pub fn switch(&mut self, key: &'static str, default: bool) -> bool {
        self.take(key, Raw::switch).unwrap_or(default)
    }

    /// A text that `check` accepts; the error of `check` completes "must …" or stands as it is.
    pub fn text<E: Display>(
        &mut self,
        key: &'static str,
        default: &str,
        check: impl Fn(&str) -> Result<(), E>,
    ) -> String {
        self.optional_text(key, check).unwrap_or_else(|| default.to_owned())
    }

    /// A text that `check` accepts, or none.
    pub fn optional_text<E: Display>(
        &mut self,
        key: &'static str,
        check: impl Fn(&str) -> Result<(), E>,
    ) -> Option<String> {
        self.take(key, |raw| {
            let text = raw.text()?;
            check(text).map_err(|error| error.to_string())?;
            Ok(text.to_owned())
        })
    }

    /// A path, taken as it stands: relative to the working directory if it is relative.
    pub fn path(&mut self, key: &'static str, default: &Path) -> PathBuf {
        self.optional_path(key).unwrap_or_else(|| default.to_owned())
    }

    /// A path, or none.
    pub fn optional_path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.take(key, |raw| match raw.text()? {
            "" => Err("must not be empty".to_owned()),
            path if path.contains('\0') => Err("must not contain a zero byte".to_owned()),
            path => Ok(PathBuf::from(path)),
        })
    }

    /// One of a few words, each with what it means.
    pub fn word<T: Clone>(&mut self, key: &'static str, default: T, words: &[(&str, T)]) -> T {
        self.take(key, |raw| {
            let text = raw.text()?;
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone()).ok_or_else(
                || {
                    let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                    format!("must be one of: {}", all.join(", "))
                },
            )
        })
        .unwrap_or(default)
    }

    /// Adds a problem that only shows when several settings are seen together.
    pub fn problem(&mut self, sentence: String) {
        self.problems.push(sentence);
    }

    /// Ends the reading; what nobody asked for is unknown.
    ///
    /// # Errors
    ///
    /// Every problem that was found; the values given out must then not be used.
    pub fn finish(mut self) -> Result<(), Problems> {
        self.find_unknown_in_file();
        self.find_unknown_in_environment();
        for flag in std::mem::take(&mut self.flags) {
            self.problems.push(format!("flag {}: unknown setting {}", flag.name, flag.key));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(Problems(self.problems)) }
    }

    /// Every source's value is checked, also one that a stronger source overrides.
    fn take<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&Raw) -> Result<T, String>,
    ) -> Option<T> {
        assert!(self.known.insert(key), "setting {key} is read twice");
        let mut value = None;
        for found in self.found(key) {
            match parse(&found.raw) {
                Ok(parsed) => value = value.or(Some(parsed)),
                Err(why) => self.problems.push(found.problem(key, &why)),
            }
        }
        value
    }

    /// The values of a setting, the strongest first.
    fn found(&mut self, key: &str) -> Vec<Found> {
        let mut all = Vec::new();
        for flag in self.flags.extract_if(.., |flag| flag.key == key) {
            let origin = Origin::Flag { name: flag.name };
            all.push(Found { origin, raw: Raw::Text(flag.value) });
        }
        let mut variables = vec![variable(key)];
        variables.extend(self.aliases.get(key).into_iter().flatten().map(|&name| name.to_owned()));
        for name in variables {
            if let Some(value) = self.environment.get(&name) {
                let raw = Raw::Text(value.clone());
                all.push(Found { origin: Origin::Environment { name }, raw });
            }
        }
        if let Some(value) = self.file.remove(key) {
            let origin = Origin::File { name: self.file_name.clone() };
            all.push(Found { origin, raw: Raw::Toml(value) });
        }
        all
    }

    fn find_unknown_in_file(&mut self) {
        let sections: BTreeSet<&str> = self.known.iter().map(|key| section(key)).collect();
        let mut unknown_sections = BTreeSet::new();
        for key in self.file.keys() {
            let section = section(key);
            if self.others.contains(section) || (sections.contains(section) && key.ends_with('.')) {
                continue;
            }
            if sections.contains(section) {
                let near = nearest(key, self.known.iter().copied());
                let hint = did_you_mean(near.filter(|near| is_slip(key, near, near)));
                self.problems.push(format!("{}: {key}: unknown setting{hint}", self.file_name));
            } else if unknown_sections.insert(section) {
                let names = sections.iter().chain(&self.others).copied();
                let hint = did_you_mean(nearest(section, names));
                self.problems
                    .push(format!("{}: [{section}]: unknown section{hint}", self.file_name));
            }
        }
    }

    /// The environment belongs to other programs too, so only what is plainly meant for this one is
    /// complained of: names of its sections, and slips of the hand.
    fn find_unknown_in_environment(&mut self) {
        let known: BTreeMap<String, &str> =
            self.known.iter().map(|&key| (variable(key), key)).collect();
        for name in self.environment.keys().filter(|name| name.starts_with(PREFIX)) {
            let near = nearest(name, known.keys().map(String::as_str));
            let in_section = known
                .values()
                .any(|key| name.starts_with(&variable(&format!("{}.", section(key)))));
            let slip = near.is_some_and(|near| edits(name, near) <= 2);
            if !known.contains_key(name) && (in_section || slip) {
                let hint = did_you_mean(near.filter(|near| is_slip(name, near, known[*near])));
                self.problems.push(format!("environment {name}: unknown setting{hint}"));
            }
        }
    }
}

/// Whether a slip of the hand explains `typed`, too, if only the setting's own name counts: its section
/// makes a name long, and short names are all near to each other.
fn is_slip(typed: &str, meant: &str, key: &str) -> bool {
    let name = key.split_once('.').map_or(key, |(_, name)| name);
    edits(typed, meant) <= name.chars().count().div_ceil(3)
}

fn section(key: &str) -> &str {
    key.split_once('.').map_or(key, |(section, _)| section)
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

fn did_you_mean(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}
