//! Which certificates are believed: those that the system knows, or those of one manager's own
//! authority, which was seen and trusted once.

pub mod look;

use std::sync::Arc;

use rustls::CertificateError;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Where systems keep the authorities that they know: Debian and Ubuntu, Fedora, openSUSE, Alpine.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Who vouches for a manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Whoever the system knows, or the file in `SSL_CERT_FILE`.
    System,
    /// This authority alone. X.509, DER.
    Authority(Vec<u8>),
}

impl Trust {
    pub(super) fn tls_config(&self) -> TlsConfig {
        let roots = match self {
            Self::System => system_roots(),
            Self::Authority(der) => vec![Certificate::from_der(der).to_owned()],
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(provider)
            .build()
    }
}

/// Without any, nobody is believed, and the error says so.
fn system_roots() -> Vec<Certificate<'static>> {
    let named = std::env::var("SSL_CERT_FILE").ok();
    let paths = named.as_deref().map_or(&BUNDLES[..], |_| &[]).iter().copied();
    let text = named.as_deref().into_iter().chain(paths).find_map(|path| std::fs::read(path).ok());
    let text = text.unwrap_or_default();
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        Ok(_) | Err(_) => None,
    };
    parse_pem(&text).filter_map(certificate).collect()
}

/// Whether a connection failed because nobody who is believed vouches for the certificate.
pub(super) fn is_unknown(error: &ureq::Error) -> bool {
    let rustls = if let ureq::Error::Rustls(error) = error {
        Some(error)
    } else if let ureq::Error::Io(error) = error {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    } else {
        None
    };
    matches!(
        rustls,
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature
        ))
    )
}
