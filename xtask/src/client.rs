//! The manager's JSON API as a user of it sees it: `/api/v1`, one kept-alive connection.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body};

/// Longer than the longest wait that is asked of the manager.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
/// How long one request waits for a job to end, milliseconds; then it is asked again.
const WAIT_MS: u64 = 60_000;
/// No log or output of an example is larger, bytes.
const TEXT_MAX: u64 = 16 << 20;

/// Talks to one manager, as one user once it is logged in.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Client {
    /// `base` is the dashboard's address, without a slash at its end.
    pub(crate) fn new(base: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_LIMIT))
            // A proxy knows nothing of this machine's loopback addresses.
            .proxy(None);
        Self { agent: config.build().into(), base: base.to_owned(), token: None }
    }

    /// The same connection pool as another user.
    pub(crate) fn logged_in(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// By which its user is known, once they are logged in.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(crate) fn is_healthy(&self) -> bool {
        let answer = self.agent.get(format!("{}/health", self.base)).call();
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// # Errors
    ///
    /// When there is no connection, or the API answers with an error, which is then in the text.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        read_json(self.fetch(path)?).with_context(|| format!("GET {path}"))
    }

    /// # Errors
    ///
    /// As `get`.
    pub(crate) fn get_text(&self, path: &str) -> Result<String> {
        let mut answer = self.fetch(path)?;
        if !answer.status().is_success() {
            read_json(answer).with_context(|| format!("GET {path}"))?;
            bail!("GET {path}: not a success, and yet no error");
        }
        let body = answer.body_mut().with_config().limit(TEXT_MAX).lossy_utf8(true);
        body.read_to_string().with_context(|| format!("GET {path}"))
    }

    /// # Errors
    ///
    /// As `get`.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.try_post(path, body)?.map_err(|refused| anyhow::anyhow!("POST {path}: {refused}"))
    }

    /// The outer error is of the connection, the inner one the API's own refusal.
    pub(crate) fn try_post(&self, path: &str, body: &Value) -> Result<Result<Value, Refused>> {
        let mut request = self.agent.post(self.url(path));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let answer = request.send_json(body).with_context(|| format!("POST {path}"))?;
        let success = answer.status().is_success();
        let body = body_of(answer).with_context(|| format!("POST {path}"))?;
        Ok(if success { Ok(body) } else { Err(Refused(body)) })
    }

    /// Sends a small text file.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub(crate) fn put(&self, path: &str, text: &str) -> Result<Value> {
        let mut request = self.agent.put(self.url(path));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        read_json(request.send(text).with_context(|| format!("PUT {path}"))?)
            .with_context(|| format!("PUT {path}"))
    }

    /// Submits a job and yields its number.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub(crate) fn submit(&self, job: &Value) -> Result<u64> {
        number(&self.post("jobs", job)?, "job")
    }

    /// Waits until a job has ended and yields how it stands then.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub(crate) fn wait(&self, job: u64) -> Result<Value> {
        loop {
            let detail = self.get(&format!("jobs/{job}?wait_ms={WAIT_MS}"))?;
            if has_ended(&detail) {
                return Ok(detail);
            }
        }
    }

    fn fetch(&self, path: &str) -> Result<Response<Body>> {
        let mut request = self.agent.get(self.url(path));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.call().with_context(|| format!("GET {path}"))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.base)
    }
}

/// An error as the API tells it.
#[derive(Debug)]
pub(crate) struct Refused(Value);

impl Refused {
    pub(crate) fn code(&self) -> &str {
        self.0["error"]["code"].as_str().unwrap_or_default()
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0["error"]["message"].as_str() {
            Some(message) => f.write_str(message)?,
            None => write!(f, "{}", self.0)?,
        }
        for field in self.0["error"]["fields"].as_array().into_iter().flatten() {
            write!(f, "; {} {}", field["field"], field["message"])?;
        }
        Ok(())
    }
}

fn body_of(mut answer: Response<Body>) -> Result<Value> {
    let status = answer.status();
    let text = answer.body_mut().read_to_string()?;
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).with_context(|| format!("{status} with a body that is not JSON"))
}

fn read_json(answer: Response<Body>) -> Result<Value> {
    let success = answer.status().is_success();
    let body = body_of(answer)?;
    if success { Ok(body) } else { Err(anyhow::anyhow!("{}", Refused(body))) }
}

/// # Errors
///
/// When the field is absent or no whole number.
pub(crate) fn number(value: &Value, field: &str) -> Result<u64> {
    value[field].as_u64().with_context(|| format!("no number {field} in {value}"))
}

pub(crate) fn state(job: &Value) -> &str {
    job["state"].as_str().unwrap_or("unknown")
}

pub(crate) fn has_ended(job: &Value) -> bool {
    matches!(state(job), "succeeded" | "failed" | "cancelled")
}

/// A job of one task that does nothing.
pub(crate) fn trivial_job() -> Value {
    json!({ "kind": "shell", "name": "true", "source": "true", "ram_mib": 64, "disk_mib": 16,
        "time_limit_s": 60 })
}
