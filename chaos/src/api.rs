//! The manager's JSON API as a client of it sees it, over a network that may fail at any moment.

use std::thread;
use std::time::Duration;

use campusgrid_protocol::rest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::clock::Stopwatch;
use crate::error::ChaosError;
use crate::history::{FileName, STDOUT};
use crate::work::Work;

/// No output of a job here is larger. Bytes.
const FILE_MAX: u64 = 64 << 20;

/// Rows of a list at once; the most that the API gives.
const PAGE: u32 = 200;

/// How often it is looked whether something has come about that nobody tells of.
const LOOK: Duration = Duration::from_millis(20);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{method} {path} was not answered")]
    Request { method: &'static str, path: String, source: Box<ureq::Error> },
    #[error("{method} {path} was answered with {status}: {body}")]
    Answer { method: &'static str, path: String, status: u16, body: String },
    #[error("{method} {path} was answered with something else than was agreed")]
    Body { method: &'static str, path: String, source: serde_json::Error },
}

impl ApiError {
    /// Whether asking again may help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Request { .. } => true,
            Self::Answer { status, .. } => matches!(status, 408 | 429 | 502 | 503 | 504 | 507),
            Self::Body { .. } => false,
        }
    }
}

/// Talks to one manager, as one user once it is logged in.
#[derive(Debug, Clone)]
pub struct Api {
    agent: Agent,
    base: String,
    token: Option<String>,
}

/// An answer, good or bad.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    method: &'static str,
    path: String,
}

impl Answer {
    /// The body of a good answer.
    ///
    /// # Errors
    ///
    /// `Answer` with what is in a bad one.
    pub fn good(self) -> Result<Vec<u8>, ApiError> {
        let Self { status, body, method, path } = self;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Err(ApiError::Answer { method, path, status, body })
    }

    /// What the body of a good answer says.
    ///
    /// # Errors
    ///
    /// `Answer`, `Body`.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        let (method, path) = (self.method, self.path.clone());
        let body = self.good()?;
        serde_json::from_slice(&body).map_err(|source| ApiError::Body { method, path, source })
    }
}

