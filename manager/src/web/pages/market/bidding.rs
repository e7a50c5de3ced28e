//! The page on which an owner bids on one job, and what its forms do.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_core::effect::Refusal;
use campusgrid_protocol::id::{JobId, WorkerId};
use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::rest::market::{Bid, BidState, OpenJob, PlaceBid, START_WITHIN_S};
use serde::Deserialize;

use super::row::OpenRow;
use crate::engine::handle::AskError;
use crate::web::error::WebError;
use crate::web::extract::{Named, Params};
use crate::web::market::bids::{place_bid, read_bids, withdraw_bid};
use crate::web::market::read_open_job;
use crate::web::pages::account::error_of;
use crate::web::pages::form::{Fields, SignedForm, credits};
use crate::web::pages::{Frame, PageError, Visitor};
use crate::web::{Site, words};

/// A machine of the visitor's to bid with.
struct Machine {
    worker: u64,
    name: String,
    /// Its price by its standing ask.
    ask: String,
    chosen: bool,
}

/// A bid that stands.
struct Standing {
    worker: u64,
    machine: String,
    price: String,
    within: String,
    automatic: bool,
}

#[derive(Template, WebTemplate)]
#[template(path = "market/job.html")]
pub(in crate::web) struct BiddingPage {
    frame: Frame,
    job: OpenRow,
    machines: Vec<Machine>,
    standing: Vec<Standing>,
    price: String,
    start_within: String,
    notice: &'static str,
    problem: String,
    errors: Vec<FieldError>,
}

impl BiddingPage {
    /// What is wrong with a field of the form; empty if nothing is.
    fn error(&self, name: &str) -> &str {
        let field = match name {
            "price" => "price_micros",
            "start_within" => "start_within_s",
            name => name,
        };
        error_of(&self.errors, field)
    }
}

/// What was done just before, to say so.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Done {
    done: String,
}

/// `GET /market/jobs/{id}`. The submitter's own page has more.
pub(in crate::web) async fn job(
    State(site): State<Site>,
    visitor: Visitor,
    Named(id): Named<JobId>,
    Params(Done { done }): Params<Done>,
) -> Result<BiddingPage, PageError> {
    let mut page = show(&site, visitor, id, &Fields::default()).await?;
    page.notice = match done.as_str() {
        "bid" => "Your bid stands.",
        "withdrawn" => "Your bid is withdrawn.",
        _ => "",
    };
    Ok(page)
}

/// `POST /market/jobs/{id}/bid`.
pub(in crate::web) async fn bid(
    State(site): State<Site>,
    Named(id): Named<JobId>,
    SignedForm { visitor, fields }: SignedForm,
) -> Result<Response, PageError> {
    let placed = match read(&fields) {
        Ok(body) => place_bid(&site, &visitor.login, id, body).await.map(drop),
        Err(errors) => Err(WebError::Fields(errors)),
    };
    match placed {
        Ok(()) => Ok(Redirect::to(&format!("/market/jobs/{id}?done=bid")).into_response()),
        Err(error) => refused(&site, visitor, id, &fields, error).await,
    }
}

/// `POST /market/jobs/{id}/withdraw`.
pub(in crate::web) async fn withdraw(
    State(site): State<Site>,
    Named(id): Named<JobId>,
    SignedForm { visitor, fields }: SignedForm,
) -> Result<Response, PageError> {
    let worker = fields.text("worker").parse().map_err(|_| WebError::NotFound)?;
    match withdraw_bid(&site, &visitor.login, id, WorkerId(worker)).await {
        Ok(()) if fields.text("back") == "bids" => {
            Ok(Redirect::to("/market/bids?done=withdrawn").into_response())
        }
        Ok(()) => Ok(Redirect::to(&format!("/market/jobs/{id}?done=withdrawn")).into_response()),
        Err(error) => refused(&site, visitor, id, &Fields::default(), error).await,
    }
}

/// The form as a request of the API.
///
/// # Errors
///
/// All fields that cannot be read.
fn read(fields: &Fields) -> Result<PlaceBid, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut wrong = |field: &str, message: &str| {
        errors.push(FieldError { field: field.to_owned(), message: message.to_owned() });
    };
    let worker = fields.text("worker").parse().unwrap_or_else(|_| {
        wrong("worker", "must be one of your machines");
        0
    });
    let price_micros = credits::parse(fields.text("price")).filter(|price| *price > 0);
    let price_micros = price_micros.unwrap_or_else(|| {
        wrong("price_micros", "must be an amount of credits above 0, such as 12.50");
        0
    });
    let minutes = fields.text("start_within").trim();
    let start_within_s = match minutes.parse::<u32>() {
        Ok(minutes) => minutes.saturating_mul(60),
        Err(_) if minutes.is_empty() => START_WITHIN_S,
        Err(_) => {
            wrong("start_within_s", "must be a whole number of minutes");
            START_WITHIN_S
        }
    };
    if errors.is_empty() {
        Ok(PlaceBid { worker, price_micros, start_within_s })
    } else {
        Err(errors)
    }
}

