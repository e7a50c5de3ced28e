//! A machine's side: its key, its certificate, and how it makes sure of the manager.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{AlertDescription, CertificateError, ClientConfig};

use crate::der::{CONTEXT_0, GENERALIZED_TIME, INTEGER, Reader, SEQUENCE, UTC_TIME};
use crate::fingerprint::Fingerprint;
use crate::verifier::Verifier;
use crate::{IdentityError, MANAGER_NAME, provider};

/// What a machine is known by, for as long as it keeps its key: ECDSA P-256.
pub struct MachineKey {
    pair: KeyPair,
}

impl fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MachineKey(…)") // A secret never reaches a log.
    }
}

impl MachineKey {
    /// A fresh one.
    ///
    /// # Errors
    ///
    /// `Key`, if the system has no randomness to give.
    pub fn make() -> Result<Self, IdentityError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Key)?;
        Ok(Self { pair })
    }

    /// Reads what [`Self::to_pem`] has written.
    ///
    /// # Errors
    ///
    /// `Key`.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(pem, &PKCS_ECDSA_P256_SHA256)
            .map_err(IdentityError::Key)?;
        Ok(Self { pair })
    }

    /// PKCS #8, PEM: for a file that nobody else may read.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// A request for a certificate (PKCS #10, DER). The name is for whoever reads it on the way.
    ///
    /// # Errors
    ///
    /// `Sign`.
    pub fn request(&self, name: &str) -> Result<Vec<u8>, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let request = params.serialize_request(&self.pair).map_err(IdentityError::Sign)?;
        Ok(request.der().to_vec())
    }

    /// What [`key_hash`] yields for every certificate of this key.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.pair.subject_public_key_info()).as_bytes()
    }
}

/// What the holder of a certificate (X.509, DER) is known by: BLAKE3 of its public key
/// (SubjectPublicKeyInfo, DER). A renewed certificate for the same key has the same.
///
/// # Errors
///
/// `Certificate`.
pub fn key_hash(certificate: &[u8]) -> Result<[u8; 32], IdentityError> {
    let certificate = CertificateDer::from(certificate);
    let parsed =
        ParsedCertificate::try_from(&certificate).map_err(|_| IdentityError::Certificate)?;
    Ok(*blake3::hash(&parsed.subject_public_key_info()).as_bytes())
}

/// From when until when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    pub from: SystemTime,
    pub until: SystemTime,
}

impl Term {
    /// That of a certificate (X.509, DER).
    ///
    /// # Errors
    ///
    /// `Certificate`.
    pub fn of(certificate: &[u8]) -> Result<Self, IdentityError> {
        term(certificate).ok_or(IdentityError::Certificate)
    }

    /// When to ask for the next one: two thirds of it are over.
    pub fn renew_at(&self) -> SystemTime {
        self.from + self.until.duration_since(self.from).unwrap_or_default() * 2 / 3
    }
}

fn term(certificate: &[u8]) -> Option<Term> {
    let mut body = Reader::new(Reader::new(certificate).expect(SEQUENCE)?.content);
    let mut body = Reader::new(body.expect(SEQUENCE)?.content);
    body.expect(CONTEXT_0)?; // Version,
    body.expect(INTEGER)?; // serial number,
    body.expect(SEQUENCE)?; // signature,
    body.expect(SEQUENCE)?; // issuer.
    let mut dates = Reader::new(body.expect(SEQUENCE)?.content);
    let mut date = || {
        let value = dates.next()?;
        let (year_digits, century) = match (value.tag, value.content) {
            // RFC 5280: two digits from 50 on belong to the century before.
            (UTC_TIME, [b'5'..=b'9', ..]) => (2, 1900),
            (UTC_TIME, _) => (2, 2000),
            (GENERALIZED_TIME, _) => (4, 0),
            (_, _) => return None,
        };
        moment(value.content, year_digits, century)
    };
    Some(Term { from: date()?, until: date()? })
}

/// `[YY]YYMMDDHHMMSSZ`.
fn moment(text: &[u8], year_digits: usize, century: u64) -> Option<SystemTime> {
    let digits = std::str::from_utf8(text.strip_suffix(b"Z")?).ok()?;
    if digits.len() != year_digits + 10 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits[from..to].parse::<u64>().ok();
    let year = century + number(0, year_digits)?;
    let at = |place: usize| number(year_digits + 2 * place, year_digits + 2 * place + 2);
    let (month, day, hour, minute, second) = (at(0)?, at(1)?, at(2)?, at(3)?, at(4)?);
    let in_range = (1970..).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970-01-01 in the calendar of Gregory, counting years from March, so that the day
    // that some years have more is the last: "chrono-Compatible Low-Level Date Algorithms", Hinnant.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let seconds = (days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// How a machine knows its manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// By its fingerprint, checked before anything is sent.
    Pinned(Fingerprint),
    /// Not yet: whoever answers is believed, and what [`Fingerprint::of_chain`] yields of it is to be
    /// shown, kept and pinned from then on.
    FirstUse,
}

/// Who a machine is: a certificate (X.509, DER), and the key that it is for.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    pub certificate: &'a [u8],
    pub key: &'a MachineKey,
}

/// How to dial the manager: TLS 1.3 only, under [`server_name`], nothing kept for a next time.
///
/// The dates of the manager's certificate are not looked at, since the clocks of laptops go wrong: it
/// is good because the pinned authority has signed it.
///
/// # Errors
///
/// `Tls`, if the certificate is not for this key.
pub fn client_config(
    trust: Trust,
    identity: Option<Identity<'_>>,
) -> Result<Arc<ClientConfig>, IdentityError> {
    let provider = provider();
    let verifier = Arc::new(Verifier::new(trust, provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(IdentityError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let chain = vec![CertificateDer::from(certificate.to_vec())];
            let key = PrivateKeyDer::Pkcs8(key.pair.serialize_der().into());
            builder.with_client_auth_cert(chain, key).map_err(IdentityError::Tls)?
        }
    };
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name to dial the manager under, whatever its address.
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from(MANAGER_NAME).expect("it is a host name")
}

/// Somebody else answered than who was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the manager's fingerprint is {}, not {} as before: either it was set up anew, or \
     somebody else answers in its place", seen.grouped(), expected.grouped()
)]
pub struct WrongFingerprint {
    pub expected: Fingerprint,
    pub seen: Fingerprint,
}

/// Whether this is why a handshake failed.
pub fn wrong_fingerprint(error: &(dyn Error + 'static)) -> Option<WrongFingerprint> {
    let error = tls_error(error)?;
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        return None;
    };
    other.0.downcast_ref().copied()
}

/// Whether the manager has turned this machine's certificate down: it is out of date, or of another
/// authority. Comes with the first read after the handshake, since TLS 1.3 ends it here first.
pub fn is_certificate_refused(error: &(dyn Error + 'static)) -> bool {
    matches!(
        tls_error(error),
        Some(rustls::Error::AlertReceived(
            AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRevoked
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError
        ))
    )
}

/// The library's error in a chain of causes: what reads a stream wraps it in an [`std::io::Error`].
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
