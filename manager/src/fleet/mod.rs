//! The workers' connections: accepts them, finds out who is there, and runs one task for each.

mod budget;
mod bulk;
mod check;
mod checkpoint;
mod code;
mod crowd;
mod door;
mod enrolment;
mod hand_out;
mod inputs;
mod pace;
mod quiet;
mod roster;
mod session;
mod strangers;
mod wire;

use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use campusgrid_identity::IdentityError;
use campusgrid_identity::authority::Authority;
use campusgrid_protocol::frame::FrameError;
use campusgrid_protocol::hello::{ConnectionKind, HelloError};
use campusgrid_protocol::id::SessionId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blobs::{BlobError, Blobs};
use crate::clock::Clock;
use crate::engine::handle::EngineHandle;
use crate::live::LiveLogs;
use crate::readers::Readers;
use crate::store::StoreError;
use budget::Budgets;
use crowd::Crowd;
use inputs::Inputs;
use quiet::Quiet;
use roster::Roster;
use strangers::Strangers;

/// A connection that has not said who it is within this time is closed.
const INTRODUCTION: Duration = Duration::from_secs(10);

/// After a failed accept, mostly for want of file descriptors, some connections should end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who has not got as far as saying what the connection is for.
const STRANGER: &str = "a stranger";

/// Who brings the files of a result, or fetches those of a job.
const BULK: &str = "a worker's bulk connection";

