//! A worker that says what a test wants it to say.

use std::io::{Read, Write};
use std::net::TcpStream;

use campusgrid_protocol::frame;
use campusgrid_protocol::hello::{self, ConnectionKind, HELLO_BYTES};
use campusgrid_protocol::id::{AttemptId, WorkerKey};
use campusgrid_protocol::message::{Approval, Join, ToManager, ToWorker};
use campusgrid_protocol::resource::{Capacity, Gpu, Isolation, Load};
use serde_json::json;

use super::{Grid, User};

pub(crate) struct FakeWorker {
    stream: TcpStream,
}

/// What a machine of eight cores says of itself; its key and its name come from its number.
pub(crate) fn introduction(number: u8) -> Join {
    Join {
        key: WorkerKey([number; 32]),
        name: format!("fake-{number}"),
        owner: None,
        capacity: Capacity { cpu_millis: 8000, ram_mib: 8000, disk_mib: 8000, gpus: Vec::new() },
        isolation: Isolation::Full,
        isolation_notes: Vec::new(),
        labels: Vec::new(),
        attempts: Vec::new(),
    }
}

pub(crate) fn gpu(memory_mib: u32) -> Gpu {
    Gpu { model: "made up".to_owned(), memory_mib, driver: "1.0".to_owned() }
}

impl FakeWorker {
    /// Joins; yields the code to approve it by.
    pub(crate) fn join(port: u16) -> (Self, String) {
        let (worker, approval) = Self::connect(port, introduction(7));
        let Approval::Waiting { code } = approval else { panic!("owned already") };
        (worker, code)
    }

    /// Joins as a machine that is new, and is approved.
    pub(crate) fn join_for(grid: &Grid, owner: &User, introduction: Join) -> Self {
        let (mut worker, approval) = Self::connect(grid.port, introduction);
        let Approval::Waiting { code } = approval else { panic!("owned already") };
        let (status, _) = grid.post(owner, "workers/approve", &json!({ "code": code }));
        assert_eq!(status, 200);
        assert!(matches!(worker.receive(), ToWorker::Approved { .. }));
        worker
    }

    /// Joins; yields how the manager sees it.
    pub(crate) fn connect(port: u16, introduction: Join) -> (Self, Approval) {
        let mut worker = Self::introduce(port, introduction);
        let welcome = worker.receive();
        let ToWorker::Welcome { approval, .. } = welcome else { panic!("no welcome: {welcome:?}") };
        (worker, approval)
    }

    fn introduce(port: u16, introduction: Join) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(&hello::from_worker(ConnectionKind::Control)).unwrap();
        let mut answer = [0; HELLO_BYTES];
        stream.read_exact(&mut answer).unwrap();
        hello::on_worker(&answer).unwrap();
        let mut worker = Self { stream };
        worker.send(&ToManager::Join(Box::new(introduction)));
        worker
    }

    /// Whether the manager ends the connection of a machine that introduces itself so.
    pub(crate) fn is_refused(port: u16, introduction: Join) -> bool {
        Self::introduce(port, introduction).is_closed()
    }

    /// Whether the manager ends the connection without another word.
    pub(crate) fn is_closed(&mut self) -> bool {
        // A connection that is reset has ended as well.
        self.stream.read(&mut [0]).unwrap_or(0) == 0
    }

    pub(crate) fn send(&mut self, message: &ToManager) {
        let payload = frame::encode(message).unwrap();
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        self.stream.write_all(&[&length[..], &payload].concat()).unwrap();
    }

    /// Says that it lives, without which it gets nothing new for long.
    pub(crate) fn beat(&mut self, attempts: &[AttemptId]) {
        let (attempts, load) = (attempts.to_vec(), Load::default());
        self.send(&ToManager::Heartbeat { sequence: 1, attempts, load });
    }

    /// The next message that is not the answer to a heartbeat.
    pub(crate) fn receive(&mut self) -> ToWorker {
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).unwrap();
            let mut payload = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap()];
            self.stream.read_exact(&mut payload).unwrap();
            let message = frame::decode(&payload).unwrap();
            if !matches!(message, ToWorker::Renewed { .. }) {
                return message;
            }
        }
    }
}
