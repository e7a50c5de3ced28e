//! Opens a connection of either kind to the manager, up to the point where frames begin.

use std::time::Duration;

use campusgrid_protocol::hello::{ConnectionKind, HELLO_BYTES, from_worker, on_worker};
use campusgrid_protocol::message::MESSAGE_MAX_BYTES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::error::WorkerError;

/// For the connection and for the hellos, each.
const LIMIT: Duration = Duration::from_secs(10);

/// Where the manager listens for workers.
#[derive(Debug, Clone)]
pub struct ManagerAddress {
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for ManagerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A connection on which both hellos were said.
pub(crate) type Frames = Framed<TcpStream, LengthDelimitedCodec>;

/// Dials the manager and agrees on a version.
///
/// # Errors
///
/// `Dial`, `Silence`, `Send`, `Receive`, `Hello`.
pub(crate) async fn dial(
    manager: &ManagerAddress,
    kind: ConnectionKind,
) -> Result<Frames, WorkerError> {
    let silence =
        |_| WorkerError::Silence { manager: manager.to_string(), limit_s: LIMIT.as_secs() };
    let connect = TcpStream::connect((manager.host.as_str(), manager.port));
    let failed = |source| WorkerError::Dial { manager: manager.to_string(), source };
    let mut socket = timeout(LIMIT, connect).await.map_err(silence)?.map_err(failed)?;
    // Without it a result waits for the acknowledgement of the frame before: 40 ms and more.
    socket.set_nodelay(true).map_err(failed)?;
    timeout(LIMIT, greet(&mut socket, kind)).await.map_err(silence)??;
    let frames = LengthDelimitedCodec::builder()
        .little_endian()
        .length_field_type::<u32>()
        .max_frame_length(MESSAGE_MAX_BYTES)
        .new_framed(socket);
    Ok(frames)
}

async fn greet(socket: &mut TcpStream, kind: ConnectionKind) -> Result<(), WorkerError> {
    let send = |source| WorkerError::Send { source };
    socket.write_all(&from_worker(kind)).await.map_err(send)?;
    let mut answer = [0; HELLO_BYTES];
    let receive = |source| WorkerError::Receive { source };
    socket.read_exact(&mut answer).await.map_err(receive)?;
    on_worker(&answer).map_err(|source| WorkerError::Hello { source })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::hello::from_manager;
    use tokio::net::TcpListener;

    use super::*;

    /// Dials a manager that answers the hello with `answer`, then hangs up.
    async fn check(answer: &[u8], expected: &str) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut hello = [0; HELLO_BYTES];
            socket.read_exact(&mut hello).await.unwrap();
            socket.write_all(answer).await.unwrap();
        };
        let manager = ManagerAddress { host: "127.0.0.1".to_owned(), port };
        let (dialled, ()) = tokio::join!(dial(&manager, ConnectionKind::Control), serve);
        let error = anyhow::Error::new(dialled.map(drop).unwrap_err());
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }

    #[tokio::test]
    async fn a_manager_of_another_version_is_told_apart_in_words() {
        let mut newer = from_manager(0);
        newer[4..8].copy_from_slice(&[7, 0, 9, 0]);
        check(&newer, "worker speaks protocol 2 to 2, manager 7 to 9").await;
    }

    #[tokio::test]
    async fn what_is_no_manager_is_recognised_as_such() {
        check(b"HTTP/1.1 400 Bad", "does not speak CampusGrid").await;
        check(b"short", "failed to receive").await;
    }
}
