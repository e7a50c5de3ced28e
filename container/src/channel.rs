//! The worker's end of a container's streams.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use futures_util::{Stream, StreamExt};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::wire::{Decoder, FRAME_BYTES_MAX, Frame, Kind, PIECE_BYTES, encode};

/// What an engine takes to pass some bytes on is far below this.
const SENDING: Duration = Duration::from_secs(30);
/// Kept of what the helper says when it fails. Bytes.
const SAID_BYTES: usize = 4096;

/// The streams are at their end, or hold what no helper sends: the container is of no more use.
#[derive(Debug)]
pub(crate) struct Lost {
    /// What was seen, in words.
    pub(crate) why: String,
}

pub(crate) struct Channel {
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>,
    input: Pin<Box<dyn AsyncWrite + Send>>,
    decoder: Decoder,
    said: Vec<u8>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

impl Channel {
    pub(crate) fn new(streams: AttachContainerResults) -> Self {
        let AttachContainerResults { output, input } = streams;
        Self { output, input, decoder: Decoder::default(), said: Vec::new() }
    }

    /// The next frame; can be cancelled at any time without losing one.
    pub(crate) async fn next(&mut self) -> Result<Frame, Lost> {
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(error) => return Err(Lost { why: error.to_string() }),
            }
            match self.output.next().await {
                Some(Ok(LogOutput::StdOut { message })) => self.decoder.push(&message),
                Some(Ok(LogOutput::StdErr { message })) => {
                    let room = SAID_BYTES.saturating_sub(self.said.len());
                    self.said.extend_from_slice(&message[..message.len().min(room)]);
                }
                Some(Ok(LogOutput::StdIn { .. } | LogOutput::Console { .. })) => {
                    return Err(Lost { why: "its streams are mixed up".to_owned() });
                }
                Some(Err(error)) => return Err(Lost { why: error.to_string() }),
                None => return Err(Lost { why: "its streams have ended".to_owned() }),
            }
        }
    }

    /// Whether nothing has come that nobody has asked for, the end of the streams included.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        // One look, without waiting: `timeout` polls before it looks at the time.
        timeout(Duration::ZERO, self.next()).await.is_err()
    }

    pub(crate) async fn send(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Lost> {
        if payload.len() > FRAME_BYTES_MAX {
            return Err(Lost { why: format!("{} bytes are too many for it", payload.len()) });
        }
        let mut bytes = Vec::with_capacity(payload.len() + 8);
        encode(kind, payload, &mut bytes);
        self.write(&bytes).await
    }

    /// Sends the contents of files in pieces.
    pub(crate) async fn send_contents(&mut self, contents: &[u8]) -> Result<(), Lost> {
        for piece in contents.chunks(PIECE_BYTES) {
            self.send(Kind::Content, piece).await?;
        }
        Ok(())
    }

    /// Sends a file of this length in pieces.
    pub(crate) async fn send_file(&mut self, path: &Path, length: u64) -> Result<(), Lost> {
        let failed = |error: io::Error| Lost { why: format!("{}: {error}", path.display()) };
        let mut file = File::open(path).await.map_err(failed)?.take(length);
        let (mut missing, mut piece) = (length, vec![0; PIECE_BYTES]);
        while missing > 0 {
            let read = file.read(&mut piece).await.map_err(failed)?;
            if read == 0 {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            self.send(Kind::Content, &piece[..read]).await?;
            missing -= read as u64;
        }
        Ok(())
    }

    /// What the helper has said on its way out, on one line; empty as a rule.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.said).trim().escape_debug().to_string()
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let written = timeout(SENDING, async {
            self.input.write_all(bytes).await?;
            self.input.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Lost { why: error.to_string() }),
            Err(_) => Err(Lost { why: "it does not read".to_owned() }),
        }
    }
}
