//! A data directory as a manager leaves it, made by the real core, store, blobs and authority: two
//! people, one machine, one job that has ended with an output and a long log, one that runs, one that
//! waits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use campusgrid_core::durable::Durable;
use campusgrid_core::effect::{Effects, Reply};
use campusgrid_core::grid::Grid;
use campusgrid_core::input::{
    Enrolment, EnrolmentProof, FilesOf, Heartbeat, Input, Joined, NewDraft, NewLogin, Registration,
    Request, Submission, Ticket, VoucherWish, WorkerEvent,
};
use campusgrid_core::time::Timestamp;
use campusgrid_core::voucher::Purpose;
use campusgrid_identity::authority::Authority;
use campusgrid_manager::blobs::Blobs;
use campusgrid_manager::config::Config;
use campusgrid_manager::store::{self, Store};
use campusgrid_protocol::id::{AttemptId, BlobHash, JobId, SessionId, UserId, WorkerId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::resource::{Capacity, Isolation, Load, Needs};
use campusgrid_protocol::task::{
    BlobRef, Content, Ended, Log, Outcome, Output, Program, TaskSpec, Usage, Work,
};
use campusgrid_protocol::terms::Terms;
use tempfile::TempDir;

pub(crate) const ADA: UserId = UserId(1);
pub(crate) const BOB: UserId = UserId(2);
pub(crate) const SESSION: SessionId = SessionId(9);
pub(crate) const KEY: [u8; 32] = [7; 32];

/// When all of this happens.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// What the ended job left: an output, then its standard output.
pub(crate) const BLOBS: [&[u8]; 2] = [b"what the job has found", b"what it said, at length"];

/// What the draft brings.
pub(crate) const INPUT: &[u8] = b"numbers,sum,mean";
pub(crate) const DRAFT: JobId = JobId(4);

pub(crate) struct Rig {
    pub(crate) parent: TempDir,
    pub(crate) grid: Grid,
    pub(crate) store: Store,
    now: Timestamp,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let data_dir = parent.path().join("data");
        std::fs::create_dir(&data_dir).unwrap();
        let started = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW.0);
        Authority::load_or_make(&data_dir.join("tls"), started).unwrap();
        let store = Store::open(&data_dir.join(store::FILE)).unwrap();
        let grid = recover(&store);
        let mut rig = Self { parent, grid, store, now: NOW };
        rig.people_and_a_machine();
        rig.submit("ends");
        let attempt = "1.0#1".parse().unwrap();
        rig.tell(WorkerEvent::Started { attempt });
        BLOBS.into_iter().for_each(|content| rig.keep(content));
        rig.now = rig.now.plus_ms(60_000);
        rig.tell(WorkerEvent::Heartbeat(Heartbeat {
            sequence: 1,
            attempts: vec![attempt],
            load: Load::default(),
        }));
        rig.tell(WorkerEvent::Ended(Box::new(result(attempt))));
        rig.submit("runs");
        rig.tell(WorkerEvent::Started { attempt: "2.0#1".parse().unwrap() });
        rig.submit("waits"); // The machine has one core.
        rig
    }

    /// On a data directory that was restored.
    pub(crate) fn again(parent: TempDir, grid: Grid, store: Store) -> Self {
        Self { parent, grid, store, now: NOW.plus_ms(3_600_000) }
    }

    fn people_and_a_machine(&mut self) {
        for name in ["ada", "bob"] {
            self.ask(Request::Register(Registration {
                name: name.to_owned(),
                email: None,
                password_hash: "x".to_owned(),
                local: true,
                invitation: None,
            }));
        }
        let until = NOW.plus_ms(3_600_000);
        self.ask(Request::OpenLogin(NewLogin {
            user: ADA,
            token_hash: [5; 32],
            until,
            from: "a browser".to_owned(),
        }));
        self.ask(Request::MakeVoucher(VoucherWish {
            by: BOB,
            purpose: Purpose::Join { owner: BOB },
            secret_hash: [6; 32],
            uses: 1,
            until,
        }));
        self.enrol("CODE", KEY);
        self.join(SESSION, Vec::new());
    }

    /// Bob lets a machine in.
    pub(crate) fn enrol(&mut self, code: &str, key_hash: [u8; 32]) {
        self.ask(Request::Enrol(Enrolment {
            session: SessionId(1),
            key_hash,
            name: "laptop".to_owned(),
            address: "192.0.2.1".to_owned(),
            proof: EnrolmentProof::Code { code: code.to_owned(), claimed_owner: None },
        }));
        self.ask(Request::ApproveWorker { user: BOB, code: code.to_owned() });
    }

    /// The machine connects, with what it has.
    pub(crate) fn join(&mut self, session: SessionId, attempts: Vec<AttemptId>) -> Effects {
        let joined = Joined {
            key_hash: KEY,
            name: "laptop".to_owned(),
            capacity: Capacity {
                cpu_millis: 1000,
                ram_mib: 8000,
                disk_mib: 8000,
                gpus: Vec::new(),
            },
            isolation: Isolation::Full,
            isolation_notes: Vec::new(),
            labels: Vec::new(),
            attempts,
            speed: None,
            shares: None,
        };
        let event = WorkerEvent::Joined(Box::new(joined));
        self.step(Input::FromWorker { session, event })
    }

    pub(crate) fn submit(&mut self, name: &str) -> Reply {
        let spec = TaskSpec {
            work: Work::Shell { program: Program::Source("true".to_owned()) },
            needs: Needs {
                cpu_millis: 1000,
                ram_mib: 512,
                disk_mib: 16,
                gpus: 0,
                gpu_memory_mib: 0,
            },
            time_limit_s: 600,
            isolation: Isolation::Full,
            labels: Vec::new(),
            image: None,
            shared_tmp: false,
            tasks: 1,
            arguments: Vec::new(),
            inputs: None,
            lines: None,
            outputs: Vec::new(),
            warn_s: 0,
            checkpoint_s: 300,
        };
        self.launch(name, spec, FilesOf::None)
    }

    fn launch(&mut self, name: &str, spec: TaskSpec, files: FilesOf) -> Reply {
        self.ask(Request::Submit(Box::new(Submission {
            user: ADA,
            key: None,
            name: name.to_owned(),
            terms: Terms::plain(spec.tasks),
            spec,
            priority: 0,
            on_hold: false,
            after: Vec::new(),
            ended: BTreeMap::new(),
            files,
        })))
    }

    /// A draft, number 4, with one file, whose blob is kept.
    pub(crate) fn draft(&mut self) {
        let (name, submit) = ("drafted".to_owned(), r#"{"kind":"shell"}"#.to_owned());
        self.ask(Request::Draft(NewDraft { user: ADA, key: None, name, submit }));
        self.keep(INPUT);
        let path = "data.csv".to_owned();
        let file = InputFile { path, blob: blob(INPUT), executable: false };
        self.ask(Request::PutFiles { user: ADA, job: DRAFT, files: vec![file] });
    }

    fn ask(&mut self, request: Request) -> Reply {
        let effects = self.step(Input::Request { ticket: Ticket(1), request });
        match effects.replies.into_iter().next() {
            Some((_, Reply::Refused(refusal))) => panic!("refused: {refusal}"),
            Some((_, reply)) => reply,
            None => Reply::Done, // It comes later.
        }
    }

    fn tell(&mut self, event: WorkerEvent) {
        self.step(Input::FromWorker { session: SESSION, event });
    }

    /// Applies, dispatches and commits, as the engine does.
    pub(crate) fn step(&mut self, input: Input) -> Effects {
        self.now = self.now.plus_ms(1);
        let mut effects = Effects::default();
        self.grid.handle(self.now, input, &mut effects);
        self.grid.dispatch(&mut effects);
        self.store.commit(&effects.changes).unwrap();
        effects
    }

    fn keep(&self, content: &[u8]) {
        let blobs = Blobs::open(self.data_dir().join("blobs"), 0).unwrap();
        let mut incoming = blobs.begin(blob(content), "incoming", WorkerId(1)).unwrap();
        assert!(incoming.add(content).unwrap());
        incoming.finish().unwrap();
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    pub(crate) fn backup_dir(&self) -> PathBuf {
        self.parent.path().join("backup")
    }

    /// Where the output's blob lies in a data directory or a backup.
    pub(crate) fn blob_in(directory: &Path, content: &[u8]) -> PathBuf {
        let name = blob(content).hash.to_string();
        directory.join("blobs").join(&name[..2]).join(&name[2..])
    }
}

pub(crate) fn recover(store: &Store) -> Grid {
    let policy = Config::read(None, [], []).unwrap().policy;
    let durable: Durable = store.load().unwrap();
    Grid::recover(Arc::new(policy), durable, NOW)
}

fn blob(content: &[u8]) -> BlobRef {
    let hash = BlobHash(*blake3::hash(content).as_bytes());
    BlobRef { hash, size_bytes: content.len() as u64 }
}

/// A success that leaves both blobs.
pub(crate) fn result(attempt: AttemptId) -> Ended {
    let empty = Ended::empty(attempt, Outcome::Succeeded);
    Ended {
        usage: Usage { run_ms: 60_000, ..empty.usage },
        stdout: Log { content: Content::Blob(blob(BLOBS[1])), cut_bytes: 0 },
        outputs: vec![Output { path: "found.txt".to_owned(), blob: blob(BLOBS[0]) }],
        ..empty
    }
}
