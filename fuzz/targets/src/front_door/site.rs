//! A manager without a port for workers, and one connection to its dashboard.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use campusgrid_identity::authority::Authority;
use campusgrid_manager::blobs::Blobs;
use campusgrid_manager::clock::Clock;
use campusgrid_manager::config::Config;
use campusgrid_manager::disk::Reserve;
use campusgrid_manager::engine::run::{Engine, Surroundings};
use campusgrid_manager::health::Health;
use campusgrid_manager::live::LiveLogs;
use campusgrid_manager::readers::Readers;
use campusgrid_manager::store::{self, Store};
use campusgrid_manager::vitals::Vitals;
use campusgrid_manager::web::{self, PasswordCosts, Transport, Web};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Asked, Caller};

const PASSWORD: &str = "correct horse battery";

/// An answer that takes longer is a finding.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// Longer ones are no pages of ours. Bytes.
const ANSWER_MAX_BYTES: usize = 8 << 20;

pub(super) struct Site {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: Option<JoinHandle<()>>,
    connection: Option<TcpStream>,
    /// The logins of an operator, a member and a browser.
    tokens: [String; 3],
    /// Of the browser's login.
    form_token: String,
    pub(super) asked: u32,
    /// It is of no more use.
    pub(super) is_spent: bool,
    /// Removed when all is over.
    _folder: TempDir,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Site {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut config = Config::read(None, [], []).expect("the defaults are good");
        config.data_dir = folder.path().to_owned();
        config.web.data_dir = folder.path().to_owned();
        config.web.passwords = PasswordCosts { memory_kib: 8, passes: 1, lanes: 1 };
        config.disk_reserve_bytes = 0;
        let shutdown = CancellationToken::new();
        let (tell, told) = sync_channel(1);
        let stop = shutdown.clone();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(serve(config, stop, tell));
        });
        let address = told.recv().expect("the server tells its address");
        let mut site = Self {
            address,
            shutdown,
            server: Some(server),
            connection: None,
            tokens: Default::default(),
            form_token: String::new(),
            asked: 0,
            is_spent: false,
            _folder: folder,
        };
        site.log_in();
        site
    }

    /// Registers or logs in whom the requests come from.
    fn log_in(&mut self) {
        for (place, name) in ["operator", "member", "browser"].into_iter().enumerate() {
            let body = json!({"name": name, "password": PASSWORD}).to_string();
            let json = "content-type: application/json\r\n";
            let paths = ["/api/v1/login", "/api/v1/register"];
            let answers = paths.map(|path| self.exchange(("POST", path), json, body.as_bytes()));
            let answers: Vec<Answer> = answers.into_iter().flatten().collect();
            if answers.iter().any(|answer| answer.status == 429) {
                // Our own address has failed too often by now.
                self.is_spent = true;
                return;
            }
            let good = answers.iter().find(|answer| answer.status < 300);
            let good = good.unwrap_or_else(|| panic!("{name} cannot log in: {answers:?}"));
            let value: Value = serde_json::from_slice(&good.body).expect("the answer is JSON");
            value["token"].as_str().expect("it has a token").clone_into(&mut self.tokens[place]);
        }
        let cookie = format!("cookie: cg_session={}\r\n", self.tokens[2]);
        let page = self.exchange(("GET", "/submit"), &cookie, b"").expect("there is a page");
        let page = String::from_utf8_lossy(&page.body).into_owned();
        let value =
            page.split("name=\"form_token\" value=\"").nth(1).and_then(|it| it.split('"').next());
        value.expect("its form has a token").clone_into(&mut self.form_token);
    }

    /// None if the connection itself did not take the request for one.
    pub(super) fn ask(&mut self, asked: &Asked) -> Option<Answer> {
        self.asked += 1;
        let answer = self.try_ask(asked)?;
        let known = [Caller::Operator, Caller::Member, Caller::Browser].contains(&asked.caller);
        if answer.status == 401 && known {
            self.log_in(); // The last request has closed this login.
        }
        Some(answer)
    }

    fn try_ask(&mut self, asked: &Asked) -> Option<Answer> {
        let [operator, member, browser] = &self.tokens;
        let origin = format!("http://{}", self.address);
        let caller = match asked.caller {
            Caller::Nobody => String::new(),
            Caller::Operator => format!("authorization: Bearer {operator}\r\n"),
            Caller::Member => format!("authorization: Bearer {member}\r\n"),
            Caller::Browser => format!(
                "cookie: cg_session={browser}\r\norigin: {origin}\r\nx-form-token: {}\r\n",
                self.form_token
            ),
            Caller::ForeignPage => {
                format!("cookie: cg_session={browser}\r\norigin: https://evil.example\r\n")
            }
        };
        let mut body = asked.body.clone();
        if asked.caller == Caller::Browser && asked.content_type.ends_with("urlencoded") {
            body = [format!("form_token={}&", self.form_token).as_bytes(), &body].concat();
        }
        let headers = format!("content-type: {}\r\n{caller}", asked.content_type);
        self.exchange((asked.method, &asked.path), &headers, &body)
    }

    fn exchange(&mut self, line: (&str, &str), headers: &str, body: &[u8]) -> Option<Answer> {
        // An old connection may have been closed meanwhile; a new one has not.
        let is_old = self.connection.is_some();
        let answer = self.exchange_once(line, headers, body);
        if answer.is_some() || !is_old { answer } else { self.exchange_once(line, headers, body) }
    }

    fn exchange_once(&mut self, line: (&str, &str), headers: &str, body: &[u8]) -> Option<Answer> {
        let (method, path) = line;
        let (address, length) = (self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        let connect = || {
            let connection = TcpStream::connect(address).expect("the dashboard listens");
            connection.set_read_timeout(Some(ANSWER_WITHIN)).expect("it is not zero");
            connection.set_nodelay(true).expect("it is a TCP connection");
            connection
        };
        let mut connection = self.connection.take().unwrap_or_else(connect);
        connection.write_all(&[head.as_bytes(), body].concat()).ok()?;
        let answer = read(&mut connection, method)?;
        let ends = answer.header("connection") == Some("close")
            || answer.header("content-type").is_some_and(|kind| kind.contains("event-stream"));
        if !ends {
            self.connection = Some(connection);
        }
        Some(answer)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.connection = None;
        self.shutdown.cancel();
        if let Some(server) = self.server.take() {
            server.join().expect("the server ends in good order");
        }
    }
}

