//! Who is who on the worker port: the manager's certificate authority, the workers' keys and
//! certificates, and the tokens to join by. It opens no sockets and reads no clock.

pub mod authority;
mod der;
mod files;
pub mod fingerprint;
pub mod machine;
pub mod request;
pub mod token;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The name that the manager's certificate carries, wherever it runs: workers know it by its
/// fingerprint, so that addresses may change.
pub const MANAGER_NAME: &str = "manager.campusgrid";

/// Why an identity could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error(
        "{} may be read by others (mode {mode:o}): whoever has read it can pass for this manager; \
         if nobody has, chmod 600 it", path.display()
    )]
    KeyReadable { path: PathBuf, mode: u32 },
    #[error(
        "{} is there without {}: bring it back from a backup, or remove the directory for a new \
         authority, which every worker then has to join anew", there.display(), missing.display()
    )]
    Incomplete { there: PathBuf, missing: PathBuf },
    #[error("the key and the certificate in {} do not belong together", dir.display())]
    Mismatch { dir: PathBuf },
    #[error("this is no key of ours (ECDSA P-256, PKCS #8, PEM)")]
    Key(#[source] rcgen::Error),
    #[error("{} is no certificate in PEM", path.display())]
    Pem { path: PathBuf },
    #[error("this is no certificate")]
    Certificate,
    #[error("this is no request for a certificate: {what}")]
    Request { what: &'static str },
    #[error("the request for a certificate is not signed with its own key")]
    RequestSignature,
    #[error("{name:?} is no host name or address that a certificate can be for")]
    Name { name: String },
    #[error("the system has no randomness to give")]
    Randomness(#[source] getrandom::Error),
    #[error("failed to sign a certificate")]
    Sign(#[source] rcgen::Error),
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
}

/// The one provider of cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
