//! The `campusgrid` command, called as a user of a shell would call it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::client::Client;
use crate::grid::{Manager, make_private};
use crate::places::{Places, Profile};
use crate::program;

/// Where the command's package and binary are found.
pub(crate) const PACKAGE: &str = "campusgrid-cli";

/// One user's command, with a manager and a token in its environment.
#[derive(Debug, Clone)]
pub(crate) struct Shell {
    binary: PathBuf,
    server: String,
    token: String,
    /// What it would keep, it keeps here, and not where the user of this machine has theirs.
    home: PathBuf,
}

impl Shell {
    /// # Errors
    ///
    /// When nobody is logged in, or `home` cannot be made.
    pub(crate) fn open(
        places: &Places,
        manager: &Manager,
        user: &Client,
        home: &Path,
    ) -> Result<Self> {
        make_private(home)?;
        Ok(Self {
            binary: places.binary(Profile::Release, "campusgrid"),
            server: manager.url.clone(),
            token: user.token().context("nobody is logged in")?.to_owned(),
            home: home.to_owned(),
        })
    }

    /// A program that finds the command and the manager in its environment.
    ///
    /// # Errors
    ///
    /// When the binary lies nowhere that can stand in a search path.
    pub(crate) fn program(&self, program: &Path) -> Result<Command> {
        let folder = self.binary.parent().context("the binary lies in a folder")?;
        let mut command = Command::new(program);
        command.env("PATH", program::path_with(folder)?).env("XDG_CONFIG_HOME", &self.home);
        command.env("CAMPUSGRID_SERVER", &self.server).env("CAMPUSGRID_TOKEN", &self.token);
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// The command with these words.
    ///
    /// # Errors
    ///
    /// As `program`.
    pub(crate) fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.program(&self.binary)?;
        command.args(words);
        Ok(command)
    }

    /// Runs it, and yields the objects that it prints, one a line.
    ///
    /// # Errors
    ///
    /// When it exits otherwise than with 0 or `expected`, or prints what is no JSON.
    pub(crate) fn objects(&self, words: &[&str], expected: i32) -> Result<Vec<Value>> {
        let mut command = self.command(words)?;
        let output = command.arg("--json").output();
        let output =
            output.with_context(|| format!("failed to start {}", self.binary.display()))?;
        if !output.status.success() && output.status.code() != Some(expected) {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("campusgrid {}: {}\n{said}", words.join(" "), output.status);
        }
        let text = String::from_utf8(output.stdout).context("what it prints is no text")?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Runs it, and yields the one object that it prints.
    ///
    /// # Errors
    ///
    /// As `objects`.
    pub(crate) fn object(&self, words: &[&str]) -> Result<Value> {
        let mut objects = self.objects(words, 0)?;
        objects.pop().with_context(|| format!("campusgrid {} says nothing", words.join(" ")))
    }
}
