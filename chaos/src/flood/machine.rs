//! A fake worker: joins, says that it lives, and dials again whenever its connection ends.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use campusgrid_identity::machine::{Identity, MachineKey, Trust, client_config, server_name};
use campusgrid_identity::token::JoinToken;
use campusgrid_protocol::frame;
use campusgrid_protocol::hello::{self, ConnectionKind, HELLO_BYTES};
use campusgrid_protocol::message::{
    Enrol, EnrolAnswer, Join, MESSAGE_MAX_BYTES, Proof, ToManager, ToWorker,
};
use campusgrid_protocol::resource::{Capacity, Isolation, Load, Speed};
use campusgrid_protocol::rules::{Limits, Phase, Shares};
use campusgrid_worker::backoff::{Backoff, random};
use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// What a real worker allows for a connection and its handshakes.
const DIAL_LIMIT: Duration = Duration::from_secs(10);

type Frames = Framed<TlsStream<TcpStream>, LengthDelimitedCodec>;

/// Whatever ends a connection; a fake worker does not mind which.
type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// How many are connected, and what keeps the others from it.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    enrolled: u32,
    connected: u32,
    /// The last that somebody ran into.
    trouble: String,
}

impl Crowd {
    /// Whether so many are connected within `limit`.
    pub(super) fn wait_for(&self, count: u32, limit: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, limit, |it| it.connected < count);
        waited.is_ok_and(|(state, _)| state.connected >= count)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { enrolled, connected, trouble } =
            &*self.state.lock().unwrap_or_else(PoisonError::into_inner);
        write!(
            f,
            "{enrolled} have certificates, {connected} are connected; last trouble: {trouble}"
        )
    }
}

/// One fake worker.
pub(super) struct Machine {
    number: u32,
    manager: SocketAddr,
    crowd: Arc<Crowd>,
    leave: watch::Receiver<bool>,
}

impl Machine {
    pub(super) fn new(
        number: u32,
        manager: SocketAddr,
        crowd: Arc<Crowd>,
        leave: watch::Receiver<bool>,
    ) -> Self {
        Self { number, manager, crowd, leave }
    }

    /// Joins by the token and stays connected until it is told to leave.
    pub(super) async fn live(mut self, token: String) {
        let mut leave = self.leave.clone();
        tokio::select! {
            _ = leave.wait_for(|&leave| leave) => {}
            () = self.stay(&token) => {}
        }
    }

    async fn stay(&mut self, token: &str) {
        let mut backoff = Backoff::new();
        let tls = loop {
            match self.enrol(token).await {
                Ok(tls) => break tls,
                Err(trouble) => self.pause(&mut backoff, &trouble).await,
            }
        };
        self.crowd.change(|state| state.enrolled += 1);
        backoff.reset();
        loop {
            if let Err(trouble) = self.session(&tls, &mut backoff).await {
                self.pause(&mut backoff, &trouble).await;
            }
        }
    }

    async fn pause(&self, backoff: &mut Backoff, trouble: &Trouble) {
        self.crowd.change(|state| state.trouble = trouble.to_string());
        sleep(backoff.next(random())).await;
    }

    async fn enrol(&self, token: &str) -> Result<Arc<ClientConfig>, Trouble> {
        let token: JoinToken = token.parse()?;
        let key = MachineKey::make()?;
        let trust = Trust::Pinned(token.fingerprint);
        let mut frames = self.dial(client_config(trust, None)?, ConnectionKind::Enrolment).await?;
        let request = key.request(&self.name())?;
        let proof = Proof::Token { id: token.id, secret: token.secret };
        send(&mut frames, &Enrol { request, name: self.name(), proof }).await?;
        match receive(&mut frames).await? {
            EnrolAnswer::Enrolled { certificate, .. } => {
                let identity = Identity { certificate: &certificate, key: &key };
                Ok(client_config(trust, Some(identity))?)
            }
            EnrolAnswer::Refused { reason } => Err(reason.into()),
            EnrolAnswer::Waiting { .. } => Err("a token is answered at once".into()),
        }
    }

