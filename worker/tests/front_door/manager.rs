//! A manager that says what a test tells it to, over a real socket on port 0.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::token::JoinToken;
use campusgrid_protocol::frame;
use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_protocol::id::{AttemptId, VoucherId, VoucherSecret, WorkerId};
use campusgrid_protocol::message::{
    BulkToManager, BulkToWorker, Comeback, Enrol, EnrolAnswer, Join, ToManager, ToWorker,
};
use campusgrid_protocol::resource::{Isolation, Needs};
use campusgrid_protocol::rules::{Conditions, Power, Rules};
use campusgrid_protocol::task::{Ended, Program, Saved, TaskSpec, Work};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::tls::{Doorkeeper, Guest};

/// Longer than anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What a manager certifies, unless a test is about just that.
pub(crate) const LIFE: Duration = Duration::from_secs(30 * 86_400);

/// Listens for workers; sorts their connections by kind.
pub(crate) struct Manager {
    pub(crate) port: u16,
    pub(crate) doorkeeper: Doorkeeper,
    _dir: TempDir,
    control: Receiver<Link>,
    bulk: Receiver<Link>,
    enrolment: Receiver<Link>,
}

/// One connection after the hellos.
pub(crate) struct Link {
    socket: UnixStream,
    /// What the worker's certificate is known by.
    pub(crate) key: Option<[u8; 32]>,
}

/// What a small job of one task is to a worker.
pub(crate) fn spec(work: Work) -> TaskSpec {
    TaskSpec {
        work,
        needs: Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 64, gpus: 0, gpu_memory_mib: 0 },
        time_limit_s: 20,
        isolation: Isolation::None,
        labels: Vec::new(),
        image: None,
        shared_tmp: false,
        tasks: 1,
        arguments: Vec::new(),
        inputs: None,
        lines: None,
        outputs: Vec::new(),
        warn_s: 0,
        checkpoint_s: 0,
    }
}

/// Rules of a machine that is shared whatever it runs on.
pub(crate) fn shared() -> Rules {
    let when = Conditions { power: Power::Any, metered: true, ..Conditions::default() };
    Rules { when, ..Rules::default() }
}

pub(crate) fn shell(command: &str) -> Work {
    Work::Shell { program: Program::Source(command.to_owned()) }
}

impl Manager {
    /// One with an authority of its own.
    pub(crate) fn listen() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let doorkeeper = Doorkeeper::of(dir.path());
        let (to_control, control) = sync_channel(16);
        let (to_bulk, bulk) = sync_channel(16);
        let (to_enrolment, enrolment) = sync_channel(16);
        let (guests, guest) = sync_channel::<Guest>(16);
        let port = doorkeeper.listen(guests);
        std::thread::spawn(move || {
            for Guest { plain, kind, key } in guest {
                plain.set_read_timeout(Some(LIMIT)).unwrap();
                let link = Link { socket: plain, key };
                let sent = match kind {
                    ConnectionKind::Control => to_control.send(link),
                    ConnectionKind::Bulk => to_bulk.send(link),
                    ConnectionKind::Enrolment => to_enrolment.send(link),
                };
                if sent.is_err() {
                    return; // The test is over.
                }
            }
        });
        Self { port, doorkeeper, _dir: dir, control, bulk, enrolment }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.doorkeeper.fingerprint()
    }

    pub(crate) fn token(&self, id: u64) -> JoinToken {
        let (id, secret) = (VoucherId(id), VoucherSecret([0xab; 16]));
        JoinToken { fingerprint: self.fingerprint(), id, secret }
    }

    /// The next machine that asks to be let in.
    pub(crate) fn stranger(&self) -> (Link, Enrol) {
        let mut link = self.enrolment.recv_timeout(LIMIT).expect("nobody asked to be let in");
        assert_eq!(link.key, None, "a stranger has no certificate");
        let enrol = link.receive();
        (link, enrol)
    }

    /// Lets the next machine in at once, for so long.
    pub(crate) fn let_in(&self, life: Duration) -> Enrol {
        let (mut link, enrol) = self.stranger();
        link.enrolled(self.doorkeeper.certificate(&enrol.request, life));
        enrol
    }

    /// The next control connection, welcomed; a machine that is not known yet is let in first.
    pub(crate) fn welcome_new(&self) -> (Link, Join) {
        self.let_in(LIFE);
        self.welcome()
    }

    /// The next control connection, welcomed.
    pub(crate) fn welcome(&self) -> (Link, Join) {
        self.welcome_for(90_000)
    }

    /// The same with leases of so long, and three heartbeats in one.
    pub(crate) fn welcome_for(&self, lease_ms: u32) -> (Link, Join) {
        let mut link = self.control();
        let ToManager::Join(join) = link.receive() else { panic!("no join") };
        let (worker, owner) = (WorkerId(1), "ada".to_owned());
        let heartbeat_ms = (lease_ms / 3).min(10_000);
        let (rules, earned_micros) = (Box::new(shared()), 0);
        link.send(&ToWorker::Welcome {
            worker,
            heartbeat_ms,
            lease_ms,
            owner,
            rules,
            earned_micros,
        });
        (link, *join)
    }

    /// The next control connection, of which nothing was read yet.
    pub(crate) fn control(&self) -> Link {
        self.control.recv_timeout(LIMIT).expect("no worker joined")
    }

    /// The next upload, of which nothing was read yet.
    pub(crate) fn upload(&self) -> Link {
        self.bulk.recv_timeout(LIMIT).expect("no upload came")
    }

    /// Takes the next upload whole; the blobs in the order in which they came.
    pub(crate) fn take_upload(&self) -> (AttemptId, Vec<Vec<u8>>) {
        let mut link = self.upload();
        let BulkToManager::Open { attempt } = link.receive() else { panic!("no open") };
        link.send(&BulkToWorker::Ready);
        let mut blobs = Vec::new();
        while let Some(message) = link.try_receive() {
            let BulkToManager::Blob(blob) = message else { panic!("no blob") };
            link.send(&BulkToWorker::Ready);
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < blob.size_bytes {
                let BulkToManager::Chunk(chunk) = link.receive() else { panic!("no chunk") };
                bytes.extend(chunk);
            }
            link.send(&BulkToWorker::Received);
            assert_eq!(blake3::hash(&bytes).as_bytes(), &blob.hash.0);
            blobs.push(bytes);
        }
        (attempt, blobs)
    }

    pub(crate) fn uploads_so_far(&self) -> usize {
        self.bulk.try_iter().count()
    }
}

