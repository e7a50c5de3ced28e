//! Who the demo's users are, kept beside its data so that the next run knows them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::account::Account;

const FILE: &str = "logins.json";

/// The owner stays the same, since the worker is approved once; every run has a student of its own,
/// since a run costs credits.
#[derive(Debug)]
pub(super) struct Logins {
    pub(super) owner: Account,
    /// How many runs have registered a student.
    pub(super) runs: u64,
}

impl Logins {
    /// Those of the last run, or new ones, which are then on disk before anybody registers.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or written, or was not written by this.
    pub(super) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        if !path.exists() {
            let new = Self { owner: Account::with_random_password("owner")?, runs: 0 };
            new.save(folder)?;
            return Ok(new);
        }
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("failed to read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let name = value["owner"].as_str().context("no owner")?.to_owned();
        let password = value["password"].as_str().context("no password")?.to_owned();
        let runs = value["runs"].as_u64().context("no runs")?;
        Ok(Self { owner: Account { name, password }, runs })
    }

    /// # Errors
    ///
    /// When the file cannot be written; the old one is then still there.
    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let (name, password) = (&self.owner.name, &self.owner.password);
        let text = json!({ "owner": name, "password": password, "runs": self.runs }).to_string();
        let new = folder.join("logins.json.new");
        let write = || -> std::io::Result<()> {
            let options =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
            options?.write_all(text.as_bytes())?;
            fs::rename(&new, folder.join(FILE))
        };
        write().with_context(|| format!("failed to write {}", new.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::Logins;

    #[test]
    fn damaged_logins_are_told_and_whole_ones_are_read() {
        assert!(Logins::parse("{}").is_err());
        assert!(Logins::parse("").is_err());
        let logins = Logins::parse(r#"{"owner":"o","password":"p","runs":3}"#).unwrap();
        assert_eq!((logins.owner.name.as_str(), logins.runs), ("o", 3));
    }
}