impl Api {
    /// `base` is the dashboard's address, without a slash at its end. No request takes longer than
    /// `limit`.
    pub fn new(base: &str, limit: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(limit))
            // A proxy of the machine's knows nothing of its loopback addresses.
            .proxy(None);
        Self { agent: config.build().into(), base: base.to_owned(), token: None }
    }

    /// The same connections as another user.
    pub fn logged_in(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Registers a user and yields the token of their login.
    ///
    /// # Errors
    ///
    /// `Request`, `Answer`, `Body`.
    pub fn register(&self, name: &str) -> Result<String, ApiError> {
        let body = json!({ "name": name, "password": "correct horse battery" });
        let logged_in: rest::accounts::LoggedIn = self.post("register", &body, None)?.json()?;
        Ok(logged_in.token)
    }

    /// # Errors
    ///
    /// `Request` if nothing is heard; what is heard may be an error.
    pub fn get(&self, path: &str) -> Result<Answer, ApiError> {
        self.look_at(&format!("/api/v1/{path}"))
    }

    /// Any page or list, by its whole path.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub fn look_at(&self, path: &str) -> Result<Answer, ApiError> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        read("GET", path, request.call())
    }

    /// Sends `body` under an idempotency key.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub fn post(
        &self,
        path: &str,
        body: &impl Serialize,
        key: Option<&str>,
    ) -> Result<Answer, ApiError> {
        let mut request = self.agent.post(self.url(path));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        read("POST", path, request.send_json(body))
    }

    /// Submits a job and yields its number.
    ///
    /// # Errors
    ///
    /// `Request`, `Answer`, `Body`.
    pub fn submit(&self, work: &Work) -> Result<u64, ApiError> {
        Ok(self.post("jobs", &work.body(None), None)?.json::<rest::Submitted>()?.job)
    }

    /// Looks at a job of one task until that task is as it should be.
    ///
    /// # Errors
    ///
    /// `Request`, `Answer`, `Body`; `Patience`.
    pub fn wait_for_task(
        &self,
        job: u64,
        limit: Duration,
        is_right: impl Fn(&rest::Task) -> bool,
    ) -> Result<rest::Task, ChaosError> {
        let waiting = Stopwatch::start();
        loop {
            let task = self.tasks(job)?.pop();
            if let Some(task) = &task
                && is_right(task)
            {
                return Ok(task.clone());
            }
            if waiting.elapsed() > limit {
                let (limit_s, found) = (limit.as_secs(), format!("{task:?}"));
                return Err(ChaosError::Patience { what: "a task's progress", limit_s, found });
            }
            thread::sleep(LOOK);
        }
    }

    /// All tasks of a job that have started.
    ///
    /// # Errors
    ///
    /// `Request`, `Answer`, `Body`.
    pub fn tasks(&self, job: u64) -> Result<Vec<rest::Task>, ApiError> {
        self.pages(&format!("jobs/{job}/tasks?limit={PAGE}"), "from")
    }

    /// All jobs of this user.
    ///
    /// # Errors
    ///
    /// As `tasks`.
    pub fn jobs(&self) -> Result<Vec<rest::Job>, ApiError> {
        self.pages(&format!("jobs?limit={PAGE}"), "before")
    }

    /// All rows of the ledger that concern this user.
    ///
    /// # Errors
    ///
    /// As `tasks`.
    pub fn transfers(&self) -> Result<Vec<rest::Transfer>, ApiError> {
        self.pages(&format!("credits/transfers?limit={PAGE}"), "before")
    }

    /// # Errors
    ///
    /// As `tasks`.
    pub fn credits(&self) -> Result<rest::Credits, ApiError> {
        self.get("credits")?.json()
    }

    /// # Errors
    ///
    /// As `tasks`.
    pub fn workers_online(&self) -> Result<u32, ApiError> {
        Ok(self.get("stats")?.json::<rest::operate::Stats>()?.workers_online)
    }

    /// Downloads all that a task has left and yields each file's name and BLAKE3 hash.
    ///
    /// # Errors
    ///
    /// As `tasks`.
    pub fn files(&self, job: u64, task: &rest::Task) -> Result<Vec<(FileName, String)>, ApiError> {
        let index = task.index;
        let mut paths = vec![(STDOUT, format!("jobs/{job}/logs?task={index}&stream=stdout"))];
        for output in &task.outputs {
            paths.push((&output.path, format!("jobs/{job}/outputs/{index}/{}", output.path)));
        }
        let mut files = Vec::new();
        for (name, path) in paths {
            let bytes = self.get(&path)?.good()?;
            let file = FileName { task: index, path: name.to_owned() };
            files.push((file, blake3::hash(&bytes).to_hex().to_string()));
        }
        Ok(files)
    }

    fn pages<T: DeserializeOwned>(&self, path: &str, more: &str) -> Result<Vec<T>, ApiError> {
        let mut all = Vec::new();
        let mut next = None;
        loop {
            let part = next.map_or(String::new(), |next| format!("&{more}={next}"));
            let page: rest::Page<T> = self.get(&format!("{path}{part}"))?.json()?;
            all.extend(page.items);
            next = page.next;
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.base)
    }
}

fn read(
    method: &'static str,
    path: &str,
    answer: Result<Response<Body>, ureq::Error>,
) -> Result<Answer, ApiError> {
    let failed = |source: ureq::Error| ApiError::Request {
        method,
        path: path.to_owned(),
        source: Box::new(source),
    };
    let mut answer = answer.map_err(failed)?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(FILE_MAX).read_to_vec().map_err(failed)?;
    Ok(Answer { status, body, method, path: path.to_owned() })
}

/// A value for a body that says nothing.
pub fn nothing() -> Value {
    json!({})
}
