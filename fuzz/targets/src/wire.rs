//! What opens a connection and cuts it into messages: the hello of both sides, and frames.

use bytes::BytesMut;
use campusgrid_protocol::frame;
use campusgrid_protocol::hello::{HELLO_BYTES, from_manager, on_manager, on_worker};
use campusgrid_protocol::message::{
    MESSAGE_MAX_BYTES, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, ToManager,
};
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

use crate::{Verdict, choice};

/// Sixteen bytes, as each side reads those of the other.
pub fn hello(bytes: &[u8]) -> Verdict {
    let mut hello = [0; HELLO_BYTES];
    let length = bytes.len().min(HELLO_BYTES);
    hello[..length].copy_from_slice(&bytes[..length]);
    let answer = on_worker(&hello);
    assert!(answer.is_err() || answer == Ok(PROTOCOL_VERSION), "{answer:?}");
    let Ok((version, _kind)) = on_manager(&hello) else {
        return if answer.is_ok() { Verdict::Taken } else { Verdict::Refused };
    };
    let [min, max] = [4, 6].map(|at| u16::from_le_bytes([hello[at], hello[at + 1]]));
    assert!((min..=max).contains(&version), "the worker does not speak {version}");
    assert!((PROTOCOL_VERSION_MIN..=PROTOCOL_VERSION).contains(&version));
    let heard = on_worker(&from_manager(version));
    assert_eq!(heard.is_ok(), version == PROTOCOL_VERSION, "{heard:?}");
    Verdict::Taken
}

/// A stream of frames, cut wherever the network likes: the first byte says how.
pub fn frames(bytes: &[u8]) -> Verdict {
    let Some((cut, stream)) = choice(bytes) else { return Verdict::Refused };
    let whole = payloads(stream, stream.len().max(1));
    let pieces = payloads(stream, usize::from(cut) + 1);
    assert_eq!(whole, pieces, "frames depend on how the stream is cut");
    let mut verdict = Verdict::Refused;
    for payload in whole.0 {
        assert!(payload.len() <= MESSAGE_MAX_BYTES, "a frame of {} bytes", payload.len());
        if let Ok(message) = frame::decode::<ToManager>(&payload) {
            frame::encode(&message).expect("what was decoded can be encoded");
            verdict = Verdict::Taken;
        }
    }
    verdict
}

/// The frames of a stream that comes in pieces, and whether it breaks the rules in the end.
fn payloads(stream: &[u8], piece: usize) -> (Vec<BytesMut>, bool) {
    // As both sides set it up.
    let mut codec = LengthDelimitedCodec::builder()
        .little_endian()
        .max_frame_length(MESSAGE_MAX_BYTES)
        .new_codec();
    let (mut buffer, mut payloads) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(payload)) => payloads.push(payload),
                Ok(None) => break,
                Err(_) => return (payloads, true),
            }
        }
        // A length that lies must not make anybody set memory aside before its bytes have come.
        assert!(buffer.capacity() <= 2 * MESSAGE_MAX_BYTES + stream.len());
    }
    (payloads, false)
}
