//! What the form as it is now would cost, and who could run it.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use campusgrid_core::money::Micros;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::Quote;
use campusgrid_protocol::rest::market::SoldBy;

use super::read::read;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::jobs::quote::make_quote;
use crate::web::pages::form::{Fields, SignedForm};
use crate::web::{Site, words};

/// The price and who could run it, or what keeps them from being known.
#[derive(Template, WebTemplate, Default)]
#[template(path = "quote.html")]
pub(super) struct QuoteView {
    problem: String,
    /// How it is sold.
    sale: Sale,
    task: String,
    total: String,
    /// By the formula, for one run.
    formula: String,
    /// The factor on the formula; empty if there is none.
    rate: String,
    balance: String,
    /// Empty if the balance covers the job.
    short: String,
    tasks: u32,
    /// Of each task, at most.
    runs: u8,
    online: u32,
    able: u32,
    /// Machines that could, but ask for more.
    dearer: u32,
    free: u32,
    /// Features that no connected machine offers, with commas between them.
    missing: String,
}

/// `POST /submit/quote`: what the form as it is now would cost. Changes nothing.
pub(in crate::web) async fn quote(State(site): State<Site>, form: SignedForm) -> Response {
    let draft = form.fields.text("draft").parse().ok().map(JobId);
    view_quote(&site, &form.visitor.login, &form.fields, draft).await.into_response()
}

/// What is said of the price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sale {
    #[default]
    Formula,
    Hand,
    Rule,
}

pub(super) async fn view_quote(
    site: &Site,
    login: &Login,
    fields: &Fields,
    draft: Option<JobId>,
) -> QuoteView {
    // The price does not depend on the texts, which may not be there yet or be long.
    let mut numbers = fields.clone();
    for name in ["requirements", "uv_lock", "flags", "name", "entry", "arguments", "outputs"] {
        numbers.set(name, "");
    }
    numbers.set("source", "-");
    let made = match read(&numbers) {
        Ok(mut body) => {
            body.notify = None;
            let sale = match body.market {
                None => Sale::Formula,
                Some(SoldBy::Hand) => Sale::Hand,
                Some(SoldBy::Rule) => Sale::Rule,
            };
            make_quote(site, login, body, draft).await.map(|quote| (quote, sale))
        }
        Err(errors) => Err(WebError::Fields(errors)),
    };
    match made {
        Ok((quote, sale)) => QuoteView::new(&quote, sale),
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
    fn is_by_hand(&self) -> bool {
        self.sale == Sale::Hand
    }

    fn is_by_rule(&self) -> bool {
        self.sale == Sale::Rule
    }

    fn new(quote: &Quote, sale: Sale) -> Self {
        let short = Micros(quote.total_micros) - Micros(quote.balance_micros);
        Self {
            problem: String::new(),
            sale,
            formula: words::exact_credits(quote.formula_micros),
            rate: match quote.rate_permille {
                1000 => String::new(),
                permille => words::exact_credits(i64::from(permille) * 1000),
            },
            task: words::exact_credits(quote.task_micros),
            total: words::exact_credits(quote.total_micros),
            balance: words::credits(quote.balance_micros),
            short: if short > Micros::ZERO { short.to_string() } else { String::new() },
            tasks: quote.tasks,
            runs: quote.runs,
            online: quote.workers_online,
            able: quote.workers_fit,
            dearer: quote.workers_dearer,
            free: quote.workers_free,
            missing: quote.labels_missing.join(", "),
        }
    }
}

/// A field as the form calls it.
fn label(field: &str) -> &str {
    match field {
        "cores" => "Cores",
        "ram_mib" => "Memory",
        "disk_mib" => "Disk",
        "gpus" => "GPUs",
        "gpu_memory_mib" => "Memory of each GPU",
        "time_limit_s" => "Time limit",
        "labels" => "A feature",
        "image" => "Image",
        "isolation" => "Isolation",
        "array" => "Indices",
        "lines_file" => "Lines of a file:",
        "at_once" => "At once",
        "after" => "After other jobs:",
        "retries" => "Retries",
        "backoff_s" => "The pause before a retry",
        "warn_s" => "The warning",
        "priority" => "Priority",
        "deadline_at_ms" => "The deadline",
        "market" => "How it is sold:",
        "max_price_micros" => "The highest price",
        "close_after_s" => "The time for bids",
        "checkpoint_s" => "The time between checkpoints",
        other => other,
    }
}
