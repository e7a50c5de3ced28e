//! Finds and reads `config.toml`; what stands in it is the reader's business.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::problem::Problems;

/// The file that is read where no other is named, if it exists.
pub const DEFAULT_FILE: &str = "config.toml";

/// A longer file is no configuration. Bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// A configuration file: its name as messages give it, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    pub name: String,
    pub text: String,
}

/// Reads `named`, or else `config.toml` of the working directory if there is one.
///
/// # Errors
///
/// A file that was named and is not there; any file that cannot be read, is no UTF-8, or is longer
/// than 1 MiB.
pub fn read(named: Option<&Path>) -> Result<Option<ConfigFile>, Problems> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let name = path.display().to_string();
    let problem = |why: String| Err(Problems(vec![format!("{name}: {why}")]));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return Ok(None),
        Err(error) => return problem(error.to_string()),
    };
    let mut text = String::new();
    match file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text) {
        Ok(bytes) if bytes as u64 > FILE_MAX_BYTES => {
            problem(format!("is longer than {FILE_MAX_BYTES} bytes"))
        }
        Ok(_) => Ok(Some(ConfigFile { name, text })),
        Err(error) => problem(error.to_string()),
    }
}
