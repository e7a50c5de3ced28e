//! The page to submit a job: the form, its price while it is filled in, and examples to start from.

mod examples;
mod offers;
pub(in crate::web) mod quote;
mod read;
mod sale;
mod sections;
mod write;

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::{FieldError, Submit};
use serde::Deserialize;

use super::account::error_of;
use super::draft::{DraftView, bring, make_draft, view_draft};
use super::form::Fields;
use super::form::files::FilesForm;
use super::{Frame, PageError, Visitor};
use crate::web::Site;
use crate::web::error::WebError;
use crate::web::extract::Params;
use crate::web::jobs::launch::launch_draft;
use crate::web::jobs::submit::make_job;
use examples::{EXAMPLES, Example};
use offers::Offers;
use quote::{QuoteView, view_quote};
pub(super) use read::CHECKPOINT_S;
use read::{DEFAULTS, read, read_leniently};
use sections::{AfterRow, LimitsView, MailView, OwnJob, after_rows, own_jobs};

/// The example to begin with, and how it is sold.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct From {
    example: Option<String>,
    /// How it is sold.
    sale: Option<String>,
}

#[derive(Template, WebTemplate)]
#[template(path = "submit.html")]
pub(super) struct SubmitPage {
    frame: Frame,
    fields: Fields,
    errors: Vec<FieldError>,
    problem: String,
    examples: &'static [Example],
    offers: Offers,
    quote: QuoteView,
    mail: MailView,
    limits: LimitsView,
    afters: Vec<AfterRow>,
    /// Own jobs that another may wait for.
    recent: Vec<OwnJob>,
    /// Makes a form that is sent twice one job.
    key: String,
    /// What is continued, if something is.
    draft: Option<DraftView>,
}

impl SubmitPage {
    fn value(&self, name: &str) -> &str {
        self.fields.text(name)
    }

    /// What is wrong with a field; empty if nothing is.
    fn error(&self, name: &str) -> &str {
        error_of(&self.errors, name)
    }

    /// Where the form goes.
    fn action(&self) -> String {
        match &self.draft {
            None => "/submit".to_owned(),
            Some(draft) => format!("/jobs/{}/launch", draft.id),
        }
    }
}

/// `GET /submit`.
pub(in crate::web) async fn empty_form(
    State(site): State<Site>,
    visitor: Visitor,
    Params(from): Params<From>,
) -> Result<Response, PageError> {
    let mut fields = Fields::default();
    for (name, text) in DEFAULTS {
        fields.set(name, text);
    }
    let wanted = from.example.as_deref();
    if let Some(example) = EXAMPLES.iter().find(|example| Some(example.key) == wanted) {
        fields.set("name", example.title);
        fields.set("source", example.source);
        for (name, text) in example.fields {
            fields.set(name, text.trim_end());
        }
    }
    if let Some(sale) = from.sale {
        fields.set("market", &sale);
    }
    fields.set("key", &fresh_key()?);
    Ok(show(&site, visitor, fields, None, None).await?.into_response())
}

/// `POST /submit`. With files it becomes a draft first, which stays if it cannot be launched.
pub(in crate::web) async fn submit(
    State(site): State<Site>,
    form: FilesForm,
) -> Result<Response, PageError> {
    let FilesForm { visitor, fields, files } = form;
    if files.is_empty() {
        let made = match read(&fields) {
            Ok(body) => make_job(&site, &visitor.login, key_of(&fields), body).await,
            Err(errors) => Err(WebError::Fields(errors)),
        };
        return match made {
            Ok(submitted) => Ok(to_job(submitted.job, &fields)),
            Err(error) => again(&site, visitor, fields, None, error).await,
        };
    }
    let draft = match make_draft(&site, &visitor.login, key_of(&fields), kept(&fields)).await {
        Ok(draft) => draft,
        Err(error) => return again(&site, visitor, fields, None, error).await,
    };
    match bring(&site, &visitor.login, draft, files, &fields).await {
        Ok(()) => launch(&site, visitor, fields, draft).await,
        Err(error) => again(&site, visitor, fields, Some(draft), error).await,
    }
}

