//! The manager's certificate authority: made once, kept in a directory, and what it signs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};

use crate::fingerprint::Fingerprint;
use crate::machine::Term;
use crate::request::ProvenKey;
use crate::{IdentityError, MANAGER_NAME, files, provider, verifier};

/// For how long a machine's certificate is good, unless an operator has set something else.
pub const MACHINE_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// For how long the dashboard's certificate is good: browsers turn down more than 825 days. It is
/// made anew at each start.
const DASHBOARD_LIFE: Duration = Duration::from_secs(800 * 86_400);

/// For how long the authority is good.
const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);

/// By how much a certificate is good before it was made: for clocks that are set back a little.
const BACKDATED_AT_MOST: Duration = Duration::from_secs(3600);

/// 2000-01-01: see [`crate::verifier`].
const EARLIEST: Duration = Duration::from_secs(946_684_800);

/// 9999-12-31 23:59:59, "without an end" (RFC 5280). Also the last that can be written.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

/// The subject of every authority: the name of the issuer in what it signs.
const AUTHORITY_NAME: &str = "CampusGrid manager";

/// What a machine is let in by, until it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// X.509, DER.
    pub der: Vec<u8>,
    /// What the machine is known by: [`crate::machine::key_hash`].
    pub key_hash: [u8; 32],
    pub until: SystemTime,
}

/// A certificate for the dashboard, with its authority's behind it, and its key.
#[derive(Debug)]
pub struct DashboardCertificate {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub until: SystemTime,
}

/// Signs for who joins. Whoever has its key can pass for the manager and for every machine.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.fingerprint()) // A secret never reaches a log.
    }
}

impl Authority {
    /// Reads the authority in `ca.key` and `ca.pem` of a directory; makes one, good from `now` on, if
    /// there is no such directory.
    ///
    /// # Errors
    ///
    /// `Read`, `Write`, `KeyReadable`, `Incomplete`, `Mismatch`, `Key`, `Pem`; nothing of what is there
    /// is changed.
    pub fn load_or_make(dir: &Path, now: SystemTime) -> Result<Self, IdentityError> {
        let authority = match files::read(dir)? {
            Some(pair) => Self::of(pair.key, pair.certificate),
            None => {
                let (key, certificate) = make(now)?;
                files::write(dir, &key, &certificate.pem())?;
                Self::of(key, certificate.into())
            }
        };
        if !authority.is_whole() {
            return Err(IdentityError::Mismatch { dir: dir.to_owned() });
        }
        Ok(authority)
    }

