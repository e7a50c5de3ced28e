//! Where the token to join by comes from, and how it gets out of everybody's sight.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

use campusgrid_identity::token::JoinToken;
use tracing::warn;

use crate::config::Config;
use crate::daemon::take_directory;
use crate::error::WorkerError;
use crate::identity;

/// The flag that others see in the list of processes.
const FLAG: &str = "--token";

/// The variables that whoever may trace this process sees.
pub const VARIABLES: [&str; 2] = ["MANAGER_TOKEN", "CAMPUSGRID_WORKER_TOKEN"];

/// The token that the configuration gives, itself or in a file.
///
/// A file that is gone does not matter to a machine that has joined.
///
/// # Errors
///
/// `ReadToken` and `BadToken`; neither shows what the file holds.
pub fn given(config: &Config) -> Result<Option<JoinToken>, WorkerError> {
    if let Some(token) = config.token {
        return Ok(Some(token));
    }
    let Some(path) = &config.token_file else { return Ok(None) };
    match fs::read_to_string(path) {
        Ok(text) => {
            let parsed = text.parse();
            parsed.map(Some).map_err(|source| WorkerError::BadToken { path: path.clone(), source })
        }
        Err(error)
            if error.kind() == ErrorKind::NotFound && identity::has_joined(&config.data_dir) =>
        {
            Ok(None)
        }
        Err(source) => Err(WorkerError::ReadToken { path: path.clone(), source }),
    }
}

/// Continues without the token in arguments and variables, where others can read it: it goes into the
/// data directory, and the program is executed afresh with the same process number.
///
/// To be called before the program starts a thread. Returns if no token is to be seen, or if it could
/// not be executed; the token is then in the data directory all the same.
///
/// # Errors
///
/// `MakeDirectory`, `DirectoryInUse`, `WriteIdentity`.
pub fn put_out_of_sight(
    config: &Config,
    arguments: impl Iterator<Item = OsString>,
) -> Result<(), WorkerError> {
    let arguments: Vec<OsString> = arguments.collect();
    let remaining = without_token(&arguments);
    let is_seen = remaining.len() < arguments.len()
        || VARIABLES.iter().any(|name| std::env::var_os(name).is_some());
    let Some(token) = config.token.filter(|_| is_seen) else { return Ok(()) };
    let lock = take_directory(&config.data_dir, config.weaker)?;
    identity::keep_token(&config.data_dir, &token)?;
    drop(lock);
    let Ok(program) = std::env::current_exe() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(remaining);
    for name in VARIABLES {
        command.env_remove(name);
    }
    let error = command.exec();
    warn!(%error, "the token stays visible in the list of processes");
    Ok(())
}

fn without_token(arguments: &[OsString]) -> Vec<OsString> {
    let mut remaining = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let bytes = argument.as_encoded_bytes();
        if bytes == FLAG.as_bytes() {
            arguments.next();
        } else if !bytes.starts_with(b"--token=") {
            remaining.push(argument.clone());
        }
    }
    remaining
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_taken_out_of_the_arguments() {
        let check = |given: &str, expected: &str| {
            let words = given.split_whitespace().map(OsString::from).collect::<Vec<_>>();
            let rest: Vec<OsString> = expected.split_whitespace().map(OsString::from).collect();
            assert_eq!(without_token(&words), rest, "{given}");
        };
        check("-m grid --token cg1.x -n laptop", "-m grid -n laptop");
        check("--token=cg1.x -m grid", "-m grid");
        check("-m grid --token", "-m grid");
        check("-m grid --token-file /run/token", "-m grid --token-file /run/token");
    }
}
