//! The dashboard's encryption: its certificate, where that comes from, and when it is read again.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use campusgrid_identity::IdentityError;
use campusgrid_identity::authority::Authority;
use campusgrid_identity::machine::Term;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Config, Proxies};
use crate::clock::Clock;

/// How often files are looked at for having changed, and an own certificate for its age.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Largest certificate file: chains have a few KiB. Bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// How the dashboard is to be encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSetting {
    Off,
    /// With a certificate of the manager's own authority.
    Own {
        /// Those of this machine, if empty.
        names: Vec<String>,
    },
    /// With a certificate of somebody's whom browsers know; both PEM.
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
}

/// Why the dashboard cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} has {size} bytes, which is no certificate or key", path.display())]
    TooLarge { path: PathBuf, size: u64 },
    #[error("{} has no certificate in PEM (-----BEGIN CERTIFICATE-----)", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} has no key in PEM, or one with a password", path.display())]
    NoKey { path: PathBuf },
    #[error("the key in {} is not that of the first certificate in {}", key.display(), certificate.display())]
    Mismatch { key: PathBuf, certificate: PathBuf, source: rustls::Error },
    #[error("failed to make a certificate for the dashboard")]
    Make(#[source] IdentityError),
    #[error("failed to take the manager's own certificate")]
    Take(#[source] rustls::Error),
    #[error("failed to set up TLS")]
    SetUp(#[source] rustls::Error),
}

/// A setting names a file that is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{setting} cannot be used")]
pub struct BadFile {
    setting: &'static str,
    source: Box<TlsError>,
}

impl TlsSetting {
    /// Reads the files that are named, if any are, so that what is wrong with them is told before anything
    /// is opened.
    ///
    /// # Errors
    ///
    /// The first setting whose file cannot be used.
    pub fn check_files(&self) -> Result<(), BadFile> {
        let Self::Files { certificate, key } = self else { return Ok(()) };
        let of = |setting| move |error| BadFile { setting, source: Box::new(error) };
        read_chain(certificate).map_err(of("dashboard.tls_certificate"))?;
        read_key(key).map_err(of("dashboard.tls_key"))?;
        let provider = rustls::crypto::ring::default_provider();
        read_pair(certificate, key, &provider).map_err(of("dashboard.tls_key")).map(drop)
    }
}

/// A text that is no list of host names and addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no host name and no address")]
pub struct BadName(String);

/// Reads host names and addresses, separated by commas.
///
/// # Errors
///
/// The first that is neither.
pub fn parse_names(text: &str) -> Result<Vec<String>, BadName> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let check = |name: &str| {
        let is_name = name.parse::<IpAddr>().is_ok() || DnsName::try_from(name).is_ok();
        if is_name { Ok(name.to_owned()) } else { Err(BadName(name.chars().take(60).collect())) }
    };
    names.map(check).collect()
}

/// How the dashboard's connections are carried.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    /// Without one, in the clear.
    pub(super) certificates: Option<Certificates>,
    /// Who speaks for many, and so may have many connections.
    pub(super) proxies: Proxies,
}

impl Transport {
    /// Reads or makes the certificate, or warns of doing without one where others can listen.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the certificate.
    pub fn open(
        config: &Config,
        address: SocketAddr,
        authority: &Arc<Authority>,
        clock: Clock,
    ) -> Result<Self, TlsError> {
        let source = match &config.tls {
            TlsSetting::Off => {
                warn_in_the_clear(config, address);
                return Ok(Self { certificates: None, proxies: config.proxies.clone() });
            }
            TlsSetting::Own { names } => {
                let names = if names.is_empty() { own_names() } else { names.clone() };
                Source::Own { authority: Arc::clone(authority), names }
            }
            TlsSetting::Files { certificate, key } => {
                Source::Files { certificate: certificate.clone(), key: key.clone() }
            }
        };
        let certificates = Some(Certificates::new(source, clock)?);
        Ok(Self { certificates, proxies: config.proxies.clone() })
    }
}

/// Passwords are worth more than most of what they protect here.
fn warn_in_the_clear(config: &Config, address: SocketAddr) {
    if !address.ip().to_canonical().is_loopback() && !config.is_secure() {
        tracing::warn!(
            "the dashboard is not encrypted: whoever is on the way can read passwords. Set \
             dashboard.tls = \"own\" or \"files\", or dashboard.public_url if a proxy encrypts, or \
             dashboard.host = \"127.0.0.1\""
        );
    }
}

fn own_names() -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    names.extend(host.filter(|host| parse_names(host).is_ok_and(|names| names.len() == 1)));
    names
}

/// Where certificates come from.
#[derive(Debug, Clone)]
enum Source {
    Own { authority: Arc<Authority>, names: Vec<String> },
    Files { certificate: PathBuf, key: PathBuf },
}

/// The dashboard's certificate as it is now. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Certificates {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    source: Source,
    clock: Clock,
    /// The files as they were when they were read.
    seen: Option<Stamps>,
}

