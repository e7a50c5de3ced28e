//! Finds the files that a job brings: single ones, and all that lie in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use campusgrid_protocol::input::INPUTS_MAX;
use campusgrid_protocol::text::check_path;

use crate::error::CliError;

/// A file on this machine that is to come with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Where the task finds it.
    pub path: String,
    pub local: PathBuf,
    pub size_bytes: u64,
    pub executable: bool,
}

/// All files of a job, by where the task finds them.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    files: BTreeMap<String, LocalFile>,
    /// What lies in the folders and does not come along, with the reason.
    pub left_out: Vec<String>,
}

impl Gathered {
    pub fn into_files(self) -> Vec<LocalFile> {
        self.files.into_values().collect()
    }

    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Adds what `SRC[:DEST]` names, and yields where the task finds it.
    ///
    /// # Errors
    ///
    /// `Usage`, `Read`.
    pub fn add(&mut self, text: &str) -> Result<String, CliError> {
        let (source, dest) = parted(text);
        let found = fs::metadata(&source).map_err(|error| read(&source, error))?;
        let dest = match dest {
            Some(dest) => dest.trim_end_matches('/').to_owned(),
            None => own_dest(&source),
        };
        if found.is_dir() {
            self.add_folder(&source, &dest)?;
        } else {
            let dest = if text.ends_with('/') { joined(&dest, &name_of(&source)) } else { dest };
            self.add_file(&source, &dest)?;
            return Ok(dest);
        }
        Ok(dest)
    }

    fn add_folder(&mut self, folder: &Path, dest: &str) -> Result<(), CliError> {
        let entries = fs::read_dir(folder).map_err(|error| read(folder, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| read(folder, error))?;
            let path = entry.path();
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                self.left_out.push(format!("{}: its name is no text", path.display()));
                continue;
            };
            let kind = entry.file_type().map_err(|error| read(&path, error))?;
            let leads_to = fs::metadata(&path).ok();
            let dest = joined(dest, name);
            if kind.is_dir() {
                self.add_folder(&path, &dest)?;
            } else if leads_to.as_ref().is_some_and(fs::Metadata::is_file) {
                self.add_file(&path, &dest)?;
            } else if kind.is_symlink() {
                // Links to folders may lead round in circles, and out of what was named.
                let what = "it is a link to a folder, or to nothing";
                self.left_out.push(format!("{}: {what}", path.display()));
            } else {
                self.left_out.push(format!("{}: it is no file", path.display()));
            }
        }
        Ok(())
    }

    fn add_file(&mut self, local: &Path, path: &str) -> Result<(), CliError> {
        check_path(path).map_err(|error| {
            CliError::Usage(format!(
                "{}: as a path for the task, {path:?} {error}",
                local.display()
            ))
        })?;
        let found = fs::metadata(local).map_err(|error| read(local, error))?;
        if !found.is_file() {
            return Err(CliError::Usage(format!("{} is no file and no folder", local.display())));
        }
        let file = LocalFile {
            path: path.to_owned(),
            local: local.to_owned(),
            size_bytes: found.len(),
            executable: found.permissions().mode() & 0o111 != 0,
        };
        let before = self.files.insert(path.to_owned(), file);
        if let Some(before) = before.filter(|before| before.local != *local) {
            let (one, other) = (before.local.display(), local.display());
            return Err(CliError::Usage(format!(
                "{one} and {other} would both be {path:?} for the task; name one of them with \
                 --file SRC:DEST"
            )));
        }
        if self.files.len() > INPUTS_MAX {
            return Err(CliError::Usage(format!(
                "more than {INPUTS_MAX} files: pack them, and use --archive"
            )));
        }
        Ok(())
    }
}

/// Parts `SRC:DEST`; a colon in a name that is there belongs to it.
pub fn parted(text: &str) -> (PathBuf, Option<&str>) {
    match text.rsplit_once(':') {
        Some((source, dest)) if !Path::new(text).exists() => (source.into(), Some(dest)),
        Some(_) | None => (text.into(), None),
    }
}

/// Where the task finds what is named without a destination: at the same place, if that is below the
/// working directory, so that a program finds it as it does here; by its name alone otherwise.
pub fn own_dest(source: &Path) -> String {
    let is_below = source.components().all(|part| match part {
        Component::Normal(_) | Component::CurDir => true,
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => false,
    });
    if !is_below {
        return name_of(source);
    }
    let normal = |part| if let Component::Normal(name) = part { name.to_str() } else { None };
    source.components().filter_map(normal).collect::<Vec<_>>().join("/")
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    // `..` has no name of its own, but a place that has one.
    name.or_else(|| Some(path.canonicalize().ok()?.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_default()
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() || folder == "." { name.to_owned() } else { format!("{folder}/{name}") }
}

fn read(path: &Path, source: std::io::Error) -> CliError {
    CliError::Read { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::{Gathered, own_dest};

    fn paths(gathered: &Gathered) -> Vec<&str> {
        gathered.files.keys().map(String::as_str).collect()
    }

    #[test]
    fn files_keep_their_places_below_the_working_directory() {
        for (source, dest) in [
            ("a.csv", "a.csv"),
            ("./data/a.csv", "data/a.csv"),
            ("data/", "data"),
            ("/etc/hostname", "hostname"),
            ("../a.csv", "a.csv"),
            (".", ""),
        ] {
            assert_eq!(own_dest(Path::new(source)), dest, "{source}");
        }
    }

    #[test]
    fn folders_are_walked_and_links_to_folders_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("in");
        fs::create_dir_all(root.join("deep/er")).unwrap();
        fs::write(root.join("a"), "a").unwrap();
        fs::write(root.join("deep/er/b:c"), "b").unwrap();
        symlink(root.join("a"), root.join("link")).unwrap();
        symlink(&root, root.join("round")).unwrap();
        symlink("nowhere", root.join("broken")).unwrap();
        let mut gathered = Gathered::default();
        gathered.add(root.to_str().unwrap()).unwrap();
        assert_eq!(paths(&gathered), ["in/a", "in/deep/er/b:c", "in/link"]);
        assert_eq!(gathered.left_out.len(), 2);
        let mut renamed = Gathered::default();
        renamed.add(&format!("{}:", root.display())).unwrap();
        renamed.add(&format!("{}:x/", root.join("a").display())).unwrap();
        renamed.add(root.join("deep/er/b:c").to_str().unwrap()).unwrap();
        assert_eq!(paths(&renamed), ["a", "b:c", "deep/er/b:c", "link", "x/a"]);
        assert!(renamed.add(&format!("{}:a", root.join("deep/er/b:c").display())).is_err());
    }

    #[test]
    fn what_no_task_could_have_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "a").unwrap();
        for dest in ["../a", "/a", "a//b", "a\\b"] {
            assert!(Gathered::default().add(&format!("{}:{dest}", file.display())).is_err());
        }
        assert!(Gathered::default().add("nowhere").is_err());
    }
}
