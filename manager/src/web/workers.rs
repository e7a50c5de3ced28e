//! Machines: what is there, making one's own machine take part, taking it out again. Their rules are in
//! `rules`, their prices in `ask`, what they have earned in `earnings`.

pub(super) mod ask;
pub(super) mod describe;
pub(super) mod earnings;
pub(super) mod hand_over;
pub(super) mod rules;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_core::record;
use campusgrid_core::snapshot::{LinkView, NewcomerView, Snapshot, WorkerView};
use campusgrid_core::user::Role;
use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::rest::workers::{
    Approve, Approved, Record, WaitingWorker, Worker, WorkerDetail, WorkerGpu,
};
use campusgrid_protocol::rules::Rules;

use super::Site;
use super::auth::Login;
use super::error::WebError;
use super::extract::{Body, Named};
use crate::engine::handle::AskError;
use describe::describe;
use hand_over::hand_over;

/// Lists the machines that have an owner.
///
/// With what they offer and have free, and what jobs may require of them.
#[utoipa::path(get, path = "/api/v1/workers", tag = "workers",
    responses((status = 200, body = Vec<Worker>)))]
pub(super) async fn list(State(site): State<Site>, login: Login) -> Json<Vec<Worker>> {
    let describe = |view| describe(&site, view, &login);
    Json(site.engine.snapshot().workers.iter().map(describe).collect())
}

/// Shows a machine.
///
/// With what its score is made of, and, for its owner and operators, its rules, the limits that hold, its
/// price, and what it has earned.
#[utoipa::path(get, path = "/api/v1/workers/{id}", tag = "workers",
    responses((status = 200, body = WorkerDetail)))]
pub(super) async fn one(
    State(site): State<Site>,
    login: Login,
    Named(worker): Named<WorkerId>,
) -> Result<Json<WorkerDetail>, WebError> {
    Ok(Json(read_worker(&site, &login, worker)?))
}

/// Lists the machines that wait for approval and could be one's own.
#[utoipa::path(get, path = "/api/v1/workers/waiting", tag = "workers",
    responses((status = 200, body = Vec<WaitingWorker>)))]
pub(super) async fn waiting(State(site): State<Site>, login: Login) -> Json<Vec<WaitingWorker>> {
    let snapshot = site.engine.snapshot();
    let waiting = snapshot.newcomers.iter().filter(|view| may_be_of(view, &login));
    let describe = |view: &NewcomerView| WaitingWorker {
        name: view.name.clone(),
        address: view.address.clone(),
        claimed_owner: view.claimed_owner.clone(),
    };
    Json(waiting.map(describe).collect())
}

/// Makes a machine one's own by the code that it shows.
#[utoipa::path(post, path = "/api/v1/workers/approve", tag = "workers",
    request_body = Approve, responses((status = 200, body = Approved), (status = 404)))]
pub(super) async fn approve(
    State(site): State<Site>,
    login: Login,
    Body(body): Body<Approve>,
) -> Result<Json<Approved>, WebError> {
    let worker = adopt(&site, &login, &body.code).await?;
    Ok(Json(Approved { worker: worker.0 }))
}

/// Takes a machine out.
///
/// What runs there is handed back first, with what it has saved, and goes back to the queue; that may
/// take as long as the machine's rules give it, but at most 50 s.
#[utoipa::path(delete, path = "/api/v1/workers/{id}", tag = "workers",
    responses((status = 204, description = "It is out.")))]
pub(super) async fn remove(
    State(site): State<Site>,
    login: Login,
    Named(worker): Named<WorkerId>,
) -> Result<StatusCode, WebError> {
    remove_worker(&site, &login, worker).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a machine that was set aside take tasks again.
#[utoipa::path(post, path = "/api/v1/workers/{id}/release", tag = "workers",
    responses((status = 204, description = "It may.")))]
pub(super) async fn release(
    State(site): State<Site>,
    login: Login,
    Named(worker): Named<WorkerId>,
) -> Result<StatusCode, WebError> {
    release_worker(&site, &login, worker).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a machine out. What runs there is handed back first, if the machine is there to do so.
///
/// # Errors
///
/// `NotFound`, also for a machine of somebody else's; `Ask`.
pub(super) async fn remove_worker(
    site: &Site,
    login: &Login,
    worker: WorkerId,
) -> Result<(), WebError> {
    check_owner(site, login, worker)?;
    let (site, login) = (site.clone(), login.clone());
    // To its end, also if whoever asked for it goes away.
    let removing = tokio::spawn(async move {
        hand_over(&site, &login, worker).await?;
        site.engine.remove_worker(login.id(), worker).await?;
        tracing::info!(worker.id = worker.0, user.id = login.id().0, "a worker was removed");
        site.engine.shown().await; // Who looks next sees it gone.
        Ok(())
    });
    removing.await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_cancelled) => Err(AskError::Stopping.into()),
    })
}

