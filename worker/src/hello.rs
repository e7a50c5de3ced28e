//! Opens a connection of any kind to the manager, up to the point where frames begin: TCP, TLS with
//! its check of who answers, hellos.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::machine::server_name;
use campusgrid_protocol::hello::{ConnectionKind, HELLO_BYTES, from_worker, on_worker};
use campusgrid_protocol::message::MESSAGE_MAX_BYTES;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::error::WorkerError;

/// For the connection, for TLS and for the hellos, each.
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

/// Where to dial, whom to believe there, and as whom.
#[derive(Debug, Clone)]
pub struct Door {
    pub(crate) manager: ManagerAddress,
    pub(crate) tls: Arc<ClientConfig>,
}

/// A connection on which both hellos were said.
pub(crate) type Frames = Framed<TlsStream<TcpStream>, LengthDelimitedCodec>;

/// Dials the manager and agrees on a version; tells who has answered.
///
/// # Errors
///
/// `Dial`, `Silence`, `Handshake`, `Greet`, `Hello`. Nothing was sent to somebody else than
/// the manager.
pub(crate) async fn dial(
    door: &Door,
    kind: ConnectionKind,
) -> Result<(Frames, Fingerprint), WorkerError> {
    let manager = &door.manager;
    let silence =
        |_| WorkerError::Silence { manager: manager.to_string(), limit_s: LIMIT.as_secs() };
    let connect = TcpStream::connect((manager.host.as_str(), manager.port));
    let failed = |source| WorkerError::Dial { manager: manager.to_string(), source };
    let socket = timeout(LIMIT, connect).await.map_err(silence)?.map_err(failed)?;
    // Without it a result waits for the acknowledgement of the frame before: 40 ms and more.
    socket.set_nodelay(true).map_err(failed)?;
    let shake = TlsConnector::from(Arc::clone(&door.tls)).connect(server_name(), socket);
    let failed = |source| WorkerError::Handshake { manager: manager.to_string(), source };
    let mut stream = timeout(LIMIT, shake).await.map_err(silence)?.map_err(failed)?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let fingerprint = Fingerprint::of_chain(chain).ok_or(WorkerError::Nobody)?;
    timeout(LIMIT, greet(&mut stream, kind)).await.map_err(silence)??;
    let frames = LengthDelimitedCodec::builder()
        .little_endian()
        .length_field_type::<u32>()
        .max_frame_length(MESSAGE_MAX_BYTES)
        .new_framed(stream);
    Ok((frames, fingerprint))
}

async fn greet(stream: &mut TlsStream<TcpStream>, kind: ConnectionKind) -> Result<(), WorkerError> {
    let failed = |source| WorkerError::Greet { source };
    stream.write_all(&from_worker(kind)).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut answer = [0; HELLO_BYTES];
    stream.read_exact(&mut answer).await.map_err(failed)?;
    on_worker(&answer).map_err(|source| WorkerError::Hello { source })?;
    Ok(())
}
