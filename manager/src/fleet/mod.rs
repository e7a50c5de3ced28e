//! The workers' connections: accepts them, reads their hello, and runs one task for each.

mod bulk;
mod check;
mod code;
mod roster;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use campusgrid_core::input::WorkerEvent;
use campusgrid_protocol::frame::FrameError;
use campusgrid_protocol::hello::{self, ConnectionKind, HELLO_BYTES, HelloError};
use campusgrid_protocol::id::SessionId;
use campusgrid_protocol::message::MESSAGE_MAX_BYTES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blobs::{BlobError, Blobs};
use crate::engine::handle::EngineHandle;
use crate::live::LiveLogs;
use roster::Roster;

/// A connection that has not said who it is within this time is closed.
const INTRODUCTION: Duration = Duration::from_secs(10);

/// After a failed accept, mostly for want of file descriptors, some connections should end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum FleetError {
    #[error("failed to read from or write to the connection")]
    Connection(#[from] std::io::Error),
    #[error("nothing was heard for {seconds} s")]
    Silence { seconds: u64 },
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error("a frame is not in order")]
    Frame(#[from] FrameError),
    #[error("the first message was no join")]
    NotAJoin,
    #[error("{what}")]
    BadMessage { what: String },
    #[error("failed to take in a blob")]
    Blob(#[from] BlobError),
    #[error("the manager is stopping")]
    Stopping,
}

/// The two kinds of connections that workers open, and what they share.
#[derive(Debug, Clone)]
pub struct Fleet {
    engine: EngineHandle,
    live: LiveLogs,
    blobs: Blobs,
    limits: Limits,
    roster: Roster,
}

/// What workers may demand of us.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once, of both kinds.
    pub connections_max: usize,
    /// Largest blob that a worker may send. Bytes.
    pub blob_max_bytes: u64,
}

type Frames = Framed<TcpStream, LengthDelimitedCodec>;

impl Fleet {
    /// A fleet without workers.
    pub fn new(engine: EngineHandle, live: LiveLogs, blobs: Blobs, limits: Limits) -> Self {
        Self { engine, live, blobs, limits, roster: Roster::default() }
    }

    /// Serves workers until `shutdown`, then waits until the engine has ended their sessions. Their
    /// tasks go on without us.
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.limits.connections_max));
        let numbers = Arc::new(AtomicU64::new(1));
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
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
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(%peer, "too many connections of workers, refusing one more");
                continue;
            };
            let session = SessionId(numbers.fetch_add(1, Ordering::Relaxed));
            let (fleet, shutdown) = (self.clone(), shutdown.clone());
            connections.spawn(async move {
                fleet.connection(stream, peer, session, shutdown).await;
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
    }

    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        session: SessionId,
        shutdown: CancellationToken,
    ) {
        let end = self.serve(stream, session, &shutdown).await;
        match end {
            Ok(()) => tracing::info!(%peer, session = session.0, "a worker has disconnected"),
            Err(FleetError::Stopping) => {}
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::info!(%peer, session = session.0, error, "a worker's connection ended");
            }
        }
        self.roster.strike(session);
        // An engine that is gone has forgotten its sessions.
        drop(self.engine.report(session, WorkerEvent::Gone).await);
    }

    async fn serve(
        &self,
        mut stream: TcpStream,
        session: SessionId,
        shutdown: &CancellationToken,
    ) -> Result<(), FleetError> {
        stream.set_nodelay(true)?;
        let kind = unless(shutdown, greet(&mut stream)).await?;
        let frames = LengthDelimitedCodec::builder()
            .little_endian()
            .max_frame_length(MESSAGE_MAX_BYTES)
            .new_framed(stream);
        match kind {
            // Ends when the engine has let out its last word.
            ConnectionKind::Control => self.control(frames, session).await,
            ConnectionKind::Bulk => unless(shutdown, self.bulk(frames, session)).await,
        }
    }
}

/// Exchanges hellos: what the connection is for.
async fn greet(stream: &mut TcpStream) -> Result<ConnectionKind, FleetError> {
    let mut bytes = [0; HELLO_BYTES];
    introduction(stream.read_exact(&mut bytes)).await??;
    let heard = hello::on_manager(&bytes);
    match &heard {
        Ok((version, _)) => {
            introduction(stream.write_all(&hello::from_manager(*version))).await??;
        }
        Err(HelloError::Version { .. } | HelloError::Kind { .. }) => {
            introduction(stream.write_all(&hello::from_manager(0))).await??;
        }
        Err(HelloError::NotCampusGrid) => {}
    }
    let (_, kind) = heard?;
    Ok(kind)
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
