//! What is said, as the version that both ends have agreed on writes it.

use bytes::Bytes;
use campusgrid_core::input::Joined;
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::frame::{FrameError, decode, encode};
use campusgrid_protocol::message::{BulkToManager, BulkToWorker, Join, ToManager, ToWorker};
use campusgrid_protocol::task::LABEL_4;
use campusgrid_protocol::v4;

/// A version that is understood here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    V4,
    V5,
}

impl Wire {
    /// The one that the hellos have led to.
    pub(super) fn of(version: u16) -> Self {
        if version == v4::VERSION { Self::V4 } else { Self::V5 }
    }

    pub(super) fn to_manager(self, payload: &[u8]) -> Result<ToManager, FrameError> {
        match self {
            Self::V4 => decode::<v4::ToManager>(payload).map(ToManager::from),
            Self::V5 => decode(payload),
        }
    }

    /// Nothing, if that version has no words for it.
    pub(super) fn to_worker(self, message: ToWorker) -> Result<Option<Bytes>, FrameError> {
        match self {
            Self::V4 => v4::ToWorker::from_today(message).map(|old| encode(&old)).transpose(),
            Self::V5 => encode(&message).map(Some),
        }
    }

    /// The same in both.
    pub(super) fn bulk_to_manager(self, payload: &[u8]) -> Result<BulkToManager, FrameError> {
        match self {
            Self::V4 | Self::V5 => decode(payload),
        }
    }

    /// The same in both.
    pub(super) fn bulk_to_worker(self, message: &BulkToWorker) -> Result<Bytes, FrameError> {
        match self {
            Self::V4 | Self::V5 => encode(message),
        }
    }

    /// An introduction without what its version cannot have said, and with the label that jobs require
    /// for what every version here has words for.
    pub(super) fn joined(self, mut join: Join, key_hash: KeyHash) -> Joined {
        join.labels.retain(|label| label != LABEL_4);
        join.labels.push(LABEL_4.to_owned());
        let joined = Joined::from_join(join, key_hash);
        match self {
            Self::V4 => Joined { speed: None, shares: None, ..joined },
            Self::V5 => joined,
        }
    }
}
