//! The page to submit a job: the form, its price while it is filled in, and examples to start from.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_core::money::Micros;
use campusgrid_protocol::rest::{FieldError, Quote, Submit, WorkKind};
use serde::Deserialize;

use super::account::error_of;
use super::form::{Fields, SignedForm};
use super::{Frame, PageError, Visitor};
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::Params;
use crate::web::jobs::{make_job, make_quote};
use crate::web::{Site, words};

/// A job to start from.
struct Example {
    key: &'static str,
    title: &'static str,
    kind: &'static str,
    source: &'static str,
    requirements: &'static str,
    cores: &'static str,
    ram_mib: &'static str,
}

macro_rules! example_file {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/", $name))
    };
}

const EXAMPLES: [Example; 4] = [
    Example {
        key: "sum-of-squares",
        title: "Sum of squares",
        kind: "python",
        source: example_file!("sum_of_squares.py"),
        requirements: "",
        cores: "1",
        ram_mib: "256",
    },
    Example {
        key: "random-forest",
        title: "Random forest",
        kind: "python",
        source: example_file!("random_forest.py"),
        requirements: example_file!("random_forest.requirements.txt"),
        cores: "1",
        ram_mib: "1024",
    },
    Example {
        key: "matrix-product",
        title: "Matrix product",
        kind: "python",
        source: example_file!("matrix_product.py"),
        requirements: example_file!("matrix_product.requirements.txt"),
        cores: "1",
        ram_mib: "512",
    },
    Example {
        key: "pi-openmp",
        title: "Pi on all cores (C, OpenMP)",
        kind: "c",
        source: example_file!("pi_openmp.c"),
        requirements: "",
        cores: "2",
        ram_mib: "256",
    },
];

/// What the form shows before anybody has typed: what the API takes for fields that are absent.
const DEFAULTS: [(&str, &str); 8] = [
    ("kind", "python"),
    ("tasks", "1"),
    ("cores", "1"),
    ("ram_mib", "512"),
    ("disk_mib", "256"),
    ("gpus", "0"),
    ("gpu_memory_mib", "0"),
    ("time_limit_s", "600"),
];

/// The example to begin with.
#[derive(Debug, Deserialize)]
pub(super) struct From {
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
}

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
}

/// `GET /submit`.
pub(super) async fn empty_form(
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
        fields.set("kind", example.kind);
        fields.set("source", example.source);
        fields.set("requirements", example.requirements.trim_end());
        fields.set("cores", example.cores);
        fields.set("ram_mib", example.ram_mib);
    }
    fields.set("key", &fresh_key()?);
    Ok(show(&site, visitor, fields, None).await?.into_response())
}

/// `POST /submit`.
pub(super) async fn submit(
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
pub(super) async fn quote(State(site): State<Site>, form: SignedForm) -> Response {
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
    let key = fields.text("key").to_owned();
    Ok(SubmitPage { frame, fields, errors, problem, examples: &EXAMPLES, quote, key })
}

async fn view_quote(site: &Site, login: &Login, fields: &Fields) -> QuoteView {
    // The price does not depend on the texts, which may not be there yet or be long.
    let mut numbers = fields.clone();
    for (name, text) in [("source", "-"), ("requirements", ""), ("name", "")] {
        numbers.set(name, text);
    }
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
        }
    }
}

