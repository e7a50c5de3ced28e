//! A manager without a port for workers, and how to ask it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use campusgrid_core::input::{Enrolment, EnrolmentProof};
use campusgrid_core::time::Timestamp;
use campusgrid_core::voucher::Shown;
use campusgrid_identity::authority::Authority;
use campusgrid_manager::blobs::Blobs;
use campusgrid_manager::books::{Books, BooksHandle};
use campusgrid_manager::clock::Clock;
use campusgrid_manager::config::Config;
use campusgrid_manager::disk::Reserve;
use campusgrid_manager::engine::handle::EngineHandle;
use campusgrid_manager::engine::run::{Engine, Surroundings};
use campusgrid_manager::health::Health;
use campusgrid_manager::live::LiveLogs;
use campusgrid_manager::readers::Readers;
use campusgrid_manager::store::Store;
use campusgrid_manager::vitals::Vitals;
use campusgrid_manager::web::{self, PasswordCosts, Transport, Web};
use campusgrid_protocol::id::{SessionId, VoucherId};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The password of everybody here.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The header of a body in JSON.
pub(crate) const JSON: &str = "Content-Type: application/json\r\n";

/// The header of a form.
pub(crate) const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// The port that pages name to workers; nobody listens there.
pub(crate) const WORKER_PORT: u16 = 9876;

pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) directory: PathBuf,
    pub(crate) engine: EngineHandle,
    pub(crate) readers: Readers,
    pub(crate) blobs: Blobs,
    pub(crate) authority: Arc<Authority>,
    pub(crate) books: BooksHandle,
    pub(crate) shutdown: CancellationToken,
    pub(crate) server: Option<thread::JoinHandle<()>>,
}

/// What the server's thread tells of itself once it listens.
struct Running {
    address: SocketAddr,
    engine: EngineHandle,
    readers: Readers,
    blobs: Blobs,
    authority: Arc<Authority>,
    books: BooksHandle,
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts under other settings than the usual ones.
    pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("campusgrid-web-test-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Self::start_in(directory, change)
    }

    /// Stops it and starts it again, with all that it has on disk.
    pub(crate) fn again(mut self) -> Self {
        self.shutdown.cancel();
        self.server.take().unwrap().join().unwrap();
        let directory = std::mem::take(&mut self.directory);
        drop(self);
        Self::start_in(directory, |_| {})
    }