/// A machine that has no certificate yet, or asks for another.
const NEWCOMER: &str = "a machine that asked to join";

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum FleetError {
    #[error("failed to read from or write to the connection")]
    Connection(#[from] std::io::Error),
    #[error("it began with neither TLS nor a hello")]
    NotTls,
    #[error("its hello came without TLS, so it is of an old version: update the worker")]
    InTheClear,
    #[error("failed to agree on TLS")]
    Handshake(#[source] std::io::Error),
    #[error("nothing was heard for {seconds} s")]
    Silence { seconds: u64 },
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error("a frame is not in order")]
    Frame(#[from] FrameError),
    #[error("the first message was not the one that this kind of connection begins with")]
    FirstMessage,
    #[error("{what}")]
    BadMessage { what: String },
    #[error("a certificate is needed for this: the machine has to join first")]
    NoCertificate,
    #[error("the machine's certificate is not in order")]
    Certificate(#[source] IdentityError),
    #[error("failed to issue a certificate")]
    Issue(#[source] IdentityError),
    #[error("the machine's certificate is out of date")]
    CertificateOver,
    #[error("failed to take in a blob")]
    Blob(#[from] BlobError),
    #[error("another stranger needed its place more")]
    Crowded,
    #[error("failed to read what an attempt may leave")]
    Budget(#[source] StoreError),
    #[error("the manager is stopping")]
    Stopping,
}

impl FleetError {
    /// What the other end is told of it, where that is of use to it.
    fn to_peer(&self) -> Option<String> {
        match self {
            Self::Frame(_)
            | Self::FirstMessage
            | Self::BadMessage { .. }
            | Self::NoCertificate
            | Self::Certificate(_)
            | Self::CertificateOver => Some(self.to_string()),
            Self::Connection(_)
            | Self::NotTls
            | Self::InTheClear
            | Self::Handshake(_)
            | Self::Silence { .. }
            | Self::Hello(_)
            | Self::Issue(_)
            | Self::Blob(_)
            | Self::Crowded
            | Self::Budget(_)
            | Self::Stopping => None,
        }
    }
}

/// The connections that workers open, and what they share. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    engine: EngineHandle,
    limits: Limits,
    around: Surroundings,
    acceptor: TlsAcceptor,
    strangers: Strangers,
    /// Machines that show a code.
    waiting: Crowd,
    roster: Roster,
    budgets: Budgets,
    inputs: Inputs,
    /// Turns to send a job's files.
    handed_out: Arc<Semaphore>,
    quiet: Quiet,
}

/// What workers may demand of us.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once, of all kinds.
    pub connections_max: usize,
    /// Largest blob that a worker may send. Bytes.
    pub blob_max_bytes: u64,
    /// How long a machine's certificate is good; it is renewed before.
    pub certificate_life: Duration,
}

/// What a fleet works with.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub live: LiveLogs,
    pub blobs: Blobs,
    pub readers: Readers,
    pub authority: Arc<Authority>,
    pub clock: Clock,
}

type Frames = Framed<TlsStream<TcpStream>, LengthDelimitedCodec>;

impl Fleet {
    /// A fleet without workers.
    ///
    /// # Errors
    ///
    /// Those of [`Authority::server_config`].
    pub fn new(
        engine: EngineHandle,
        limits: Limits,
        around: Surroundings,
    ) -> Result<Self, IdentityError> {
        let clock = around.clock;
        let config = around.authority.server_config(move || clock.system_time())?;
        Ok(Self {
            engine,
            limits,
            acceptor: TlsAcceptor::from(config),
            strangers: Strangers::new(limits.connections_max),
            waiting: Crowd::new(enrolment::WAITING_MAX),
            roster: Roster::default(),
            budgets: Budgets::new(around.live.clone()),
            inputs: Inputs::new(around.blobs.clone()),
            handed_out: Arc::new(Semaphore::new(hand_out::AT_ONCE)),
            quiet: Quiet::default(),
            around,
        })
    }

    /// Serves workers until `shutdown`, then waits until the engine has ended their sessions. Their
    /// tasks go on without us.
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let numbers = Arc::new(AtomicU64::new(1));
        let connections = TaskTracker::new();
        let mut seconds = interval(quiet::EVERY);
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = seconds.tick() => {
                    self.quiet.begin_anew();
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a worker's connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let address = peer.ip().to_canonical();
            let Some(place) = self.strangers.place(address) else {
                if self.quiet.may_tell() {
                    tracing::warn!(%peer, "too many connections of workers, refusing one more");
                }
                continue;
            };
            let session = SessionId(numbers.fetch_add(1, Ordering::Relaxed));
            let (fleet, shutdown) = (self.clone(), shutdown.clone());
            connections.spawn(async move {
                let visit = Visit { session, address };
                fleet.connection(stream, place, visit, shutdown).await;
            });
        }
        connections.close();
        connections.wait().await;
    }

    async fn connection(
        &self,
        stream: TcpStream,
        place: strangers::Place,
        visit: Visit,
        shutdown: CancellationToken,
    ) {
        let session = visit.session;
        let guest = match unless(&shutdown, self.let_in(stream, place)).await {
            Ok(guest) => guest,
            Err(error) => return self.log_end(visit, STRANGER, Err(error)),
        };
        match guest.kind {
            ConnectionKind::Control => {
                // Ends when the engine has let out its last word.
                self.log_end(visit, "a worker", self.control(guest, session).await);
            }
            ConnectionKind::Bulk => {
                let end = unless(&shutdown, self.bulk(guest, session)).await;
                self.log_end(visit, BULK, end);
            }
            ConnectionKind::Enrolment => {
                let end = unless(&shutdown, self.enrolment(guest, visit)).await;
                self.log_end(visit, NEWCOMER, end);
            }
        }
    }

    fn log_end(&self, visit: Visit, who: &'static str, end: Result<(), FleetError>) {
        let Visit { session: SessionId(session), address } = visit;
        match end {
            // One comes and goes with each result, or each question; a client that hangs up without a
            // word has ended it.
            Ok(()) if who == BULK || who == NEWCOMER => {
                tracing::debug!(%address, session, "{who} has ended");
            }
            Err(FleetError::Connection(error)) if who == BULK && is_hang_up(&error) => {
                tracing::debug!(%address, session, "{who} has ended");
            }
            Ok(()) => tracing::info!(%address, session, "{who} has disconnected"),
            Err(FleetError::Stopping) => {}
            // Whoever scans ports is no news.
            Err(FleetError::NotTls | FleetError::Connection(_)) if who == STRANGER => {
                tracing::debug!(%address, session, "{who} has come and gone");
            }
            // Anybody can fail as often as they like, and the log is on our disk.
            Err(error) if self.quiet.may_tell() => {
                let error: &dyn std::error::Error = &error;
                tracing::info!(%address, session, error, "the connection of {who} ended");
            }
            Err(_) => {}
        }
    }
}

/// Whether the other end has gone without a word.
fn is_hang_up(error: &std::io::Error) -> bool {
    let kinds = [ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    kinds.contains(&error.kind())
}

/// One connection, for as long as it lasts.
#[derive(Debug, Clone, Copy)]
struct Visit {
    session: SessionId,
    address: IpAddr,
}

/// Gives up what can be done again once the manager is back.
async fn unless<T>(
    shutdown: &CancellationToken,
    work: impl Future<Output = Result<T, FleetError>>,
) -> Result<T, FleetError> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Err(FleetError::Stopping),
        result = work => result,
    }
}

/// Puts a limit on how long a stranger may keep us waiting.
async fn introduction<T>(step: impl Future<Output = T>) -> Result<T, FleetError> {
    let seconds = INTRODUCTION.as_secs();
    timeout(INTRODUCTION, step).await.map_err(|_| FleetError::Silence { seconds })
}
