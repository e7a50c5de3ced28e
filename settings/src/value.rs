//! One value as it was found, and where: a flag, a variable, a line of the file.

use std::fmt;

/// Where a value comes from; the first that has one wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag { name: String },
    Environment { name: String },
    File { name: String },
}

/// A value before its type is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw {
    /// From a flag or a variable: nothing but text.
    Text(String),
    Toml(toml::Value),
}

/// A value of one setting from one origin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) origin: Origin,
    pub(crate) raw: Raw,
}

impl Found {
    /// The sentence for a value that cannot be taken.
    pub(crate) fn problem(&self, key: &str, why: &str) -> String {
        match &self.origin {
            Origin::Flag { name } => format!("flag {name} {}: {why}", self.raw),
            Origin::Environment { name } => format!("environment {name}={}: {why}", self.raw),
            Origin::File { name } => format!("{name}: {key} = {}: {why}", self.raw),
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = match self {
            Self::Text(text) => text.clone(),
            Self::Toml(value) => value.to_string(),
        };
        // A message stays one readable line whatever the value is.
        let plain: String = whole.chars().filter(|c| !c.is_control()).take(80).collect();
        f.write_str(&plain)
    }
}

impl Raw {
    pub(crate) fn integer(&self) -> Result<i64, String> {
        match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Toml(value) => value.as_integer(),
        }
        .ok_or_else(|| "not a whole number".to_owned())
    }

    pub(crate) fn switch(&self) -> Result<bool, String> {
        match self {
            Self::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some(true),
                "false" | "no" | "off" | "0" => Some(false),
                _ => None,
            },
            Self::Toml(value) => value.as_bool(),
        }
        .ok_or_else(|| "must be true or false".to_owned())
    }

    pub(crate) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Toml(value) => {
                value.as_str().ok_or_else(|| "must be a text in quotes".to_owned())
            }
        }
    }
}