    fn of(key: KeyPair, certificate: CertificateDer<'static>) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(AUTHORITY_NAME);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Whether what the key signs is good under the certificate.
    fn is_whole(&self) -> bool {
        let manager = self.manager_certificate();
        manager.is_ok_and(|manager| verifier::is_signed_by(&manager.chain[0], &self.certificate))
    }

    /// What workers know this manager by.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// The authority's certificate, for people to import in their browsers: X.509, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// For the worker port: TLS 1.3 only, nothing kept for a next time. Who shows a certificate must
    /// show one of this authority's that is good at the time of `clock`; who shows none is let in as
    /// nobody.
    ///
    /// # Errors
    ///
    /// `Sign` and `Tls`.
    pub fn server_config(
        &self,
        clock: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Result<Arc<ServerConfig>, IdentityError> {
        let provider = provider();
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(IdentityError::Tls)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .expect("there is a root");
        let ManagerCertificate { chain, key } = self.manager_certificate()?;
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(Time(clock)))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(IdentityError::Tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(IdentityError::Tls)?;
        // Who has been removed must not come back on what an earlier connection has proved.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// A fresh one: its key is never written anywhere. It has no end, since the clocks of laptops go
    /// wrong, and it is worth no more than the authority's key, which lies beside it in memory.
    fn manager_certificate(&self) -> Result<ManagerCertificate, IdentityError> {
        let always = Term {
            from: SystemTime::UNIX_EPOCH + EARLIEST,
            until: SystemTime::UNIX_EPOCH + LATEST,
        };
        let mut params = params(AUTHORITY_NAME, always)?;
        let name = MANAGER_NAME.try_into().expect("it is in ASCII");
        params.subject_alt_names = vec![SanType::DnsName(name)];
        let (certificate, key) = self.sign_server(params)?;
        Ok(ManagerCertificate { chain: vec![certificate, self.certificate.clone()], key })
    }

    /// For the dashboard under these host names and addresses.
    ///
    /// # Errors
    ///
    /// `Name` and `Sign`.
    pub fn dashboard_certificate(
        &self,
        names: &[String],
        now: SystemTime,
    ) -> Result<DashboardCertificate, IdentityError> {
        let mut params = params("CampusGrid dashboard", from_now(now, DASHBOARD_LIFE))?;
        params.subject_alt_names =
            names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
        let (certificate, key) = self.sign_server(params)?;
        let chain = vec![certificate, self.certificate.clone()];
        Ok(DashboardCertificate { chain, key, until: now + DASHBOARD_LIFE })
    }

    fn sign_server(
        &self,
        mut params: CertificateParams,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), IdentityError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Key)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(IdentityError::Sign)?;
        Ok((certificate.into(), PrivateKeyDer::Pkcs8(key.serialize_der().into())))
    }

    /// Lets a machine in from `now` on, under a name that has been checked: of its request, only the
    /// key counts.
    ///
    /// # Errors
    ///
    /// `Sign`.
    pub fn issue(
        &self,
        key: &ProvenKey,
        name: &str,
        now: SystemTime,
        life: Duration,
    ) -> Result<IssuedCertificate, IdentityError> {
        let mut params = params(name, from_now(now, life))?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(key, &self.issuer).map_err(IdentityError::Sign)?;
        let der = certificate.der().to_vec();
        Ok(IssuedCertificate { der, key_hash: key.hash(), until: now + life })
    }
}

fn make(now: SystemTime) -> Result<(KeyPair, Certificate), IdentityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Key)?;
    let mut params = params(AUTHORITY_NAME, from_now(now, AUTHORITY_LIFE))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(IdentityError::Sign)?;
    Ok((key, certificate))
}

struct ManagerCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// A host name or an address that a certificate is for. None for the worker port: a dashboard's key may
/// lie in more places than the manager's.
fn alternative(name: &str) -> Result<SanType, IdentityError> {
    let bad = || IdentityError::Name { name: name.to_owned() };
    if name.eq_ignore_ascii_case(MANAGER_NAME) {
        return Err(bad());
    }
    if let Ok(address) = name.parse() {
        return Ok(SanType::IpAddress(address));
    }
    // What is no host name to the library that checks it would fail only in browsers.
    DnsName::try_from(name).map_err(|_| bad())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| bad())?))
}

/// What all certificates have in common.
fn params(subject: &str, term: Term) -> Result<CertificateParams, IdentityError> {
    let epoch = date_time_ymd(1970, 1, 1);
    let since_epoch = |moment: SystemTime| {
        moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(LATEST)
    };
    let mut params = CertificateParams::default();
    params.not_before = epoch + since_epoch(term.from);
    params.not_after = epoch + since_epoch(term.until);
    params.distinguished_name = name(subject);
    params.serial_number = Some(serial_number()?);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Good for `life` from `now` on, and for a little while before: clocks are set back at times.
fn from_now(now: SystemTime, life: Duration) -> Term {
    Term { from: now - BACKDATED_AT_MOST.min(life / 10), until: now + life }
}

fn name(subject: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, subject);
    name
}

/// Random: 127 bits, since it must be positive.
fn serial_number() -> Result<SerialNumber, IdentityError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(IdentityError::Randomness)?;
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}

/// The grid's clock: certificates are made and judged by the same one.
struct Time<F>(F);

impl<F> fmt::Debug for Time<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl<F: Fn() -> SystemTime + Send + Sync> TimeProvider for Time<F> {
    fn current_time(&self) -> Option<UnixTime> {
        let since = (self.0)().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

#[cfg(test)]
mod tests;
