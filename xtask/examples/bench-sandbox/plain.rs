//! What sandboxed tasks are compared with: processes of nobody's concern, and bare bubblewrap.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

pub(crate) const TRUE: &str = "/usr/bin/true";
const BWRAP: [&str; 2] = ["/usr/bin/bwrap", "/bin/bwrap"];
/// The least walls that bubblewrap is asked for.
const BWRAP_WORDS: [&str; 5] = ["--unshare-all", "--ro-bind", "/", "/", TRUE];

/// Starts it with an empty environment, which the standard library does by `posix_spawn`, and waits.
///
/// # Errors
///
/// When it cannot be started or does not exit with 0.
pub(crate) fn run(program: &Path, words: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(words).env_clear().stdin(Stdio::null());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.with_context(|| format!("failed to start {}", program.display()))?;
    if !status.success() {
        bail!("{}: {status}", program.display());
    }
    Ok(())
}

/// # Errors
///
/// When it is not installed, or does not run here.
pub(crate) fn bwrap() -> Result<PathBuf> {
    let place = BWRAP.iter().map(PathBuf::from).find(|place| place.exists());
    let place = place.context("bubblewrap is not installed")?;
    run(&place, &BWRAP_WORDS)?;
    Ok(place)
}

/// # Errors
///
/// As of any program.
pub(crate) fn run_bwrap(bwrap: &Path) -> Result<()> {
    run(bwrap, &BWRAP_WORDS)
}

/// Makes a `true` that no loader has to put together.
///
/// # Errors
///
/// When there is no compiler or no static C library.
pub(crate) fn static_true(folder: &Path) -> Result<PathBuf> {
    let source = folder.join("true.c");
    fs::write(&source, "int main(void) { return 0; }\n").context("failed to write a program")?;
    let binary = folder.join("true");
    let mut compiler = Command::new("cc");
    compiler.args(["-static", "-O1", "-o"]).arg(&binary).arg(&source);
    let said = compiler.stdin(Stdio::null()).output().context("there is no C compiler")?;
    if !said.status.success() {
        bail!("the compiler failed: {}", String::from_utf8_lossy(&said.stderr));
    }
    Ok(binary)
}

/// As many of `true` as asked for, at most so many at once.
///
/// # Errors
///
/// When `xargs` is not there or one of them fails.
pub(crate) fn run_xargs(tasks: usize, at_once: usize) -> Result<()> {
    let script = format!("seq {tasks} | xargs -P {at_once} -n 1 {TRUE}");
    run(Path::new("/bin/sh"), &["-c", &script])
}
