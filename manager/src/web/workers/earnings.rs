//! What one's machines have earned.

use axum::Json;
use axum::extract::State;
use campusgrid_core::money::Micros;
use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::rest::Page;
use campusgrid_protocol::rest::workers::{Earned, Earnings, MachineEarned, Paid, WorkerEarnings};

use crate::store::read_earnings::{StoredEarnings, StoredPaid};
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::{Named, Params};
use crate::web::jobs::{Part, is_full};

/// Show what one's machines have earned
///
/// In the last day, in the last seven, and ever; by machine, those that were taken out included.
#[utoipa::path(get, path = "/api/v1/earnings", tag = "workers",
    responses((status = 200, body = Earnings)))]
pub(in crate::web) async fn all(
    State(site): State<Site>,
    login: Login,
) -> Result<Json<Earnings>, WebError> {
    Ok(Json(read_earnings(&site, &login).await?))
}

/// Show what a machine has earned
///
/// And for which runs, newest first. For its owner and operators.
#[utoipa::path(get, path = "/api/v1/workers/{id}/earnings", tag = "workers", params(Part),
    responses((status = 200, body = WorkerEarnings)))]
pub(in crate::web) async fn of_worker(
    State(site): State<Site>,
    login: Login,
    Named(worker): Named<WorkerId>,
    Params(part): Params<Part>,
) -> Result<Json<WorkerEarnings>, WebError> {
    let limit = part.limit();
    Ok(Json(read_worker_earnings(&site, &login, worker, part.before, limit).await?))
}

/// What a user's machines have earned, best first.
///
/// # Errors
///
/// `Read`.
pub(in crate::web) async fn read_earnings(
    site: &Site,
    login: &Login,
) -> Result<Earnings, WebError> {
    let (user, now) = (login.id(), site.clock.now());
    let stored = site.readers.read(move |reader| reader.earnings(user, now)).await?;
    let sum = |of: fn(&StoredEarnings) -> Micros| stored.iter().map(of).sum::<Micros>().0;
    let all = Earned {
        today_micros: sum(|row| row.today),
        week_micros: sum(|row| row.week),
        ever_micros: sum(|row| row.ever),
    };
    let mut machines: Vec<MachineEarned> = stored.into_iter().map(machine).collect();
    machines.sort_by_key(|machine| (-machine.earned.ever_micros, machine.worker));
    Ok(Earnings { all, machines })
}

/// What a machine has earned, with a part of what it was paid for, newest first.
///
/// # Errors
///
/// `NotFound`, also for a machine of somebody else's; `Read`.
pub(in crate::web) async fn read_worker_earnings(
    site: &Site,
    login: &Login,
    worker: WorkerId,
    before: Option<u64>,
    limit: u32,
) -> Result<WorkerEarnings, WebError> {
    let (viewer, now) = (login.viewer(), site.clock.now());
    let read = site.readers.read(move |reader| {
        let Some(earned) = reader.worker_earnings(viewer, worker, now)? else { return Ok(None) };
        let paid = reader.attempts_paid(viewer, worker, before, limit)?;
        Ok(paid.map(|paid| (earned, paid)))
    });
    let (earned, stored) = read.await?.ok_or(WebError::NotFound)?;
    let next = stored.last().filter(|_| is_full(&stored, limit)).map(|row| row.id);
    let items = stored.into_iter().map(paid).collect();
    Ok(WorkerEarnings { earned: machine(earned).earned, paid: Page { items, next } })
}

fn machine(row: StoredEarnings) -> MachineEarned {
    let earned =
        Earned { today_micros: row.today.0, week_micros: row.week.0, ever_micros: row.ever.0 };
    MachineEarned { worker: row.worker.0, name: row.name, removed: row.removed, earned }
}

fn paid(row: StoredPaid) -> Paid {
    Paid {
        job: row.job.0,
        job_name: row.job_name,
        submitter: row.submitter,
        index: row.index,
        attempt: row.attempt,
        run_ms: row.run_ms,
        charged_micros: row.charged.0,
        earned_micros: row.earned.0,
        at_ms: row.at.0,
    }
}
