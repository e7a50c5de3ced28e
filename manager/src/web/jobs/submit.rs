//! New jobs: submitting one, at once or as a draft.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use campusgrid_core::effect::Refusal;
use campusgrid_core::input::{FilesOf, NewDraft, Submission};
use campusgrid_protocol::rest::submit::{Brought, Checked};
use campusgrid_protocol::rest::{ErrorBody, FieldError, Submit, Submitted, WorkKind};
use campusgrid_protocol::task::{Packages, TaskSpec, Work};
use campusgrid_protocol::terms::Sale;

use super::chain;
use crate::engine::handle::AskError;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::Body;
use crate::web::notices;
use crate::web::pep723::{self, Header};

/// Longest idempotency key. Bytes.
const KEY_MAX_BYTES: usize = 128;

/// Jobs of one user that take bids at once: machines may bid on every one by themselves.
const OPEN_MAX: u32 = 100;

/// How often a submit is made anew because something changed under it. A job that it waits for ends
/// once, and files of a draft change when its owner changes them: once more is enough.
pub(super) const TRIES: usize = 3;

/// Submits a job.
///
/// Its price is held; with `draft` it waits for files and to be launched, and nothing is held yet, nor
/// is where a bid is to be accepted by hand.
/// A repeated submit under the same `Idempotency-Key` yields the first job.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs", request_body = Submit,
    params(("Idempotency-Key" = Option<String>, Header, max_length = 128,
        description = "Made by the client, one for each job.")),
    responses(
        (status = 201, body = Submitted),
        (status = 402, body = ErrorBody),
        (status = 409, body = ErrorBody)
    ))]
pub(in crate::web) async fn submit(
    State(site): State<Site>,
    login: Login,
    headers: HeaderMap,
    Body(body): Body<Submit>,
) -> Result<(StatusCode, Json<Submitted>), WebError> {
    let key = idempotency_key(&headers)?;
    let submitted = make_job(&site, &login, key, body).await?;
    Ok((StatusCode::CREATED, Json(submitted)))
}

/// Submits a job, or makes it a draft if it says so.
///
/// # Errors
///
/// `Fields`; `TooManyAttempts` if the user has just submitted too much; `Ask` if it is refused or the
/// engine is busy; `Read`.
pub(in crate::web) async fn make_job(
    site: &Site,
    login: &Login,
    key: Option<String>,
    body: Submit,
) -> Result<Submitted, WebError> {
    let bytes = text_bytes(&body);
    if body.draft {
        return counted(site, login, bytes, make_draft(site, login, key, body)).await;
    }
    let checked = check(body, Brought::Nothing, None)?;
    counted(site, login, bytes, async {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let wish = Wish { key: key.clone(), checked: checked.clone(), files: FilesOf::None };
            match place(site, login, wish).await {
                Err(error) if tries > 0 && has_moved(&error) => {}
                placed => return placed,
            }
        }
    })
    .await
}

async fn make_draft(
    site: &Site,
    login: &Login,
    key: Option<String>,
    body: Submit,
) -> Result<Submitted, WebError> {
    let submit = serde_json::to_string(&body).expect("a submit came as JSON");
    let Checked { name, .. } = check(body, Brought::Later, None)?;
    let job = site.engine.draft(NewDraft { user: login.id(), key, name, submit }).await?;
    Ok(Submitted { job: job.0, held_micros: 0 })
}

/// Does what counts as a submit of so many bytes, since it is kept for ever, and does not count if it
/// fails.
///
/// # Errors
///
/// `TooManyAttempts`; what `work` yields.
pub(in crate::web) async fn counted<T>(
    site: &Site,
    login: &Login,
    bytes: u64,
    work: impl Future<Output = Result<T, WebError>>,
) -> Result<T, WebError> {
    let user = login.id();
    site.guard.submit(site.clock.now(), user, bytes)?;
    work.await.inspect_err(|_| site.guard.not_submitted(site.clock.now(), user, bytes))
}

/// A job that is right in itself.
pub(super) struct Wish {
    pub(super) key: Option<String>,
    pub(super) checked: Checked,
    pub(super) files: FilesOf,
}

