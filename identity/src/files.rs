//! The authority's directory: both files are there, or neither.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::IdentityError;

const KEY: &str = "ca.key";
const CERTIFICATE: &str = "ca.pem";

/// What a directory holds.
pub(crate) struct Pair {
    pub(crate) key: KeyPair,
    pub(crate) certificate: CertificateDer<'static>,
}

/// What is there; nothing, if neither of the files is.
pub(crate) fn read(dir: &Path) -> Result<Option<Pair>, IdentityError> {
    let (key_path, certificate_path) = (dir.join(KEY), dir.join(CERTIFICATE));
    let (key, certificate) = match (contents(&key_path)?, contents(&certificate_path)?) {
        (None, None) => return Ok(None),
        (Some(key), Some(certificate)) => (key, certificate),
        (Some(_), None) => {
            return Err(IdentityError::Incomplete { there: key_path, missing: certificate_path });
        }
        (None, Some(_)) => {
            return Err(IdentityError::Incomplete { there: certificate_path, missing: key_path });
        }
    };
    let mode = fs::metadata(&key_path).map(|found| found.permissions().mode() & 0o7777);
    let mode = mode.map_err(|source| IdentityError::Read { path: key_path.clone(), source })?;
    if mode & 0o077 != 0 {
        return Err(IdentityError::KeyReadable { path: key_path, mode });
    }
    let key = KeyPair::from_pkcs8_pem_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
        .map_err(IdentityError::Key)?;
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())
        .map_err(|_| IdentityError::Pem { path: certificate_path })?;
    Ok(Some(Pair { key, certificate }))
}

fn contents(path: &Path) -> Result<Option<String>, IdentityError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Read { path: path.to_owned(), source }),
    }
}

/// Makes the directory, with both files in it or not at all, whatever happens meanwhile: they are
/// written beside it and take its name at once.
pub(crate) fn write(dir: &Path, key: &KeyPair, certificate: &str) -> Result<(), IdentityError> {
    let made = make(dir, &key.serialize_pem(), certificate);
    made.map_err(|source| IdentityError::Write { path: dir.to_owned(), source })
}

fn make(dir: &Path, key: &str, certificate: &str) -> io::Result<()> {
    let fresh = beside(dir);
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?; // Of a start that was broken off.
    }
    DirBuilder::new().mode(0o700).create(&fresh)?;
    for (name, text) in [(KEY, key), (CERTIFICATE, certificate)] {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh.join(name))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
    }
    File::open(&fresh)?.sync_all()?;
    // Replaces an empty directory, and no other.
    fs::rename(&fresh, dir)?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn beside(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
