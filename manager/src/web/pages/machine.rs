//! One machine: what it does and why not more, and for its owner what it earned, its rules and its price.

pub(super) mod ask;
pub(super) mod earned;
pub(in crate::web) mod hand;
mod limits;
pub(super) mod record;
pub(super) mod rules;
pub(super) mod state;

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::rest::workers::WorkerDetail;
use serde::Deserialize;

use super::form::{Fields, SignedForm};
use super::market::prices::formula;
use super::{Frame, PageError, Visitor};
use crate::web::error::WebError;
use crate::web::extract::{Named, Params};
use crate::web::market::prices::terms_of;
use crate::web::workers::ask::set_ask;
use crate::web::workers::read_worker;
use crate::web::workers::rules::set_rules;
use crate::web::{Site, words};
use earned::EarnedView;
use hand::ByHandView;
use record::RecordView;
use rules::{SpanRow, rows};

#[derive(Template, WebTemplate)]
#[template(path = "machine.html")]
pub(in crate::web) struct MachinePage {
    frame: Frame,
    id: u64,
    name: String,
    owner: String,
    running: String,
    state: String,
    state_class: &'static str,
    /// Empty if it has not measured itself.
    speed: String,
    /// Why it gets no tasks, if it was set aside; empty otherwise.
    set_aside: String,
    /// Why it does nothing; empty if it does, or for those whom it does not concern.
    why: String,
    /// For whoever may change it.
    own: Option<OwnView>,
    record: RecordView,
    fields: Fields,
    spans: Vec<SpanRow>,
    ask: Fields,
    formula: String,
    ask_example: String,
    notice: &'static str,
    problem: String,
    errors: Vec<FieldError>,
}

/// What only its owner and operators see.
struct OwnView {
    hand: ByHandView,
    /// The limits that hold, in words, if the machine itself is stricter; empty otherwise.
    stricter: String,
    earned: EarnedView,
}

impl MachinePage {
    /// A field of the form of the rules.
    fn value(&self, name: &str) -> &str {
        self.fields.text(name)
    }

    /// A field of the form of the price.
    fn asked(&self, name: &str) -> &str {
        self.ask.text(name)
    }

    /// What is wrong with a field, or with a part of it; empty if nothing is.
    fn error(&self, field: &str) -> &str {
        let is_of = |error: &&FieldError| {
            let rest = error.field.strip_prefix(field);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.errors.iter().find(is_of).map_or("", |error| &error.message)
    }

    fn limit_error(&self, name: &str) -> &str {
        self.error(&format!("limits.{name}"))
    }

    fn ask_error(&self, name: &str) -> &str {
        self.error(&format!("prices.{name}"))
    }

    fn uses_hours(&self) -> bool {
        let is_wrong = !self.error("when.hours").is_empty() || !self.error("when.zone").is_empty();
        let is_filled =
            |row: &SpanRow| row.days.contains(&true) || !row.from.is_empty() || !row.to.is_empty();
        is_wrong || self.spans.iter().any(is_filled)
    }

    fn uses_senses(&self) -> bool {
        let named = ["programs", "others_load_percent", "temperature_c", "until"];
        let is_wrong = |name: &str| !self.error(&format!("when.{name}")).is_empty();
        named.iter().any(|name| !self.value(name).is_empty() || is_wrong(name))
            || ["until_ms", "grace_s", "checkpoint_s"].into_iter().any(is_wrong)
    }
}

/// What was done just before, and from where on to list what was earned.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Wanted {
    done: String,
    before: Option<u64>,
}

/// `GET /workers/{id}`.
pub(in crate::web) async fn machine(
    State(site): State<Site>,
    visitor: Visitor,
    Named(worker): Named<WorkerId>,
    Params(wanted): Params<Wanted>,
) -> Result<MachinePage, PageError> {
    let mut page = show(&site, visitor, worker, wanted.before).await?;
    page.notice = match wanted.done.as_str() {
        "rules" => "The rules are kept, and the machine is told.",
        "ask" => "The price is kept; it counts for what begins from now on.",
        "pause" => "It is paused.",
        "share" => "It is shared now; what the machine’s own policy file says holds all the same.",
        "resume" => "It follows its rules again.",
        "withdrawn" => "It is offered no longer; what runs there is handed over.",
        "offered" => "It is offered again.",
        _ => "",
    };
    Ok(page)
}

