//! Machines: what is there, making one's own machine take part, taking it out again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_core::snapshot::{LinkView, WorkerView};
use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::rest::{self, Approve, WorkerGpu};
use serde::Serialize;

use super::Site;
use super::auth::Login;
use super::error::WebError;
use super::extract::{Body, Named};

/// Answers `POST workers/approve`.
#[derive(Debug, Serialize)]
pub(super) struct Approved {
    worker: u64,
}

/// `GET workers`: machines that have an owner.
pub(super) async fn list(State(site): State<Site>, _login: Login) -> Json<Vec<rest::Worker>> {
    Json(site.engine.snapshot().workers.iter().map(describe).collect())
}

/// `POST workers/approve`.
pub(super) async fn approve(
    State(site): State<Site>,
    login: Login,
    Body(body): Body<Approve>,
) -> Result<Json<Approved>, WebError> {
    let worker = adopt(&site, &login, &body.code).await?;
    Ok(Json(Approved { worker: worker.0 }))
}

/// `DELETE workers/{id}`.
pub(super) async fn remove(
    State(site): State<Site>,
    login: Login,
    Named(worker): Named<WorkerId>,
) -> Result<StatusCode, WebError> {
    site.engine.remove_worker(login.id(), worker).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Letters and digits of a code, which a worker shows in two halves.
const CODE_CHARS: usize = 8;

/// Makes the machine that shows this code the user's, however the code was typed.
///
/// # Errors
///
/// `Ask` if no machine shows the code or the engine is busy.
pub(super) async fn adopt(site: &Site, login: &Login, code: &str) -> Result<WorkerId, WebError> {
    let mut code: String =
        code.chars().filter(char::is_ascii_alphanumeric).take(CODE_CHARS).collect();
    code.make_ascii_uppercase();
    if code.len() == CODE_CHARS {
        code.insert(CODE_CHARS / 2, '-');
    }
    let worker = site.engine.approve_worker(login.id(), code).await?;
    tracing::info!(worker.id = worker.0, user.id = login.id().0, "a worker was approved");
    Ok(worker)
}

fn describe(view: &WorkerView) -> rest::Worker {
    let link = view.link.as_ref();
    let capacity = link.map(|link| &link.capacity);
    let free = link.map(|link| &link.free);
    rest::Worker {
        worker: view.id.0,
        name: view.name.clone(),
        owner: Some(view.owner_name.clone()),
        online: link.is_some(),
        isolation: link.map_or(Isolation::None, |link| link.isolation),
        isolation_notes: link.map(|link| link.isolation_notes.clone()).unwrap_or_default(),
        cpu_millis: capacity.map_or(0, |capacity| capacity.cpu_millis),
        cpu_free_millis: free.map_or(0, |free| free.cpu_millis),
        ram_mib: capacity.map_or(0, |capacity| capacity.ram_mib),
        ram_free_mib: free.map_or(0, |free| free.ram_mib),
        disk_mib: capacity.map_or(0, |capacity| capacity.disk_mib),
        disk_free_mib: free.map_or(0, |free| free.disk_mib),
        gpus: link.map(gpus).unwrap_or_default(),
        gpus_free: free.map_or(0, |free| u16::try_from(free.gpus.len()).unwrap_or(u16::MAX)),
        labels: link.map(|link| link.offer.labels().to_vec()).unwrap_or_default(),
        running: view.running,
        cpu_busy_permille: link.map_or(0, |link| link.load.cpu_busy_permille),
        ram_used_mib: link.map_or(0, |link| link.load.ram_used_mib),
    }
}

/// The GPUs of a connected machine, by number.
pub(super) fn gpus(link: &LinkView) -> Vec<WorkerGpu> {
    let numbered = (0..u16::MAX).zip(&link.capacity.gpus);
    numbered
        .map(|(number, gpu)| WorkerGpu {
            number,
            gpu: gpu.clone(),
            free: link.free.gpus.iter().any(|free| free.number == number),
            load: link.load.gpus.get(usize::from(number)).copied(),
        })
        .collect()
}
