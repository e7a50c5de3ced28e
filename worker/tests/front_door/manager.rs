//! A manager that says what a test tells it to, over a real socket on port 0.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use campusgrid_protocol::frame;
use campusgrid_protocol::hello::{ConnectionKind, HELLO_BYTES, from_manager, on_manager};
use campusgrid_protocol::id::{AttemptId, WorkerId};
use campusgrid_protocol::message::{
    Approval, BulkToManager, BulkToWorker, Join, ToManager, ToWorker,
};
use campusgrid_protocol::resource::{Isolation, Needs};
use campusgrid_protocol::task::{Ended, TaskSpec, Work};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longer than anything here may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Listens for workers; sorts their connections by kind.
pub(crate) struct Manager {
    pub(crate) port: u16,
    control: Receiver<Link>,
    bulk: Receiver<Link>,
}

/// One connection after the hellos.
pub(crate) struct Link {
    socket: TcpStream,
}

impl Manager {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to_control, control) = sync_channel(16);
        let (to_bulk, bulk) = sync_channel(16);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let mut hello = [0; HELLO_BYTES];
                socket.set_read_timeout(Some(LIMIT)).unwrap();
                socket.set_nodelay(true).unwrap();
                if socket.read_exact(&mut hello).is_err() {
                    continue;
                }
                let (version, kind) = on_manager(&hello).unwrap();
                socket.write_all(&from_manager(version)).unwrap();
                let link = Link { socket };
                let sent = match kind {
                    ConnectionKind::Control => to_control.send(link),
                    ConnectionKind::Bulk => to_bulk.send(link),
                };
                if sent.is_err() {
                    return; // The test is over.
                }
            }
        });
        Self { port, control, bulk }
    }

    /// The next control connection, welcomed.
    pub(crate) fn welcome(&self, approval: Approval) -> (Link, Join) {
        let mut link = self.control.recv_timeout(LIMIT).expect("no worker joined");
        let ToManager::Join(join) = link.receive() else { panic!("no join") };
        let worker = WorkerId(1);
        link.send(&ToWorker::Welcome { worker, heartbeat_ms: 10_000, lease_ms: 90_000, approval });
        (link, *join)
    }

    /// Takes the next upload whole; the blobs in the order in which they came.
    pub(crate) fn take_upload(&self) -> (AttemptId, Vec<Vec<u8>>) {
        let mut link = self.bulk.recv_timeout(LIMIT).expect("no upload came");
        let BulkToManager::Open { attempt, .. } = link.receive() else { panic!("no open") };
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
        self.socket.read_exact(&mut length).ok()?;
        let mut payload = vec![0; u32::from_le_bytes(length) as usize];
        self.socket.read_exact(&mut payload).ok()?;
        Some(frame::decode(&payload).unwrap())
    }

    pub(crate) fn start(&mut self, attempt: &str, work: Work) {
        self.start_locked(attempt, work, None);
    }

    /// Starts a task of a job whose packages are said to have come to this.
    pub(crate) fn start_locked(&mut self, attempt: &str, work: Work, lock: Option<String>) {
        let needs =
            Needs { cpu_millis: 1000, ram_mib: 512, disk_mib: 64, gpus: 0, gpu_memory_mib: 0 };
        let spec = std::sync::Arc::new(TaskSpec {
            work,
            needs,
            time_limit_s: 20,
            isolation: Isolation::None,
            labels: Vec::new(),
            image: None,
            shared_tmp: false,
            tasks: 1,
        });
        let attempt = attempt.parse().unwrap();
        self.send(&ToWorker::Start { attempt, spec, gpus: Vec::new(), lock: lock.map(Into::into) });
    }

    pub(crate) fn shell(&mut self, attempt: &str, command: &str) {
        self.start(attempt, Work::Shell { command: command.to_owned() });
    }

    /// Passes over everything until the next end.
    pub(crate) fn end(&mut self) -> Ended {
        loop {
            if let ToManager::Ended(ended) = self.receive() {
                return *ended;
            }
        }
    }

    pub(crate) fn stored(&mut self, attempt: &str) {
        self.send(&ToWorker::Stored { attempt: attempt.parse().unwrap() });
    }
}
