//! The helper, the libraries that it needs and what tasks are told, in a directory that every container is shown.
//!
//! They are copies, so that a worker that is upgraded meanwhile, or an engine that does not see
//! all of the machine's files, changes nothing.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use campusgrid_sandbox::stat;

use crate::error::EngineError;
use crate::helper::{HELPER_ARGUMENT, LIBRARIES_ARGUMENT};

/// Where containers see the kit.
pub(crate) const INSIDE: &str = "/.campusgrid";
/// What containers see as `/proc/stat`.
pub(crate) const KITS_STAT: &str = "stat";
const PROGRAM: &str = "helper";
const LOADER: &str = "loader";

/// What to show to containers, and how to start what is in it.
#[derive(Debug, Clone)]
pub(crate) struct Kit {
    pub(crate) directory: PathBuf,
    pub(crate) command: Vec<String>,
}

impl Kit {
    /// Fills `directory`, made anew, with `program` and its libraries.
    ///
    /// # Errors
    ///
    /// `Host`.
    pub(crate) fn pack(program: &Path, directory: PathBuf) -> Result<Self, EngineError> {
        let libraries = libraries(program)
            .map_err(EngineError::host("find the libraries of the container's first process"))?;
        let packed = (|| {
            match fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            fs::create_dir_all(&directory)?;
            // Read in containers by users that own nothing here.
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
            copy(program, &directory.join(PROGRAM))?;
            fs::write(directory.join(KITS_STAT), stat::still()?)?;
            fs::set_permissions(directory.join(KITS_STAT), fs::Permissions::from_mode(0o444))?;
            for (name, source) in &libraries.named {
                copy(source, &directory.join(name))?;
            }
            libraries.loader.iter().try_for_each(|source| copy(source, &directory.join(LOADER)))
        })();
        packed.map_err(EngineError::host("copy the container's first process"))?;
        let inside = |name: &str| format!("{INSIDE}/{name}");
        let mut command = match libraries.loader {
            Some(_) => vec![inside(LOADER), "--library-path".to_owned(), INSIDE.to_owned()],
            None => Vec::new(),
        };
        command.extend([inside(PROGRAM), HELPER_ARGUMENT.to_owned()]);
        Ok(Self { directory, command })
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Libraries {
    /// `None` for a program that needs no other.
    loader: Option<PathBuf>,
    named: Vec<(String, PathBuf)>,
}

/// Lets the loader itself tell what a program would be started with, as ldd(1) does.
fn libraries(program: &Path) -> io::Result<Libraries> {
    let mut command = Command::new(program);
    command.args([HELPER_ARGUMENT, LIBRARIES_ARGUMENT]);
    let said = command.env_clear().env("LD_TRACE_LOADED_OBJECTS", "1").output()?;
    if !said.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&said.stderr).trim().to_owned()));
    }
    Ok(parse(&String::from_utf8_lossy(&said.stdout)))
}

fn parse(text: &str) -> Libraries {
    let mut libraries = Libraries::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [name, "=>", path, ..] if path.starts_with('/') => {
                libraries.named.push((name.to_owned(), path.into()));
            }
            [path, ..] if path.starts_with('/') => libraries.loader = Some(path.into()),
            _ => {} // The kernel's own, which is no file.
        }
    }
    libraries
}

fn copy(source: &Path, target: &Path) -> io::Result<()> {
    fs::copy(source, target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_list_is_understood() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = parse(text);
        assert_eq!(found.loader, Some("/lib64/ld-linux-x86-64.so.2".into()));
        let names: Vec<&str> = found.named.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["libgcc_s.so.1", "libc.so.6"]);
        assert_eq!(parse(""), Libraries::default());
    }
}
