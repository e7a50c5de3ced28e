//! Frames between the worker and the helper in a container: kind, length, payload.

use std::io;

/// A frame is at most this long; an order is the longest. Bytes.
pub const FRAME_BYTES_MAX: usize = 8 << 20;
/// What is cut into pieces travels in pieces of this length. Bytes.
pub const PIECE_BYTES: usize = 32 << 10;

const HEADER_BYTES: usize = 5;

/// What a frame is; the number is its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To the helper: an [`crate::event::Order`] in JSON.
    Order = 1,
    /// To the helper: a piece of the contents of the task's files, one after another.
    Content = 2,
    /// To the helper: SIGTERM for the task's processes; no further step begins.
    Terminate = 3,
    /// To the helper: SIGKILL for the task's processes; no further step begins.
    Kill = 4,
    /// To the helper: the worker is alive.
    Ping = 5,
    /// To the helper: SIGUSR1 for the task's processes, whose time is soon over.
    Warn = 6,
    /// To the helper: SIGSTOP for the task's processes; no further step begins for now.
    Freeze = 7,
    /// To the helper: the task's processes go on.
    Thaw = 8,
    /// To the helper: what the task goes on from is to be sent, if it has changed since.
    Save = 9,
    /// To the helper: as [`Kind::Terminate`]; what the task goes on from is sent when it has ended.
    HandBack = 10,
    /// From the helper: an [`crate::event::Event`] in JSON.
    Event = 16,
    Stdout = 17,
    Stderr = 18,
    /// From the helper: a piece of the output file that was named last.
    Data = 19,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        const ALL: [Kind; 14] = [
            Kind::Order,
            Kind::Content,
            Kind::Terminate,
            Kind::Kill,
            Kind::Ping,
            Kind::Warn,
            Kind::Freeze,
            Kind::Thaw,
            Kind::Save,
            Kind::HandBack,
            Kind::Event,
            Kind::Stdout,
            Kind::Stderr,
            Kind::Data,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One frame as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub payload: Vec<u8>,
}

/// Appends a frame to `out`.
///
/// # Panics
///
/// If the payload is longer than [`FRAME_BYTES_MAX`]; callers check or cut.
pub fn encode(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    assert!(payload.len() <= FRAME_BYTES_MAX, "a frame of {} bytes", payload.len());
    out.push(kind as u8);
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(payload);
}

/// Takes frames out of a stream of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// How much of the buffer has been taken.
    taken: usize,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame.
    ///
    /// # Errors
    ///
    /// `InvalidData` for an unknown kind or a frame that is too long; the stream is then of no use.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        let rest = &self.buffer[self.taken..];
        let Some((header, rest)) = rest.split_at_checked(HEADER_BYTES) else { return Ok(None) };
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let kind = Kind::from_byte(header[0]).ok_or_else(|| invalid("an unknown frame"))?;
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(invalid("a frame that is too long"));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let payload = payload.to_vec();
        self.taken += HEADER_BYTES + length;
        Ok(Some(Frame { kind, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cutting() {
        let mut bytes = Vec::new();
        encode(Kind::Stdout, b"hello", &mut bytes);
        encode(Kind::Ping, b"", &mut bytes);
        encode(Kind::Data, &[0; 300], &mut bytes);
        for size in [1, 2, 7, 1000] {
            let mut decoder = Decoder::default();
            let mut frames = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    frames.push((frame.kind, frame.payload.len()));
                }
            }
            assert_eq!(frames, [(Kind::Stdout, 5), (Kind::Ping, 0), (Kind::Data, 300)]);
        }
    }

    #[test]
    fn strange_frames_are_refused() {
        for bytes in [[99, 0, 0, 0, 0], [17, 0, 0, 0, 255]] {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            assert!(decoder.next_frame().is_err());
        }
    }
}