/// What connections that begin now are shown.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().expect("nothing panics while it holds the certificate")))
    }
}

impl Certificates {
    fn new(source: Source, clock: Clock) -> Result<Self, TlsError> {
        let seen = source.stamps();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = source.obtain(&provider, clock)?;
        warn_if_over(&key, clock);
        let current = Arc::new(Current(RwLock::new(Arc::new(key))));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::SetUp)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), current, source, clock, seen })
    }

    /// For the connections that begin from now on.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Takes certificates anew, when files change, when an own one grows old, and at SIGHUP, which
    /// is awaited from this call on. What cannot be taken is told once, and what was good before stays
    /// in use.
    pub(super) fn renew(self, shutdown: CancellationToken) -> impl Future<Output = ()> {
        let hangup = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::warn!(%error, "cannot take certificates anew at SIGHUP"));
        self.renew_at(hangup.ok(), shutdown)
    }

    async fn renew_at(mut self, mut hangup: Option<Signal>, shutdown: CancellationToken) {
        loop {
            let asked = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let is_asked = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                asked = asked => asked.is_some(),
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let look = tokio::task::spawn_blocking(move || {
                self.look(is_asked);
                self
            });
            self = look.await.expect("taking a certificate does not panic");
        }
    }

    fn look(&mut self, is_asked: bool) {
        let stamps = self.source.stamps();
        if !is_asked && stamps == self.seen && !self.is_old() {
            return;
        }
        // Of what was read, not of what it may become meanwhile: that is found the next time.
        self.seen = stamps;
        match self.source.obtain(self.config.crypto_provider(), self.clock) {
            Ok(key) => {
                warn_if_over(&key, self.clock);
                let mut current =
                    self.current.0.write().expect("nothing panics while it holds the certificate");
                *current = Arc::new(key);
                tracing::info!("the dashboard's certificate was taken anew");
            }
            Err(error) => tracing::error!(
                error = %chain_of(&error),
                "the dashboard's new certificate cannot be used, the one before stays"
            ),
        }
    }

    /// Only own ones are renewed by us.
    fn is_old(&self) -> bool {
        let Source::Own { .. } = &self.source else { return false };
        let current = self.current.0.read().expect("nothing panics while it holds the certificate");
        let term = current.cert.first().and_then(|leaf| Term::of(leaf).ok());
        term.is_some_and(|term| term.renew_at() <= self.clock.system_time())
    }
}

fn chain_of(error: &TlsError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Browsers show more than a warning of their own then.
fn warn_if_over(key: &CertifiedKey, clock: Clock) {
    let Some(Ok(term)) = key.cert.first().map(|leaf| Term::of(leaf)) else { return };
    let now = clock.system_time();
    if term.until <= now {
        tracing::warn!("the dashboard's certificate is out of date");
    } else if now < term.from {
        tracing::warn!(
            "the dashboard's certificate is not good yet: is this machine's clock right?"
        );
    }
}

/// What shows that a file is not the one that was read: those of both files.
type Stamps = [Option<Stamp>; 2];

/// Inode, size and the time of the last change, in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

impl Source {
    fn stamps(&self) -> Option<Stamps> {
        let stamp = |path: &PathBuf| {
            let found = fs::metadata(path).ok()?;
            Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
        };
        match self {
            Self::Own { .. } => None,
            Self::Files { certificate, key } => Some([stamp(certificate), stamp(key)]),
        }
    }

    fn obtain(
        &self,
        provider: &Arc<CryptoProvider>,
        clock: Clock,
    ) -> Result<CertifiedKey, TlsError> {
        match self {
            Self::Own { authority, names } => {
                let made = authority.dashboard_certificate(names, clock.system_time());
                let made = made.map_err(TlsError::Make)?;
                CertifiedKey::from_der(made.chain, made.key, provider).map_err(TlsError::Take)
            }
            Self::Files { certificate, key } => read_pair(certificate, key, provider),
        }
    }
}

fn read_pair(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = read_chain(certificate)?;
    CertifiedKey::from_der(chain, read_key(key)?, provider).map_err(|source| {
        let (key, certificate) = (key.to_owned(), certificate.to_owned());
        TlsError::Mismatch { key, certificate, source }
    })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = || TlsError::NoCertificate { path: path.to_owned() };
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|_| none())?;
    let is_certificate = chain.first().is_some_and(|leaf| Term::of(leaf).is_ok());
    if is_certificate { Ok(chain) } else { Err(none()) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    let mode = fs::metadata(path).map_or(0, |found| found.mode());
    if mode & 0o007 != 0 {
        let path = path.display();
        tracing::warn!(%path, "everybody on this machine may read the dashboard's key: chmod 640 it");
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::NoKey { path: path.to_owned() })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let found = fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(failed(ErrorKind::InvalidInput.into()));
    }
    if found.len() > FILE_MAX_BYTES {
        return Err(TlsError::TooLarge { path: path.to_owned(), size: found.len() });
    }
    fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests;
