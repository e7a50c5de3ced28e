//! Connections as TCP makes them: in order, late, stalled, cut with or without either end knowing.

use std::collections::BTreeMap;

use bytes::Bytes;
use campusgrid_core::time::Timestamp;
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::frame;
use campusgrid_protocol::id::SessionId;
use campusgrid_protocol::message::{EnrolAnswer, ToManager, ToWorker};

use crate::agenda::Agenda;
use crate::event::{Down, Event, Up};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId(u64);

/// What a connection is for, and what its TLS has shown of the machine: a key that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Control { key_hash: KeyHash, until: Timestamp },
    Enrolment { key_hash: KeyHash },
}

/// One connection of a machine, from its dial on.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) machine: usize,
    pub(crate) purpose: Purpose,
    pub(crate) session: Option<SessionId>,
    pub(crate) worker_end: End,
    pub(crate) manager_end: End,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) open: bool,
    /// When the last thing that is on the way to it arrives.
    last_arrival_ms: u64,
    /// Nothing that is sent to it arrives before.
    stalled_until_ms: u64,
    /// Nothing that is sent to it arrives any more.
    cut: bool,
}

impl End {
    fn new(open: bool) -> Self {
        Self { open, last_arrival_ms: 0, stalled_until_ms: 0, cut: false }
    }
}

/// Whether an end of a cut connection gets to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notices {
    pub(crate) worker: bool,
    pub(crate) manager: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    connections: BTreeMap<ConnectionId, Connection>,
    dialled: u64,
    /// The machine whose next join is overtaken by the one after it.
    pub(crate) overtaken: Option<usize>,
}

impl Network {
    /// A connection; all that ever were are kept.
    pub(crate) fn connection(&mut self, id: ConnectionId) -> &mut Connection {
        self.connections.get_mut(&id).expect("connections are kept for ever")
    }

    /// Which machine dialled, and the key that it has shown.
    pub(crate) fn machine(&mut self, id: ConnectionId) -> (usize, KeyHash) {
        let Connection { machine, purpose, .. } = self.connection(id);
        match purpose {
            Purpose::Control { key_hash, .. } | Purpose::Enrolment { key_hash } => {
                (*machine, *key_hash)
            }
        }
    }

    pub(crate) fn dial(
        &mut self,
        machine: usize,
        purpose: Purpose,
        agenda: &mut Agenda,
    ) -> ConnectionId {
        self.dialled += 1;
        let id = ConnectionId(self.dialled);
        let connection = Connection {
            machine,
            purpose,
            session: None,
            worker_end: End::new(true),
            manager_end: End::new(false),
        };
        self.connections.insert(id, connection);
        self.up(id, Up::Dial, agenda);
        id
    }

    pub(crate) fn send_up(&mut self, id: ConnectionId, message: &ToManager, agenda: &mut Agenda) {
        let machine = self.connection(id).machine;
        let joins = matches!(message, ToManager::Join(_));
        let late = joins && self.overtaken.take_if(|late| *late == machine).is_some();
        if late {
            let until_ms = agenda.now_ms() + agenda.dice.u64(2000..9000);
            self.stall(id, Way::Up, until_ms);
        }
        let payload = frame::encode(message).expect("the worker's messages are short");
        self.frame_up(id, payload, agenda);
        if late {
            self.cut(id, Notices { worker: true, manager: false }, agenda);
        }
    }

    pub(crate) fn frame_up(&mut self, id: ConnectionId, payload: Bytes, agenda: &mut Agenda) {
        self.up(id, Up::Frame(payload), agenda);
    }

    pub(crate) fn answer(&mut self, id: ConnectionId, answer: &EnrolAnswer, agenda: &mut Agenda) {
        let payload = frame::encode(answer).expect("the manager's answers are short");
        self.down(id, Down::Frame(payload), agenda);
    }

    /// The manager's TLS turns a connection down: its certificate is out of date.
    pub(crate) fn turn_down(&mut self, id: ConnectionId, agenda: &mut Agenda) {
        self.down(id, Down::Expired, agenda);
        self.end_down(id, agenda);
    }

