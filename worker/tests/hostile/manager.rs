//! A manager that keeps all that a worker sends, over a real socket on port 0.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campusgrid_protocol::frame;
use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_protocol::id::{AttemptId, BlobHash, WorkerId};
use campusgrid_protocol::input::{InputFile, Manifest};
use campusgrid_protocol::message::{
    BulkToManager, BulkToWorker, CHUNK_MAX_BYTES, Enrol, EnrolAnswer, Join, ToManager, ToWorker,
};
use campusgrid_protocol::rules::{Conditions, Power, Rules};
use campusgrid_protocol::task::{BlobRef, Ended};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::tls::{Doorkeeper, Guest};

/// Longer than a worker may take for anything but a job.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// Long enough that no lease is over while a test runs.
const LEASE_MS: u32 = 3_600_000;
const HEARTBEAT_MS: u32 = 20_000;

/// Listens for workers for as long as the test runs.
pub(crate) struct Manager {
    pub(crate) port: u16,
    _dir: TempDir,
    joined: Receiver<Session>,
    blobs: Arc<Mutex<BTreeMap<BlobHash, Vec<u8>>>>,
}

/// What a worker tells while it runs something.
pub(crate) enum Told {
    /// The first words of its live log.
    Spoke(AttemptId),
    Ended(Box<Ended>),
    HungUp,
}

/// What of an attempt's live log came, both streams together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Live {
    pub(crate) pieces: usize,
    pub(crate) bytes: usize,
}

/// A worker that has joined.
pub(crate) struct Session {
    pub(crate) join: Join,
    writer: Arc<Mutex<UnixStream>>,
    told: Receiver<Told>,
    live: Arc<Mutex<BTreeMap<AttemptId, Live>>>,
}

impl Manager {
    pub(crate) fn listen() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let doorkeeper = Doorkeeper::of(dir.path());
        let (guests, guest) = sync_channel::<Guest>(16);
        let port = doorkeeper.listen(guests);
        let (sender, joined) = sync_channel(4);
        let blobs = Arc::new(Mutex::new(BTreeMap::new()));
        let kept = Arc::clone(&blobs);
        std::thread::spawn(move || {
            for Guest { mut plain, kind, .. } in guest {
                let (sender, kept) = (sender.clone(), Arc::clone(&kept));
                let doorkeeper = doorkeeper.clone();
                std::thread::spawn(move || match kind {
                    ConnectionKind::Control => serve(plain, &sender),
                    ConnectionKind::Bulk => take_blobs(&mut plain, &kept),
                    ConnectionKind::Enrolment => let_in(plain, &doorkeeper),
                });
            }
        });
        Self { port, _dir: dir, joined, blobs }
    }

    /// The next worker that joins, if one does within `patience`.
    pub(crate) fn next_session(&self, patience: Duration) -> Option<Session> {
        self.joined.recv_timeout(patience).ok()
    }

    /// Has files for a job; what its tasks are given for `inputs`.
    pub(crate) fn offer(&self, files: &[(&str, &[u8])]) -> BlobRef {
        let mut blobs = self.blobs.lock().unwrap();
        let mut keep = |bytes: &[u8]| {
            let hash = BlobHash(*blake3::hash(bytes).as_bytes());
            blobs.insert(hash, bytes.to_vec());
            BlobRef { hash, size_bytes: bytes.len() as u64 }
        };
        let mut listed = Vec::new();
        for (path, bytes) in files {
            let (path, blob) = ((*path).to_owned(), keep(bytes));
            listed.push(InputFile { path, blob, executable: false });
        }
        keep(&Manifest::check(listed).unwrap().encode())
    }

    /// The content of a blob that was uploaded.
    pub(crate) fn blob(&self, hash: BlobHash) -> Vec<u8> {
        self.blobs.lock().unwrap().get(&hash).expect("a blob was named but not sent").clone()
    }
}

fn let_in(mut socket: UnixStream, doorkeeper: &Doorkeeper) {
    let Some(Enrol { request, .. }) = receive(&mut socket) else { return };
    let certificate = doorkeeper.certificate(&request, Duration::from_secs(86_400));
    let (worker, owner) = (WorkerId(1), "ada".to_owned());
    send(&Mutex::new(socket), &EnrolAnswer::Enrolled { certificate, worker, owner });
}

