//! What a job has cost, and for what.

use axum::Json;
use axum::extract::State;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::Task;
use campusgrid_protocol::rest::market::{Receipt, ReceiptLine, ReceiptTransfer};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{bounded, is_full};
use crate::store::read::TaskFilter;
use crate::store::read_market::StoredReceiptLine;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::{Named, Params};

/// Which runs of a job.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::web) struct ReceiptPart {
    /// Of tasks from this index on: `next` of the answer before.
    #[serde(default)]
    pub(in crate::web) from: u32,
    /// Of at most so many tasks, 1 to 200; 50 if absent.
    pub(in crate::web) limit: Option<u32>,
}

/// Show a job's receipt
///
/// What was agreed and charged for each run, and what has moved in the ledger.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/receipt", tag = "jobs", params(ReceiptPart),
    responses((status = 200, body = Receipt)))]
pub(in crate::web) async fn show(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Params(part): Params<ReceiptPart>,
) -> Result<Json<Receipt>, WebError> {
    Ok(Json(read_receipt(&site, &login, job, part).await?))
}

/// What a job has cost, with the runs of some of its tasks.
///
/// # Errors
///
/// `NotFound`, `Read`.
pub(in crate::web) async fn read_receipt(
    site: &Site,
    login: &Login,
    job: JobId,
    part: ReceiptPart,
) -> Result<Receipt, WebError> {
    let (viewer, limit) = (login.viewer(), bounded(part.limit));
    let filter = TaskFilter { from: part.from, limit, state: None };
    let read = site.readers.read(move |reader| {
        let Some(stored) = reader.job(viewer, job)? else { return Ok(None) };
        let tasks = reader.tasks(viewer, job, filter)?.unwrap_or_default();
        let transfers = reader.receipt(viewer, job)?.unwrap_or_default();
        Ok(Some((stored.detail, tasks, transfers)))
    });
    let (detail, tasks, transfers) = read.await?.ok_or(WebError::NotFound)?;
    let last = tasks.last().filter(|_| is_full(&tasks, limit));
    let next = last.map(|task| u64::from(task.index) + 1);
    Ok(Receipt {
        job: job.0,
        name: detail.job.name,
        owner: detail.job.owner,
        submitted_at_ms: detail.job.submitted_at_ms,
        ended_at_ms: detail.job.ended_at_ms,
        needs: detail.needs,
        time_limit_s: detail.time_limit_s,
        tasks: detail.job.tasks,
        task_micros: detail.task_micros,
        rate_permille: detail.rate_permille,
        held_micros: detail.job.held_micros,
        charged_micros: detail.job.charged_micros,
        refunded_micros: detail.job.refunded_micros,
        lines: tasks.into_iter().flat_map(lines).collect(),
        next,
        transfers: transfers.into_iter().map(transfer).collect(),
    })
}

/// The runs of a task that were charged for.
fn lines(task: Task) -> impl Iterator<Item = ReceiptLine> {
    let index = task.index;
    let charged = task.attempts.into_iter().filter(|attempt| attempt.charged_micros > 0);
    charged.map(move |attempt| ReceiptLine {
        index,
        attempt: attempt.number,
        worker: attempt.worker,
        worker_name: attempt.worker_name,
        ended_at_ms: attempt.ended_at_ms,
        run_ms: attempt.run_ms,
        price_micros: attempt.price_micros,
        charged_micros: attempt.charged_micros,
        outcome: attempt.outcome,
    })
}

fn transfer(line: StoredReceiptLine) -> ReceiptTransfer {
    ReceiptTransfer {
        transfer: line.transfer,
        key: line.key,
        amount_micros: line.amount.0,
        from: line.from,
        to: line.to,
        at_ms: line.at.0,
    }
}
