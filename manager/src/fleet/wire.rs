//! What is said, as the version that both ends have agreed on writes it.

use bytes::Bytes;
use campusgrid_protocol::frame::{FrameError, decode, encode};
use campusgrid_protocol::message::{BulkToManager, BulkToWorker, ToManager, ToWorker};
use campusgrid_protocol::task::LABEL_4;
use campusgrid_protocol::v3;

/// A version that is understood here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    V3,
    V4,
}

impl Wire {
    /// The one that the hellos have led to.
    pub(super) fn of(version: u16) -> Self {
        if version == v3::VERSION { Self::V3 } else { Self::V4 }
    }

    /// The same in both.
    pub(super) fn to_manager(self, payload: &[u8]) -> Result<ToManager, FrameError> {
        match self {
            Self::V3 | Self::V4 => decode(payload),
        }
    }

    /// Nothing, if that version has no words for it.
    pub(super) fn to_worker(self, message: ToWorker) -> Result<Option<Bytes>, FrameError> {
        match self {
            Self::V3 => v3::ToWorker::from_today(message).map(|old| encode(&old)).transpose(),
            Self::V4 => encode(&message).map(Some),
        }
    }

    pub(super) fn bulk_to_manager(self, payload: &[u8]) -> Result<BulkToManager, FrameError> {
        match self {
            Self::V3 => decode::<v3::BulkToManager>(payload).map(BulkToManager::from),
            Self::V4 => decode(payload),
        }
    }

    /// Nothing, if that version has no words for it.
    pub(super) fn bulk_to_worker(self, message: BulkToWorker) -> Result<Option<Bytes>, FrameError> {
        match self {
            Self::V3 => v3::BulkToWorker::from_today(message).map(|old| encode(&old)).transpose(),
            Self::V4 => encode(&message).map(Some),
        }
    }

    /// Sets right whether a machine offers what jobs require that version 3 has no words for: what it
    /// says of that itself counts for nothing.
    pub(super) fn set_label(self, labels: &mut Vec<String>) {
        labels.retain(|label| label != LABEL_4);
        match self {
            Self::V3 => {}
            Self::V4 => labels.push(LABEL_4.to_owned()),
        }
    }
}