/// Welcomes a worker and sorts what it says until it hangs up.
fn serve(mut socket: UnixStream, sender: &SyncSender<Session>) {
    let Some(ToManager::Join(join)) = receive(&mut socket) else { return };
    let writer = Arc::new(Mutex::new(socket.try_clone().unwrap()));
    let owner = "ada".to_owned();
    let (worker, heartbeat_ms, lease_ms) = (WorkerId(1), HEARTBEAT_MS, LEASE_MS);
    let when = Conditions { power: Power::Any, metered: true, ..Conditions::default() };
    let (rules, earned_micros) = (Box::new(Rules { when, ..Rules::default() }), 0);
    let welcome = ToWorker::Welcome { worker, heartbeat_ms, lease_ms, owner, rules, earned_micros };
    send(&writer, &welcome);
    let (tell, told) = sync_channel(4096);
    let live = Arc::new(Mutex::new(BTreeMap::<AttemptId, Live>::new()));
    let session = Session { join: *join, writer: Arc::clone(&writer), told, live: live.clone() };
    if sender.send(session).is_err() {
        return; // The test is over.
    }
    while let Some(message) = receive(&mut socket) {
        let news = match message {
            ToManager::Heartbeat { sequence, .. } => {
                send(&writer, &ToWorker::Renewed { sequence });
                continue;
            }
            ToManager::LogPiece { attempt, bytes, .. } => {
                assert!(bytes.len() <= CHUNK_MAX_BYTES, "a piece of {} bytes", bytes.len());
                let mut live = live.lock().unwrap();
                let live = live.entry(attempt).or_default();
                live.pieces += 1;
                live.bytes += bytes.len();
                if live.pieces > 1 {
                    continue;
                }
                Told::Spoke(attempt)
            }
            ToManager::Ended(ended) => Told::Ended(ended),
            ToManager::Preparing { .. }
            | ToManager::Started { .. }
            | ToManager::Checkpoint { .. }
            | ToManager::Shares(_)
            | ToManager::Leaving => continue,
            ToManager::Join(_) | ToManager::Locked { .. } | ToManager::Renew { .. } => {
                panic!("nothing asked for this")
            }
        };
        if tell.send(news).is_err() {
            return;
        }
    }
    let _over = tell.send(Told::HungUp);
}

/// Takes the blobs of one attempt, checking each against its name, and gives what it asks for.
fn take_blobs(socket: &mut UnixStream, blobs: &Mutex<BTreeMap<BlobHash, Vec<u8>>>) {
    let writer = Mutex::new(socket.try_clone().unwrap());
    let Some(BulkToManager::Open { .. }) = receive(socket) else { return };
    send(&writer, &BulkToWorker::Ready);
    while let Some(message) = receive(socket) {
        let blob = match message {
            BulkToManager::Blob(blob) => blob,
            BulkToManager::Fetch { blob, offset_bytes } => {
                let content = blobs.lock().unwrap()[&blob.hash].clone();
                for chunk in content[offset_bytes as usize..].chunks(CHUNK_MAX_BYTES) {
                    send(&writer, &BulkToWorker::Chunk(chunk.to_vec()));
                }
                continue;
            }
            BulkToManager::Open { .. } | BulkToManager::Chunk(_) => panic!("no blob"),
        };
        send(&writer, &BulkToWorker::Ready);
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < blob.size_bytes {
            let Some(BulkToManager::Chunk(chunk)) = receive(socket) else { return };
            bytes.extend(chunk);
        }
        assert_eq!(blake3::hash(&bytes).as_bytes(), &blob.hash.0, "a blob is not what it is named");
        blobs.lock().unwrap().insert(blob.hash, bytes);
        send(&writer, &BulkToWorker::Received);
    }
}

fn send<M: Serialize>(socket: &Mutex<UnixStream>, message: &M) {
    let payload = frame::encode(message).unwrap();
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    let bytes = [&length, payload.as_ref()].concat();
    // A worker that is gone is noticed where it is read from.
    let _gone = socket.lock().unwrap().write_all(&bytes);
}

fn receive<M: DeserializeOwned>(socket: &mut UnixStream) -> Option<M> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).ok()?;
    let mut payload = vec![0; u32::from_le_bytes(length) as usize];
    socket.read_exact(&mut payload).ok()?;
    Some(frame::decode(&payload).unwrap())
}

impl Session {
    pub(crate) fn send(&self, message: &ToWorker) {
        send(&self.writer, message);
    }

    /// What the worker tells next; none if that takes longer than `patience`.
    pub(crate) fn next(&self, patience: Duration) -> Option<Told> {
        match self.told.recv_timeout(patience) {
            Ok(told) => Some(told),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Told::HungUp),
        }
    }

    pub(crate) fn live(&self, attempt: AttemptId) -> Live {
        self.live.lock().unwrap().get(&attempt).copied().unwrap_or_default()
    }
}
