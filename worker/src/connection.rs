//! The control connection: lets the machine in where that is needed, dials, carries messages both ways,
//! renews the certificate meanwhile, and dials again, until the manager or an owner must be asked.

use std::time::Duration;

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::machine::{is_certificate_refused, wrong_fingerprint};
use campusgrid_protocol::frame;
use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_protocol::message::{ToManager, ToWorker};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::backoff::{Backoff, random};
use crate::clock::now;
use crate::enrol::{Stranger, enrol};
use crate::error::WorkerError;
pub use crate::hello::{Door, ManagerAddress};
use crate::hello::{Frames, dial};
use crate::identity::Identity;
use crate::renewal::Renewal;
use crate::stop::Stop;

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
    /// The owner is to approve this code, if the dashboard shows this fingerprint.
    Waiting {
        code: String,
        manager: Fingerprint,
    },
    /// A session, and the way to the manager for connections beside it.
    Up {
        outbox: Outbox,
        door: Door,
    },
    /// A new certificate: connections beside the session are made with it.
    Renewed(Door),
    Received(ToWorker),
    Down,
    /// There is no use in dialling again.
    Stopped(Stop),
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

/// What a connection is kept with.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) manager: ManagerAddress,
    pub(crate) identity: Identity,
    pub(crate) stranger: Stranger,
    pub(crate) events: mpsc::Sender<ConnectionEvent>,
}

/// What comes after a connection.
enum Next {
    /// Dial again, after a pause.
    Again,
    /// Dial again at once.
    AtOnce,
    Stop(Stop),
}

impl Link {
    /// Keeps a connection to the manager until `shutdown`, or until a person is needed.
    pub(crate) async fn keep(mut self, shutdown: CancellationToken) {
        let mut backoff = Backoff::new();
        let mut is_lapsed = false;
        loop {
            let ended = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                ended = self.connect(is_lapsed, &mut backoff) => ended,
            };
            let next = match ended {
                Ok(next) => next,
                Err(error) => {
                    // Asked for anew each time: the clock that judged the certificate may be right now.
                    is_lapsed = false;
                    self.after(error, &mut is_lapsed).await
                }
            };
            let pause = match next {
                Next::AtOnce => {
                    is_lapsed = false;
                    continue;
                }
                Next::Stop(stop) => {
                    let _ = self.events.send(ConnectionEvent::Stopped(stop)).await;
                    return;
                }
                Next::Again => backoff.next(random()),
            };
            debug!(retry_ms = pause.as_millis() as u64, "waiting to dial again");
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// One connection from dial to end: an enrolment, or a session.
    async fn connect(
        &mut self,
        is_lapsed: bool,
        backoff: &mut Backoff,
    ) -> Result<Next, WorkerError> {
        let tls = self.identity.as_worker()?;
        match tls.filter(|_| !is_lapsed && !self.identity.must_enrol()) {
            Some(tls) => {
                let door = Door { manager: self.manager.clone(), tls };
                self.session(door, backoff).await?;
                Ok(Next::Again)
            }
            None => {
                enrol(&self.manager, &mut self.identity, &self.stranger, &self.events).await?;
                backoff.reset();
                Ok(Next::AtOnce)
            }
        }
    }

    /// What to do about an error, which is told here.
    async fn after(&mut self, error: WorkerError, is_lapsed: &mut bool) -> Next {
        if let Some(wrong) = wrong_fingerprint(&error) {
            let manager = self.manager.to_string();
            return Next::Stop(match self.identity.has_token() {
                true => Stop::NotOfToken { manager, wrong },
                false => Stop::OtherManager { manager, wrong },
            });
        }
        if let WorkerError::TokenRefused { reason } = error {
            self.identity.drop_token().await;
            if self.identity.must_enrol() {
                return Next::Stop(Stop::TokenRefused { reason });
            }
            warn!("the token was refused, so this machine goes on as who it was: {reason}");
            return Next::AtOnce;
        }
        // The refusal comes as an alert, which a connection that breaks can swallow; then the clock of
        // this machine, which may be wrong, is believed.
        let is_over = self.identity.term().is_some_and(|term| term.until < now());
        let is_broken_off = matches!(error, WorkerError::Greet { .. });
        if is_certificate_refused(&error) || (is_over && is_broken_off) {
            warn!("this machine's certificate is not good any more: it asks to be let in anew");
            *is_lapsed = true;
        }
        warn!("no connection: {:#}", anyhow::Error::new(error));
        Next::Again
    }

    /// One session; `Ok` if this side hung up.
    async fn session(&mut self, door: Door, backoff: &mut Backoff) -> Result<(), WorkerError> {
        let (frames, fingerprint) = dial(&door, ConnectionKind::Control).await?;
        info!(manager = %self.manager, "connected");
        let (queue, queued) = mpsc::channel(OUTBOX);
        let (renewals, renewal) = mpsc::channel(1);
        let (sink, stream) = frames.split();
        // A full channel makes this side stop reading, and TCP tells the manager.
        let _ = self.events.send(ConnectionEvent::Up { outbox: Outbox { queue }, door }).await;
        let events = self.events.clone();
        let reading = Reading { link: self, fingerprint, renewals, stream };
        let ended = tokio::select! {
            biased;
            written = write(sink, queued, renewal) => written,
            read = reading.read(backoff) => read,
        };
        let _ = events.send(ConnectionEvent::Down).await;
        ended
    }
}

/// Messages that wait are taken together with requests for a new certificate, which have no place in
/// the agent's order.
async fn write(
    mut sink: SplitSink<Frames, Bytes>,
    mut queued: mpsc::Receiver<ToManager>,
    mut renewal: mpsc::Receiver<ToManager>,
) -> Result<(), WorkerError> {
    let silence = |_| WorkerError::Silence {
        manager: "the manager".to_owned(),
        limit_s: WRITE_LIMIT.as_secs(),
    };
    let send = |source| WorkerError::Send { source };
    loop {
        let message = tokio::select! {
            biased;
            Some(message) = renewal.recv() => message,
            message = queued.recv() => match message {
                Some(message) => message,
                None => break,
            },
        };
        let payload = frame::encode(&message).map_err(|source| WorkerError::Frame { source })?;
        timeout(WRITE_LIMIT, sink.feed(payload)).await.map_err(silence)?.map_err(send)?;
        // What else waits goes out in the same write.
        if queued.is_empty() {
            timeout(WRITE_LIMIT, sink.flush()).await.map_err(silence)?.map_err(send)?;
        }
    }
    timeout(WRITE_LIMIT, sink.close()).await.map_err(silence)?.map_err(send)
}

/// The half of a session that listens.
struct Reading<'a> {
    link: &'a mut Link,
    fingerprint: Fingerprint,
    renewals: mpsc::Sender<ToManager>,
    stream: SplitStream<Frames>,
}