impl Link {
    pub(crate) fn send<M: Serialize>(&mut self, message: &M) {
        let payload = frame::encode(message).unwrap();
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        self.socket.write_all(&[&length, payload.as_ref()].concat()).unwrap();
    }

    pub(crate) fn receive<M: DeserializeOwned>(&mut self) -> M {
        self.try_receive().expect("the worker hung up")
    }

    /// The next message, or none if the worker has hung up.
    pub(crate) fn try_receive<M: DeserializeOwned>(&mut self) -> Option<M> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let mut payload = vec![0; u32::from_le_bytes(length) as usize];
        self.read(&mut payload)?;
        Some(frame::decode(&payload).unwrap())
    }

    /// Fills the bytes; none if the worker has hung up before.
    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.socket.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("no word from the worker within {LIMIT:?}")
            }
            Err(_) => None,
        }
    }

    /// Answers heartbeats, passes over what is not wanted, and yields the first that is; none if the
    /// worker hangs up before.
    pub(crate) fn find<T>(&mut self, mut wanted: impl FnMut(ToManager) -> Option<T>) -> Option<T> {
        let end = Instant::now() + LIMIT;
        loop {
            let message = self.try_receive()?;
            if let ToManager::Heartbeat { sequence, .. } = message {
                self.renew(sequence);
            } else if let Some(found) = wanted(message) {
                return Some(found);
            }
            assert!(Instant::now() < end, "nothing of what was waited for within {LIMIT:?}");
        }
    }

    /// Answers a heartbeat. A worker that has hung up meanwhile has no use for that.
    pub(crate) fn renew(&mut self, sequence: u64) {
        let payload = frame::encode(&ToWorker::Renewed { sequence }).unwrap();
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let _ = self.socket.write_all(&[&length, payload.as_ref()].concat());
    }

    /// Waits until a task has printed something.
    pub(crate) fn printed(&mut self) {
        let is_piece = |message| matches!(message, ToManager::LogPiece { .. }).then_some(());
        self.find(is_piece).expect("the worker hung up");
    }

    /// Waits until the worker says that it leaves.
    pub(crate) fn leaving(&mut self) {
        let is_leaving = |message| matches!(message, ToManager::Leaving).then_some(());
        self.find(is_leaving).expect("the worker hung up");
    }

    /// Waits for a request for the next certificate.
    pub(crate) fn renewal(&mut self) -> Vec<u8> {
        let request = |message| match message {
            ToManager::Renew { request } => Some(request),
            other @ (ToManager::Join(_)
            | ToManager::Heartbeat { .. }
            | ToManager::Preparing { .. }
            | ToManager::Locked { .. }
            | ToManager::Started { .. }
            | ToManager::LogPiece { .. }
            | ToManager::Checkpoint { .. }
            | ToManager::Shares(_)
            | ToManager::Ended(_)
            | ToManager::Leaving) => panic!("{other:?}"),
        };
        self.find(request).expect("the worker hung up")
    }

    pub(crate) fn enrolled(&mut self, certificate: Vec<u8>) {
        let (worker, owner) = (WorkerId(1), "ada".to_owned());
        self.send(&EnrolAnswer::Enrolled { certificate, worker, owner });
    }

    pub(crate) fn dismiss(&mut self, reason: &str) {
        let (reason, comeback) = (reason.to_owned(), Comeback::Never);
        self.send(&ToWorker::Closing { reason, comeback });
    }

    pub(crate) fn start(&mut self, attempt: &str, work: Work) {
        self.start_locked(attempt, work, None);
    }

    /// Starts a task of a job whose packages are said to have come to this.
    pub(crate) fn start_locked(&mut self, attempt: &str, work: Work, lock: Option<String>) {
        self.start_with(attempt, work, lock, 64);
    }

    /// Starts a task that may leave so much.
    pub(crate) fn start_with(
        &mut self,
        attempt: &str,
        work: Work,
        lock: Option<String>,
        disk_mib: u32,
    ) {
        let mut spec = spec(work);
        spec.needs.disk_mib = disk_mib;
        self.order(attempt, 0, spec, lock);
    }

    /// Starts the task of this index.
    pub(crate) fn order(
        &mut self,
        attempt: &str,
        index: u32,
        spec: TaskSpec,
        lock: Option<String>,
    ) {
        self.go_on(attempt, index, (spec, lock), None);
    }

    /// The same, from where an earlier attempt has been saved.
    pub(crate) fn go_on(
        &mut self,
        attempt: &str,
        index: u32,
        (spec, lock): (TaskSpec, Option<String>),
        checkpoint: Option<Saved>,
    ) {
        self.send(&ToWorker::Start {
            attempt: attempt.parse().unwrap(),
            index,
            spec: Arc::new(spec),
            gpus: Vec::new(),
            lock: lock.map(Into::into),
            checkpoint,
            whose: "bob".to_owned(),
            name: "sums".to_owned(),
        });
    }

    pub(crate) fn shell(&mut self, attempt: &str, command: &str) {
        self.start(attempt, shell(command));
    }

    /// Passes over everything until the next end.
    pub(crate) fn end(&mut self) -> Ended {
        self.try_end().expect("the worker hung up")
    }

    /// The next end; none if the worker hangs up before.
    pub(crate) fn try_end(&mut self) -> Option<Ended> {
        let end = |message| match message {
            ToManager::Ended(ended) => Some(*ended),
            ToManager::Join(_)
            | ToManager::Heartbeat { .. }
            | ToManager::Preparing { .. }
            | ToManager::Locked { .. }
            | ToManager::Started { .. }
            | ToManager::LogPiece { .. }
            | ToManager::Checkpoint { .. }
            | ToManager::Shares(_)
            | ToManager::Renew { .. }
            | ToManager::Leaving => None,
        };
        self.find(end)
    }

    /// Says nothing for so long; what comes meanwhile is passed over.
    pub(crate) fn be_silent_for(&mut self, time: Duration) {
        let end = std::time::Instant::now() + time;
        while let Some(left) = end.checked_duration_since(std::time::Instant::now()) {
            if left.is_zero() {
                break;
            }
            self.socket.set_read_timeout(Some(left)).unwrap();
            let _ = self.socket.read(&mut [0; 1024]);
        }
        self.socket.set_read_timeout(Some(LIMIT)).unwrap();
    }

    /// Takes the beginning of an upload, and asks for the first blob.
    pub(crate) fn take_open(&mut self) {
        let BulkToManager::Open { .. } = self.receive() else { panic!("no open") };
        self.send(&BulkToWorker::Ready);
    }

    pub(crate) fn take_blob_message(&mut self) {
        let BulkToManager::Blob(_) = self.receive() else { panic!("no blob") };
    }

    pub(crate) fn stored(&mut self, attempt: &str) {
        self.send(&ToWorker::Stored { attempt: attempt.parse().unwrap() });
    }
}
