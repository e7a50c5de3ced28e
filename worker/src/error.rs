//! Why the worker could not do what it tried, by operation.

use std::path::PathBuf;

use campusgrid_identity::IdentityError;
use campusgrid_identity::token::TokenError;
use campusgrid_protocol::frame::FrameError;
use campusgrid_protocol::hello::HelloError;
use campusgrid_protocol::input::ManifestError;

use crate::senses::SensesError;

/// Everything that can fail in a worker but for tasks and their environments.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("failed to make the directory {path}")]
    MakeDirectory { path: PathBuf, source: std::io::Error },
    #[error("another worker already uses {path}; give each its own --data-dir")]
    DirectoryInUse { path: PathBuf },
    #[error("failed to read the identity in {path}")]
    ReadIdentity { path: PathBuf, source: std::io::Error },
    #[error(
        "the identity in {dir} is damaged: {what}; to join anew: campusgrid-worker forget, with the \
         same --data-dir"
    )]
    DamagedIdentity { dir: PathBuf, what: &'static str },
    #[error("failed to write the identity to {path}")]
    WriteIdentity { path: PathBuf, source: std::io::Error },
    #[error("failed to make a key")]
    MakeKey { source: IdentityError },
    #[error("failed to prepare TLS")]
    Tls { source: IdentityError },
    #[error("failed to read the token in {path}")]
    ReadToken { path: PathBuf, source: std::io::Error },
    #[error("the file {path} holds no token to join by")]
    BadToken { path: PathBuf, source: TokenError },
    #[error("the manager does not take the token: {reason}")]
    TokenRefused { reason: String },
    #[error("the manager gives no code: {reason}")]
    CodeRefused { reason: String },
    #[error("the certificate that the manager has given is not for this machine's key")]
    BadCertificate,
    #[error("failed to read the spool {path}")]
    ReadSpool { path: PathBuf, source: std::io::Error },
    #[error("failed to keep a result in {path}")]
    Spool { path: PathBuf, source: std::io::Error },
    #[error("a result is too long to be kept")]
    EncodeResult { source: FrameError },
    #[error("a task's checkpoint has paths that cannot be")]
    NameCheckpoint { source: ManifestError },
    #[error("failed to keep a task's checkpoint in {path}")]
    KeepCheckpoint { path: PathBuf, source: std::io::Error },
    #[error("failed to read what the task printed from {path}")]
    ReadLog { path: PathBuf, source: std::io::Error },
    #[error("failed to connect to {manager}")]
    Dial { manager: String, source: std::io::Error },
    #[error("failed to agree with {manager} on a secret connection")]
    Handshake { manager: String, source: std::io::Error },
    #[error("the manager has shown no certificate")]
    Nobody,
    #[error("{manager} gave no answer for {limit_s} s")]
    Silence { manager: String, limit_s: u64 },
    #[error("failed to send to the manager")]
    Send { source: std::io::Error },
    #[error("failed to receive from the manager")]
    Receive { source: std::io::Error },
    #[error("the manager closed the connection")]
    Closed,
    #[error("the manager broke off before it had said hello")]
    Greet { source: std::io::Error },
    #[error("the manager speaks another language")]
    Hello { source: HelloError },
    #[error("a message is malformed")]
    Frame { source: FrameError },
    #[error("the manager puts an upload off: {reason}")]
    UploadPutOff { reason: String },
    #[error("the manager's answer to an upload makes no sense")]
    UploadAnswer,
    #[error("the manager puts off giving a file: {reason}")]
    FetchPutOff { reason: String },
    #[error("the manager's answer to a request for a file makes no sense")]
    FetchAnswer,
    #[error("failed to read the blob {path}")]
    ReadBlob { path: PathBuf, source: std::io::Error },
    #[error("failed to find out when this machine is shared")]
    Sense { source: SensesError },
    #[error("the system tells nothing of its memory")]
    Probe { source: sysinfo::Error },
    #[error("failed to ask how much is free on the disk of {path}")]
    FreeDisk { path: PathBuf, source: std::io::Error },
    #[error("failed to finish work on another thread")]
    BlockingWork { source: tokio::task::JoinError },
    #[error("failed to listen for signals")]
    Signals { source: std::io::Error },
}
