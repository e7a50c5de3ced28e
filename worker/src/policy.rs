//! The policy file of a machine: rules in the words of the dashboard's, which nobody can lift who may
//! not write this file.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use campusgrid_protocol::rest::rules::{CHECKPOINT_GRACE_MAX_S, GRACE_MAX_S};
use campusgrid_protocol::rules::{Conditions, Power, Rules, Span, SpanError};
use campusgrid_sharing::zone;
use toml::{Table, Value};

/// Where it lies unless a setting says otherwise.
pub const DEFAULT_FILE: &str = "/etc/campusgrid/policy.toml";

/// A longer file is no policy. Bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Why a policy file cannot be followed. Then nothing is shared: what it was to forbid is not known.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is longer than {FILE_MAX_BYTES} bytes")]
    TooLong { path: PathBuf },
    #[error("{path} is not a policy: {reason}")]
    Parse { path: PathBuf, reason: String },
    #[error("{path}: {problems}")]
    Wrong { path: PathBuf, problems: String },
}

/// Rules that forbid nothing: what a policy file says nothing about is left to the dashboard.
pub fn permissive() -> Rules {
    let when = Conditions {
        power: Power::Any,
        metered: true,
        grace_s: GRACE_MAX_S,
        checkpoint_s: CHECKPOINT_GRACE_MAX_S,
        ..Conditions::default()
    };
    Rules { when, ..Rules::default() }
}

/// The rules of a policy file, if there is one.
///
/// # Errors
///
/// When it is there and cannot be read or followed whole.
pub fn read(path: &Path) -> Result<Option<Rules>, PolicyError> {
    let failed = |source| PolicyError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    let bytes = file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if bytes as u64 > FILE_MAX_BYTES {
        return Err(PolicyError::TooLong { path: path.to_owned() });
    }
    let rules = parse(&text).map_err(|reason| PolicyError::Parse {
        path: path.to_owned(),
        reason: reason.trim_end().to_owned(),
    })?;
    let mut problems: Vec<String> = match rules.check() {
        Ok(()) => Vec::new(),
        Err(errors) => {
            errors.iter().map(|error| format!("{} {}", error.field, error.message)).collect()
        }
    };
    if !zone::is_known(&rules.when.zone) {
        problems.push(format!("when.zone {:?} is not a known time zone", rules.when.zone));
    }
    if problems.is_empty() {
        return Ok(Some(rules));
    }
    Err(PolicyError::Wrong { path: path.to_owned(), problems: problems.join("; ") })
}

/// As [`Rules`] are written; hours also as `"Mon-Fri 18:00-08:00"`.
fn parse(text: &str) -> Result<Rules, String> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let when = table.entry("when").or_insert_with(|| Value::Table(Table::new()));
    let when = when.as_table_mut().ok_or("when must be a table")?;
    let defaults = [
        ("power", Value::from("any")),
        ("metered", Value::from(true)),
        ("grace_s", Value::from(GRACE_MAX_S)),
        ("checkpoint_s", Value::from(CHECKPOINT_GRACE_MAX_S)),
    ];
    for (name, value) in defaults {
        when.entry(name).or_insert(value);
    }
    if let Some(Value::Array(hours)) = when.get_mut("hours") {
        for span in hours {
            if let Value::String(words) = span {
                let wrong = |error: String| format!("when.hours: {words:?}: {error}");
                let read: Span =
                    words.parse().map_err(|error: SpanError| wrong(error.to_string()))?;
                *span = Value::try_from(read).map_err(|error| wrong(error.to_string()))?;
            }
        }
    }
    table.try_into().map_err(|error: toml::de::Error| error.to_string())
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rules::{Days, Kind, Whose};
    use expect_test::expect;

    use super::*;

    fn told(text: &str) -> Result<Rules, String> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("policy.toml");
        std::fs::write(&path, text).unwrap();
        read(&path).map(Option::unwrap).map_err(|error| {
            format!("{:#}", anyhow::Error::new(error)).replace(&path.display().to_string(), "FILE")
        })
    }

    #[test]
    fn what_it_says_nothing_about_is_left_to_the_dashboard() {
        assert_eq!(told("").unwrap(), permissive());
        assert!(read(Path::new("/nonexistent/policy.toml")).unwrap().is_none());
    }

    #[test]
    fn it_speaks_as_the_dashboard_does() {
        let text = r#"
            [when]
            idle_minutes = 5
            hours = ["Mon-Fri 18:00-08:00", "sat,Sun 00:00-24:00", { days = 1, from = 60, to = 120 }]
            zone = "Europe/Berlin"
            power = { above = 40 }
            programs = ["zoom"]

            [limits]
            cores = 2
            whose = { of = ["ada"] }
            kinds = ["python", "c"]
        "#;
        let rules = told(text).unwrap();
        let span = |days, from, to| Span { days: Days(days), from, to };
        assert_eq!(
            rules.when.hours,
            [span(0b001_1111, 1080, 480), span(0b110_0000, 0, 0), span(1, 60, 120)]
        );
        assert_eq!((rules.when.power, rules.when.metered), (Power::Above(40), true));
        assert_eq!(rules.limits.whose, Whose::Of(vec!["ada".to_owned()]));
        assert_eq!(rules.limits.kinds, [Kind::Python, Kind::C]);
    }

    #[test]
    fn one_that_cannot_be_followed_whole_is_refused() {
        let said: Vec<String> = [
            "[when]\nidle = 3",
            "[when]\nidle_minutes = 99999\nothers_load_percent = 0",
            "[when]\nhours = ['nights']",
            "[when]\nzone = 'Mars/Olympus'",
            "when = 3",
            "[[",
        ]
        .map(|text| told(text).unwrap_err())
        .into();
        expect![[r#"
            FILE is not a policy: unknown field `idle`, expected one of `enabled`, `idle_minutes`, `hours`, `zone`, `power`, `metered`, `programs`, `others_load_percent`, `temperature_c`, `until_ms`, `grace_s`, `checkpoint_s`
            in `when`
            FILE: when.idle_minutes must be 0 to 1440, is 99999; when.others_load_percent must be 1 to 100, is 0
            FILE is not a policy: when.hours: "nights": "nights" is no day: mon, tue, wed, thu, fri, sat, sun, daily
            FILE: when.zone "Mars/Olympus" is not a known time zone
            FILE is not a policy: when must be a table
            FILE is not a policy: TOML parse error at line 1, column 3
              |
            1 | [[
              |   ^
            unquoted keys cannot be empty, expected letters, numbers, `-`, `_`"#]].assert_eq(&said.join("\n"));
    }
}
