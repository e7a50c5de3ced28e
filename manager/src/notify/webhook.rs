//! Webhooks: one signed `POST` to an address that a user has named. It is looked up, checked and
//! connected to here, so that nothing but what was checked is reached; no redirect is followed.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::signature::sign;
use super::target::{Reach, Target, TargetError};

/// From looking up the name to the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Names that are looked up at once: each may block a thread for longer than anybody waits for it.
const LOOKUPS_MAX: usize = 16;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 3;

/// What an answer's head may be. Bytes; hyper takes no less.
const HEAD_MAX_BYTES: usize = 8192;

/// Lines of it.
const HEAD_MAX_LINES: usize = 64;

/// Posts webhooks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Webhooks {
    reach: Reach,
    tls: TlsConnector,
    lookups: Arc<Semaphore>,
}

/// What is posted.
#[derive(Debug)]
pub(super) struct Post<'a> {
    pub(super) url: &'a str,
    pub(super) secret: &'a str,
    /// Names the notice, the same at each try: a receiver knows by it what it has had.
    pub(super) id: &'a str,
    /// Seconds since the Unix epoch.
    pub(super) at_s: u64,
    /// JSON.
    pub(super) body: String,
}

/// Why a webhook was not delivered, in words for its user.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebhookError {
    #[error("its address {0}")]
    Target(#[from] TargetError),
    #[error("its secret is none")]
    Secret,
    #[error("its host is not known")]
    Lookup(#[source] Option<io::Error>),
    #[error("nobody answers there")]
    Connect(#[source] io::Error),
    #[error("its certificate is not good, or it speaks no TLS")]
    Tls(#[source] io::Error),
    #[error("it does not speak HTTP")]
    Http(#[source] hyper::Error),
    #[error("it answered {0}")]
    Answer(StatusCode),
    #[error("it did not answer within {} s", PATIENCE.as_secs())]
    Patience,
}

impl WebhookError {
    /// Whether trying again cannot help. 410 is how a receiver says that it wants no more.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Target(_) | Self::Secret => true,
            Self::Answer(status) => *status == StatusCode::GONE,
            Self::Lookup(_) | Self::Connect(_) | Self::Tls(_) | Self::Http(_) | Self::Patience => {
                false
            }
        }
    }
}

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("failed to set up TLS for webhooks")]
pub struct NoTls(#[source] rustls::Error);

impl Webhooks {
    /// Trusts the authorities that this machine trusts.
    pub(super) fn new(reach: Reach) -> Result<Self, NoTls> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (trusted, _) = roots.add_parsable_certificates(found.certs);
        if trusted == 0 {
            tracing::warn!(
                "this machine trusts no authority, so that no https webhook is delivered"
            );
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(NoTls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self { reach, tls, lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) })
    }

    /// Delivers a webhook: it has come if the answer says so.
    pub(super) async fn post(&self, post: Post<'_>) -> Result<(), WebhookError> {
        let delivery = timeout(PATIENCE, self.deliver(post));
        delivery.await.map_err(|_| WebhookError::Patience)?
    }

    async fn deliver(&self, post: Post<'_>) -> Result<(), WebhookError> {
        let target = Target::parse(post.url, self.reach)?;
        let Post { secret, id, at_s, body, .. } = post;
        let signature = sign(secret, id, at_s, &body).ok_or(WebhookError::Secret)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(&target.path)
            .header(header::HOST, &target.authority)
            .header(header::USER_AGENT, concat!("CampusGrid/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .header("webhook-id", id)
            .header("webhook-timestamp", at_s)
            .header("webhook-signature", signature)
            .body(Body::from(body))
            .map_err(|_| TargetError::Form)?;
        let stream = self.connect(&target).await?;
        let status = if target.is_secure {
            let name = ServerName::try_from(target.host).map_err(|_| TargetError::Form)?;
            let stream = self.tls.connect(name, stream).await.map_err(WebhookError::Tls)?;
            exchange(stream, request).await?
        } else {
            exchange(stream, request).await?
        };
        if status.is_success() { Ok(()) } else { Err(WebhookError::Answer(status)) }
    }

    /// Connects to one of the addresses that a host has, none of which may be out of reach: a name
    /// that has such a one is made to mislead.
    async fn connect(&self, target: &Target) -> Result<TcpStream, WebhookError> {
        let addresses = self.look_up(target).await?;
        if addresses.iter().any(|address| !self.reach.has(address.ip())) {
            return Err(TargetError::Private.into());
        }
        let mut last = None;
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    self.check_elsewhere(&stream).map_err(WebhookError::Connect)??;
                    return Ok(stream);
                }
                Err(error) => last = Some(WebhookError::Connect(error)),
            }
        }
        Err(last.unwrap_or(WebhookError::Lookup(None)))
    }

    /// This machine's own addresses may be public ones.
    fn check_elsewhere(&self, stream: &TcpStream) -> io::Result<Result<(), TargetError>> {
        let is_here = stream.peer_addr()?.ip() == stream.local_addr()?.ip();
        Ok(match self.reach {
            Reach::Public if is_here => Err(TargetError::Private),
            Reach::Public | Reach::Everything => Ok(()),
        })
    }

    async fn look_up(&self, target: &Target) -> Result<Vec<SocketAddr>, WebhookError> {
        let (host, port) = (target.host.clone(), target.port);
        let turn = Arc::clone(&self.lookups).acquire_owned().await;
        let look_up = move || {
            // Kept until the system is done with it, whether or not somebody still waits.
            let _turn = turn;
            (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)
        };
        let found = tokio::task::spawn_blocking(look_up).await;
        found.map_err(|_| WebhookError::Lookup(None))?.map_err(|e| WebhookError::Lookup(Some(e)))
    }
}

/// Sends the request and reads the head of the answer; its body nobody needs.
async fn exchange<S>(stream: S, request: Request<Body>) -> Result<StatusCode, WebhookError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX_BYTES).max_headers(HEAD_MAX_LINES);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(WebhookError::Http)?;
    let answer = async {
        let answer = sender.send_request(request).await;
        answer.map(|answer| answer.status()).map_err(WebhookError::Http)
    };
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        status = &mut answer => status,
        // It ends with the answer that it has brought, or without one, which the answer then says.
        _ = connection => answer.await,
    }
}
