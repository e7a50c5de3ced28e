//! The control connection: dials, carries messages both ways, and dials again, for ever.

use std::time::Duration;

use campusgrid_protocol::frame;
use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_protocol::message::{ToManager, ToWorker};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backoff::{Backoff, random};
use crate::error::WorkerError;
pub use crate::hello::ManagerAddress;
use crate::hello::{Frames, dial};

/// Messages that may wait for the socket. A session that falls further behind is given up: the next
/// one repeats what matters.
const OUTBOX: usize = 1024;

/// Pieces of live logs are only queued while fewer messages than this wait, so that what must
/// arrive always finds room; with pieces of 64 KiB it also bounds the memory.
const OUTBOX_FOR_LOGS: usize = 64;

/// How long the socket may take no byte.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// What happens on the connection.
#[derive(Debug)]
pub enum ConnectionEvent {
    Up(Outbox),
    Received(ToWorker),
    Down,
}

/// The way to the manager in one session. Dropped, it sends what is queued and hangs up.
#[derive(Debug)]
pub struct Outbox {
    queue: mpsc::Sender<ToManager>,
}

/// The session has fallen too far behind, or is over.
#[derive(Debug)]
pub struct OutboxFull;

impl Outbox {
    /// Queues a message; a piece of a live log is dropped where the queue is long.
    ///
    /// # Errors
    ///
    /// When the session can only be given up.
    pub fn send(&self, message: ToManager) -> Result<(), OutboxFull> {
        let waiting = OUTBOX - self.queue.capacity();
        if let ToManager::LogPiece { .. } = message
            && waiting >= OUTBOX_FOR_LOGS
        {
            return Ok(());
        }
        self.queue.try_send(message).map_err(|_| OutboxFull)
    }
}

/// Keeps a connection to the manager until `shutdown`.
pub async fn run(
    manager: ManagerAddress,
    events: mpsc::Sender<ConnectionEvent>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new();
    loop {
        let session = session(&manager, &events, &mut backoff);
        let error = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            ended = session => ended,
        };
        let pause = backoff.next(random());
        match error {
            Ok(()) => info!(retry_ms = pause.as_millis() as u64, "hung up"),
            Err(error) => warn!(
                retry_ms = pause.as_millis() as u64,
                "no connection: {:#}",
                anyhow::Error::new(error)
            ),
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

/// One connection from dial to end; `Ok` if this side hung up.
async fn session(
    manager: &ManagerAddress,
    events: &mpsc::Sender<ConnectionEvent>,
    backoff: &mut Backoff,
) -> Result<(), WorkerError> {
    let frames = dial(manager, ConnectionKind::Control).await?;
    info!(%manager, "connected");
    let (queue, queued) = mpsc::channel(OUTBOX);
    let (sink, stream) = frames.split();
    // A full channel makes this side stop reading, and TCP tells the manager.
    let _ = events.send(ConnectionEvent::Up(Outbox { queue })).await;
    let ended = tokio::select! {
        biased;
        written = write(sink, queued) => written,
        read = read(stream, events, backoff) => read,
    };
    let _ = events.send(ConnectionEvent::Down).await;
    ended
}

async fn write(
    mut sink: SplitSink<Frames, Bytes>,
    mut queued: mpsc::Receiver<ToManager>,
) -> Result<(), WorkerError> {
    let silence = |_| WorkerError::Silence {
        manager: "the manager".to_owned(),
        limit_s: WRITE_LIMIT.as_secs(),
    };
    let send = |source| WorkerError::Send { source };
    while let Some(message) = queued.recv().await {
        let payload = frame::encode(&message).map_err(|source| WorkerError::Frame { source })?;
        timeout(WRITE_LIMIT, sink.feed(payload)).await.map_err(silence)?.map_err(send)?;
        // What else waits goes out in the same write.
        if queued.is_empty() {
            timeout(WRITE_LIMIT, sink.flush()).await.map_err(silence)?.map_err(send)?;
        }
    }
    timeout(WRITE_LIMIT, sink.close()).await.map_err(silence)?.map_err(send)
}

async fn read(
    mut stream: SplitStream<Frames>,
    events: &mpsc::Sender<ConnectionEvent>,
    backoff: &mut Backoff,
) -> Result<(), WorkerError> {
    while let Some(payload) = stream.next().await {
        let payload = payload.map_err(|source| WorkerError::Receive { source })?;
        let message: ToWorker =
            frame::decode(&payload).map_err(|source| WorkerError::Frame { source })?;
        if let ToWorker::Welcome { .. } = message {
            backoff.reset();
        }
        if events.send(ConnectionEvent::Received(message)).await.is_err() {
            return Ok(());
        }
    }
    Err(WorkerError::Closed)
}
