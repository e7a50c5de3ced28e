//! The fixed 16 bytes that open every connection, laid out by hand, so that a mismatch of versions
//! yields a sentence rather than garbage.
//!
//! ```text
//! worker → manager   "CGRD"  version_min u16  version_max u16  kind u8   7 × 0
//! manager → worker   "CGRD"  version_min u16  version_max u16  chosen u16 (0: none)  6 × 0
//! ```
//!
//! Integers are little-endian. A later version may give the zeros a meaning.

use crate::message::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};

/// Bytes of a hello, either way.
pub const HELLO_BYTES: usize = 16;

const MAGIC: [u8; 4] = *b"CGRD";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionKind {
    Control,
    Bulk,
}

/// Why two ends cannot talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    #[error("the other end does not speak CampusGrid")]
    NotCampusGrid,
    #[error(
        "worker speaks protocol {worker_min} to {worker_max}, manager {manager_min} to {manager_max}"
    )]
    Version { worker_min: u16, worker_max: u16, manager_min: u16, manager_max: u16 },
    #[error("kind of connection {kind} is unknown")]
    Kind { kind: u8 },
}

/// The hello that a worker sends.
pub fn from_worker(kind: ConnectionKind) -> [u8; HELLO_BYTES] {
    let mut bytes = [0; HELLO_BYTES];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..6].copy_from_slice(&PROTOCOL_VERSION_MIN.to_le_bytes());
    bytes[6..8].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    bytes[8] = match kind {
        ConnectionKind::Control => 1,
        ConnectionKind::Bulk => 2,
    };
    bytes
}

/// Reads a worker's hello and chooses the newest version that both ends speak.
///
/// # Errors
///
/// All of [`HelloError`].
pub fn on_manager(bytes: &[u8; HELLO_BYTES]) -> Result<(u16, ConnectionKind), HelloError> {
    if bytes[..4] != MAGIC {
        return Err(HelloError::NotCampusGrid);
    }
    let (worker_min, worker_max) = versions(bytes);
    let chosen = worker_max.min(PROTOCOL_VERSION);
    if chosen < worker_min.max(PROTOCOL_VERSION_MIN) {
        return Err(HelloError::Version {
            worker_min,
            worker_max,
            manager_min: PROTOCOL_VERSION_MIN,
            manager_max: PROTOCOL_VERSION,
        });
    }
    match bytes[8] {
        1 => Ok((chosen, ConnectionKind::Control)),
        2 => Ok((chosen, ConnectionKind::Bulk)),
        kind => Err(HelloError::Kind { kind }),
    }
}

/// The manager's answer to a hello; 0 for `chosen` turns it down.
pub fn from_manager(chosen: u16) -> [u8; HELLO_BYTES] {
    let mut bytes = [0; HELLO_BYTES];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..6].copy_from_slice(&PROTOCOL_VERSION_MIN.to_le_bytes());
    bytes[6..8].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    bytes[8..10].copy_from_slice(&chosen.to_le_bytes());
    bytes
}

/// Reads the manager's answer: the version to speak.
///
/// # Errors
///
/// `NotCampusGrid` and `Version`.
pub fn on_worker(bytes: &[u8; HELLO_BYTES]) -> Result<u16, HelloError> {
    if bytes[..4] != MAGIC {
        return Err(HelloError::NotCampusGrid);
    }
    match u16::from_le_bytes([bytes[8], bytes[9]]) {
        0 => {
            let (manager_min, manager_max) = versions(bytes);
            Err(HelloError::Version {
                worker_min: PROTOCOL_VERSION_MIN,
                worker_max: PROTOCOL_VERSION,
                manager_min,
                manager_max,
            })
        }
        chosen => Ok(chosen),
    }
}

fn versions(bytes: &[u8; HELLO_BYTES]) -> (u16, u16) {
    (u16::from_le_bytes([bytes[4], bytes[5]]), u16::from_le_bytes([bytes[6], bytes[7]]))
}
