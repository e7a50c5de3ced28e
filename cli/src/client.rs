//! Talks to a manager: requests that are repeated while it is away for a moment, and answers that are
//! what they should be.

pub mod address;
pub mod events;
pub mod trust;

use std::io::{ErrorKind, Read};
use std::time::Duration;

use campusgrid_protocol::rest::{ErrorBody, ErrorDetail, Submit, Submitted};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::{Agent, Body, Proxy};

use crate::clock::Stopwatch;
use crate::error::CliError;
use address::Server;
use trust::Trust;

/// To make a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Longer than the longest wait that is asked of the manager, which is a minute.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
/// Without a byte for so long, a connection is dead: the manager sends a sign of life every 15 s.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// The pause before the first repetition; twice as long before each that follows.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// No answer in JSON is longer. Bytes.
const JSON_MAX_BYTES: u64 = 256 << 20;

/// How long to try for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// While it restarts: somebody looks on.
    Moment,
    /// For work that took long to get where it is.
    Long,
}

impl Patience {
    fn limit(self) -> Duration {
        match self {
            Self::Moment => Duration::from_secs(8),
            Self::Long => Duration::from_secs(600),
        }
    }
}

/// Whether a request may be sent again when nobody knows what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It asks only, sets what is the same afterwards, or has an idempotency key.
    Harmless,
    /// Only if it has not reached anybody.
    IfUnsent,
}

/// What to ask.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    pub method: Method,
    /// Behind `/api/v1/`, or from the root if it begins with a slash.
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: &'a [u8],
    pub repeat: Repeat,
}

impl Ask<'_> {
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            headers: Vec::new(),
            body: &[],
            repeat: Repeat::Harmless,
        }
    }
}

/// A connection to one manager, as one user once it is logged in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    server: Server,
    token: Option<String>,
    patience: Patience,
    /// Is told, once a request, that it is being repeated.
    on_wait: fn(&str),
}

impl Client {
    pub fn new(server: Server, trust: &Trust, on_wait: fn(&str)) -> Self {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("campusgrid/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_LIMIT))
            .timeout_recv_response(Some(ANSWER_LIMIT))
            .timeout_per_read(Some(ANSWER_LIMIT))
            .timeout_per_write(Some(SILENCE_LIMIT))
            .proxy(if server.is_loopback() { None } else { Proxy::try_from_env() });
        if server.is_encrypted() {
            config = config.tls_config(trust.tls_config());
        }
        let agent = config.build().into();
        Self { agent, server, token: None, patience: Patience::Moment, on_wait }
    }

    /// The same connections as another user.
    pub fn logged_in(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same connections with more time to come back.
    pub fn patient(&self) -> Self {
        Self { patience: Patience::Long, ..self.clone() }
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// # Errors
    ///
    /// `Unreachable`, `UnknownCertificate`, `Refused`, `NotAGrid`.
    pub fn get<T: DeserializeOwned>(&self, path: impl Into<String>) -> Result<T, CliError> {
        let answer = self.ask(&Ask::get(path))?;
        self.json(answer)
    }

    /// # Errors
    ///
    /// As `get`.
    pub fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: impl Into<String>,
        body: &impl Serialize,
        key: Option<&Key>,
    ) -> Result<T, CliError> {
        let answer = self.send_json(method, path.into(), body, key)?;
        self.json(answer)
    }

    /// Launches a draft, as it was made or with this body.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub fn launch(
        &self,
        job: u64,
        body: Option<&Submit>,
        key: &Key,
    ) -> Result<Submitted, CliError> {
        let path = format!("jobs/{job}/launch");
        let body = body.map(|body| serde_json::to_vec(body).expect("a submit is good JSON"));
        let mut headers = vec![("idempotency-key", key.0.clone())];
        headers.extend(body.is_some().then(|| ("content-type", "application/json".to_owned())));
        let body = body.as_deref().unwrap_or_default();
        let answer = self.ask(&Ask { method: Method::POST, headers, body, ..Ask::get(path) })?;
        self.json(answer)
    }

    /// Where nothing but success is answered.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub fn tell(
        &self,
        method: Method,
        path: impl Into<String>,
        body: &impl Serialize,
    ) -> Result<(), CliError> {
        self.send_json(method, path.into(), body, None).map(drop)
    }

    /// # Errors
    ///
    /// As `get`.
    pub fn delete(&self, path: impl Into<String>) -> Result<(), CliError> {
        let ask = Ask { method: Method::DELETE, ..Ask::get(path) };
        self.ask(&ask).map(drop)
    }

    fn send_json(
        &self,
        method: Method,
        path: String,
        body: &impl Serialize,
        key: Option<&Key>,
    ) -> Result<Response<Body>, CliError> {
        let body = serde_json::to_vec(body).expect("bodies of requests are good JSON");
        let mut headers = vec![("content-type", "application/json".to_owned())];
        headers.extend(key.map(|key| ("idempotency-key", key.0.clone())));
        let sets = method == Method::PATCH || method == Method::PUT;
        let repeat = if key.is_some() || sets { Repeat::Harmless } else { Repeat::IfUnsent };
        self.ask(&Ask { method, path, headers, body: &body, repeat })
    }

