//! A worker that says what a test wants it to say.

use std::io::{Read, Write};
use std::net::TcpStream;

use campusgrid_protocol::frame;
use campusgrid_protocol::hello::{self, ConnectionKind, HELLO_BYTES};
use campusgrid_protocol::id::WorkerKey;
use campusgrid_protocol::message::{Approval, Join, ToManager, ToWorker};
use campusgrid_protocol::resource::{Capacity, Isolation};

pub(crate) struct FakeWorker {
    stream: TcpStream,
}

impl FakeWorker {
    /// Joins; yields the code to approve it by.
    pub(crate) fn join(port: u16) -> (Self, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(&hello::from_worker(ConnectionKind::Control)).unwrap();
        let mut answer = [0; HELLO_BYTES];
        stream.read_exact(&mut answer).unwrap();
        hello::on_worker(&answer).unwrap();
        let mut worker = Self { stream };
        worker.send(&ToManager::Join(Box::new(Join {
            key: WorkerKey([7; 32]),
            name: "fake".to_owned(),
            owner: None,
            capacity: Capacity {
                cpu_millis: 8000,
                ram_mib: 8000,
                disk_mib: 8000,
                gpus: Vec::new(),
            },
            isolation: Isolation::Full,
            isolation_notes: Vec::new(),
            attempts: Vec::new(),
        })));
        let welcome = worker.receive();
        let ToWorker::Welcome { approval: Approval::Waiting { code }, .. } = welcome else {
            panic!("no welcome: {welcome:?}");
        };
        (worker, code)
    }

    pub(crate) fn send(&mut self, message: &ToManager) {
        let payload = frame::encode(message).unwrap();
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        self.stream.write_all(&[&length[..], &payload].concat()).unwrap();
    }

    pub(crate) fn receive(&mut self) -> ToWorker {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut payload = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        frame::decode(&payload).unwrap()
    }
}
