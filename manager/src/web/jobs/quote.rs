//! What a job would cost, before it is submitted.

use axum::Json;
use axum::extract::State;
use campusgrid_core::effect::Refusal;
use campusgrid_core::money::Micros;
use campusgrid_core::pricing;
use campusgrid_core::snapshot::{Shape, Snapshot};
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::submit::{Brought, Checked};
use campusgrid_protocol::rest::{Quote, Submit};
use campusgrid_protocol::task::{LABEL_4, TaskSpec};
use campusgrid_protocol::terms::{Sale, Terms};
use serde::Deserialize;
use utoipa::IntoParams;

use super::launch::Luggage;
use super::submit::check;
use crate::engine::handle::AskError;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::credits::read_credits;
use crate::web::error::WebError;
use crate::web::extract::{Body, Params};

/// With which files.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::web) struct QuotePart {
    /// The draft whose files it would bring: the lines of one may be its tasks.
    draft: Option<u64>,
}

/// Says what a job would cost.
///
/// With the factor on the formula as it is right now, and how many machines could take it at that price.
/// Nothing is held.
#[utoipa::path(post, path = "/api/v1/quote", tag = "jobs", params(QuotePart), request_body = Submit,
    responses((status = 200, body = Quote), (status = 404)))]
pub(in crate::web) async fn quote(
    State(site): State<Site>,
    login: Login,
    Params(QuotePart { draft }): Params<QuotePart>,
    Body(body): Body<Submit>,
) -> Result<Json<Quote>, WebError> {
    Ok(Json(make_quote(&site, &login, body, draft.map(JobId)).await?))
}

/// What a job would cost this user, and how many machines could take it; with the files of one of their
/// drafts, if one is named.
///
/// # Errors
///
/// `Fields`, `NotFound`, `Read`; `Ask` if the price is beyond all numbers.
pub(in crate::web) async fn make_quote(
    site: &Site,
    login: &Login,
    body: Submit,
    draft: Option<JobId>,
) -> Result<Quote, WebError> {
    let Checked { spec, terms, .. } = match draft {
        Some(draft) => Luggage::of(site, login, draft, &body).await?.check(body)?,
        None if body.draft => check(body, Brought::Later, None)?,
        None => check(body, Brought::Nothing, None)?,
    };
    let snapshot = site.engine.snapshot();
    let priced = Priced::of(&snapshot, &spec, &terms).ok_or_else(too_dear)?;
    let credits = read_credits(site, login.id()).await?;
    let shape = Shape { budget: priced.budget, ..shape_of(&snapshot, login, &spec, &terms) };
    let fit = snapshot.fit(&shape, &login.user.name);
    let any_price = Shape { budget: Micros(i64::MAX), ..shape.clone() };
    let able = snapshot.fit(&any_price, &login.user.name).able;
    let links = || snapshot.workers.iter().filter_map(|worker| worker.link.as_ref());
    // The label of a version says nothing to people; that no machine fits, they see above.
    let is_missing =
        |label: &&String| label.as_str() != LABEL_4 && !links().any(|link| link.offer.has(label));
    Ok(Quote {
        task_micros: priced.task.0,
        tasks: spec.tasks,
        runs: terms.runs(),
        total_micros: priced.total.0,
        formula_micros: priced.formula.0,
        rate_permille: snapshot.rate_permille,
        balance_micros: credits.balance_micros,
        workers_fit: fit.able,
        workers_dearer: able.saturating_sub(fit.able),
        workers_free: fit.free,
        workers_online: fit.online,
        labels_missing: shape.labels.iter().filter(is_missing).cloned().collect(),
    })
}

/// What a job comes to, if it is submitted now.
struct Priced {
    /// One run by the grid's formula, the factor included.
    formula: Micros,
    /// One run, at most.
    task: Micros,
    /// What is held for all of it.
    total: Micros,
    /// What a machine may ask for to be among those that can run it.
    budget: Micros,
}

impl Priced {
    /// None if it is beyond all numbers.
    fn of(snapshot: &Snapshot, spec: &TaskSpec, terms: &Terms) -> Option<Self> {
        let run_ms = u64::from(spec.time_limit_s) * 1000;
        let rate_permille = snapshot.rate_permille;
        let formula = pricing::quote(&snapshot.prices, &spec.needs, run_ms, rate_permille);
        let whole =
            |task: Micros| task.checked_times(terms.runs().into())?.checked_times(spec.tasks);
        let by_formula = pricing::price(&snapshot.prices, &spec.needs, run_ms);
        Some(match terms.sale {
            Sale::Formula => {
                Self { formula, task: formula, total: whole(formula)?, budget: by_formula }
            }
            // Nothing is held before a bid is accepted, and every owner may bid.
            Sale::Hand => {
                Self { formula, task: formula, total: Micros::ZERO, budget: Micros(i64::MAX) }
            }
            Sale::Rule { max_price_micros, .. } => {
                let most = Micros(max_price_micros);
                Self {
                    formula,
                    task: most,
                    total: whole(most)?,
                    budget: before(most, rate_permille),
                }
            }
        })
    }
}

/// The highest price that the factor does not lift above `most`.
fn before(most: Micros, rate_permille: u32) -> Micros {
    let lifted = i128::from(most.0) * 1000;
    let price = lifted.checked_div(rate_permille.into()).unwrap_or(i128::MAX);
    Micros(i64::try_from(price).unwrap_or(i64::MAX))
}

/// The shape of a job's tasks when they begin.
fn shape_of(snapshot: &Snapshot, login: &Login, spec: &TaskSpec, terms: &Terms) -> Shape {
    let shape = snapshot.shape(login.id(), spec);
    // Where results are compared, none of the submitter's own machines has a say.
    let but = if terms.verify { [Some(login.id()), None] } else { shape.but };
    Shape { but, ..shape }
}

fn too_dear() -> WebError {
    AskError::Refused(Refusal::PriceOverflow).into()
}