/// Reads one answer; of a stream only the head.
fn read(connection: &mut TcpStream, method: &str) -> Option<Answer> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break at;
        }
        more(connection, &mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines.filter_map(pair).collect();
    let mut answer = Answer { status, headers, body: bytes.split_off(head_end + 4) };
    let is_empty = method == "HEAD" || status == 204 || status == 304;
    let is_stream = answer.header("content-type").is_some_and(|kind| kind.contains("event-stream"));
    if is_empty || is_stream {
        answer.body.clear();
    } else if let Some(length) = answer.header("content-length") {
        let length: usize = length.parse().ok()?;
        while answer.body.len() < length {
            more(connection, &mut answer.body)?;
        }
    } else {
        while !answer.body.ends_with(b"0\r\n\r\n") {
            more(connection, &mut answer.body)?;
        }
    }
    Some(answer)
}

fn more(connection: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 16 << 10];
    let read = match connection.read(&mut piece) {
        Ok(read) => read,
        Err(error) => {
            let is_late = matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            );
            assert!(!is_late, "no answer within {ANSWER_WITHIN:?}");
            return None;
        }
    };
    bytes.extend_from_slice(&piece[..read]);
    assert!(bytes.len() <= ANSWER_MAX_BYTES, "an answer of {} bytes", bytes.len());
    (read > 0).then_some(())
}

async fn serve(config: Config, shutdown: CancellationToken, tell: SyncSender<SocketAddr>) {
    let data_dir = config.data_dir.clone();
    let database = data_dir.join(store::FILE);
    let store = Store::open(&database).expect("a fresh database opens");
    let clock = Clock::start(store.latest().expect("it is empty"));
    let readers = Readers::open(&database, config.web.files.keep_ms()).expect("it is there now");
    let blobs = Blobs::open(data_dir.join("blobs"), 0).expect("a folder can be made");
    let authority = Authority::load_or_make(&data_dir.join("tls"), clock.system_time());
    let authority = Arc::new(authority.expect("an authority can be made"));
    let (live, vitals, health) =
        (LiveLogs::default(), Vitals::default(), Health::new(data_dir.clone()));
    let surroundings = Surroundings {
        clock,
        live: live.clone(),
        reserve: Reserve { data_dir, bytes: config.disk_reserve_bytes },
        health: health.clone(),
        vitals: vitals.clone(),
    };
    let recovered = Engine::recover(Arc::new(config.policy), store, surroundings);
    let (engine, handle) = recovered.expect("there is nothing to recover");
    let engineering = engine.start(CancellationToken::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    let transport = Transport::open(&config.web, address, &authority, clock);
    let dashboard = web::router(Web {
        engine: handle.clone(),
        readers,
        live,
        blobs,
        clock,
        config: config.web,
        health,
        vitals,
        links: None,
        fingerprint: authority.fingerprint(),
        worker_port: 9999,
        shutdown: shutdown.clone(),
    });
    tell.send(address).expect("somebody waits for it");
    let dashboard = dashboard.expect("the costs are good");
    web::serve(listener, dashboard, transport.expect("no TLS is set"), shutdown).await;
    handle.stop().await;
    engineering.join().expect("the engine does not panic").expect("every commit succeeds");
}