/// `POST /workers/{id}/rules`.
pub(in crate::web) async fn change_rules(
    State(site): State<Site>,
    Named(worker): Named<WorkerId>,
    SignedForm { visitor, fields }: SignedForm,
) -> Result<Response, PageError> {
    let present = read_worker(&site, &visitor.login, worker)?.rules;
    let present = present.ok_or(WebError::NotFound)?;
    let changed = match rules::read(&fields, present.by_hand) {
        Ok(rules) => set_rules(&site, &visitor.login, worker, rules).await.map(drop),
        Err(errors) => Err(WebError::Fields(errors)),
    };
    match changed {
        Ok(()) => Ok(Redirect::to(&format!("/workers/{worker}?done=rules")).into_response()),
        Err(error) => refused(&site, visitor, worker, (Some(fields), None), error).await,
    }
}

/// `POST /workers/{id}/ask`.
pub(in crate::web) async fn change_ask(
    State(site): State<Site>,
    Named(worker): Named<WorkerId>,
    SignedForm { visitor, fields }: SignedForm,
) -> Result<Response, PageError> {
    let changed = match ask::read(&fields) {
        Ok(ask) => set_ask(&site, &visitor.login, worker, ask).await.map(drop),
        Err(errors) => Err(WebError::Fields(errors)),
    };
    match changed {
        Ok(()) => Ok(Redirect::to(&format!("/workers/{worker}?done=ask#ask")).into_response()),
        Err(error) => refused(&site, visitor, worker, (None, Some(fields)), error).await,
    }
}

/// The page once more, with what was typed into the form of the rules or of the price, and what was
/// wrong with it.
async fn refused(
    site: &Site,
    visitor: Visitor,
    worker: WorkerId,
    (rules, ask): (Option<Fields>, Option<Fields>),
    error: WebError,
) -> Result<Response, PageError> {
    let status = error.describe().0;
    if status.is_server_error() || matches!(error, WebError::NotFound) {
        return Err(error.into());
    }
    let mut page = show(site, visitor, worker, None).await?;
    page.errors = error.fields();
    page.problem = match page.errors.is_empty() {
        true => error.describe().2,
        false => "Please correct the fields marked below.".to_owned(),
    };
    if let Some(fields) = rules {
        page.spans = rows(&fields);
        page.fields = fields;
    }
    if let Some(fields) = ask {
        page.ask = fields;
    }
    Ok((status, page).into_response())
}

async fn show(
    site: &Site,
    visitor: Visitor,
    worker: WorkerId,
    before: Option<u64>,
) -> Result<MachinePage, WebError> {
    let frame = visitor.frame.clone().following_grid(site); // Before reading.
    let detail = read_worker(site, &visitor.login, worker)?;
    let now = site.clock.now();
    let own = match &detail.rules {
        Some(rules) => Some(OwnView {
            hand: ByHandView::new(rules, now),
            stricter: limits::stricter(&rules.limits, detail.limits.as_ref()),
            earned: EarnedView::read(site, &visitor.login, worker, before).await?,
        }),
        None => None,
    };
    let waiting = site.engine.snapshot().tasks_queued;
    Ok(MachinePage::new(site, frame, (detail, own), waiting))
}

impl MachinePage {
    fn new(
        site: &Site,
        frame: Frame,
        (detail, own): (WorkerDetail, Option<OwnView>),
        waiting: u64,
    ) -> Self {
        let WorkerDetail { worker, record, ask, rules, .. } = detail;
        let (state, state_class) = state::of(&worker);
        let why = if own.is_some() { state::why_idle(&worker, waiting) } else { String::new() };
        let fields = rules.as_ref().map(rules::write).unwrap_or_default();
        let prices = &site.engine.policy().prices;
        let ask = ask.unwrap_or_default(); // Its form is its owner's.
        Self {
            frame,
            id: worker.worker,
            name: words::visible(&worker.name),
            owner: worker.owner.clone(),
            running: words::counted(worker.running.into(), "task", "tasks"),
            state,
            state_class,
            speed: worker.speed.map(state::speed).unwrap_or_default(),
            set_aside: worker.set_aside.as_deref().map(words::one_line).unwrap_or_default(),
            why,
            own,
            record: RecordView::new(&record, worker.score_permille),
            spans: rows(&fields),
            fields,
            formula: formula(&terms_of(prices)),
            ask_example: ask::example(&ask, prices),
            ask: ask::write(&ask),
            notice: "",
            problem: String::new(),
            errors: Vec::new(),
        }
    }
}
