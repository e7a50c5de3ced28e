//! The daemon's end of the socket: who may ask, how much and how long, and what is done.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use campusgrid_core::policy::Admission;
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::{LOCAL, Role, User};
use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_protocol::id::UserId;
use campusgrid_protocol::rest::accounts::password_problem;
use nix::unistd::geteuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::message::{Answer, LINE_MAX, Order};
use super::place::Place;
use super::places::Places;
use crate::books::BooksHandle;
use crate::clock::Clock;
use crate::engine::handle::EngineHandle;
use crate::readers::Readers;
use crate::vouchers::{self, HOURS_MAX, Terms, USES_MAX};
use crate::web::{PasswordCosts, hash_now};

/// Connections at once: one person types.
const CONNECTIONS_MAX: usize = 4;

/// An order must be here within this time, and its answer taken.
const LINE_WITHIN: Duration = Duration::from_secs(5);

/// What the socket's orders are carried out with.
#[derive(Debug, Clone)]
pub struct Admin {
    pub data_dir: PathBuf,
    /// Where what is made here is used.
    pub places: Places,
    pub engine: EngineHandle,
    pub readers: Readers,
    pub books: BooksHandle,
    pub passwords: PasswordCosts,
    pub fingerprint: Fingerprint,
    pub clock: Clock,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{} is in the way and no socket: remove it", path.display())]
    InTheWay { path: PathBuf },
    #[error("failed to listen on {}", path.display())]
    Listen { path: PathBuf, source: io::Error },
}

/// What an order that is not carried out is answered with, in words.
type Outcome = Result<Answer, String>;

