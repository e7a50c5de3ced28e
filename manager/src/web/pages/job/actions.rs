//! What a submitter does about a job, by the forms on its page.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::JobState;
use campusgrid_protocol::rest::arrays::{Cancel, ChangeJob, Retry};
use campusgrid_protocol::rest::market::Accept;

use super::show;
use super::shown::Shown;
use crate::web::Site;
use crate::web::error::WebError;
use crate::web::extract::Named;
use crate::web::files::retention::remove_job;
use crate::web::jobs::change::{cancel_job, change_job, retry_job};
use crate::web::jobs::read_one;
use crate::web::market::bids::accept_bid;
use crate::web::pages::PageError;
use crate::web::pages::form::{Fields, SignedForm, credits};

/// `POST /jobs/{id}/accept`: a bid, if it still is of the price that the page has shown.
pub(in crate::web) async fn accept(
    State(site): State<Site>,
    Named(id): Named<JobId>,
    form: SignedForm,
) -> Result<Response, PageError> {
    // What cannot be read is no bid that stands.
    let worker = form.fields.text("worker").parse().unwrap_or(0);
    let price_micros = credits::parse(form.fields.text("price")).unwrap_or(0);
    let done = accept_bid(&site, &form.visitor.login, id, Accept { worker, price_micros }).await;
    done_or_said(&site, id, form, done.map(drop)).await
}

/// `POST /jobs/{id}/cancel`: all of it, or the tasks that the form names.
pub(in crate::web) async fn cancel(
    State(site): State<Site>,
    Named(id): Named<JobId>,
    form: SignedForm,
) -> Result<Response, PageError> {
    let tasks = Some(form.fields.text("tasks").trim().to_owned()).filter(|text| !text.is_empty());
    let done = cancel_job(&site, &form.visitor.login, id, Cancel { tasks }).await;
    done_or_said(&site, id, form, done).await
}

/// `POST /jobs/{id}/change`: holds it back, releases it, or sets its priority.
pub(in crate::web) async fn change(
    State(site): State<Site>,
    Named(id): Named<JobId>,
    form: SignedForm,
) -> Result<Response, PageError> {
    let done = match change_of(&form.fields) {
        Ok(change) => change_job(&site, &form.visitor.login, id, change).await,
        Err(error) => {
            // What is not the visitor's is not there, whatever else is wrong.
            read_one(&site, form.visitor.login.viewer(), id).await?;
            Err(error)
        }
    };
    done_or_said(&site, id, form, done.map(drop)).await
}

/// `POST /jobs/{id}/retry`: its failed tasks once more, as a new job.
pub(in crate::web) async fn retry(
    State(site): State<Site>,
    Named(id): Named<JobId>,
    form: SignedForm,
) -> Result<Response, PageError> {
    let key: String =
        form.fields.text("key").chars().filter(char::is_ascii_graphic).take(64).collect();
    let key = Some(key).filter(|key| !key.is_empty());
    let retry = Retry { cancelled: !form.fields.text("cancelled").is_empty() };
    match retry_job(&site, &form.visitor.login, id, key, retry).await {
        Ok(made) => Ok(Redirect::to(&format!("/jobs/{}?of={id}", made.job)).into_response()),
        Err(error) => done_or_said(&site, id, form, Err(error)).await,
    }
}

/// `POST /jobs/{id}/delete`: the files and logs of an ended job; all of a draft.
pub(in crate::web) async fn delete(
    State(site): State<Site>,
    Named(id): Named<JobId>,
    form: SignedForm,
) -> Result<Response, PageError> {
    let detail = read_one(&site, form.visitor.login.viewer(), id).await?;
    let done = remove_job(&site, &form.visitor.login, id).await;
    if detail.job.state == JobState::Draft && done.is_ok() {
        return Ok(Redirect::to("/jobs").into_response());
    }
    done_or_said(&site, id, form, done).await
}

fn change_of(fields: &Fields) -> Result<ChangeJob, WebError> {
    let hold = match fields.text("hold") {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    };
    let priority = match fields.text("priority").trim() {
        "" => None,
        text => {
            let number = text.parse();
            Some(number.map_err(|_| WebError::Query("priority: must be -100 to 100".to_owned()))?)
        }
    };
    Ok(ChangeJob { hold, priority })
}

/// Back to the page; with what was wrong, if something was.
async fn done_or_said(
    site: &Site,
    id: JobId,
    form: SignedForm,
    done: Result<(), WebError>,
) -> Result<Response, PageError> {
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/jobs/{id}")).into_response()),
        Err(error) if error.describe().0.is_server_error() => Err(error.into()),
        Err(WebError::NotFound) => Err(WebError::NotFound.into()),
        Err(error) => {
            let (status, _, problem) = error.describe();
            let mut page = show(site, form.visitor, id, Shown::default(), false).await?;
            page.problem = problem;
            Ok((status, page).into_response())
        }
    }
}
