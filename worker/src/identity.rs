//! Who this machine is: its key, its certificate and the manager that it has joined, on disk.
//!
//! ```text
//! identity/               for this user alone
//! identity/key.pem        the machine's key: made here, never leaves
//! identity/manager        the fingerprint of the manager that it has joined
//! identity/certificate    what that manager has given it: X.509, DER
//! identity/token          a token to join by that waits to be used
//! identity/spent          the token that it has joined by last, without its secret
//! ```

mod files;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::machine::{
    self, MachineKey, Term, Trust, WrongFingerprint, client_config, key_hash,
};
use campusgrid_identity::token::JoinToken;
use campusgrid_protocol::message::{CERTIFICATE_MAX_BYTES, Proof};
use rustls::ClientConfig;
use tracing::warn;

use self::files::Files;
use crate::error::WorkerError;

pub use self::files::{Forgotten, forget, has_joined, joined_manager, keep_token};

/// This machine's identity. The directory's lock keeps other workers from it.
#[derive(Debug)]
pub(crate) struct Identity {
    files: Files,
    key: MachineKey,
    /// Of whom the certificate is, or who answered first in this process.
    manager: Option<Fingerprint>,
    certificate: Option<Vec<u8>>,
    /// To be joined by before anything else.
    token: Option<JoinToken>,
}

impl Identity {
    /// Reads `data_dir/identity`; makes a key if there is none.
    ///
    /// `given` is a token that the owner has given for this start; else one that waits here is used.
    /// A token that this machine has joined by already counts as none.
    ///
    /// # Errors
    ///
    /// `ReadIdentity`, `DamagedIdentity`, `WriteIdentity`, `MakeKey`.
    pub(crate) fn open(data_dir: &Path, given: Option<JoinToken>) -> Result<Self, WorkerError> {
        let files = Files::open(data_dir)?;
        let key = files.key()?;
        let (manager, certificate) = (files.manager()?, files.certificate()?);
        if let Some(certificate) = &certificate {
            let is_ours = key_hash(certificate).is_ok_and(|hash| hash == key.hash());
            if !is_ours || manager.is_none() || Term::of(certificate).is_err() {
                let what = "the certificate is not for this key, or not whole";
                return Err(WorkerError::DamagedIdentity { dir: files.dir().to_owned(), what });
            }
        }
        let token = match given {
            Some(token) => Some(token),
            None => files.token()?,
        };
        let spent = files.spent()?;
        let token = token.filter(|token| spent.as_deref() != Some(name(token).as_str()));
        Ok(Self { files, key, manager, certificate, token })
    }

    /// A token of another manager than the one that this machine has joined; it is then forgotten.
    pub(crate) async fn take_foreign_token(&mut self) -> Option<WrongFingerprint> {
        let (token, expected) = (self.token?, self.manager?);
        if token.fingerprint == expected {
            return None;
        }
        self.drop_token().await;
        Some(WrongFingerprint { expected, seen: token.fingerprint })
    }

    /// Whether this machine has yet to be let in, or is to be let in anew.
    pub(crate) fn must_enrol(&self) -> bool {
        self.certificate.is_none() || self.token.is_some()
    }

    /// Why it should be let in; `owner` is who is said to be asked.
    pub(crate) fn proof(&self, owner: Option<&str>) -> Proof {
        match self.token {
            Some(JoinToken { id, secret, .. }) => Proof::Token { id, secret },
            None => Proof::Code { owner: owner.map(str::to_owned) },
        }
    }

    /// How to dial a manager to be let in, without a certificate.
    ///
    /// # Errors
    ///
    /// `Tls`.
    pub(crate) fn as_stranger(&self) -> Result<Arc<ClientConfig>, WorkerError> {
        client_config(self.trust(), None).map_err(|source| WorkerError::Tls { source })
    }

    /// How to dial the manager as this machine; none without a certificate.
    ///
    /// # Errors
    ///
    /// `Tls`.
    pub(crate) fn as_worker(&self) -> Result<Option<Arc<ClientConfig>>, WorkerError> {
        let Some(certificate) = &self.certificate else { return Ok(None) };
        let identity = machine::Identity { certificate, key: &self.key };
        let config = client_config(self.trust(), Some(identity));
        config.map(Some).map_err(|source| WorkerError::Tls { source })
    }

    fn trust(&self) -> Trust {
        match (self.token, self.manager) {
            (Some(token), _) => Trust::Pinned(token.fingerprint),
            (None, Some(manager)) => Trust::Pinned(manager),
            (None, None) => Trust::FirstUse,
        }
    }

    /// Trusts who has answered first, and nobody else while this process lives. On disk it is kept
    /// once this machine has been let in.
    pub(crate) fn met(&mut self, manager: Fingerprint) {
        self.manager.get_or_insert(manager);
    }

    /// A request for a certificate: PKCS #10, DER.
    ///
    /// # Errors
    ///
    /// `Tls`.
    pub(crate) fn request(&self, name: &str) -> Result<Vec<u8>, WorkerError> {
        self.key.request(name).map_err(|source| WorkerError::Tls { source })
    }

    /// From when until when its certificate is good.
    pub(crate) fn term(&self) -> Option<Term> {
        Term::of(self.certificate.as_deref()?).ok()
    }

    /// Takes the certificate by which `manager` has let it in, or has renewed one.
    ///
    /// What cannot be written is used all the same while this process lives.
    ///
    /// # Errors
    ///
    /// `BadCertificate`; the one before then stays.
    pub(crate) async fn take(
        &mut self,
        manager: Fingerprint,
        certificate: Vec<u8>,
    ) -> Result<(), WorkerError> {
        let is_ours = certificate.len() <= CERTIFICATE_MAX_BYTES
            && Term::of(&certificate).is_ok()
            && key_hash(&certificate).is_ok_and(|hash| hash == self.key.hash());
        if !is_ours {
            return Err(WorkerError::BadCertificate);
        }
        let spent = self.token.take().map(|token| name(&token));
        self.manager = Some(manager);
        self.certificate = Some(certificate.clone());
        let files = self.files.clone();
        let written = tokio::task::spawn_blocking(move || files.keep(manager, &certificate, spent));
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(
                    "this certificate is lost at the next start: {:#}",
                    anyhow::Error::new(error)
                );
            }
            Err(error) => warn!("this certificate is lost at the next start: {error}"),
        }
        Ok(())
    }

    /// Forgets a token that is of no use.
    pub(crate) async fn drop_token(&mut self) {
        self.token = None;
        let files = self.files.clone();
        match tokio::task::spawn_blocking(move || files.drop_token()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("a useless token stays: {:#}", anyhow::Error::new(error)),
            Err(error) => warn!("a useless token stays: {error}"),
        }
    }

    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }
}

/// What tells a token from others without being one.
fn name(token: &JoinToken) -> String {
    format!("{}.{}", token.fingerprint, token.id.0)
}
