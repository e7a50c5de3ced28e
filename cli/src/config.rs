//! What is kept between calls: which manager, who one is there, and whom to trust for it; in a file
//! that only its owner can read.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// Far more than logins at some managers need. Bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// All that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The manager of the last login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// By the manager's address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub logins: BTreeMap<String, Login>,
}

/// Who one is at a manager.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The certificate of the manager's own authority, which was trusted at the first login: X.509, DER,
    /// hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
}

impl Place {
    /// `$XDG_CONFIG_HOME/campusgrid`, or `~/.config/campusgrid`.
    ///
    /// # Errors
    ///
    /// `NoHome`.
    pub fn of_user() -> Result<Self, CliError> {
        // A relative path there is to be ignored, says the XDG base directory specification.
        let set = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let base = set.filter(|path| path.is_absolute()).or_else(|| {
            let home = PathBuf::from(std::env::var_os("HOME")?);
            home.is_absolute().then(|| home.join(".config"))
        });
        Ok(Self { folder: base.ok_or(CliError::NoHome)?.join("campusgrid") })
    }

    #[cfg(test)]
    fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// Reads what is kept; nothing is, as long as there is no such file.
    ///
    /// # Errors
    ///
    /// `Unsafe` where others could have written or read it, `Read`, `Config`.
    pub fn load(&self) -> Result<Config, CliError> {
        let path = self.file();
        let read = |source| CliError::Read { path: path.clone(), source };
        match fs::symlink_metadata(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Config::default()),
            Err(error) => return Err(read(error)),
            Ok(_) => self.check_folder()?,
        }
        let file = match open_itself(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Config::default()),
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => {
                return Err(is_unsafe(&path, "it is a symbolic link; put the file itself there"));
            }
            opened => opened.map_err(read)?,
        };
        let found = file.metadata().map_err(read)?;
        if !found.is_file() {
            return Err(is_unsafe(&path, "it is no file"));
        }
        check_private(&path, &found, "chmod 600")?;
        let mut text = String::new();
        file.take(FILE_MAX_BYTES).read_to_string(&mut text).map_err(read)?;
        toml::from_str(&text).map_err(|error| CliError::Config {
            path: path.clone(),
            what: error.message().to_owned(),
        })
    }

    /// Keeps it, all or nothing.
    ///
    /// # Errors
    ///
    /// `Unsafe`, `Write`; what was kept before is then still there.
    pub fn store(&self, config: &Config) -> Result<(), CliError> {
        let path = self.file();
        let write = |source| CliError::Write { path: path.clone(), source };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        match made {
            // A link that leads nowhere is told as what it is.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.map_err(write)?,
        }
        self.check_folder()?;
        let text = toml::to_string(config).expect("texts in tables are good TOML");
        let new = self.folder.join(format!("config.toml.{}", std::process::id()));
        let put = || -> std::io::Result<()> {
            drop(fs::remove_file(&new)); // Of a process of this number that did not come to its end.
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        put().map_err(|error| {
            drop(fs::remove_file(&new));
            write(error)
        })
    }

    fn check_folder(&self) -> Result<(), CliError> {
        let read = |source| CliError::Read { path: self.folder.clone(), source };
        let found = fs::symlink_metadata(&self.folder).map_err(read)?;
        if !found.is_dir() {
            return Err(is_unsafe(&self.folder, "it is no folder, or a link to one"));
        }
        check_private(&self.folder, &found, "chmod 700")
    }
}

/// Opens a file that is no link, without waiting for anybody at its other end.
fn open_itself(path: &Path) -> std::io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

fn check_private(path: &Path, found: &fs::Metadata, mend: &str) -> Result<(), CliError> {
    if found.uid() != geteuid().as_raw() {
        return Err(is_unsafe(path, "it belongs to somebody else"));
    }
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        let why = format!("others may look into it (mode {mode:o}): {mend} {}", path.display());
        return Err(is_unsafe(path, &why));
    }
    Ok(())
}

fn is_unsafe(path: &Path, why: &str) -> CliError {
    CliError::Unsafe { path: path.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::{Config, Login, Place};
    use crate::error::CliError;

    fn config() -> Config {
        let server = "http://grid.example.edu:5000".to_owned();
        let login = Login {
            user: Some("ada".to_owned()),
            token: Some("cgp_ab".to_owned()),
            authority: None,
        };
        Config { server: Some(server.clone()), logins: [(server, login)].into() }
    }

    fn refuses(place: &Place) -> bool {
        matches!(place.load(), Err(CliError::Unsafe { .. }))
    }

    #[test]
    fn what_is_kept_is_read_back_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::at(&folder.path().join("a/campusgrid"));
        assert_eq!(place.load().unwrap(), Config::default());
        place.store(&config()).unwrap();
        place.store(&config()).unwrap();
        assert_eq!(place.load().unwrap(), config());
        let mode = |path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(place.file()), mode(place.folder.clone())), (0o600, 0o700));
        assert_eq!(fs::read_dir(&place.folder).unwrap().count(), 1);
    }

    #[test]
    fn what_others_could_see_or_make_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::at(&folder.path().join("campusgrid"));
        place.store(&config()).unwrap();
        fs::set_permissions(place.file(), Permissions::from_mode(0o640)).unwrap();
        assert!(refuses(&place));
        fs::set_permissions(place.file(), Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&place.folder, Permissions::from_mode(0o755)).unwrap();
        assert!(refuses(&place) && place.store(&config()).is_err());
        fs::set_permissions(&place.folder, Permissions::from_mode(0o700)).unwrap();
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(place.file(), &elsewhere).unwrap();
        symlink(&elsewhere, place.file()).unwrap();
        assert!(refuses(&place));
        let linked = Place::at(&folder.path().join("linked"));
        symlink(&place.folder, &linked.folder).unwrap();
        assert!(refuses(&linked) && linked.store(&config()).is_err());
    }

    #[test]
    fn a_damaged_file_is_told_and_not_replaced_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::at(&folder.path().join("campusgrid"));
        place.store(&Config::default()).unwrap();
        for text in ["server = 3", "sever = \"x\"", "[logins"] {
            fs::write(place.file(), text).unwrap();
            assert!(matches!(place.load(), Err(CliError::Config { .. })), "{text}");
        }
    }
}
