//! The messages of all kinds of connection. Any change here raises `PROTOCOL_VERSION`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, VoucherId, VoucherSecret, WorkerId};
use crate::resource::{Capacity, Isolation, Load, Speed};
use crate::rules::{Rules, Shares};
use crate::task::{BlobRef, Ended, Saved, Stream, TaskSpec};

/// The version that this build speaks; the golden bytes fail until a change raises it.
pub const PROTOCOL_VERSION: u16 = 5;

/// The oldest version whose workers this build's manager still understands: [`crate::v4`].
pub const PROTOCOL_VERSION_MIN: u16 = 4;

/// Control messages are at most this long; a longer one ends the session. Bytes.
pub const MESSAGE_MAX_BYTES: usize = 1 << 20;

/// A log that is longer travels as a blob rather than with [`Ended`]. Bytes.
pub const INLINE_LOG_MAX_BYTES: usize = 64 << 10;

/// A piece of a blob or of a live log is at most this long. Bytes.
pub const CHUNK_MAX_BYTES: usize = 256 << 10;

/// A lock of packages is at most this long. Bytes.
pub const LOCK_MAX_BYTES: usize = 320 << 10;

/// A machine offers at most this many labels.
pub const LABELS_MAX: usize = 200;

/// An attempt leaves at most this many output files.
pub const OUTPUTS_MAX: usize = 1000;

/// A request for a certificate (PKCS #10, DER) is at most this long. Bytes.
pub const CERTIFICATE_REQUEST_MAX_BYTES: usize = 4 << 10;

/// A certificate (X.509, DER) is at most this long. Bytes.
pub const CERTIFICATE_MAX_BYTES: usize = 4 << 10;

/// The only message of a machine on its enrolment connection, on which it has no certificate yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// PKCS #10, DER, signed with the machine's key. Whatever it says of the subject counts for
    /// nothing.
    pub request: Vec<u8>,
    pub name: String,
    pub proof: Proof,
}

/// Why a machine should be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
    /// Its owner made this token beforehand.
    Token { id: VoucherId, secret: VoucherSecret },
    /// Its owner is to enter a code in the dashboard; the user named here, if one is.
    Code { owner: Option<String> },
}

/// To a machine, on its enrolment connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolAnswer {
    /// To be entered in the dashboard by the one who owns the machine. Repeated every few seconds
    /// while it waits, so that both ends know that the other is there.
    Waiting { code: String },
    /// It belongs to `owner` now. X.509, DER, for the key that the request was signed with.
    Enrolled { certificate: Vec<u8>, worker: WorkerId, owner: String },
    /// The connection is over, and why, in words.
    Refused { reason: String },
}

/// The first message of a worker on its control connection. Who it is, its certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    pub name: String,
    pub capacity: Capacity,
    pub isolation: Isolation,
    /// What holds and what does not, one line each, for the owner to read.
    pub isolation_notes: Vec<String>,
    /// What jobs may require by name: interpreters and tools, images. An image's that ends with `*`
    /// stands for all that begin so: [`crate::text::check_offer`].
    pub labels: Vec<String>,
    /// Attempts that run here, or whose result waits here to be confirmed.
    pub attempts: Vec<AttemptId>,
    pub speed: Speed,
    pub shares: Shares,
}

/// From a worker, on its control connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToManager {
    Join(Box<Join>),
    /// Renews the leases of exactly these attempts.
    Heartbeat {
        sequence: u64,
        attempts: Vec<AttemptId>,
        load: Load,
    },
    /// What is being made ready for an attempt, in words, for its submitter to read.
    Preparing {
        attempt: AttemptId,
        step: String,
    },
    /// What this worker made of the packages that the attempt's job asks for by
    /// [`crate::task::Packages::Names`]: a [`crate::lock::Lock`]. The answer is
    /// [`ToWorker::Locked`], and only what that says may be installed; or [`ToWorker::Drop`] if it
    /// cannot be what the job's packages came to. Other packages need no agreement.
    Locked {
        attempt: AttemptId,
        lock: String,
    },
    /// The environment stands and the task's clock runs.
    Started {
        attempt: AttemptId,
    },
    /// A piece of a live log. Best effort: the log that is kept comes with [`Ended`].
    LogPiece {
        attempt: AttemptId,
        stream: Stream,
        offset_bytes: u64,
        bytes: Vec<u8>,
    },
    /// What a task that runs has written to go on from. Sent after its blobs were confirmed; it takes the
    /// place of an earlier one. Best effort: the next one is due soon.
    Checkpoint {
        attempt: AttemptId,
        saved: Saved,
    },
    /// The owner's rules, or what the machine senses, have led to something else than was said last. By
    /// then it has frozen what it was to freeze.
    Shares(Box<Shares>),
    /// Sent after all its blobs were confirmed; repeated until [`ToWorker::Stored`].
    Ended(Box<Ended>),
    /// The worker shuts down and has given back what it ran.
    Leaving,
    /// Asks for a certificate that lasts longer: PKCS #10, DER, for the key of this connection.
    Renew {
        request: Vec<u8>,
    },
}

