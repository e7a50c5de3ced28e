//! `GET /health`: whether the daemon does what it is there for, and if not, why.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use campusgrid_core::effect::Refusal;
use campusgrid_core::input::{Intake, Shut};
use campusgrid_protocol::rest::operate::Health;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Site;
use super::origin::is_safe;
use super::routes::answer;
use crate::engine::handle::AskError;

/// Says whether the manager is well.
///
/// It takes jobs in, and its data directory can be written.
#[utoipa::path(get, path = "/health", tag = "grid",
    responses((status = 200, body = Health)))]
pub(super) async fn health(State(site): State<Site>) -> Json<Health> {
    let jobs_dir = site.writable.ask(&site).await;
    let reasons = reasons(jobs_dir, site.health.is_stuck(), &site.engine.snapshot().intake);
    let status = if reasons.is_empty() { "ok" } else { "degraded" }.to_owned();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Json(Health { status, jobs_dir, version, reasons })
}

/// What is not well, each thing once: on a full disk nothing can be written, and nothing is taken in.
fn reasons(jobs_dir: bool, is_stuck: bool, intake: &Intake) -> Vec<String> {
    let is_full = *intake == Intake::Shut(Shut::DiskFull);
    let mut reasons = Vec::new();
    if is_stuck {
        reasons.push("the disk has no room for what must be written; it is tried again".to_owned());
    } else if !jobs_dir && !is_full {
        reasons.push("the data directory cannot be written".to_owned());
    }
    if !(is_stuck && is_full) {
        reasons.extend(shut_words(intake).map(str::to_owned));
    }
    reasons
}

/// Refuses what would change something while the disk has no room for one more batch: it would wait
/// there without an answer.
pub(super) async fn refuse_while_stuck(
    State(site): State<Site>,
    request: Request,
    next: Next,
) -> Response {
    if !is_safe(request.method()) && site.health.is_stuck() {
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
             operator has stopped the manager, put them right and started it. What runs goes on, and \
             results wait on their machines.",
        ),
    }
}

/// How long an answer about the disk is as good as a new one.
const WRITABLE_FOR: Duration = Duration::from_secs(1);

/// Whether the data directory can be written, asked of the disk once a second at most: everybody may ask
/// for it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Writable(Arc<Mutex<Option<(Instant, bool)>>>);

impl Writable {
    async fn ask(&self, site: &Site) -> bool {
        // Whoever comes meanwhile waits for this answer, and asks for none of their own.
        let mut latest = self.0.lock().await;
        if let Some((at, answer)) = *latest
            && at.elapsed() < WRITABLE_FOR
        {
            return answer;
        }
        let answer = can_write(site.config.data_dir.clone()).await;
        *latest = Some((Instant::now(), answer));
        answer
    }
}

/// Writes a small file and removes it again: a full or read-only disk shows only then.
async fn can_write(data_dir: PathBuf) -> bool {
    let probe = data_dir.join(".health");
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

#[cfg(test)]
mod tests {
    use campusgrid_core::input::{Intake, Shut};

    use super::reasons;

    #[test]
    fn what_is_not_well_is_said_once() {
        let full = Intake::Shut(Shut::DiskFull);
        let broken = Intake::Shut(Shut::BooksBroken { findings: Vec::new() });
        for (jobs_dir, is_stuck, intake, count) in [
            (true, false, &Intake::Open, 0),
            (false, false, &Intake::Open, 1),
            (true, false, &full, 1),
            (false, false, &full, 1),
            (false, true, &full, 1),
            (true, true, &Intake::Open, 1),
            (false, false, &broken, 2),
            (true, true, &broken, 2),
        ] {
            let found = reasons(jobs_dir, is_stuck, intake);
            assert_eq!(found.len(), count, "{jobs_dir} {is_stuck} {intake:?}: {found:?}");
        }
    }
}
