//! Knows the manager by the fingerprint of its authority.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, PeerIncompatible, RootCertStore,
    SignatureScheme,
};

use crate::fingerprint::Fingerprint;
use crate::machine::{Trust, WrongFingerprint};
use crate::provider;

/// At which the manager's certificate must be good: it is so from 2000 on, and the clock
/// of a laptop is not asked.
const THEN: Duration = Duration::from_secs(1_000_000_000);

#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(crate) fn new(trust: Trust, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { trust, algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    /// The chain must be a manager's certificate and the authority that has signed it.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let [authority] = intermediates else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let leaf = ParsedCertificate::try_from(end_entity)?;
        check_signature(&leaf, authority, self.algorithms)?;
        verify_server_name(&leaf, server_name)?;
        // Only now: whoever answers in place of every host, as in a café, is no other manager.
        let seen = Fingerprint::of(authority);
        match self.trust {
            Trust::Pinned(expected) if expected != seen => {
                let wrong = OtherError(Arc::new(WrongFingerprint { expected, seen }));
                Err(CertificateError::Other(wrong).into())
            }
            Trust::Pinned(_) | Trust::FirstUse => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn check_signature(
    leaf: &ParsedCertificate<'_>,
    authority: &CertificateDer<'_>,
    algorithms: WebPkiSupportedAlgorithms,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let then = UnixTime::since_unix_epoch(THEN);
    verify_server_cert_signed_by_trust_anchor(leaf, &roots, &[], then, algorithms.all)
}

/// Whether this authority has signed a manager's certificate.
pub(crate) fn is_signed_by(leaf: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> bool {
    let algorithms = provider().signature_verification_algorithms;
    ParsedCertificate::try_from(leaf)
        .is_ok_and(|leaf| check_signature(&leaf, authority, algorithms).is_ok())
}