/// `POST /submit/draft`: keeps the form, finished or not, to get files and be launched.
pub(in crate::web) async fn save_draft(
    State(site): State<Site>,
    form: FilesForm,
) -> Result<Response, PageError> {
    let FilesForm { visitor, fields, files } = form;
    let draft = match make_draft(&site, &visitor.login, key_of(&fields), kept(&fields)).await {
        Ok(draft) => draft,
        Err(error) => return again(&site, visitor, fields, None, error).await,
    };
    match bring(&site, &visitor.login, draft, files, &fields).await {
        Ok(()) => Ok(Redirect::to(&format!("/jobs/{draft}")).into_response()),
        Err(error) => again(&site, visitor, fields, Some(draft), error).await,
    }
}

/// Launches a draft as the form says.
pub(super) async fn launch(
    site: &Site,
    visitor: Visitor,
    fields: Fields,
    draft: JobId,
) -> Result<Response, PageError> {
    // Not the key that the draft was made under.
    let key = key_of(&fields).map(|key| format!("{key}-launch"));
    let launched = match read(&fields) {
        Ok(body) => launch_draft(site, &visitor.login, draft, key, Some(body)).await,
        Err(errors) => Err(WebError::Fields(errors)),
    };
    match launched {
        Ok(submitted) => Ok(to_job(submitted.job, &fields)),
        Err(error) => again(site, visitor, fields, Some(draft), error).await,
    }
}

/// The page of a draft as it was kept.
pub(super) async fn continue_draft(
    site: &Site,
    visitor: Visitor,
    draft: JobId,
) -> Result<Response, PageError> {
    let stored = super::draft::stored(site, &visitor, draft).await?;
    let mut fields = match serde_json::from_str::<Submit>(&stored.submit) {
        Ok(body) => write::write(&body),
        // What another version has kept may read as nothing; its files are there all the same.
        Err(_) => Fields::default(),
    };
    fields.set("key", &fresh_key()?);
    Ok(show(site, visitor, fields, Some(draft), None).await?.into_response())
}

/// The form once more, with what was typed, and what was wrong with it.
pub(super) async fn again(
    site: &Site,
    visitor: Visitor,
    mut fields: Fields,
    draft: Option<JobId>,
    error: WebError,
) -> Result<Response, PageError> {
    let status = error.describe().0;
    if status == StatusCode::INTERNAL_SERVER_ERROR || matches!(error, WebError::NotFound) {
        return Err(error.into());
    }
    fields.set("key", &fresh_key()?); // What was refused leaves nothing for a repeated one to find.
    Ok((status, show(site, visitor, fields, draft, Some(error)).await?).into_response())
}

pub(super) async fn show(
    site: &Site,
    visitor: Visitor,
    fields: Fields,
    draft: Option<JobId>,
    error: Option<WebError>,
) -> Result<SubmitPage, PageError> {
    let quote = view_quote(site, &visitor.login, &fields, draft).await;
    let errors = error.as_ref().map(WebError::fields).unwrap_or_default();
    let problem = match &error {
        Some(_) if !errors.is_empty() => "Please correct the fields marked below.".to_owned(),
        Some(error) => error.describe().2,
        None => String::new(),
    };
    let mail = MailView::of(site, visitor.login.id()).await?;
    let recent = own_jobs(site, visitor.login.viewer()).await?;
    let draft = match draft {
        Some(draft) => Some(view_draft(site, &visitor, draft).await?),
        None => None,
    };
    Ok(SubmitPage {
        frame: visitor.frame.following_grid(site),
        offers: Offers::of(&site.engine.snapshot(), &fields),
        limits: LimitsView::of(site),
        afters: after_rows(&fields),
        key: fields.text("key").to_owned(),
        examples: &EXAMPLES,
        fields,
        errors,
        problem,
        recent,
        mail,
        quote,
        draft,
    })
}

/// What of a form is kept in a draft: all that can be read.
fn kept(fields: &Fields) -> Submit {
    read_leniently(fields).0
}

fn key_of(fields: &Fields) -> Option<String> {
    let key: String = fields.text("key").chars().filter(char::is_ascii_graphic).take(64).collect();
    Some(key).filter(|key| !key.is_empty())
}

/// To the page of a new job, whose script is told if this browser is to tell of it.
fn to_job(job: u64, fields: &Fields) -> Response {
    let tell = if fields.text("notify_browser").is_empty() { "" } else { "?tell=browser" };
    Redirect::to(&format!("/jobs/{job}{tell}")).into_response()
}

/// A key that nobody has used.
pub(super) fn fresh_key() -> Result<String, WebError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(WebError::Random)?;
    Ok(format!("form-{:032x}", u128::from_le_bytes(bytes)))
}
