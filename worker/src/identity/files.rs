//! The files of an identity, each replaced whole.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::machine::MachineKey;
use campusgrid_identity::token::JoinToken;
use campusgrid_protocol::message::CERTIFICATE_MAX_BYTES;

use crate::disk::{make_private, remove_if_there, write_private};
use crate::error::WorkerError;

const DIRECTORY: &str = "identity";

/// What workers before protocol 3 were known by.
const OLD_KEY: &str = "key";

/// Beneath a worker's data. All calls block on the disk.
#[derive(Debug, Clone)]
pub(super) struct Files {
    dir: PathBuf,
}

/// Puts a token where the next start of a worker finds it.
///
/// # Errors
///
/// `MakeDirectory`, `WriteIdentity`.
pub fn keep_token(data_dir: &Path, token: &JoinToken) -> Result<PathBuf, WorkerError> {
    let files = Files::open(data_dir)?;
    files.write("token", format!("{token}\n").as_bytes())?;
    Ok(files.path("token"))
}

/// Whether a machine with these data has been let in by a manager.
pub fn has_joined(data_dir: &Path) -> bool {
    data_dir.join(DIRECTORY).join("certificate").exists()
}

/// The manager that a machine with these data has joined, if that can be read.
pub fn joined_manager(data_dir: &Path) -> Option<Fingerprint> {
    fs::read_to_string(data_dir.join(DIRECTORY).join("manager")).ok()?.trim().parse().ok()
}

/// What [`forget`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// The manager that the machine had joined, if it had joined one.
    Identity {
        manager: Option<String>,
    },
    Nothing,
}

/// Removes the identity beneath `data_dir`; the lock on that must be held. Results stay in the spool.
///
/// # Errors
///
/// `WriteIdentity`.
pub fn forget(data_dir: &Path) -> Result<Forgotten, WorkerError> {
    let files = Files { dir: data_dir.join(DIRECTORY) };
    let manager = fs::read_to_string(files.path("manager")).ok();
    let failed = |source| WorkerError::WriteIdentity { path: files.dir.clone(), source };
    // First what says that it has joined: a half-removed identity must not look damaged.
    remove_if_there(&files.path("certificate")).map_err(failed)?;
    match fs::remove_dir_all(&files.dir) {
        Ok(()) => {
            let manager = manager.map(|manager| manager.trim().to_owned());
            Ok(Forgotten::Identity { manager })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Forgotten::Nothing),
        Err(source) => Err(failed(source)),
    }
}

impl Files {
    /// Makes the directory private, and removes what workers were known by before.
    pub(super) fn open(data_dir: &Path) -> Result<Self, WorkerError> {
        let dir = data_dir.join(DIRECTORY);
        make_private(&dir)
            .map_err(|source| WorkerError::MakeDirectory { path: dir.clone(), source })?;
        let old = data_dir.join(OLD_KEY);
        remove_if_there(&old).map_err(|source| WorkerError::WriteIdentity { path: old, source })?;
        Ok(Self { dir })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The key, made if there is none.
    pub(super) fn key(&self) -> Result<MachineKey, WorkerError> {
        let made = |source| WorkerError::MakeKey { source };
        let Some(pem) = self.read_text("key.pem")? else {
            let key = MachineKey::make().map_err(made)?;
            self.write("key.pem", key.to_pem().as_bytes())?;
            return Ok(key);
        };
        let path = self.path("key.pem");
        // Copied there by hand, perhaps; the directory has kept others from it.
        fs::set_permissions(&path, Permissions::from_mode(0o600))
            .map_err(|source| WorkerError::ReadIdentity { path, source })?;
        MachineKey::from_pem(&pem).map_err(|_| self.damaged("key.pem is no key"))
    }

    pub(super) fn manager(&self) -> Result<Option<Fingerprint>, WorkerError> {
        let text = self.read_text("manager")?;
        let parsed = text.map(|text| text.trim().parse());
        parsed.transpose().map_err(|_| self.damaged("manager is no fingerprint"))
    }

    pub(super) fn certificate(&self) -> Result<Option<Vec<u8>>, WorkerError> {
        let certificate = self.read("certificate")?;
        if certificate.as_ref().is_some_and(|der| der.len() > CERTIFICATE_MAX_BYTES) {
            return Err(self.damaged("certificate is too long"));
        }
        Ok(certificate)
    }

    pub(super) fn token(&self) -> Result<Option<JoinToken>, WorkerError> {
        let text = self.read_text("token")?;
        text.map(|text| text.parse()).transpose().map_err(|_| self.damaged("token is no token"))
    }

    pub(super) fn spent(&self) -> Result<Option<String>, WorkerError> {
        Ok(self.read_text("spent")?.map(|text| text.trim().to_owned()))
    }

    /// Keeps who has let this machine in and by which certificate, and that a token is spent.
    ///
    /// The token goes last: after a crash before that it is offered and refused once more, and the
    /// certificate is there to go on with.
    pub(super) fn keep(
        &self,
        manager: Fingerprint,
        certificate: &[u8],
        spent: Option<String>,
    ) -> Result<(), WorkerError> {
        self.write("manager", format!("{manager}\n").as_bytes())?;
        self.write("certificate", certificate)?;
        if let Some(spent) = spent {
            self.write("spent", format!("{spent}\n").as_bytes())?;
            self.drop_token()?;
        }
        Ok(())
    }

    pub(super) fn drop_token(&self) -> Result<(), WorkerError> {
        let path = self.path("token");
        remove_if_there(&path).map_err(|source| WorkerError::WriteIdentity { path, source })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), WorkerError> {
        let path = self.path(name);
        write_private(&path, content).map_err(|source| WorkerError::WriteIdentity { path, source })
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, WorkerError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(WorkerError::ReadIdentity { path, source }),
        }
    }

    fn read_text(&self, name: &str) -> Result<Option<String>, WorkerError> {
        let text = self.read(name)?.map(String::from_utf8).transpose();
        text.map_err(|_| self.damaged("a file is no text"))
    }

    fn damaged(&self, what: &'static str) -> WorkerError {
        WorkerError::DamagedIdentity { dir: self.dir.clone(), what }
    }
}
