//! `cargo deny`: licences, sources and duplicates always, known holes where their list can be had.

use std::process::Command;

use anyhow::Result;

use crate::places::Places;
use crate::program;
use crate::setup;
use crate::summary::Outcome;

pub(super) fn run(places: &Places) -> Result<Outcome> {
    let binary = match setup::cargo_deny(places) {
        Ok(binary) => binary,
        Err(error) => return Ok(Outcome::skipped(format!("cargo-deny cannot be had: {error:#}"))),
    };
    let deny = |words: &[&str]| {
        let mut command = Command::new(&binary);
        command.current_dir(&places.root).args(["--log-level", "error"]).args(words);
        command
    };
    program::run(&mut deny(&["--offline", "check", "bans", "licenses", "sources"]))?;
    // The list of known holes comes from the network; without it that is no fault of this tree.
    if let Err(error) = program::quiet(&mut deny(&["fetch", "db"])) {
        let said = error.to_string();
        let why = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let why = format!("known holes: their list cannot be fetched ({why})");
        return Ok(Outcome { skipped: vec![why], ..Outcome::one_passed() });
    }
    program::run(&mut deny(&["check", "--disable-fetch", "advisories"]))?;
    Ok(Outcome { passed: 2, ..Outcome::default() })
}
