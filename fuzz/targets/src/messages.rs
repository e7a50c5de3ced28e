//! Every message: whatever can be decoded can be encoded, and then means the same.

use std::fmt::Debug;

use campusgrid_protocol::frame::{decode, encode};
use campusgrid_protocol::message::{
    BulkToManager, BulkToWorker, Enrol, EnrolAnswer, MESSAGE_MAX_BYTES, ToManager, ToWorker,
};
use campusgrid_protocol::task::Ended;
use campusgrid_protocol::v4;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Verdict, choice};

/// From a worker.
pub fn to_manager(bytes: &[u8]) -> Verdict {
    Verdict::of(round_trip::<ToManager>(bytes))
}

/// From the manager.
pub fn to_worker(bytes: &[u8]) -> Verdict {
    Verdict::of(round_trip::<ToWorker>(bytes))
}

/// On a bulk connection; the first byte says which way.
pub fn bulk(bytes: &[u8]) -> Verdict {
    match choice(bytes) {
        Some((0, payload)) => Verdict::of(round_trip::<BulkToManager>(payload)),
        Some((_, payload)) => Verdict::of(round_trip::<BulkToWorker>(payload)),
        None => Verdict::Refused,
    }
}

/// On an enrolment connection; the first byte says which way.
pub fn enrolment(bytes: &[u8]) -> Verdict {
    match choice(bytes) {
        Some((0, payload)) => Verdict::of(round_trip::<Enrol>(payload)),
        Some((_, payload)) => Verdict::of(round_trip::<EnrolAnswer>(payload)),
        None => Verdict::Refused,
    }
}

/// Of protocol 4, and what it is today; the first byte says which message.
pub fn version_4(bytes: &[u8]) -> Verdict {
    match choice(bytes) {
        Some((0, payload)) => Verdict::of(round_trip::<v4::ToManager>(payload).map(|old| {
            // An end that an old worker has kept is sent by the one that takes its place.
            let today = ToManager::from(old);
            assert!(!format!("{today:?}").is_empty());
        })),
        Some((1, payload)) => Verdict::of(round_trip::<v4::Ended>(payload).map(Ended::from)),
        Some((2, payload)) => Verdict::of(round_trip::<v4::ToWorker>(payload)),
        // What a manager of today says to an old worker.
        Some((_, payload)) => Verdict::of(round_trip::<ToWorker>(payload).map(|today| {
            let is_beyond_it = match &today {
                ToWorker::Rules(_) | ToWorker::Earned { .. } => true,
                ToWorker::Start { .. }
                | ToWorker::Welcome { .. }
                | ToWorker::Locked { .. }
                | ToWorker::Cancel { .. }
                | ToWorker::Drop { .. }
                | ToWorker::Stored { .. }
                | ToWorker::Renewed { .. }
                | ToWorker::Closing { .. }
                | ToWorker::Certificate { .. } => false,
            };
            let old = v4::ToWorker::from_today(today);
            assert_eq!(old.is_none(), is_beyond_it);
            if let Some(old) = old {
                // Nothing may grow over the limit by being translated.
                assert!(encode(&old).is_ok_and(|bytes| bytes.len() <= MESSAGE_MAX_BYTES));
            }
        })),
        None => Verdict::Refused,
    }
}

fn round_trip<M>(payload: &[u8]) -> Option<M>
where
    M: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let message = decode::<M>(payload).ok()?;
    // The shortest form of a message is never longer than the one it came in.
    let bytes = encode(&message).expect("what was decoded can be encoded");
    assert!(bytes.len() <= payload.len(), "{} bytes became {}", payload.len(), bytes.len());
    assert_eq!(decode::<M>(&bytes).expect("what was encoded can be decoded"), message);
    // The words of it go to logs.
    assert!(!format!("{message:?}").is_empty());
    Some(message)
}