/// The form as a request of the API; the API's own checks see every field that can be read.
fn read(fields: &Fields) -> Result<Submit, Vec<FieldError>> {
    let mut errors = Vec::new();
    let kind = match fields.text("kind") {
        "python" => WorkKind::Python,
        "c" => WorkKind::C,
        "shell" => WorkKind::Shell,
        _ => {
            errors.push(wrong("kind", "must be Python, C or a shell command"));
            WorkKind::Python
        }
    };
    let mut number = |name: &str| {
        let text = fields.text(name).trim();
        text.parse::<u32>().unwrap_or_else(|_| {
            errors.push(wrong(name, "must be a whole number"));
            1
        })
    };
    let (tasks, cores) = (number("tasks"), number("cores"));
    let (ram_mib, disk_mib) = (number("ram_mib"), number("disk_mib"));
    let (gpus, time_limit_s) = (number("gpus"), number("time_limit_s"));
    let gpus = u16::try_from(gpus).unwrap_or(u16::MAX);
    let gpu_memory_mib = number("gpu_memory_mib");
    let name = Some(fields.text("name").trim().to_owned()).filter(|name| !name.is_empty());
    // Browsers send lines with CR LF, which a shell would take for a part of the command.
    let source = fields.text("source").replace("\r\n", "\n");
    let body = Submit {
        kind,
        name,
        source,
        requirements: requirements(kind, fields.text("requirements")),
        tasks,
        cores,
        ram_mib,
        disk_mib,
        gpus,
        gpu_memory_mib,
        time_limit_s,
    };
    if errors.is_empty() {
        return Ok(body);
    }
    let unreadable = |found: &FieldError| errors.iter().all(|error| error.field != found.field);
    let more: Vec<FieldError> =
        body.check().err().into_iter().flatten().filter(unreadable).collect();
    errors.extend(more);
    Err(errors)
}

/// One package a line; the field is hidden, and what is in it stays behind, for other kinds.
fn requirements(kind: WorkKind, text: &str) -> Vec<String> {
    match kind {
        WorkKind::Python => {
            let lines = text.lines().map(str::trim);
            lines
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect()
        }
        WorkKind::C | WorkKind::Shell => Vec::new(),
    }
}

fn wrong(field: &str, message: &str) -> FieldError {
    FieldError { field: field.to_owned(), message: message.to_owned() }
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
        other => other,
    }
}

fn fresh_key() -> Result<String, WebError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(WebError::Random)?;
    Ok(format!("form-{:032x}", u128::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::{DEFAULTS, EXAMPLES, Fields, read};

    fn form(changes: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, text) in DEFAULTS.iter().chain(&[("source", "print(1)")]).chain(changes) {
            fields.set(name, text);
        }
        fields
    }

    fn wrong_fields(changes: &[(&str, &str)]) -> Vec<String> {
        let read = read(&form(changes)).and_then(|body| body.check().map(drop));
        read.err().into_iter().flatten().map(|error| error.field).collect()
    }

    #[test]
    fn the_form_as_it_is_shown_first_and_every_example_are_good() {
        assert_eq!(wrong_fields(&[]), [""; 0]);
        for example in &EXAMPLES {
            let changes = [
                ("name", example.title),
                ("kind", example.kind),
                ("source", example.source),
                ("requirements", example.requirements),
                ("cores", example.cores),
                ("ram_mib", example.ram_mib),
            ];
            assert_eq!(wrong_fields(&changes), [""; 0], "{}", example.key);
        }
    }

    #[test]
    fn all_fields_that_are_wrong_are_told_at_once() {
        assert_eq!(
            wrong_fields(&[("cores", "two"), ("ram_mib", "-1"), ("source", " "), ("tasks", "0")]),
            ["cores", "ram_mib", "source", "tasks"]
        );
        assert_eq!(wrong_fields(&[("kind", "cobol")]), ["kind"]);
        assert_eq!(wrong_fields(&[("gpus", "70000")]), ["gpus"]);
        assert_eq!(wrong_fields(&[("name", "a\u{202e}b")]), ["name"]);
    }

    #[test]
    fn requirements_are_lines_and_only_for_python() {
        let typed = "numpy\r\n\r\n  scikit-learn>=1.5 \r\n# a comment";
        let body = read(&form(&[("requirements", typed)])).unwrap();
        assert_eq!(body.requirements, ["numpy", "scikit-learn>=1.5"]);
        let body = read(&form(&[("requirements", typed), ("kind", "c")])).unwrap();
        assert!(body.requirements.is_empty());
    }

    #[test]
    fn line_ends_are_those_of_the_worker() {
        let body = read(&form(&[("source", "a\r\nb")])).unwrap();
        assert_eq!(body.source, "a\nb");
    }
}
