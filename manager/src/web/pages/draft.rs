//! A draft: the form of a job that gets its files before it is launched.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use campusgrid_core::input::NewDraft;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::Submit;
use campusgrid_protocol::text::check_label;

use super::files::{FilesView, view_files};
use super::form::Fields;
use super::form::files::{FilesForm, Sent};
use super::submit::{again, launch as launch_form, show};
use super::{PageError, Visitor};
use crate::store::read::StoredDraft;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::Named;
use crate::web::files::{Put, remove_file as remove, take_in};
use crate::web::words::{self, Moment};

/// Files that are listed in the form.
const FILES_SHOWN: u32 = 200;

/// What is shown of a draft beside its form.
pub(super) struct DraftView {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) made: Moment,
    /// How long it stays if nobody touches it, in words.
    pub(super) days: String,
    pub(super) files: FilesView,
}

/// `POST /jobs/{id}/files`: files for a draft, and the form as it was typed.
pub(in crate::web) async fn add_files(
    State(site): State<Site>,
    Named(draft): Named<JobId>,
    form: FilesForm,
) -> Result<Response, PageError> {
    let FilesForm { visitor, fields, files } = form;
    stored(&site, &visitor, draft).await?;
    match bring(&site, &visitor.login, draft, files, &fields).await {
        Ok(()) => Ok(show(&site, visitor, fields, Some(draft), None).await?.into_response()),
        Err(error) => again(&site, visitor, fields, Some(draft), error).await,
    }
}

/// `POST /jobs/{id}/files/remove`.
pub(in crate::web) async fn remove_file(
    State(site): State<Site>,
    Named(draft): Named<JobId>,
    form: FilesForm,
) -> Result<Response, PageError> {
    let FilesForm { visitor, fields, .. } = form;
    stored(&site, &visitor, draft).await?;
    let path = fields.text("remove").to_owned();
    match remove(&site, &visitor.login, draft, path).await {
        // Somebody who sends the form again has removed it already.
        Ok(()) | Err(WebError::NotFound) => {
            Ok(show(&site, visitor, fields, Some(draft), None).await?.into_response())
        }
        Err(error) => again(&site, visitor, fields, Some(draft), error).await,
    }
}

/// `POST /jobs/{id}/launch`.
pub(in crate::web) async fn launch(
    State(site): State<Site>,
    Named(draft): Named<JobId>,
    form: FilesForm,
) -> Result<Response, PageError> {
    let FilesForm { visitor, fields, files } = form;
    stored(&site, &visitor, draft).await?;
    match bring(&site, &visitor.login, draft, files, &fields).await {
        Ok(()) => launch_form(&site, visitor, fields, draft).await,
        Err(error) => again(&site, visitor, fields, Some(draft), error).await,
    }
}

/// Keeps a form as a draft.
///
/// # Errors
///
/// `TooManyAttempts`, `Ask`.
pub(super) async fn make_draft(
    site: &Site,
    login: &Login,
    key: Option<String>,
    mut body: Submit,
) -> Result<JobId, WebError> {
    body.name = body.name.filter(|name| check_label(name).is_ok());
    let name = body.name.clone().unwrap_or_else(|| "untitled".to_owned());
    let submit = serde_json::to_string(&body).expect("texts and numbers have a form in JSON");
    let (user, bytes) = (login.id(), submit.len() as u64);
    site.guard.submit(site.clock.now(), user, bytes)?;
    let made = site.engine.draft(NewDraft { user, key, name, submit }).await;
    Ok(made.inspect_err(|_| site.guard.not_submitted(site.clock.now(), user, bytes))?)
}

/// Adds the files of a form to a draft.
///
/// # Errors
///
/// Those of taking a file in; the files before it are then there.
pub(super) async fn bring(
    site: &Site,
    login: &Login,
    draft: JobId,
    files: Vec<Sent>,
    fields: &Fields,
) -> Result<(), WebError> {
    let wants_unpacking = !fields.text("unpack").is_empty();
    for file in files {
        let path = file.path.clone();
        let unpack = wants_unpacking && is_archive(&path);
        let put = Put { path, executable: false, unpack, blake3: None };
        take_in(site, login, draft, put, file.into_stream()).await?;
    }
    Ok(())
}

/// A draft of this visitor.
///
/// # Errors
///
/// `NotFound`, `Read`.
pub(super) async fn stored(
    site: &Site,
    visitor: &Visitor,
    draft: JobId,
) -> Result<StoredDraft, WebError> {
    let viewer = visitor.login.viewer();
    let stored = site.readers.read(move |reader| reader.draft(viewer, draft)).await?;
    stored.ok_or(WebError::NotFound)
}

pub(super) async fn view_draft(
    site: &Site,
    visitor: &Visitor,
    draft: JobId,
) -> Result<DraftView, WebError> {
    let stored = stored(site, visitor, draft).await?;
    let now = site.clock.now();
    let files = view_files(site, visitor.login.viewer(), draft, None, FILES_SHOWN).await?;
    Ok(DraftView {
        id: draft.0,
        name: words::visible(&stored.name),
        made: Moment::new(stored.made_at.0, now),
        days: words::counted(site.config.files.draft_days.into(), "day", "days"),
        files: files.of(stored.files, stored.bytes),
    })
}

/// Whether a file's name says that it can be unpacked.
fn is_archive(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    [".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| path.ends_with(end))
}
