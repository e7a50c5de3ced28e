//! One message in one frame's payload: bincode's standard configuration under a size limit.
//!
//! The length prefix (`u32`, little-endian) is `tokio_util`'s `LengthDelimitedCodec`, set up by
//! whoever owns the socket. No other file names the codec crate.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::input::MANIFEST_MAX_BYTES;
use crate::message::MESSAGE_MAX_BYTES;

/// Why a payload is not a message, or a message not a payload.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("message of {bytes} bytes is over the limit of {max}")]
    TooLong { bytes: usize, max: usize },
    #[error("{trailing} bytes are left over after the message")]
    Trailing { trailing: usize },
    #[error("payload of {bytes} bytes is no message")]
    Decode { bytes: usize, source: bincode::error::DecodeError },
    #[error("message cannot be encoded")]
    Encode { source: bincode::error::EncodeError },
}

/// The limit stops a lying length inside a message before anything is allocated for it.
type Codec<const MAX_BYTES: usize> = bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<MAX_BYTES>,
>;

/// Encodes one message as a frame's payload.
///
/// # Errors
///
/// `TooLong` over [`MESSAGE_MAX_BYTES`]; `Encode` for a type that bincode cannot express.
pub fn encode<M: Serialize>(message: &M) -> Result<Bytes, FrameError> {
    within::<M, MESSAGE_MAX_BYTES>(message).map(Bytes::from)
}

/// Decodes a frame's payload, all of it, as one message.
///
/// # Errors
///
/// `TooLong`, `Decode` and `Trailing`, each of which ends the session.
pub fn decode<M: DeserializeOwned>(payload: &[u8]) -> Result<M, FrameError> {
    from::<M, MESSAGE_MAX_BYTES>(payload)
}

/// Encodes what does not travel in a frame but as a blob.
///
/// # Errors
///
/// `TooLong` over [`MANIFEST_MAX_BYTES`]; `Encode`.
pub(crate) fn encode_manifest<M: Serialize>(manifest: &M) -> Result<Vec<u8>, FrameError> {
    within::<M, MANIFEST_MAX_BYTES>(manifest)
}

/// Decodes what [`encode_manifest`] has made.
///
/// # Errors
///
/// `TooLong`, `Decode` and `Trailing`.
pub(crate) fn decode_manifest<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, FrameError> {
    from::<M, MANIFEST_MAX_BYTES>(bytes)
}

fn within<M: Serialize, const MAX: usize>(message: &M) -> Result<Vec<u8>, FrameError> {
    let codec: Codec<MAX> = bincode::config::standard().with_limit::<MAX>();
    let bytes = bincode::serde::encode_to_vec(message, codec)
        .map_err(|source| FrameError::Encode { source })?;
    if bytes.len() > MAX {
        return Err(FrameError::TooLong { bytes: bytes.len(), max: MAX });
    }
    Ok(bytes)
}

fn from<M: DeserializeOwned, const MAX: usize>(payload: &[u8]) -> Result<M, FrameError> {
    let bytes = payload.len();
    if bytes > MAX {
        return Err(FrameError::TooLong { bytes, max: MAX });
    }
    let codec: Codec<MAX> = bincode::config::standard().with_limit::<MAX>();
    let (message, read) = bincode::serde::decode_from_slice(payload, codec)
        .map_err(|source| FrameError::Decode { bytes, source })?;
    match bytes - read {
        0 => Ok(message),
        trailing => Err(FrameError::Trailing { trailing }),
    }
}

#[cfg(test)]
mod tests;
