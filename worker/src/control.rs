//! The owner's own line to the worker: a socket on this machine, one question and one answer each, as
//! lines of JSON.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_protocol::rules::ByHand;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::disk::make_private;
use crate::status::Status;

/// The socket's name, wherever it lies.
const SOCKET: &str = "control.sock";
/// Where systemd makes a place for that of the service.
pub const SERVICE_DIR: &str = "/run/campusgrid-worker";

/// Longest line in either direction. Bytes.
const LINE_MAX_BYTES: u64 = 1 << 20;
/// Questions at once: the owner has few hands.
const CONNECTIONS: usize = 8;
/// Questions on their way to whoever answers.
const QUESTIONS: usize = 8;
/// A question and its answer take at most so long.
const LIMIT: Duration = Duration::from_secs(10);
/// After a question that could not be taken.
const REST: Duration = Duration::from_secs(1);

/// What the owner wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "want", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    Status,
    /// Says something by hand; none: whatever the rules say.
    ByHand {
        by_hand: Option<ByHand>,
    },
    /// Hands an attempt back, written as people write it.
    Stop {
        attempt: String,
    },
}

/// What the worker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How the machine stands, after what was asked for.
    Status(Box<Status>),
    Refused(String),
}

/// A question with the way back for its answer.
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// Why the worker cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("no worker runs here: there is no {path}; is its --data-dir another one?")]
    NoWorker { path: PathBuf },
    #[error(
        "{path} is not for this user: call it with sudo, or join its group: \
         sudo usermod -aG campusgrid $USER, then log in anew"
    )]
    Forbidden { path: PathBuf },
    #[error("failed to reach the worker at {path}")]
    Connect { path: PathBuf, source: io::Error },
    #[error("the worker broke off")]
    Ask { source: io::Error },
    #[error("the worker does not answer")]
    Silent,
    #[error("the worker's answer makes no sense; is it of another version?")]
    Answer { source: serde_json::Error },
    #[error("{0}")]
    Refused(String),
}

/// Where the worker listens.
#[derive(Debug)]
pub(crate) struct Door {
    listener: Option<UnixListener>,
    path: PathBuf,
}

impl Door {
    /// Listens in the service's place, for its group; or in the data directory, for its user alone.
    ///
    /// A worker that cannot be asked works all the same.
    pub(crate) fn open(data_dir: &Path, runtime_dir: Option<&Path>) -> Self {
        let (folder, mode) = runtime_dir.map_or((data_dir, 0o600), |runtime| (runtime, 0o660));
        let path = folder.join(SOCKET);
        let listener = listen(data_dir, &path, mode)
            .inspect_err(|error| {
                warn!("this worker cannot be asked or paused at {}: {error}", path.display());
            })
            .ok();
        Self { listener, path }
    }

    /// One at which nobody can ask.
    pub(crate) fn closed() -> Self {
        Self { listener: None, path: PathBuf::new() }
    }

    /// Passes questions on until `shutdown`.
    pub(crate) async fn serve(self, asked: mpsc::Sender<Asked>, shutdown: CancellationToken) {
        let Some(listener) = &self.listener else { return };
        let room = std::sync::Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let taken = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                taken = room.clone().acquire_owned() => taken,
            };
            let Ok(taken) = taken else { break };
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let asked = asked.clone();
            match accepted {
                Ok((stream, _)) => drop(tokio::spawn(async move {
                    if timeout(LIMIT, answer(stream, asked)).await.is_err() {
                        debug!("a question took too long");
                    }
                    drop(taken);
                })),
                Err(error) => {
                    // Out of files, for a moment.
                    debug!("failed to take a question: {error}");
                    sleep(REST).await;
                }
            }
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// For questions on their way.
pub(crate) fn questions() -> (mpsc::Sender<Asked>, mpsc::Receiver<Asked>) {
    mpsc::channel(QUESTIONS)
}

/// Binds where nobody else may enter and moves the socket to its place, so that it is never open to
/// more people than it should be.
fn listen(data_dir: &Path, path: &Path, mode: u32) -> io::Result<UnixListener> {
    let private = data_dir.join("control");
    make_private(&private)?;
    let new = private.join("new.sock");
    let _ = fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(mode))?;
    // The runtime directory may be another file system.
    if fs::rename(&new, path).is_ok() {
        return Ok(listener);
    }
    drop(listener);
    let _ = fs::remove_file(&new);
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}

/// One question and its answer.
async fn answer(stream: UnixStream, asked: mpsc::Sender<Asked>) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let read = BufReader::new(read.take(LINE_MAX_BYTES)).read_line(&mut line).await;
    if read.is_err() {
        return;
    }
    let answered = match serde_json::from_str(&line) {
        Err(error) => Answer::Refused(format!("not a question: {error}")),
        Ok(question) => {
            let (answer, answered) = oneshot::channel();
            if asked.send(Asked { question, answer }).await.is_err() {
                return;
            }
            let Ok(answered) = answered.await else { return };
            answered
        }
    };
    let mut text = serde_json::to_vec(&answered).expect("strings, numbers and lists have a form");
    text.push(b'\n');
    let _ = write.write_all(&text).await;
}

/// Asks the worker with this data directory, or where there is none the service.
///
/// # Errors
///
/// When there is none, it cannot be reached, or it refuses.
pub async fn ask(data_dir: &Path, question: &Question) -> Result<Status, ControlError> {
    let [own, service] = [data_dir, Path::new(SERVICE_DIR)].map(|folder| folder.join(SOCKET));
    match ask_at(&own, question).await {
        Err(ControlError::NoWorker { path }) => match ask_at(&service, question).await {
            Err(ControlError::NoWorker { .. }) => Err(ControlError::NoWorker { path }),
            answer => answer,
        },
        answer => answer,
    }
}

async fn ask_at(path: &Path, question: &Question) -> Result<Status, ControlError> {
    let path = path.to_owned();
    let stream = UnixStream::connect(&path).await.map_err(|source| {
        // One that has crashed leaves its socket behind.
        if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
            ControlError::NoWorker { path }
        } else if source.kind() == ErrorKind::PermissionDenied {
            ControlError::Forbidden { path }
        } else {
            ControlError::Connect { path, source }
        }
    })?;
    timeout(LIMIT, put(stream, question)).await.map_err(|_| ControlError::Silent)?
}

async fn put(mut stream: UnixStream, question: &Question) -> Result<Status, ControlError> {
    let mut line = serde_json::to_vec(question).expect("words and numbers have a form");
    line.push(b'\n');
    let broke = |source| ControlError::Ask { source };
    stream.write_all(&line).await.map_err(broke)?;
    let mut text = String::new();
    stream.take(LINE_MAX_BYTES).read_to_string(&mut text).await.map_err(broke)?;
    match serde_json::from_str(&text).map_err(|source| ControlError::Answer { source })? {
        Answer::Status(status) => Ok(*status),
        Answer::Refused(why) => Err(ControlError::Refused(why)),
    }
}
