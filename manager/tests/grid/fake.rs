//! A worker that says what a test wants it to say.

use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::{Comeback, Join, ToManager, ToWorker};
use campusgrid_protocol::resource::{Capacity, Gpu, Isolation, Load, Speed};
use campusgrid_protocol::rules::{Limits, Phase, Shares};

use super::line::{Line, Papers};
use super::{Grid, User};

pub(crate) struct FakeWorker {
    pub(crate) line: Line,
    pub(crate) papers: Papers,
}

/// What a machine of eight cores says of itself; its name comes from its number.
pub(crate) fn introduction(number: u8) -> Join {
    Join {
        name: format!("fake-{number}"),
        capacity: Capacity { cpu_millis: 8000, ram_mib: 8000, disk_mib: 8000, gpus: Vec::new() },
        isolation: Isolation::Full,
        isolation_notes: Vec::new(),
        labels: Vec::new(),
        attempts: Vec::new(),
        speed: Speed { core_permille: 1000, all_permille: 8000 },
        shares: shares(Phase::Open, ""),
    }
}

/// What a machine without limits says of its sharing.
pub(crate) fn shares(phase: Phase, why: &str) -> Shares {
    Shares { phase, why: why.to_owned(), since_ms: 1, limits: Limits::default() }
}

pub(crate) fn gpu(memory_mib: u32) -> Gpu {
    Gpu { model: "made up".to_owned(), memory_mib, driver: "1.0".to_owned() }
}

/// Whether a session ends so, and in which words.
pub(crate) fn closing(message: ToWorker) -> (String, Comeback) {
    let ToWorker::Closing { reason, comeback } = message else { panic!("{message:?}") };
    (reason, comeback)
}

impl FakeWorker {
    /// Joins as a new machine of this user's.
    pub(crate) fn join_for(grid: &Grid, owner: &User, introduction: Join) -> Self {
        let papers = Papers::of(grid, owner, &introduction.name);
        let (worker, welcomed) = Self::connect(grid.port, papers, introduction);
        assert_eq!(welcomed, owner.name);
        worker
    }

    /// Connects as a machine that has joined; yields who owns it.
    pub(crate) fn connect(port: u16, papers: Papers, introduction: Join) -> (Self, String) {
        let mut line = introduce(port, &papers, introduction);
        let welcome = line.receive();
        let ToWorker::Welcome { worker, owner, .. } = welcome else { panic!("{welcome:?}") };
        assert_eq!(worker.0, papers.worker);
        (Self { line, papers }, owner)
    }

    /// Connects anew after the manager was gone.
    pub(crate) fn reconnect(self, port: u16, introduction: Join) -> Self {
        Self::connect(port, self.papers, introduction).0
    }

    /// Whether the manager turns a machine of this user's away that introduces itself so.
    pub(crate) fn is_refused(grid: &Grid, owner: &User, introduction: Join) -> bool {
        let papers = Papers::of(grid, owner, "fake");
        let mut line = introduce(grid.port, &papers, introduction);
        closing(line.receive()).1 == Comeback::Later && line.is_closed()
    }

    pub(crate) fn send(&mut self, message: &ToManager) {
        self.line.send(message);
    }

    /// Says that it lives, without which it gets nothing new for long.
    pub(crate) fn beat(&mut self, attempts: &[AttemptId]) {
        let (attempts, load) = (attempts.to_vec(), Load::default());
        self.send(&ToManager::Heartbeat { sequence: 1, attempts, load });
    }

    /// Lists an attempt as running; yields what it is told up to the answer.
    pub(crate) fn until_renewed(&mut self, sequence: u64, attempt: AttemptId) -> Vec<ToWorker> {
        let attempts = vec![attempt];
        self.send(&ToManager::Heartbeat { sequence, attempts, load: Load::default() });
        let mut others = Vec::new();
        loop {
            let message = self.line.receive();
            if message == (ToWorker::Renewed { sequence }) {
                return others;
            }
            if !is_aside(&message) {
                others.push(message);
            }
        }
    }

    /// The next message that is neither the answer to a heartbeat nor of what the machine has earned.
    pub(crate) fn receive(&mut self) -> ToWorker {
        loop {
            let message = self.line.receive();
            if !is_aside(&message) {
                return message;
            }
        }
    }

    /// What it is told next that it has earned, ever.
    pub(crate) fn earned(&mut self) -> i64 {
        loop {
            if let ToWorker::Earned { micros } = self.line.receive() {
                return micros;
            }
        }
    }
}

fn is_aside(message: &ToWorker) -> bool {
    matches!(message, ToWorker::Renewed { .. } | ToWorker::Earned { .. })
}

/// Opens a control connection and joins.
pub(crate) fn introduce(port: u16, papers: &Papers, introduction: Join) -> Line {
    let mut line = Line::open(port, papers, ConnectionKind::Control).unwrap();
    line.send(&ToManager::Join(Box::new(introduction)));
    line
}
