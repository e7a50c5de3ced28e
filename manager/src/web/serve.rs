//! The dashboard's connections: accepted up to a number, encrypted if so set, and closed when they keep
//! us waiting (see `patience`).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::Response;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::Dashboard;
use super::patience::{Paced, Taken};
use super::places::Places;
use super::plain_http;
use super::tls::{Certificates, Transport};

/// A connection that has not sent a request's head within this time is closed, also between two
/// requests.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// A connection that is not encrypted within this time is closed.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Connections at once. Beyond, the next ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 4096;

/// Handshakes at once: each takes memory and some of a processor before anybody is known. Beyond, the
/// next ones wait, which counts towards their time.
const HANDSHAKES_MAX: usize = 128;

/// After a failed accept, mostly for want of file descriptors, some connections should end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The first byte of TLS: a record of a handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Answers requests until `shutdown`, then those that are under way, and tells the engine what is left
/// to tell of them.
pub async fn serve(
    listener: TcpListener,
    dashboard: Dashboard,
    transport: Transport,
    shutdown: CancellationToken,
) {
    let Dashboard { router, last_uses, engine, operators } = dashboard;
    operators.tell().await;
    let answered = CancellationToken::new();
    let telling = tokio::spawn(last_uses.tell(engine, answered.clone()));
    let connections = GracefulShutdown::new();
    let server = Server::new(router, &transport, shutdown.clone());
    let Transport { certificates, proxies } = transport;
    let renewing = certificates.map(|found| tokio::spawn(found.renew(shutdown.clone())));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let of_each = Places::new(proxies);
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = async { (place.await, listener.accept().await) } => accepted,
        };
        let (place, Ok((stream, peer))) = accepted else {
            tracing::warn!("cannot accept a connection to the dashboard");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(own_place) = of_each.take(peer.ip()) else { continue };
        without_delay(&stream);
        let (server, watcher) = (server.clone(), connections.watcher());
        tokio::spawn(async move {
            server.connection(stream, peer, watcher).await;
            drop((place, own_place));
        });
    }
    drop(listener);
    connections.shutdown().await;
    answered.cancel();
    drop(telling.await); // Its last word is bounded by the engine's.
    if let Some(renewing) = renewing {
        drop(renewing.await); // It ends with the shutdown.
    }
}

/// What every connection needs. Cheap to clone.
#[derive(Clone)]
struct Server {
    router: Router,
    http: http1::Builder,
    tls: Option<Arc<ServerConfig>>,
    handshakes: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Server {
    fn new(router: Router, transport: &Transport, shutdown: CancellationToken) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
        let tls = transport.certificates.as_ref().map(Certificates::config);
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        Self { router, http, tls, handshakes, shutdown }
    }

    async fn connection(self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        let Some(tls) = self.tls.clone() else {
            return self.requests(stream, peer, watcher).await;
        };
        let begun = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return,
            begun = tokio::time::timeout(HANDSHAKE_WITHIN, self.handshake(stream, tls)) => begun,
        };
        match begun {
            Ok(Ok(Begun::Tls(stream))) => self.requests(*stream, peer, watcher).await,
            Ok(Ok(Begun::Plain(stream))) => self.unencrypted(stream, watcher).await,
            // Whoever breaks off, is too slow, or does not speak TLS, has ended the connection.
            Ok(Err(_)) | Err(_) => tracing::debug!(%peer, "a connection was not encrypted in time"),
        }
    }

    async fn handshake(&self, stream: TcpStream, tls: Arc<ServerConfig>) -> std::io::Result<Begun> {
        let mut first = [0];
        stream.peek(&mut first).await?; // Whoever says nothing takes no turn from others.
        if first[0].is_ascii_uppercase() {
            return Ok(Begun::Plain(stream));
        }
        if first[0] != TLS_HANDSHAKE {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let _turn = self.handshakes.acquire().await.expect("the semaphore is never closed");
        Ok(Begun::Tls(Box::new(TlsAcceptor::from(tls).accept(stream).await?)))
    }

    async fn requests(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        watcher: Watcher,
    ) {
        let router = self.router;
        let service = service_fn(move |request| answer(router.clone(), peer, request));
        let stream = TokioIo::new(Taken::new(stream));
        let connection = self.http.serve_connection(stream, service);
        // A client that breaks off, or says nothing, has ended its connection.
        drop(watcher.watch(connection).await);
    }

    /// Tells whoever speaks plain HTTP where the dashboard is.
    async fn unencrypted(mut self, stream: TcpStream, watcher: Watcher) {
        let service = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(plain_http::answer(
                request.method(),
                request.uri(),
                request.headers(),
            ))
        });
        self.http.keep_alive(false);
        let stream = TokioIo::new(Taken::new(stream));
        let connection = self.http.serve_connection(stream, service);
        drop(watcher.watch(connection).await);
    }
}

/// How a connection to a port for TLS begins.
enum Begun {
    Tls(Box<TlsStream<TcpStream>>),
    Plain(TcpStream),
}

async fn answer(
    mut router: Router,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    let paced = |body: Incoming| {
        // Most requests have none.
        if body.is_end_stream() { Body::empty() } else { Body::new(Paced::new(body)) }
    };
    router.call(request.map(paced)).await
}

/// An answer is written in one go; waiting for more to send with it only costs time.
fn without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use hyper_util::server::graceful::GracefulShutdown;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::{Server, Transport};

    /// What a client is told that sends this and then nothing, and after how many seconds.
    async fn told(request: &str) -> (String, u64) {
        let takes_all = post(|body: String| async move { body.len().to_string() });
        let router = Router::new().fallback(takes_all);
        let transport = Transport { certificates: None, proxies: "".parse().unwrap() };
        let server = Server::new(router, &transport, CancellationToken::new());
        let (mut client, stream) = tokio::io::duplex(1 << 16);
        let connections = GracefulShutdown::new();
        let peer = "192.0.2.1:4000".parse().unwrap();
        let serving = tokio::spawn(server.requests(stream, peer, connections.watcher()));
        let began = Instant::now();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        serving.await.unwrap();
        (answer.lines().next().unwrap_or("").to_owned(), began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_no_more_is_closed() {
        let (answer, seconds) = told("POST / HTTP/1.1\r\n").await;
        assert!(answer.is_empty() && (30..60).contains(&seconds), "{answer} after {seconds} s");
        let slow = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx";
        let (answer, seconds) = told(slow).await;
        assert!((30..60).contains(&seconds), "{answer} after {seconds} s");
        assert_eq!(answer, "HTTP/1.1 400 Bad Request");
    }
}