/// To a worker, on its control connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The answer to [`Join`]. `earned_micros` is what this machine has earned, ever.
    Welcome {
        worker: WorkerId,
        heartbeat_ms: u32,
        lease_ms: u32,
        owner: String,
        rules: Box<Rules>,
        earned_micros: i64,
    },
    /// The owner has changed the rules in the dashboard.
    Rules(Box<Rules>),
    /// What this machine has earned, ever, after it has been paid.
    Earned { micros: i64 },
    /// Run this attempt. Repeated starts of an attempt that is known change nothing.
    ///
    /// `index` is the task's, as its program sees it: [`crate::array`]. `gpus` are the numbers of
    /// those that are granted. `lock` is what the job's packages came to, in the form of a hashed
    /// requirements file, once one worker has found that out. `checkpoint` is what an earlier attempt has
    /// left: its files are put into `$CHECKPOINT_DIR`, and its running time is taken off the time limit.
    /// `whose` and `name` are the submitter and the job, for the owner to read.
    Start {
        attempt: AttemptId,
        index: u32,
        spec: Arc<TaskSpec>,
        gpus: Vec<u16>,
        lock: Option<Arc<str>>,
        checkpoint: Option<Saved>,
        whose: String,
        name: String,
    },
    /// The lock of the attempt's job: that of the first worker that had one.
    Locked { attempt: AttemptId, lock: Arc<str> },
    /// Stop this attempt and report it as cancelled.
    Cancel { attempt: AttemptId },
    /// This attempt is no longer wanted: stop it, forget it, report nothing.
    Drop { attempt: AttemptId },
    /// The end of this attempt is on disk here; the worker may delete its copy.
    Stored { attempt: AttemptId },
    /// The heartbeat of this number has renewed the leases it listed.
    Renewed { sequence: u64 },
    /// The session is over, and why, in words.
    Closing { reason: String, comeback: Comeback },
    /// The answer to [`ToManager::Renew`]: X.509, DER.
    Certificate { certificate: Vec<u8> },
}

/// Whether a worker whose session is closed should dial again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comeback {
    /// As after any lost connection.
    Later,
    /// Never by itself: it was removed, or another process uses its identity.
    Never,
}

/// From a worker, on a bulk connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkToManager {
    /// First: what these blobs came of, or are for.
    Open {
        attempt: AttemptId,
    },
    /// A blob follows, in chunks, unless the answer is [`BulkToWorker::Received`] already.
    Blob(BlobRef),
    Chunk(Vec<u8>),
    /// Asks for a blob from this place on: the manifest of the attempt's job or of its checkpoint, or a
    /// file that one of them names. The answer is all of the rest in [`BulkToWorker::Chunk`]s, none of them empty.
    Fetch {
        blob: BlobRef,
        offset_bytes: u64,
    },
}

/// To a worker, on a bulk connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkToWorker {
    /// Go on: answers `Open`, and a `Blob` that is not here yet.
    Ready,
    /// The blob is on disk here.
    Received,
    /// A piece of what was asked for by [`BulkToManager::Fetch`].
    Chunk(Vec<u8>),
    /// The connection is over, and why, in words: these blobs are never wanted here.
    Refused { reason: String },
    /// The connection is over, and why, in words: to be tried again later.
    Later { reason: String },
}

#[cfg(test)]
mod tests;
