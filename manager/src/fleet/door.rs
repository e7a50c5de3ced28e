//! Lets a connection in: TLS, the certificate that comes with it, and the hellos.

use std::time::{Duration, SystemTime};

use campusgrid_core::worker::KeyHash;
use campusgrid_identity::machine::{Term, key_hash};
use campusgrid_protocol::hello::{self, ConnectionKind, HELLO_BYTES, HelloError};
use campusgrid_protocol::message::MESSAGE_MAX_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::LengthDelimitedCodec;

use super::strangers::Place;
use super::wire::Wire;
use super::{Fleet, FleetError, Frames, INTRODUCTION, introduction};

/// The first byte of a TLS connection: a handshake's record (RFC 8446).
const TLS_HANDSHAKE: u8 = 22;

/// How long the last words to a peer may take to get there.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is read of a peer meanwhile. Bytes.
const FAREWELL_MAX_BYTES: u64 = 1 << 20;

/// A connection, its purpose, and who is at its other end.
pub(super) struct Guest {
    pub(super) frames: Frames,
    pub(super) wire: Wire,
    pub(super) kind: ConnectionKind,
    pub(super) place: Place,
    /// X.509, DER; one of ours, and in date.
    certificate: Option<Vec<u8>>,
}

/// What a connection has said of itself.
struct Introduced {
    frames: Frames,
    wire: Wire,
    kind: ConnectionKind,
    certificate: Option<Vec<u8>>,
}

/// A machine that has joined.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) key_hash: KeyHash,
    /// When its certificate is out of date.
    pub(super) until: SystemTime,
}

impl Guest {
    /// Whom the certificate names.
    pub(super) fn member(&self) -> Result<Member, FleetError> {
        let certificate = self.certificate.as_deref().ok_or(FleetError::NoCertificate)?;
        let key_hash = key_hash(certificate).map_err(FleetError::Certificate)?;
        let Term { until, .. } = Term::of(certificate).map_err(FleetError::Certificate)?;
        Ok(Member { key_hash, until })
    }
}

impl Fleet {
    pub(super) async fn let_in(
        &self,
        stream: TcpStream,
        place: Place,
    ) -> Result<Guest, FleetError> {
        let introduced = introduction(self.introduce(stream, &place));
        let Introduced { frames, wire, kind, certificate } = place.staying(introduced).await???;
        Ok(Guest { frames, wire, kind, place, certificate })
    }

    async fn introduce(
        &self,
        mut stream: TcpStream,
        place: &Place,
    ) -> Result<Introduced, FleetError> {
        stream.set_nodelay(true)?;
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(FleetError::Connection(std::io::ErrorKind::UnexpectedEof.into()));
        }
        match first {
            [TLS_HANDSHAKE] => {}
            [hello::FIRST_BYTE] => return Err(refuse_in_the_clear(&mut stream).await),
            _ => return Err(FleetError::NotTls),
        }
        // Not before: whoever says nothing takes no turn from others.
        let turn = place.turn().await;
        let patience = turn.as_ref().map_or(INTRODUCTION, |turn| turn.patience);
        let seconds = patience.as_secs();
        let shaken = timeout(patience, self.shake_hands(stream)).await;
        shaken.map_err(|_| FleetError::Silence { seconds })?
    }

    async fn shake_hands(&self, stream: TcpStream) -> Result<Introduced, FleetError> {
        let mut stream = match self.acceptor.accept(stream).into_fallible().await {
            Ok(stream) => stream,
            Err((error, mut stream)) => {
                // It says what is wrong; a connection that is reset would swallow that.
                see_out(&mut stream).await;
                return Err(FleetError::Handshake(error));
            }
        };
        let (version, kind) = match greet(&mut stream).await {
            Ok(heard) => heard,
            Err(error) => {
                see_out(&mut stream).await;
                return Err(error);
            }
        };
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = shown.map(|certificate| certificate.to_vec());
        let frames = LengthDelimitedCodec::builder()
            .little_endian()
            .max_frame_length(MESSAGE_MAX_BYTES)
            .new_framed(stream);
        Ok(Introduced { frames, wire: Wire::of(version), kind, certificate })
    }
}

/// Tells a worker from before TLS that it is too old, in the words of its time.
async fn refuse_in_the_clear(stream: &mut TcpStream) -> FleetError {
    let mut bytes = [0; HELLO_BYTES];
    if let Err(error) = stream.read_exact(&mut bytes).await {
        return FleetError::Connection(error);
    }
    match hello::on_manager(&bytes) {
        Err(HelloError::NotCampusGrid) => FleetError::NotTls,
        Ok(_) | Err(HelloError::Version { .. } | HelloError::Kind { .. }) => {
            if let Err(error) = stream.write_all(&hello::from_manager(0)).await {
                return FleetError::Connection(error);
            }
            see_out(stream).await;
            FleetError::InTheClear
        }
    }
}

/// Exchanges hellos: the version to speak and what the connection is for.
async fn greet<S>(stream: &mut S) -> Result<(u16, ConnectionKind), FleetError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = [0; HELLO_BYTES];
    stream.read_exact(&mut bytes).await?;
    let heard = hello::on_manager(&bytes);
    let chosen = match &heard {
        Ok((version, _)) => *version,
        Err(HelloError::Version { .. } | HelloError::Kind { .. }) => 0,
        Err(error @ HelloError::NotCampusGrid) => return Err((*error).into()),
    };
    stream.write_all(&hello::from_manager(chosen)).await?;
    stream.flush().await?;
    Ok(heard?)
}

/// Ends a connection so that what was said last arrives: were it closed with something unread, the
/// other end would see a reset in its place.
pub(super) async fn see_out<S>(stream: &mut S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let last = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(FAREWELL_MAX_BYTES), &mut tokio::io::sink()).await
    };
    // Who does not wait for it has no use for it.
    drop(timeout(FAREWELL, last).await);
}
