//! A connection to the manager as a worker makes one, without a worker.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::machine::{Identity, MachineKey, Trust, client_config, server_name};
use campusgrid_identity::token::JoinToken;
use campusgrid_protocol::frame;
use campusgrid_protocol::hello::{self, ConnectionKind, HELLO_BYTES};
use campusgrid_protocol::message::{Enrol, EnrolAnswer, Proof};
use rustls::{ClientConnection, StreamOwned};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Grid, PATIENCE_MS, User};

/// TLS, and frames in it.
pub(crate) struct Line {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// By what a machine is known, and what it knows its manager by.
pub(crate) struct Papers {
    pub(crate) key: MachineKey,
    /// X.509, DER.
    pub(crate) certificate: Vec<u8>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) worker: u64,
}

pub(crate) fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS.into()))).unwrap();
    stream
}

impl Line {
    /// Shakes hands.
    pub(crate) fn dial(
        port: u16,
        trust: Trust,
        identity: Option<Identity<'_>>,
    ) -> Result<Self, io::Error> {
        let config = client_config(trust, identity).unwrap();
        let mut tls = ClientConnection::new(config, server_name()).unwrap();
        let mut tcp = tcp(port);
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Self { stream: StreamOwned::new(tls, tcp) })
    }

    /// Shakes hands, and says what for.
    pub(crate) fn open(
        port: u16,
        papers: &Papers,
        kind: ConnectionKind,
    ) -> Result<Self, io::Error> {
        let mut line = Self::dial(port, papers.trust(), Some(papers.identity()))?;
        let answer = line.greet(&hello::from_worker(kind))?;
        hello::on_worker(&answer).unwrap();
        Ok(line)
    }

    pub(crate) fn greet(
        &mut self,
        hello: &[u8; HELLO_BYTES],
    ) -> Result<[u8; HELLO_BYTES], io::Error> {
        self.stream.write_all(hello)?;
        let mut answer = [0; HELLO_BYTES];
        self.stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    pub(crate) fn send(&mut self, message: &impl Serialize) {
        let payload = frame::encode(message).unwrap();
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        self.stream.write_all(&[&length[..], &payload].concat()).unwrap();
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn try_receive<M: DeserializeOwned>(&mut self) -> Result<M, io::Error> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut payload = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap()];
        self.stream.read_exact(&mut payload)?;
        Ok(frame::decode(&payload).unwrap())
    }

    pub(crate) fn receive<M: DeserializeOwned>(&mut self) -> M {
        self.try_receive().unwrap()
    }

    /// Whether the manager ends the connection in good order, without another word.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.stream.read(&mut [0]).unwrap() == 0
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_chain(self.stream.conn.peer_certificates().unwrap()).unwrap()
    }
}

impl Papers {
    /// Those of a machine that has just joined as this user's.
    pub(crate) fn of(grid: &Grid, owner: &User, name: &str) -> Self {
        let token = grid.join_token(owner);
        let key = MachineKey::make().unwrap();
        let trust = Trust::Pinned(token.fingerprint);
        match ask(grid.port, trust, &enrol(&key, name, by(&token))) {
            EnrolAnswer::Enrolled { certificate, worker, owner: of } => {
                assert_eq!(of, owner.name);
                Self { key, certificate, fingerprint: token.fingerprint, worker: worker.0 }
            }
            answer @ (EnrolAnswer::Waiting { .. } | EnrolAnswer::Refused { .. }) => {
                panic!("{answer:?}")
            }
        }
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::Pinned(self.fingerprint)
    }

    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity { certificate: &self.certificate, key: &self.key }
    }
}

pub(crate) fn by(token: &JoinToken) -> Proof {
    Proof::Token { id: token.id, secret: token.secret }
}

pub(crate) fn enrol(key: &MachineKey, name: &str, proof: Proof) -> Enrol {
    Enrol { request: key.request(name).unwrap(), name: name.to_owned(), proof }
}

/// Opens an enrolment connection and asks.
pub(crate) fn asking(port: u16, trust: Trust, enrol: &Enrol) -> Line {
    let mut line = Line::dial(port, trust, None).unwrap();
    let answer = line.greet(&hello::from_worker(ConnectionKind::Enrolment)).unwrap();
    hello::on_worker(&answer).unwrap();
    line.send(enrol);
    line
}

/// What a machine that asks is told first.
pub(crate) fn ask(port: u16, trust: Trust, enrol: &Enrol) -> EnrolAnswer {
    asking(port, trust, enrol).receive()
}
