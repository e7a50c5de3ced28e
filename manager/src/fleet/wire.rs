//! What is said, as the version that both ends have agreed on writes it.

use bytes::Bytes;
use campusgrid_protocol::frame::{FrameError, decode, encode};
use campusgrid_protocol::message::{BulkToManager, BulkToWorker, ToManager, ToWorker};
use campusgrid_protocol::v2;

/// A version that is understood here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    V2,
    V3,
}

impl Wire {
    /// The one that the hellos have led to.
    pub(super) fn of(version: u16) -> Self {
        if version == v2::VERSION { Self::V2 } else { Self::V3 }
    }

    pub(super) fn to_manager(self, payload: &[u8]) -> Result<ToManager, FrameError> {
        match self {
            Self::V2 => decode::<v2::ToManager>(payload).map(ToManager::from),
            Self::V3 => decode(payload),
        }
    }

    /// Nothing, if that version has no words for it.
    pub(super) fn to_worker(self, message: ToWorker) -> Result<Option<Bytes>, FrameError> {
        match self {
            Self::V2 => v2::ToWorker::from_today(message).map(|old| encode(&old)).transpose(),
            Self::V3 => encode(&message).map(Some),
        }
    }

    pub(super) fn bulk_to_manager(self, payload: &[u8]) -> Result<BulkToManager, FrameError> {
        match self {
            Self::V2 => decode::<v2::BulkToManager>(payload).map(BulkToManager::from),
            Self::V3 => decode(payload),
        }
    }

    /// Nothing, if that version has no words for it.
    pub(super) fn bulk_to_worker(self, message: BulkToWorker) -> Result<Option<Bytes>, FrameError> {
        match self {
            Self::V2 => v2::BulkToWorker::from_today(message).map(|old| encode(&old)).transpose(),
            Self::V3 => encode(&message).map(Some),
        }
    }
}