    fn start_in(directory: PathBuf, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::read(None, [], []).unwrap();
        config.data_dir.clone_from(&directory);
        config.web.data_dir.clone_from(&directory);
        config.web.login_days = 1;
        // Hashing passwords and full disks are not what is tested here.
        config.web.passwords = PasswordCosts { memory_kib: 64, passes: 1, lanes: 1 };
        config.disk_reserve_bytes = 0;
        change(&mut config);
        let shutdown = CancellationToken::new();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let stop = shutdown.clone();
        let server = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(serve(config, stop, tell));
        });
        let Running { address, engine, readers, blobs, authority, books } =
            told.recv_timeout(Duration::from_secs(20)).unwrap();
        let server = Some(server);
        Self { address, directory, engine, readers, blobs, authority, books, shutdown, server }
    }

    /// Sends a request as it stands and reads the answer: status line, headers, body.
    pub(crate) fn raw(&self, request: &str) -> Answer {
        let mut connection = self.connect();
        connection.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).unwrap();
        Answer::parse(&String::from_utf8_lossy(&bytes))
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(self.address).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        connection
    }

    /// A request with these headers (one a line) and this body.
    pub(crate) fn ask(&self, line: &str, headers: &str, body: &str) -> Answer {
        let host = self.address;
        let length = body.len();
        self.raw(&format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\
             {headers}\r\n{body}"
        ))
    }

    pub(crate) fn json(&self, line: &str, token: &str, body: &Value) -> Answer {
        self.ask(line, &format!("{JSON}{}", bearer(token)), &body.to_string())
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Answer {
        self.ask(&format!("GET {path}"), &bearer(token), "")
    }

    /// A page, for a browser that has the cookie of this login.
    pub(crate) fn page(&self, path: &str, token: &str) -> Answer {
        self.ask(&format!("GET {path}"), &cookie(token), "")
    }

    /// A form of one of our own pages, sent by a browser; the form token is added.
    pub(crate) fn post_form(&self, path: &str, token: &str, fields: &str) -> Answer {
        let form_token = self.page("/submit", token).field("form_token").to_owned();
        let origin = format!("Origin: http://{}\r\n", self.address);
        let headers = format!("{FORM}{origin}{}", cookie(token));
        self.ask(&format!("POST {path}"), &headers, &format!("form_token={form_token}&{fields}"))
    }

    pub(crate) fn register(&self, name: &str) -> String {
        let body = json!({"name": name, "password": PASSWORD});
        let answer = self.ask("POST /api/v1/register", JSON, &body.to_string());
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.value()["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn submit(&self, token: &str) -> u64 {
        let body = json!({"kind": "shell", "source": "true"});
        let answer = self.json("POST /api/v1/jobs", token, &body);
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.value()["job"].as_u64().unwrap()
    }

    /// Lets a machine in by a token of this user's, as the worker port would; yields its number.
    pub(crate) fn join_worker(&self, token: &str, name: &str) -> u64 {
        let made = self.json("POST /api/v1/workers/tokens", token, &json!({}));
        assert_eq!(made.status, 201, "{}", made.body);
        let text = made.value()["token"].as_str().unwrap().to_owned();
        let secret = text.rsplit('.').next().unwrap();
        let bytes: Vec<u8> = (0..secret.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&secret[at..at + 2], 16).unwrap())
            .collect();
        let voucher = Shown {
            id: VoucherId(made.value()["id"].as_u64().unwrap()),
            secret_hash: *blake3::hash(&bytes).as_bytes(),
        };
        let enrolment = Enrolment {
            session: SessionId(voucher.id.0),
            key_hash: *blake3::hash(name.as_bytes()).as_bytes(),
            name: name.to_owned(),
            address: "10.0.0.7".to_owned(),
            proof: EnrolmentProof::Token(voucher),
        };
        let (worker, _) = wait(self.engine.enrol(enrolment)).unwrap();
        // The page is made from snapshots, which follow the engine.
        let listed = |list: Value| {
            list.as_array().unwrap().iter().any(|row| row["worker"].as_u64() == Some(worker.0))
        };
        let mut snapshots = self.engine.snapshots();
        while !listed(self.get("/api/v1/workers", token).value()) {
            wait(snapshots.changed()).unwrap();
        }
        worker.0
    }

    /// Asks for a page again, whenever the grid looks different, until it is as wanted.
    pub(crate) fn page_once(
        &self,
        path: &str,
        token: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Answer {
        let mut snapshots = self.engine.snapshots();
        loop {
            let answer = self.page(path, token);
            if wanted(&answer.body) {
                return answer;
            }
            wait(snapshots.changed()).unwrap();
        }
    }

    /// Opens a stream of events; yields its lines once the headers have come.
    pub(crate) fn stream(&self, path: &str, token: &str, headers: &str) -> Lines {
        let mut connection = self.connect();
        let (host, bearer) = (self.address, bearer(token));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{bearer}{headers}\r\n"
        );
        connection.write_all(request.as_bytes()).unwrap();
        let lines = BufReader::new(connection).lines().map_while(Result::ok);
        // A comment keeps a silent stream alive after 15 s, and nothing here waits that long.
        let mut lines = lines.take_while(|line| !line.starts_with(':'));
        assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 OK");
        assert!(lines.by_ref().take_while(|line| !line.is_empty()).count() > 0);
        Box::new(lines)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(server) = self.server.take() {
            drop(server.join());
        }
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// Waits for the engine, on this thread.
pub(crate) fn wait<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what)
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

pub(crate) fn cookie(token: &str) -> String {
    format!("Cookie: cg_session={token}\r\n")
}

async fn serve(config: Config, shutdown: CancellationToken, tell: SyncSender<Running>) {
    let data_dir = config.data_dir.clone();
    let database = data_dir.join("campusgrid.sqlite");
    let store = Store::open(&database).unwrap();
    let clock = Clock::start(Timestamp(0));
    let readers = Readers::open(&database, config.web.files.keep_ms()).unwrap();
    let blobs = Blobs::open(data_dir.join("blobs"), 0).unwrap();
    let authority = Authority::load_or_make(&data_dir.join("tls"), clock.system_time()).unwrap();
    let authority = Arc::new(authority);
    let (live, vitals) = (LiveLogs::default(), Vitals::default());
    let health = Health::new(data_dir.clone());
    let surroundings = Surroundings {
        clock,
        live: live.clone(),
        reserve: Reserve { data_dir: data_dir.clone(), bytes: config.disk_reserve_bytes },
        health: health.clone(),
        vitals: vitals.clone(),
    };
    let (engine, handle) = Engine::recover(Arc::new(config.policy), store, surroundings).unwrap();
    let engineering = engine.start(CancellationToken::new());
    let books = Books {
        data_dir,
        every: Duration::from_secs(3600),
        engine: handle.clone(),
        health: health.clone(),
        clock,
    };
    let books = books.start(shutdown.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let transport = Transport::open(&config.web, address, &authority, clock).unwrap();
    let site = Web {
        engine: handle.clone(),
        readers: readers.clone(),
        live,
        blobs: blobs.clone(),
        clock,
        config: config.web,
        health,
        vitals,
        links: None,
        fingerprint: authority.fingerprint(),
        worker_port: WORKER_PORT,
        shutdown: shutdown.clone(),
    };
    let router = web::router(site).unwrap();
    let engine = handle.clone();
    drop(tell.send(Running { address, engine, readers, blobs, authority, books }));
    web::serve(listener, router, transport, shutdown).await;
    handle.stop().await;
    engineering.join().unwrap().unwrap();
}

/// The lines of a stream of events, as they come.
pub(crate) type Lines = Box<dyn Iterator<Item = String>>;

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("0");
        let pair = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_owned()))
        };
        let headers = lines.filter_map(pair).collect();
        Self { status: status.parse().unwrap(), headers, body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }

    /// What a browser is told to keep under this name, with its attributes.
    pub(crate) fn set_cookie(&self, name: &str) -> &str {
        let begins = format!("{name}=");
        let mut set = self.headers.iter().filter(|(found, _)| found == "set-cookie");
        set.find(|(_, value)| value.starts_with(&begins)).map_or("", |(_, value)| value)
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn code(&self) -> String {
        self.value()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The value of a hidden field of a form.
    pub(crate) fn field(&self, name: &str) -> &str {
        let marker = format!("name=\"{name}\" value=\"");
        let rest = self.body.split(&marker).nth(1).unwrap();
        rest.split('"').next().unwrap()
    }
}
