//! The `campusgrid` command: reads its words, does what they ask, and exits as that ended.

use std::process::ExitCode;

use campusgrid_cli::arguments::Arguments;
use campusgrid_cli::commands;
use campusgrid_cli::error::exit;
use campusgrid_cli::screen::{Format, note};
use clap::Parser;
use serde_json::json;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            let code = if error.use_stderr() { exit::USAGE } else { 0 };
            return ExitCode::from(code);
        }
    };
    let format = if arguments.global.json { Format::Json } else { Format::People };
    commands::run(arguments).unwrap_or_else(|error| {
        match format {
            Format::People => note(&format!("campusgrid: {}", error.told())),
            // On standard error as well: standard output has results only.
            Format::Json => {
                let code = error.code().unwrap_or("client");
                note(&json!({ "error": { "code": code, "message": error.told() } }).to_string());
            }
        }
        ExitCode::from(error.exit_code())
    })
}