/// Has the engine take a job in.
///
/// # Errors
///
/// `Fields` if nobody can be told as it says; `TooManyOpen`; `Ask`, with `Moved` if something that it was
/// made of has changed meanwhile; `Read`.
pub(super) async fn place(site: &Site, login: &Login, wish: Wish) -> Result<Submitted, WebError> {
    let Wish { key, checked, files } = wish;
    let Checked { name, spec, terms, priority, on_hold, after } = checked;
    notices::check(site, login.id(), &terms.notify).await?;
    if terms.sale != Sale::Formula {
        check_open(site, login, key.clone()).await?;
    }
    let chain = chain::resolve(site, login, &after).await?;
    let (after, ended, user) = (chain.after, chain.ended, login.id());
    let submission =
        Submission { user, key, name, spec, terms, priority, on_hold, after, ended, files };
    let (job, held) = site.engine.submit(submission).await?;
    Ok(Submitted { job: job.0, held_micros: held.0 })
}

/// Whether one more job of this user may take bids. Who asks again under the same key gets the answer of
/// the first time.
async fn check_open(site: &Site, login: &Login, key: Option<String>) -> Result<(), WebError> {
    let user = login.id();
    let read = site.readers.read(move |reader| {
        let is_repeated = match key {
            Some(key) => reader.submit_key(user, &key)?.is_some(),
            None => false,
        };
        Ok(is_repeated || reader.open_jobs_of(user)? < OPEN_MAX)
    });
    if read.await? { Ok(()) } else { Err(WebError::TooManyOpen { max: OPEN_MAX }) }
}

/// Whether a submit is to be made anew.
pub(super) fn has_moved(error: &WebError) -> bool {
    matches!(error, WebError::Ask(AskError::Refused(Refusal::Moved)))
}

/// What the texts of a request take on the disk, but for those with a small bound. Bytes.
pub(super) fn text_bytes(body: &Submit) -> u64 {
    let lists = [&body.requirements, &body.flags, &body.labels, &body.arguments, &body.outputs];
    let listed = lists.into_iter().flatten().map(String::len).sum::<usize>();
    let texts = [&body.uv_lock, &body.array].into_iter().flatten().map(String::len).sum::<usize>();
    (body.source.len() + texts + listed) as u64
}

/// Checks a request and the header of its script, which stands in for packages that it does not name;
/// `entry` is the text of its entry file.
///
/// # Errors
///
/// `Fields`: all that are wrong.
pub(super) fn check(
    body: Submit,
    brought: Brought<'_>,
    entry: Option<&str>,
) -> Result<Checked, WebError> {
    let is_python = body.kind == WorkKind::Python;
    let header = if is_python && body.uv_lock.is_none() && !body.names_packages() {
        pep723::read(entry.unwrap_or(&body.source)).map_err(|errors| match entry {
            Some(_) => errors.into_iter().map(of_entry).collect(),
            None => errors,
        })
    } else {
        Ok(Header::default())
    };
    match (body.check(brought), header) {
        (Ok(mut checked), Ok(header)) => {
            take_header(&mut checked.spec, header);
            Ok(checked)
        }
        (checked, header) => {
            let errors = [checked.err(), header.err()].into_iter().flatten().flatten();
            Err(WebError::Fields(errors.collect()))
        }
    }
}

fn of_entry(error: FieldError) -> FieldError {
    FieldError { field: "entry".to_owned(), message: error.message }
}

fn take_header(spec: &mut TaskSpec, header: Header) {
    if let Work::Python { packages, .. } = &mut spec.work
        && !header.is_empty()
    {
        let Header { dependencies, requires_python } = header;
        *packages = Packages::Names { requirements: dependencies, requires_python };
    }
}

/// The client's key for what it asks, if it has one.
///
/// # Errors
///
/// `Fields` for one that is too long, or no text.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, WebError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=KEY_MAX_BYTES).contains(&key.len()));
    let Some(key) = key else {
        let message = format!("must be 1 to {KEY_MAX_BYTES} visible ASCII characters");
        let field = "Idempotency-Key".to_owned();
        return Err(WebError::Fields(vec![FieldError { field, message }]));
    };
    Ok(Some(key.to_owned()))
}
