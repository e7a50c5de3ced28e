//! Asks a person at the terminal, or a script on standard input.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::thread;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use crate::error::{CliError, exit};

/// Longer than any secret. Bytes.
const SECRET_MAX_BYTES: u64 = 4096;

/// Asks for a line.
///
/// # Errors
///
/// `Ask`, where nobody can be asked.
pub(crate) fn line(question: &str) -> Result<String, CliError> {
    let terminal = terminal()?;
    read_line(&terminal, question).map_err(CliError::Ask)
}

/// Asks for a line that is not shown.
///
/// # Errors
///
/// `Ask`, where nobody can be asked.
pub(crate) fn secret(question: &str) -> Result<String, CliError> {
    let terminal = terminal()?;
    let echo = Unseen::begin(&terminal).map_err(CliError::Ask)?;
    let read = read_line(&terminal, question);
    drop(echo);
    let _ = (&terminal).write_all(b"\n"); // The one that was typed was not shown.
    read.map_err(CliError::Ask)
}

/// Asks a question that only "yes" affirms.
///
/// # Errors
///
/// `Ask`, where nobody can be asked.
pub(crate) fn is_affirmed(question: &str) -> Result<bool, CliError> {
    let answer = line(&format!("{question} [yes/no] "))?;
    Ok(["y", "yes"].contains(&answer.to_ascii_lowercase().as_str()))
}

/// The first line of standard input.
///
/// # Errors
///
/// `Ask`; `Usage` if it is empty.
pub(crate) fn secret_from_stdin() -> Result<String, CliError> {
    let mut text = String::new();
    let stdin = std::io::stdin();
    stdin.lock().take(SECRET_MAX_BYTES).read_line(&mut text).map_err(CliError::Ask)?;
    let text = text.trim_end_matches(['\n', '\r']).to_owned();
    if text.is_empty() {
        return Err(CliError::Usage("nothing came on standard input".to_owned()));
    }
    Ok(text)
}

/// The terminal itself, wherever standard input and output lead.
fn terminal() -> Result<File, CliError> {
    OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(CliError::Ask)
}

fn read_line(mut terminal: &File, question: &str) -> std::io::Result<String> {
    terminal.write_all(question.as_bytes())?;
    let mut text = String::new();
    BufReader::new(terminal.take(SECRET_MAX_BYTES)).read_line(&mut text)?;
    if text.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Unseen<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Unseen<'a> {
    fn begin(terminal: &'a File) -> std::io::Result<Self> {
        let before = tcgetattr(terminal.as_fd())?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        restore_on_interrupt(terminal.try_clone()?, before.clone())?;
        tcsetattr(terminal.as_fd(), SetArg::TCSAFLUSH, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal.as_fd(), SetArg::TCSAFLUSH, &self.before);
    }
}

/// Ctrl-C must not leave a terminal that shows nothing.
fn restore_on_interrupt(terminal: File, before: Termios) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT])?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            let _ = tcsetattr(terminal.as_fd(), SetArg::TCSAFLUSH, &before);
            std::process::exit(exit::INTERRUPTED.into());
        }
    });
    Ok(())
}