/// Lets a machine that was set aside take tasks again.
///
/// # Errors
///
/// `NotFound`, also for a machine of somebody else's; `Ask`.
pub(super) async fn release_worker(
    site: &Site,
    login: &Login,
    worker: WorkerId,
) -> Result<(), WebError> {
    check_owner(site, login, worker)?;
    site.engine.release_worker(login.id(), worker).await?;
    tracing::info!(worker.id = worker.0, user.id = login.id().0, "a worker was released");
    site.engine.shown().await;
    Ok(())
}

/// A machine as it stands.
///
/// # Errors
///
/// `NotFound`.
pub(super) fn read_worker(
    site: &Site,
    login: &Login,
    worker: WorkerId,
) -> Result<WorkerDetail, WebError> {
    let snapshot = site.engine.snapshot();
    let view = snapshot.workers.iter().find(|view| view.id == worker);
    let view = view.ok_or(WebError::NotFound)?;
    let is_own = may_change(view, login);
    let shares = view.link.as_ref().and_then(|link| link.shares.as_ref());
    Ok(WorkerDetail {
        worker: describe(site, view, login),
        record: record_of(&view.record),
        ask: is_own.then(|| ask::told(&view.ask)),
        rules: is_own.then(|| Rules::clone(&view.rules)),
        limits: shares.filter(|_| is_own).map(|shares| shares.limits.clone()),
        earned_micros: is_own.then_some(view.record.earned_micros),
    })
}

/// A machine that is this user's to change.
///
/// # Errors
///
/// `NotFound`.
pub(super) fn own_view<'a>(
    snapshot: &'a Snapshot,
    login: &Login,
    worker: WorkerId,
) -> Result<&'a WorkerView, WebError> {
    let view = snapshot.workers.iter().find(|view| view.id == worker);
    view.filter(|view| may_change(view, login)).ok_or(WebError::NotFound)
}

/// What a machine's score is made of, as it is told.
pub(super) fn record_of(record: &record::Record) -> Record {
    Record {
        delivered: record.delivered,
        handed_back: record.handed_back,
        lost: record.lost,
        bids_failed: record.bids_failed,
        valid: record.valid,
        invalid: record.invalid,
        valid_in_row: record.valid_in_row,
    }
}

/// An operator's API token may be good for less than its user, which the engine does not know. For
/// everybody else its word is enough, also on a machine that is too new for the snapshot.
fn check_owner(site: &Site, login: &Login, worker: WorkerId) -> Result<(), WebError> {
    let snapshot = site.engine.snapshot();
    let view = snapshot.workers.iter().find(|view| view.id == worker);
    let is_bounded = login.user.role == Role::Operator && !login.is_operator();
    let may = view.map_or(!is_bounded, |view| may_change(view, login));
    if may { Ok(()) } else { Err(WebError::NotFound) }
}

/// Whether a machine is this user's to change.
pub(super) fn may_change(view: &WorkerView, login: &Login) -> bool {
    view.owner == login.id() || login.is_operator()
}

/// Whether a machine that waits could be this user's: it names nobody else.
pub(super) fn may_be_of(view: &NewcomerView, login: &Login) -> bool {
    let claimed = view.claimed_owner.as_ref();
    login.is_operator() || claimed.is_none_or(|name| name.eq_ignore_ascii_case(&login.user.name))
}

/// Reports that a machine may miss before it counts as silent, as the scheduler has it.
const HEARTBEATS_MISSED: u64 = 3;

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
    site.engine.shown().await; // Who looks next sees it among their own.
    Ok(worker)
}

/// How long a machine has not been heard of, if it is connected and should have been. Milliseconds.
pub(super) fn silent_ms(site: &Site, link: &LinkView) -> Option<u64> {
    // A snapshot is made when something happens, and silence is when nothing does.
    let silence_ms = site.clock.now().since_ms(link.heard_at);
    let is_silent = link.silent || is_silence(silence_ms, site.engine.policy().heartbeat_ms);
    is_silent.then_some(silence_ms)
}

fn is_silence(silence_ms: u64, heartbeat_ms: u32) -> bool {
    silence_ms > HEARTBEATS_MISSED * u64::from(heartbeat_ms)
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

#[cfg(test)]
mod tests {
    use super::is_silence;

    #[test]
    fn a_machine_is_silent_after_three_reports_that_did_not_come() {
        for (silence_ms, is) in [(0, false), (10_000, false), (30_000, false), (30_001, true)] {
            assert_eq!(is_silence(silence_ms, 10_000), is, "{silence_ms}");
        }
    }
}
