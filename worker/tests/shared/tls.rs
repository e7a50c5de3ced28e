//! The manager's side of TLS for tests whose managers are plain threads: takes it off at the door, says
//! hello, and hands on what was inside.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, SystemTime};

use campusgrid_identity::authority::Authority;
use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::machine::key_hash;
use campusgrid_identity::request::ProvenKey;
use campusgrid_protocol::hello::{ConnectionKind, HELLO_BYTES, from_manager, on_manager};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink, split};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A connection after the hellos, as if there were no TLS.
pub(crate) struct Guest {
    pub(crate) plain: UnixStream,
    pub(crate) kind: ConnectionKind,
    /// What its certificate is known by.
    pub(crate) key: Option<[u8; 32]>,
}

/// The manager's authority, and a clock of its own that tests may set.
#[derive(Clone)]
pub(crate) struct Doorkeeper {
    authority: Arc<Authority>,
    ahead_s: Arc<AtomicU64>,
}

impl Doorkeeper {
    /// With a fresh authority in `dir`, or the one that is there.
    pub(crate) fn of(dir: &Path) -> Self {
        let authority = Authority::load_or_make(&dir.join("tls"), SystemTime::now()).unwrap();
        Self { authority: Arc::new(authority), ahead_s: Arc::default() }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.authority.fingerprint()
    }

    /// A certificate for whoever has signed this request.
    pub(crate) fn certificate(&self, request: &[u8], life: Duration) -> Vec<u8> {
        self.old_certificate(request, Duration::ZERO, life)
    }

    /// One that was given so long ago, for a life that began then.
    pub(crate) fn old_certificate(&self, request: &[u8], ago: Duration, life: Duration) -> Vec<u8> {
        let key = ProvenKey::from_request(request).unwrap();
        self.authority.issue(&key, "worker", self.now() - ago, life).unwrap().der
    }

    pub(crate) fn set_clock_ahead(&self, ahead: Duration) {
        self.ahead_s.store(ahead.as_secs(), Ordering::Relaxed);
    }

    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.ahead_s.load(Ordering::Relaxed))
    }

    /// Serves a free port until the test is over; returns the port.
    pub(crate) fn listen(&self, guests: SyncSender<Guest>) -> u16 {
        let keeper = self.clone();
        let (port, listening) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let address: SocketAddr = ([127, 0, 0, 1], 0).into();
                let listener = TcpListener::bind(address).await.unwrap();
                port.send(listener.local_addr().unwrap().port()).unwrap();
                let clock = keeper.clone();
                let config = keeper.authority.server_config(move || clock.now()).unwrap();
                let acceptor = TlsAcceptor::from(config);
                while let Ok((socket, _)) = listener.accept().await {
                    tokio::spawn(serve(acceptor.clone(), socket, guests.clone()));
                }
            });
        });
        listening.recv().unwrap()
    }
}

/// Carries bytes until both sides are done; who does not get through TLS is nobody's guest.
async fn serve(acceptor: TlsAcceptor, socket: TcpStream, guests: SyncSender<Guest>) {
    socket.set_nodelay(true).unwrap();
    let Ok(mut stream) = acceptor.accept(socket).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let key = certificate.map(|certificate| key_hash(certificate).unwrap());
    let mut hello = [0; HELLO_BYTES];
    if stream.read_exact(&mut hello).await.is_err() {
        return; // The worker was killed meanwhile.
    }
    let (version, kind) = on_manager(&hello).unwrap();
    stream.write_all(&from_manager(version)).await.unwrap();
    stream.flush().await.unwrap();
    let (plain, inner) = tokio::net::UnixStream::pair().unwrap();
    let plain = plain.into_std().unwrap();
    plain.set_nonblocking(false).unwrap();
    if guests.try_send(Guest { plain, kind, key }).is_err() {
        return; // The test is over.
    }
    let (mut from_worker, mut to_worker) = split(stream);
    let (mut from_test, mut to_test) = inner.into_split();
    let inwards = async {
        let _ = copy(&mut from_worker, &mut to_test).await;
        let _ = to_test.shutdown().await;
        // A socket that is closed on what it has not read loses what it has said: the last words of a
        // test that hangs up arrive only because all is read until the worker hangs up, too.
        let _ = copy(&mut from_worker, &mut sink()).await;
    };
    let outwards = async {
        let _ = copy(&mut from_test, &mut to_worker).await;
        let _ = to_worker.shutdown().await;
    };
    tokio::join!(inwards, outwards);
}