impl Reading<'_> {
    async fn read(mut self, backoff: &mut Backoff) -> Result<(), WorkerError> {
        let mut renewal = Renewal::of(&self.link.identity);
        let mut is_welcomed = false;
        loop {
            let payload = tokio::select! {
                biased;
                payload = self.stream.next() => payload.ok_or(WorkerError::Closed)?,
                () = sleep(renewal.pause(now())) => {
                    if is_welcomed && renewal.is_due(now()) {
                        let request = self.link.identity.request(&self.link.stranger.name)?;
                        // One that still waits is as good.
                        let _ = self.renewals.try_send(ToManager::Renew { request });
                    }
                    continue;
                }
            };
            let payload = payload.map_err(|source| WorkerError::Receive { source })?;
            let message: ToWorker =
                frame::decode(&payload).map_err(|source| WorkerError::Frame { source })?;
            match &message {
                ToWorker::Welcome { .. } => {
                    is_welcomed = true;
                    backoff.reset();
                }
                ToWorker::Certificate { certificate } => {
                    self.renewed(certificate.clone()).await?;
                    renewal = Renewal::of(&self.link.identity);
                }
                ToWorker::Rules(_)
                | ToWorker::Earned { .. }
                | ToWorker::Start { .. }
                | ToWorker::Locked { .. }
                | ToWorker::Cancel { .. }
                | ToWorker::Drop { .. }
                | ToWorker::Stored { .. }
                | ToWorker::Renewed { .. }
                | ToWorker::Closing { .. } => {}
            }
            if self.link.events.send(ConnectionEvent::Received(message)).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn renewed(&mut self, certificate: Vec<u8>) -> Result<(), WorkerError> {
        self.link.identity.take(self.fingerprint, certificate).await?;
        info!("this machine's certificate is renewed");
        if let Some(tls) = self.link.identity.as_worker()? {
            let door = Door { manager: self.link.manager.clone(), tls };
            let _ = self.link.events.send(ConnectionEvent::Renewed(door)).await;
        }
        Ok(())
    }
}