    pub(crate) fn send_down(&mut self, id: ConnectionId, message: &ToWorker, agenda: &mut Agenda) {
        let payload = frame::encode(message).expect("the manager's messages are short");
        self.down(id, Down::Frame(payload), agenda);
    }

    pub(crate) fn accept(&mut self, id: ConnectionId, session: SessionId, agenda: &mut Agenda) {
        let connection = self.connection(id);
        connection.session = Some(session);
        connection.manager_end.open = true;
        self.down(id, Down::Accepted, agenda);
    }

    /// The manager's end is closed, or was never open; what was sent before still arrives.
    pub(crate) fn end_down(&mut self, id: ConnectionId, agenda: &mut Agenda) {
        self.connection(id).manager_end.open = false;
        self.down(id, Down::End, agenda);
    }

    /// The worker's end is closed; what was sent before still arrives.
    pub(crate) fn end_up(&mut self, id: ConnectionId, agenda: &mut Agenda) {
        self.connection(id).worker_end.open = false;
        self.up(id, Up::End, agenda);
    }

    /// Both ends are dead to each other from now on.
    pub(crate) fn cut(&mut self, id: ConnectionId, notices: Notices, agenda: &mut Agenda) {
        self.lose(id, Way::Up);
        self.lose(id, Way::Down);
        if notices.worker {
            agenda.within(0..2000, Event::Down { connection: id, what: Down::End });
        }
        if notices.manager {
            agenda.within(0..2000, Event::Up { connection: id, what: Up::End });
        }
    }

    /// What is sent this way from now on does not arrive, and neither end gets to know.
    pub(crate) fn lose(&mut self, id: ConnectionId, way: Way) {
        self.connection(id).target(way).cut = true;
    }

    /// What is sent this way from now on arrives after this moment.
    pub(crate) fn stall(&mut self, id: ConnectionId, way: Way, until_ms: u64) {
        self.connection(id).target(way).stalled_until_ms = until_ms;
    }

    /// The manager's process is gone, and with it its ends; its kernel says so or its whole
    /// machine is gone as well.
    pub(crate) fn manager_dies(&mut self, its_kernel_lives: bool, agenda: &mut Agenda) {
        let open: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.manager_end.open)
            .map(|(&id, _)| id)
            .collect();
        for id in open {
            self.connection(id).manager_end.open = false;
            if its_kernel_lives {
                self.end_down(id, agenda);
            }
        }
    }

    fn up(&mut self, id: ConnectionId, what: Up, agenda: &mut Agenda) {
        let connection = self.connection(id);
        if let Some(at_ms) = connection.arrival(Way::Up, agenda) {
            agenda.at(at_ms, Event::Up { connection: id, what });
        }
    }

    fn down(&mut self, id: ConnectionId, what: Down, agenda: &mut Agenda) {
        let connection = self.connection(id);
        if let Some(at_ms) = connection.arrival(Way::Down, agenda) {
            agenda.at(at_ms, Event::Down { connection: id, what });
        }
    }
}

/// From a worker to the manager, or back.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Up,
    Down,
}

impl Connection {
    /// When something that is sent now arrives: behind all that was sent before.
    fn arrival(&mut self, way: Way, agenda: &mut Agenda) -> Option<u64> {
        let target = self.target(way);
        if target.cut {
            return None;
        }
        let delay_ms =
            if agenda.chance(20) { agenda.dice.u64(100..3000) } else { agenda.dice.u64(1..40) };
        let at_ms = agenda.now_ms().max(target.stalled_until_ms) + delay_ms;
        target.last_arrival_ms = at_ms.max(target.last_arrival_ms);
        Some(target.last_arrival_ms)
    }

    /// The end that things travel to.
    fn target(&mut self, way: Way) -> &mut End {
        match way {
            Way::Up => &mut self.manager_end,
            Way::Down => &mut self.worker_end,
        }
    }
}