    /// One connection, until it ends.
    async fn session(&self, tls: &Arc<ClientConfig>, backoff: &mut Backoff) -> Result<(), Trouble> {
        let mut frames = self.dial(Arc::clone(tls), ConnectionKind::Control).await?;
        send(&mut frames, &ToManager::Join(Box::new(self.introduction()))).await?;
        let welcome = timeout(DIAL_LIMIT, receive(&mut frames)).await??;
        let ToWorker::Welcome { heartbeat_ms, .. } = welcome else {
            return Err(format!("{welcome:?}").into());
        };
        backoff.reset();
        self.crowd.change(|state| state.connected += 1);
        let ended = beat(&mut frames, heartbeat_ms).await;
        self.crowd.change(|state| state.connected -= 1);
        ended
    }

    async fn dial(&self, tls: Arc<ClientConfig>, kind: ConnectionKind) -> Result<Frames, Trouble> {
        let socket = timeout(DIAL_LIMIT, TcpStream::connect(self.manager)).await??;
        socket.set_nodelay(true)?;
        let shake = TlsConnector::from(tls).connect(server_name(), socket);
        let mut stream = timeout(DIAL_LIMIT, shake).await??;
        let greet = async {
            stream.write_all(&hello::from_worker(kind)).await?;
            stream.flush().await?;
            let mut answer = [0; HELLO_BYTES];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = timeout(DIAL_LIMIT, greet).await??;
        hello::on_worker(&answer)?;
        let frames = LengthDelimitedCodec::builder()
            .little_endian()
            .length_field_type::<u32>()
            .max_frame_length(MESSAGE_MAX_BYTES)
            .new_framed(stream);
        Ok(frames)
    }

    fn name(&self) -> String {
        format!("fake-{:04}", self.number)
    }

    fn introduction(&self) -> Join {
        Join {
            name: self.name(),
            capacity: Capacity {
                cpu_millis: 4000,
                ram_mib: 8192,
                disk_mib: 2048,
                gpus: Vec::new(),
            },
            isolation: Isolation::Full,
            isolation_notes: vec!["a machine that is not there".to_owned()],
            labels: ["python3", "python3.12", "gcc"].map(str::to_owned).into(),
            attempts: Vec::new(),
            speed: Speed { core_permille: 1000, all_permille: 4000 },
            shares: Shares {
                phase: Phase::Open,
                why: String::new(),
                since_ms: 0,
                limits: Limits::default(),
            },
        }
    }
}

/// Says that it lives, as often as it was asked to and a tenth more or less, until the connection ends.
async fn beat(frames: &mut Frames, heartbeat_ms: u32) -> Result<(), Trouble> {
    let pause = || {
        let permille = 900 + u64::from(random() % 200);
        Duration::from_millis(u64::from(heartbeat_ms) * permille / 1000)
    };
    let mut due = Instant::now();
    let mut sequence = 0;
    loop {
        tokio::select! {
            () = sleep_until(due) => {
                sequence += 1;
                let (attempts, load) = (Vec::new(), Load::default());
                send(frames, &ToManager::Heartbeat { sequence, attempts, load }).await?;
                due = Instant::now() + pause();
            }
            message = receive::<ToWorker>(frames) => {
                if let ToWorker::Closing { reason, .. } = message? {
                    return Err(reason.into());
                }
            }
        }
    }
}

async fn send(frames: &mut Frames, message: &impl Serialize) -> Result<(), Trouble> {
    Ok(frames.send(frame::encode(message)?).await?)
}

async fn receive<T: DeserializeOwned>(frames: &mut Frames) -> Result<T, Trouble> {
    let payload = frames.next().await.ok_or("the connection has ended")??;
    Ok(frame::decode(&payload)?)
}
