//! The page to submit a job: the form, its price while it is filled in, and examples to start from.

mod examples;
mod offers;
mod read;

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_core::money::Micros;
use campusgrid_protocol::rest::{FieldError, Quote};
use serde::Deserialize;

use super::account::error_of;
use super::form::{Fields, SignedForm};
use super::{Frame, PageError, Visitor};
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::Params;
use crate::web::jobs::{make_job, make_quote};
use crate::web::{Site, words};
use examples::{EXAMPLES, Example};
use offers::{FEATURE_FIELD, Offers};
use read::{DEFAULTS, read};

/// The example to begin with.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct From {
    example: Option<String>,
}

#[derive(Template, WebTemplate)]
#[template(path = "submit.html")]
struct SubmitPage {
    frame: Frame,
    fields: Fields,
    errors: Vec<FieldError>,
    problem: String,
    examples: &'static [Example],
    offers: Offers,
    quote: QuoteView,
    /// Makes a form that is sent twice one job.
    key: String,
}

impl SubmitPage {
    fn value(&self, name: &str) -> &str {
        self.fields.text(name)
    }

    /// What is wrong with a field; empty if nothing is.
    fn error(&self, name: &str) -> &str {
        error_of(&self.errors, name)
    }

    /// Whether something in the part that is folded away is not as it was shown first, or wrong.
    fn uses_more(&self) -> bool {
        let is_set = |name: &&str| !self.value(name).is_empty() || !self.error(name).is_empty();
        ["uv_lock", "flags", "labels", "image", "shared_tmp"].iter().any(is_set)
            || self.value("isolation") != "docker"
            || self.fields.named(FEATURE_FIELD).next().is_some()
            || !self.error("isolation").is_empty()
    }
}

/// How well a machine must confine a job at least: what the form sends, a name, and what it means.
const LEVELS: [(&str, &str, &str); 4] = [
    (
        "docker",
        "A sandbox or a container (usual)",
        "The job sees nothing of the machine and of other jobs but the system's programs.",
    ),
    (
        "full",
        "A sandbox of the system's own",
        "Not in a container of Docker or Podman, which takes longer to start.",
    ),
    (
        "restricted",
        "A restricted one will do",
        "More machines fit, but jobs there are less apart: other programs can see that yours runs \
         and may read what it leaves in shared folders.",
    ),
    (
        "none",
        "None at all",
        "For machines of your own: without a sandbox, a machine runs only its owner's jobs.",
    ),
];

/// The price and who could run it, or what keeps them from being known.
#[derive(Template, WebTemplate, Default)]
#[template(path = "quote.html")]
struct QuoteView {
    problem: String,
    task: String,
    total: String,
    balance: String,
    /// Empty if the balance covers the job.
    short: String,
    tasks: u32,
    online: u32,
    able: u32,
    free: u32,
    /// Features that no connected machine offers, with commas between them.
    missing: String,
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
    fields.set("key", &fresh_key()?);
    Ok(show(&site, visitor, fields, None).await?.into_response())
}

/// `POST /submit`.
pub(in crate::web) async fn submit(
    State(site): State<Site>,
    form: SignedForm,
) -> Result<Response, PageError> {
    let SignedForm { visitor, fields } = form;
    let key =
        Some(fields.text("key").chars().take(64).collect()).filter(|key: &String| !key.is_empty());
    let made = match read(&fields) {
        Ok(body) => make_job(&site, &visitor.login, key, body).await,
        Err(errors) => Err(WebError::Fields(errors)),
    };
    match made {
        Ok(submitted) => Ok(Redirect::to(&format!("/jobs/{}", submitted.job)).into_response()),
        Err(error) if error.describe().0 == StatusCode::INTERNAL_SERVER_ERROR => Err(error.into()),
        Err(error) => {
            let status = error.describe().0;
            Ok((status, show(&site, visitor, fields, Some(error)).await?).into_response())
        }
    }
}

/// `POST /submit/quote`: what the form as it is now would cost. Changes nothing.
pub(in crate::web) async fn quote(State(site): State<Site>, form: SignedForm) -> Response {
    view_quote(&site, &form.visitor.login, &form.fields).await.into_response()
}

async fn show(
    site: &Site,
    visitor: Visitor,
    fields: Fields,
    error: Option<WebError>,
) -> Result<SubmitPage, PageError> {
    let quote = view_quote(site, &visitor.login, &fields).await;
    let errors = error.as_ref().map(WebError::fields).unwrap_or_default();
    let problem = match &error {
        Some(_) if !errors.is_empty() => "Please correct the fields marked below.".to_owned(),
        Some(error) => error.describe().2,
        None => String::new(),
    };
    let frame = visitor.frame.following_grid(site);
    let offers = Offers::of(&site.engine.snapshot(), &fields);
    let key = fields.text("key").to_owned();
    Ok(SubmitPage { frame, fields, errors, problem, examples: &EXAMPLES, offers, quote, key })
}

async fn view_quote(site: &Site, login: &Login, fields: &Fields) -> QuoteView {
    // The price does not depend on the texts, which may not be there yet or be long.
    let mut numbers = fields.clone();
    for name in ["requirements", "uv_lock", "flags", "name"] {
        numbers.set(name, "");
    }
    numbers.set("source", "-");
    let made = match read(&numbers) {
        Ok(body) => {
            let tasks = body.tasks;
            make_quote(site, login, body).await.map(|quote| (quote, tasks))
        }
        Err(errors) => Err(WebError::Fields(errors)),
    };
    match made {
        Ok((quote, tasks)) => QuoteView::new(&quote, tasks),
        Err(error) => {
            error.log();
            let fields = error.fields();
            let wrong =
                fields.first().map(|error| format!("{} {}", label(&error.field), error.message));
            QuoteView { problem: wrong.unwrap_or(error.describe().2), ..QuoteView::default() }
        }
    }
}

impl QuoteView {
    fn new(quote: &Quote, tasks: u32) -> Self {
        let short = Micros(quote.total_micros) - Micros(quote.balance_micros);
        Self {
            problem: String::new(),
            task: words::exact_credits(quote.task_micros),
            total: words::exact_credits(quote.total_micros),
            balance: words::credits(quote.balance_micros),
            short: if short > Micros::ZERO { short.to_string() } else { String::new() },
            tasks,
            online: quote.workers_online,
            able: quote.workers_fit,
            free: quote.workers_free,
            missing: quote.labels_missing.join(", "),
        }
    }
}

/// A field as the form calls it.
fn label(field: &str) -> &str {
    match field {
        "tasks" => "Tasks",
        "cores" => "Cores",
        "ram_mib" => "Memory",
        "disk_mib" => "Disk",
        "gpus" => "GPUs",
        "gpu_memory_mib" => "Memory of each GPU",
        "time_limit_s" => "Time limit",
        "labels" => "A feature",
        "image" => "Image",
        "isolation" => "Isolation",
        other => other,
    }
}

fn fresh_key() -> Result<String, WebError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(WebError::Random)?;
    Ok(format!("form-{:032x}", u128::from_le_bytes(bytes)))
}