impl Admin {
    /// Listens on the socket. Whoever calls holds the data directory's lock, so that a socket that lies
    /// there is of a daemon that was killed.
    ///
    /// # Errors
    ///
    /// `InTheWay` and `Listen`.
    pub fn listen(&self) -> Result<UnixListener, ServeError> {
        let listen = || {
            let place = Place::of(&self.data_dir)?;
            match fs::symlink_metadata(&place.path) {
                Ok(found) if found.file_type().is_socket() => fs::remove_file(&place.path)?,
                Ok(_) => return Ok(Err(ServeError::InTheWay { path: place.path })),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            // The directory is closed to others, so that nobody gets in between these two.
            let listener = UnixListener::bind(&place.path)?;
            fs::set_permissions(&place.path, Permissions::from_mode(0o600))?;
            Ok(Ok(listener))
        };
        listen().unwrap_or_else(|source| {
            Err(ServeError::Listen { path: self.data_dir.join("manager.sock"), source })
        })
    }

    /// Answers until `shutdown`, then removes the socket.
    pub async fn serve(self, listener: UnixListener, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await;
                    (place, listener.accept().await)
                } => accepted,
            };
            let (place, Ok((stream, _))) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (admin, shutdown) = (self.clone(), shutdown.clone());
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => {}
                    () = admin.connection(stream) => {}
                }
                drop(place);
            });
        }
        if let Ok(place) = Place::of(&self.data_dir) {
            drop(fs::remove_file(place.path)); // The next start would.
        }
    }

    async fn connection(&self, mut stream: UnixStream) {
        // The socket's mode says the same; this says it of whom the kernel knows to be there.
        let us = geteuid().as_raw();
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == us || peer.uid() == 0 => {}
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "refused another user on the local socket");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the system does not say who is on the local socket");
                return;
            }
        }
        let order = match timeout(LINE_WITHIN, read(&mut stream)).await {
            Ok(Ok(order)) => order,
            Ok(Err(reason)) => return answer(&mut stream, &Answer::Refused { reason }).await,
            Err(_) => return,
        };
        tracing::info!(?order, "an order on the local socket");
        let done = self.carry_out(order).await;
        let done = done.unwrap_or_else(|reason| Answer::Refused { reason });
        answer(&mut stream, &done).await;
    }

    async fn carry_out(&self, order: Order) -> Outcome {
        match order {
            Order::Token { user, uses, hours } => {
                let owner = self.user(user).await?;
                let terms = self.terms(LOCAL, uses, hours)?;
                let token =
                    vouchers::join_token(&self.engine, self.fingerprint, owner.id, terms).await;
                let token = token.map_err(|error| error.to_string())?;
                let note = format!(
                    "joins {uses} machine(s) as {}'s within {hours} h: campusgrid-worker {} --token \
                     {token}",
                    owner.name,
                    self.places.worker_flags()
                );
                Ok(Answer::Done { value: token.to_string(), notes: vec![note] })
            }
            Order::Invite { uses, hours } => {
                let operators = self.readers.read(|reader| reader.operators()).await;
                let operators = operators.map_err(|error| error.to_string())?;
                let by = operators.first().ok_or(
                    "nobody is an operator yet, and invitations are theirs: campusgrid-manager role \
                     NAME operator makes one",
                )?;
                let terms = self.terms(by.id, uses, hours)?;
                match self.engine.policy().admission {
                    Admission::Open | Admission::Invitation => {}
                    Admission::Closed => {
                        return Err("registration is closed, so that nobody could use an \
                                    invitation: set dashboard.registration to \"invitation\" and \
                                    start the manager anew"
                            .to_owned());
                    }
                }
                let invitation = vouchers::invitation(&self.engine, terms).await;
                let invitation = invitation.map_err(|error| error.to_string())?;
                let note = format!(
                    "lets {uses} person(s) register within {hours} h: {}/register?invitation={invitation}",
                    self.places.dashboard
                );
                Ok(Answer::Done { value: invitation.to_string(), notes: vec![note] })
            }
            Order::Role { user, role } => self.role(user, &role).await,
            Order::Password { user, password } => self.password(user, password).await,
            Order::Books {} => {
                let checked = self.books.check().await.map_err(|error| error.to_string())?;
                self.engine.shown().await; // Whoever asks for the health next is told the same.
                if !checked.broken.is_empty() {
                    return Ok(Answer::Bad { findings: checked.broken });
                }
                let mut notes = checked.notes;
                notes.insert(0, format!("the books balance; {} transfers", checked.transfers));
                Ok(Answer::Done { value: String::new(), notes })
            }
        }
    }

    async fn role(&self, user: String, role: &str) -> Outcome {
        let role = match role {
            "member" => Role::Member,
            "operator" => Role::Operator,
            _ => return Err("a role is member or operator".to_owned()),
        };
        let user = self.user(user).await?;
        let set = self.engine.set_role(LOCAL, user.id, role).await;
        set.map_err(|error| error.to_string())?;
        let what = match role {
            Role::Member => "a member",
            Role::Operator => "an operator",
        };
        let notes = vec![format!("{} is {what} now", user.name)];
        Ok(Answer::Done { value: String::new(), notes })
    }

    async fn password(&self, user: String, password: String) -> Outcome {
        if let Some(problem) = password_problem(&password, &user) {
            return Err(format!("the password {problem}"));
        }
        let user = self.user(user).await?;
        let costs = self.passwords;
        let hashing = tokio::task::spawn_blocking(move || hash_now(costs, &password)).await;
        let hash = hashing.map_err(|_| "the manager is stopping".to_owned())?;
        let hash = hash.map_err(|error| error.to_string())?;
        let changed = self.engine.change_password(user.id, hash, None).await;
        changed.map_err(|error| error.to_string())?;
        let notes = vec![format!(
            "{} has a new password; all their logins are closed, and their API tokens have ended",
            user.name
        )];
        Ok(Answer::Done { value: String::new(), notes })
    }

    async fn user(&self, name: String) -> Result<User, String> {
        let unknown = format!("nobody is registered as {name:?}");
        let found = self.readers.read(move |reader| reader.user_by_name(&name)).await;
        found.map_err(|error| error.to_string())?.ok_or(unknown)
    }

    fn terms(&self, by: UserId, uses: u32, hours: u32) -> Result<Terms, String> {
        if !(1..=USES_MAX).contains(&uses) {
            return Err(format!("uses must be 1 to {USES_MAX}"));
        }
        if !(1..=HOURS_MAX).contains(&hours) {
            return Err(format!("hours must be 1 to {HOURS_MAX}"));
        }
        let until: Timestamp = self.clock.now().plus_ms(u64::from(hours) * 3_600_000);
        Ok(Terms { by, uses, until })
    }
}

/// One line, and no more than a line may have.
async fn read(stream: &mut UnixStream) -> Result<Order, String> {
    let mut line = Vec::new();
    let read = BufReader::new(stream.take(LINE_MAX)).read_until(b'\n', &mut line).await;
    read.map_err(|error| format!("the order cannot be read: {error}"))?;
    if line.last() != Some(&b'\n') {
        return Err(format!("an order is one line of at most {LINE_MAX} bytes"));
    }
    // What is wrong with it is not repeated: it may hold a password.
    serde_json::from_slice(&line).map_err(|error| {
        format!("this is no order that this version knows (line 1, column {})", error.column())
    })
}

async fn answer(stream: &mut UnixStream, answer: &Answer) {
    let mut line = serde_json::to_string(answer).expect("an answer has no odd parts");
    line.push('\n');
    // Whoever asked may have gone.
    drop(timeout(LINE_WITHIN, stream.write_all(line.as_bytes())).await);
}