    /// Asks until there is an answer or patience is at its end; yields it if it is a success.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub fn ask(&self, ask: &Ask<'_>) -> Result<Response<Body>, CliError> {
        let clock = Stopwatch::start();
        let mut pause = PAUSE_FIRST;
        let mut is_told = false;
        loop {
            let tried = self.once(ask);
            let left = clock.left_of(self.patience.limit());
            let wait = match &tried {
                Ok(answer) => wait_of(answer),
                Err(error) if is_passing(error, ask.repeat) => Some(pause),
                Err(_) => None,
            };
            let Some(wait) = wait.filter(|wait| *wait <= left) else {
                return self.judge(ask, tried);
            };
            if !is_told {
                (self.on_wait)(&format!("{} does not answer; trying again", self.server));
                is_told = true;
            }
            std::thread::sleep(wait);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn once(&self, ask: &Ask<'_>) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder().method(&ask.method).uri(self.server.url(&ask.path));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        if ask.body.is_empty() && !ask.method.is_idempotent() {
            // A request that may carry something and does not says so.
            return self.agent.run(request.header("content-length", "0").body(&[][..])?);
        }
        if ask.body.is_empty() {
            return self.agent.run(request.body(())?);
        }
        self.agent.run(request.body(ask.body)?)
    }

    fn judge(
        &self,
        ask: &Ask<'_>,
        tried: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, CliError> {
        let server = self.server.to_string();
        let answer = match tried {
            Ok(answer) => answer,
            Err(error) if trust::is_unknown(&error) => {
                return Err(CliError::UnknownCertificate { server, source: Box::new(error) });
            }
            Err(error) => return Err(CliError::Unreachable { server, source: Box::new(error) }),
        };
        if answer.status().is_success() || answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        let status = answer.status();
        let refused = self.text(answer).and_then(|text| {
            serde_json::from_str::<ErrorBody>(&text)
                .map_err(|_| self.not_a_grid(format!("{status} without a reason")))
        })?;
        if refused.error.code == "unauthenticated" && self.token.is_none() {
            return Err(CliError::NotLoggedIn { server });
        }
        let mut detail = visible(refused.error);
        if detail.code == "not_found" {
            detail.message.push_str(where_to_look(&ask.path));
        }
        Err(CliError::Refused(Box::new(detail)))
    }

    fn json<T: DeserializeOwned>(&self, answer: Response<Body>) -> Result<T, CliError> {
        let text = self.text(answer)?;
        serde_json::from_str(&text).map_err(|error| self.not_a_grid(error.to_string()))
    }

    fn text(&self, mut answer: Response<Body>) -> Result<String, CliError> {
        let mut text = String::new();
        let reader = answer.body_mut().with_config().limit(JSON_MAX_BYTES).reader();
        let read = std::io::BufReader::new(reader).read_to_string(&mut text);
        read.map_err(|source| CliError::BrokenOff { what: "an answer".to_owned(), source })?;
        Ok(text)
    }

    fn not_a_grid(&self, what: String) -> CliError {
        CliError::NotAGrid { server: self.server.to_string(), what }
    }
}

/// Makes a request one that may be repeated: whoever has done it already answers as before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A fresh one.
    ///
    /// # Errors
    ///
    /// `Random`.
    pub fn fresh() -> Result<Self, CliError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(CliError::Random)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// One that a script has chosen.
    pub fn given(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// After how long an answer says to come back, if it says so and soon.
fn wait_of(answer: &Response<Body>) -> Option<Duration> {
    let status = answer.status();
    if status != StatusCode::SERVICE_UNAVAILABLE && status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let after = answer.headers().get("retry-after")?.to_str().ok()?;
    Some(Duration::from_secs(after.parse().ok()?))
}

/// Whether it may well go by, and nothing happens twice if it is tried again.
fn is_passing(error: &ureq::Error, repeat: Repeat) -> bool {
    use ureq::Error::{BodyStalled, ConnectionFailed, Io, Protocol, Timeout};
    if let Io(error) = error {
        // A certificate that is wrong stays so.
        let is_wrong = error.kind() == ErrorKind::InvalidData;
        let is_unsent = error.kind() == ErrorKind::ConnectionRefused;
        return is_unsent || (repeat == Repeat::Harmless && !is_wrong);
    }
    let is_unsent = matches!(error, ConnectionFailed | Timeout(ureq::Timeout::Connect));
    let is_broken = matches!(error, Timeout(_) | Protocol(_) | BodyStalled);
    is_unsent || (repeat == Repeat::Harmless && is_broken)
}

/// What lists the things of which one was not found.
fn where_to_look(path: &str) -> &'static str {
    match path.split(['/', '?']).next() {
        Some("workers") => "; campusgrid workers lists machines",
        Some("jobs") if path.contains("/bids") => {
            "; campusgrid market lists the jobs that take bids, campusgrid jobs yours"
        }
        Some("jobs") => "; campusgrid jobs lists yours",
        Some(_) | None => "",
    }
}

/// Texts of the manager's go to a terminal: nothing in them may steer it.
fn visible(mut detail: ErrorDetail) -> ErrorDetail {
    detail.message = crate::screen::visible(&detail.message);
    for error in &mut detail.fields {
        error.field = crate::screen::visible(&error.field);
        error.message = crate::screen::visible(&error.message);
    }
    detail
}