/// The page once more, with what was typed, and what was wrong with it.
async fn refused(
    site: &Site,
    visitor: Visitor,
    id: JobId,
    fields: &Fields,
    error: WebError,
) -> Result<Response, PageError> {
    let status = error.describe().0;
    if status.is_server_error() || matches!(error, WebError::NotFound) {
        return Err(error.into());
    }
    if matches!(error, WebError::Ask(AskError::Refused(Refusal::NotOpen))) {
        return Ok(Redirect::to("/market?done=closed").into_response());
    }
    let mut page = show(site, visitor, id, fields).await?;
    page.errors = error.fields();
    page.problem = match page.errors.is_empty() {
        true => error.describe().2,
        false => "Please correct the fields marked below.".to_owned(),
    };
    Ok((status, page).into_response())
}

async fn show(
    site: &Site,
    visitor: Visitor,
    id: JobId,
    fields: &Fields,
) -> Result<BiddingPage, WebError> {
    let open = read_open_job(site, &visitor.login, id).await?;
    let bids = read_bids(site, &visitor.login, id).await?.bids;
    let own = bids.iter().filter(|bid| bid.own && bid.state == BidState::Open);
    let own: Vec<&Bid> = own.collect();
    let machines = machines(&open, &own, fields.text("worker"));
    let typed = |name: &str| Some(fields.text(name).to_owned()).filter(|text| !text.is_empty());
    let suggested = || {
        let stands = own.first().and_then(|bid| bid.price_micros);
        let ask = open.machines.iter().map(|machine| machine.ask_micros).min();
        credits::write(stands.or(ask))
    };
    let within_s = own.first().map_or(START_WITHIN_S, |bid| bid.start_within_s);
    Ok(BiddingPage {
        frame: visitor.frame,
        price: typed("price").unwrap_or_else(suggested),
        start_within: typed("start_within").unwrap_or_else(|| within_s.div_ceil(60).to_string()),
        standing: own.iter().map(|bid| Standing::new(bid)).collect(),
        machines,
        job: OpenRow::new(&open, site.clock.now()),
        notice: "",
        problem: String::new(),
        errors: Vec::new(),
    })
}

/// The machines to choose from; the one that was chosen, that bids already, or else the cheapest is
/// marked.
fn machines(open: &OpenJob, own: &[&Bid], chosen: &str) -> Vec<Machine> {
    let cheapest = open.machines.iter().min_by_key(|machine| machine.ask_micros);
    let bids = own.first().map(|bid| bid.worker);
    let usual = bids.or(cheapest.map(|machine| machine.worker));
    let chosen = chosen.parse().ok().or(usual);
    let machine = |machine: &campusgrid_protocol::rest::market::OwnMachine| Machine {
        worker: machine.worker,
        name: words::visible(&machine.name),
        ask: words::credits(machine.ask_micros),
        chosen: Some(machine.worker) == chosen,
    };
    open.machines.iter().map(machine).collect()
}

impl Standing {
    fn new(bid: &Bid) -> Self {
        Self {
            worker: bid.worker,
            machine: words::visible(&bid.worker_name),
            price: bid.price_micros.map_or("–".to_owned(), words::exact_credits),
            within: words::span(u64::from(bid.start_within_s) * 1000),
            automatic: bid.automatic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fields, read};

    fn form(texts: [(&str, &str); 3]) -> Fields {
        let mut fields = Fields::default();
        for (name, text) in texts {
            fields.set(name, text);
        }
        fields
    }

    #[test]
    fn a_bid_is_read_or_all_of_it_that_is_wrong_is_told() {
        let bid = read(&form([("worker", "3"), ("price", "12,5"), ("start_within", "")])).unwrap();
        assert_eq!((bid.worker, bid.price_micros, bid.start_within_s), (3, 12_500_000, 300));
        let bid = read(&form([("worker", "3"), ("price", "1"), ("start_within", "2")])).unwrap();
        assert_eq!(bid.start_within_s, 120);
        let errors = read(&form([("worker", ""), ("price", "0"), ("start_within", "soon")]));
        let fields: Vec<String> =
            errors.unwrap_err().into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["worker", "price_micros", "start_within_s"]);
    }
}
