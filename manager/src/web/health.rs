//! `GET /health`: whether the daemon does what it is there for, and if not, why.

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use campusgrid_core::effect::Refusal;
use campusgrid_core::input::{Intake, Shut};
use campusgrid_protocol::rest::operate::Health;

use super::Site;
use super::origin::is_safe;
use super::routes::answer;
use crate::engine::handle::AskError;

/// `GET /health`: whether the engine takes jobs in and the data directory can be written.
pub(super) async fn health(State(site): State<Site>) -> Json<Health> {
    let jobs_dir = can_write(&site).await;
    let mut reasons = Vec::new();
    if !jobs_dir {
        reasons.push("the data directory cannot be written".to_owned());
    }
    if site.health.view().disk.stuck_since.is_some() {
        reasons.push("the disk has no room for what must be written; it is tried again".to_owned());
    }
    reasons.extend(shut_words(&site.engine.snapshot().intake).map(str::to_owned));
    let status = if reasons.is_empty() { "ok" } else { "degraded" }.to_owned();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Json(Health { status, jobs_dir, version, reasons })
}

/// Refuses what would change something while the disk has no room for one more batch: it would wait
/// there without an answer.
pub(super) async fn refuse_while_stuck(
    State(site): State<Site>,
    request: Request,
    next: Next,
) -> Response {
    if !is_safe(request.method()) && site.health.view().disk.stuck_since.is_some() {
        return answer(request.uri(), AskError::Refused(Refusal::DiskFull).into());
    }
    next.run(request).await
}

/// Why nothing is taken in, for everybody to know.
pub(super) fn shut_words(intake: &Intake) -> Option<&'static str> {
    match intake {
        Intake::Open => None,
        Intake::Shut(Shut::DiskFull) => Some(
            "The manager's disk is full: new jobs are refused until there is room. What runs goes on, \
             and results wait on their machines.",
        ),
        Intake::Shut(Shut::BooksBroken { .. }) => Some(
            "The manager's books do not balance: new jobs are refused and nothing is paid until an \
             operator has looked. What runs goes on, and results wait on their machines.",
        ),
    }
}

/// Writes a small file and removes it again: a full or read-only disk shows only then.
async fn can_write(site: &Site) -> bool {
    let probe = site.config.data_dir.join(".health");
    let work = tokio::task::spawn_blocking(move || {
        std::fs::write(&probe, b"ok")?;
        match std::fs::remove_file(&probe) {
            // Another check was faster to remove the file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    });
    let result = work.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
    result.inspect_err(|error| tracing::error!(%error, "cannot write the data directory")).is_ok()
}
