//! The command line's end of the socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::message::{Answer, LINE_MAX, Order};
use super::place::Place;

/// How long an answer may take: checking the books of a large grid is the slowest.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why the daemon was not asked, or has not answered.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(
        "no manager runs on {} (or it is another user's): start it first, or give its --data-dir",
        data_dir.display()
    )]
    NotRunning { data_dir: PathBuf, source: io::Error },
    #[error("failed to ask the manager")]
    Send { source: io::Error },
    #[error("the manager has not answered")]
    Receive { source: io::Error },
    #[error("the manager answered something else than was asked: is it of this version?")]
    Nonsense { source: serde_json::Error },
}

/// Asks the manager that runs on a data directory.
///
/// # Errors
///
/// All of [`AskError`].
pub fn ask(data_dir: &Path, order: &Order) -> Result<Answer, AskError> {
    let connect = || UnixStream::connect(Place::of(data_dir)?.path);
    let mut stream = connect()
        .map_err(|source| AskError::NotRunning { data_dir: data_dir.to_owned(), source })?;
    let mut line = serde_json::to_string(order).expect("an order has no odd parts");
    line.push('\n');
    let send = |source| AskError::Send { source };
    stream.set_read_timeout(Some(PATIENCE)).map_err(send)?;
    stream.write_all(line.as_bytes()).map_err(send)?;
    let mut answer = String::new();
    let read = BufReader::new(stream.take(LINE_MAX)).read_line(&mut answer);
    read.map_err(|source| AskError::Receive { source })?;
    serde_json::from_str(&answer).map_err(|source| AskError::Nonsense { source })
}
