//! One message in one frame's payload: bincode's standard configuration under a size limit.
//!
//! The length prefix (`u32`, little-endian) is `tokio_util`'s `LengthDelimitedCodec`, set up by
//! whoever owns the socket. No other file names the codec crate.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message::MESSAGE_MAX_BYTES;

/// Why a payload is not a message, or a message not a payload.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("message of {bytes} bytes is over the limit of {MESSAGE_MAX_BYTES}")]
    TooLong { bytes: usize },
    #[error("{trailing} bytes are left over after the message")]
    Trailing { trailing: usize },
    #[error("payload of {bytes} bytes is no message")]
    Decode { bytes: usize, source: bincode::error::DecodeError },
    #[error("message cannot be encoded")]
    Encode { source: bincode::error::EncodeError },
}

// The limit stops a lying length inside a message before anything is allocated for it.
const CODEC: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<MESSAGE_MAX_BYTES>,
> = bincode::config::standard().with_limit::<MESSAGE_MAX_BYTES>();

/// Encodes one message as a frame's payload.
///
/// # Errors
///
/// `TooLong` over [`MESSAGE_MAX_BYTES`]; `Encode` for a type that bincode cannot express.
pub fn encode<M: Serialize>(message: &M) -> Result<Bytes, FrameError> {
    let bytes = bincode::serde::encode_to_vec(message, CODEC)
        .map_err(|source| FrameError::Encode { source })?;
    if bytes.len() > MESSAGE_MAX_BYTES {
        return Err(FrameError::TooLong { bytes: bytes.len() });
    }
    Ok(Bytes::from(bytes))
}

/// Decodes a frame's payload, all of it, as one message.
///
/// # Errors
///
/// `TooLong`, `Decode` and `Trailing`, each of which ends the session.
pub fn decode<M: DeserializeOwned>(payload: &[u8]) -> Result<M, FrameError> {
    let bytes = payload.len();
    if bytes > MESSAGE_MAX_BYTES {
        return Err(FrameError::TooLong { bytes });
    }
    let (message, read) = bincode::serde::decode_from_slice(payload, CODEC)
        .map_err(|source| FrameError::Decode { bytes, source })?;
    match bytes - read {
        0 => Ok(message),
        trailing => Err(FrameError::Trailing { trailing }),
    }
}

#[cfg(test)]
mod tests;
