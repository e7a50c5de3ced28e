//! Looks at whose certificate a manager shows, before anything is sent that only the right one may see.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use campusgrid_identity::fingerprint::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use crate::client::address::Server;
use crate::error::CliError;

/// To show a certificate.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// The authority that vouches for a manager which has made it itself.
#[derive(Debug, Clone)]
pub struct Seen {
    /// X.509, DER.
    pub authority: Vec<u8>,
    pub fingerprint: Fingerprint,
}

/// Looks at the last certificate of the chain that a manager shows, and sends nothing. Whether that
/// authority has signed the others is for the connections that are made once it is trusted.
///
/// # Errors
///
/// `SeeCertificate`.
pub fn look(server: &Server) -> Result<Seen, CliError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| CliError::SeeCertificate {
        server: server.to_string(),
        source,
    };
    let config = Looker::config().map_err(|error| failed(error.into()))?;
    let name = ServerName::try_from(server.host().to_owned()).map_err(|it| failed(it.into()))?;
    let mut connection =
        ClientConnection::new(Arc::new(config), name).map_err(|it| failed(it.into()))?;
    let mut socket =
        TcpStream::connect((server.host(), server.port())).map_err(|it| failed(it.into()))?;
    let limited = socket
        .set_read_timeout(Some(LOOK_LIMIT))
        .and_then(|()| socket.set_write_timeout(Some(LOOK_LIMIT)));
    limited.map_err(|error| failed(error.into()))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(|it| failed(it.into()))?;
    }
    let chain: &[CertificateDer<'_>] = connection.peer_certificates().unwrap_or_default();
    let authority = chain.last().ok_or_else(|| failed("it shows none".into()))?;
    Ok(Seen { authority: authority.to_vec(), fingerprint: Fingerprint::of(authority) })
}

/// Believes every certificate, as long as whoever shows it has its key.
#[derive(Debug)]
struct Looker(Arc<CryptoProvider>);

impl Looker {
    fn config() -> Result<ClientConfig, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(rustls::ALL_VERSIONS)?;
        let looker = Arc::new(Self(provider));
        let dangerous = builder.dangerous();
        Ok(dangerous.with_custom_certificate_verifier(looker).with_no_client_auth())
    }
}

impl ServerCertVerifier for Looker {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
