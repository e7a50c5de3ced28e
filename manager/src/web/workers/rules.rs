//! Rules of one's own machine, and what its owner wants now.

use axum::Json;
use axum::extract::State;
use campusgrid_core::snapshot::WorkerView;
use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::rest::rules::SetByHand;
use campusgrid_protocol::rules::{ByHand, Rules, Whose};
use serde_json::{Map, Value};

use super::{check_owner, own_view};
use crate::store::read::Reader;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::{Body, Named, plain_words};
use crate::web::jobs::submit::counted;

/// Show a machine's rules
///
/// When it is shared, how much of it, and with whom. For its owner and operators.
#[utoipa::path(get, path = "/api/v1/workers/{id}/rules", tag = "workers",
    responses((status = 200, body = Rules)))]
pub(in crate::web) async fn show(
    State(site): State<Site>,
    login: Login,
    Named(worker): Named<WorkerId>,
) -> Result<Json<Rules>, WebError> {
    let snapshot = site.engine.snapshot();
    Ok(Json(Rules::clone(&own_view(&snapshot, &login, worker)?.rules)))
}

/// Set a machine's rules
///
/// All of them at once; what is left out is as at first: `PATCH` keeps it. The machine is told at once.
/// What is set by hand is among them: `POST workers/{id}/by-hand` changes that alone.
#[utoipa::path(put, path = "/api/v1/workers/{id}/rules", tag = "workers", request_body = Rules,
    responses((status = 200, body = Rules)))]
pub(in crate::web) async fn replace(
    State(site): State<Site>,
    login: Login,
    Named(worker): Named<WorkerId>,
    Body(body): Body<Rules>,
) -> Result<Json<Rules>, WebError> {
    Ok(Json(set_rules(&site, &login, worker, body).await?))
}

/// Change some of a machine's rules
///
/// What is left out stays; what is `null` is as at first; lists are replaced as a whole (RFC 7396). The
/// machine is told at once.
#[utoipa::path(patch, path = "/api/v1/workers/{id}/rules", tag = "workers", request_body = Rules,
    responses((status = 200, body = Rules)))]
pub(in crate::web) async fn change(
    State(site): State<Site>,
    login: Login,
    Named(worker): Named<WorkerId>,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<Rules>, WebError> {
    check_owner(&site, &login, worker)?;
    let snapshot = site.engine.snapshot();
    let kept = Rules::clone(&own_view(&snapshot, &login, worker)?.rules);
    let mut rules = serde_json::to_value(kept).expect("rules are good JSON");
    merge(&mut rules, Value::Object(body));
    let rules = serde_json::from_value(rules)
        .map_err(|error| WebError::Body(plain_words(&error.to_string())))?;
    Ok(Json(set_rules(&site, &login, worker, rules).await?))
}

/// Changes a value by a patch, as RFC 7396 has it. Both are as deep as a body may be, or less.
fn merge(kept: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *kept = patch;
        return;
    };
    if !kept.is_object() {
        *kept = Value::Object(Map::new());
    }
    let Value::Object(fields) = kept else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Share or pause a machine now
///
/// For some time or for ever, whatever its rules say of idleness, power and hours. The machine is told
/// at once; what runs there when it is paused is handed back, with what it has saved.
#[utoipa::path(post, path = "/api/v1/workers/{id}/by-hand", tag = "workers", request_body = SetByHand,
    responses((status = 200, body = Rules)))]
pub(in crate::web) async fn by_hand(
    State(site): State<Site>,
    login: Login,
    Named(worker): Named<WorkerId>,
    Body(body): Body<SetByHand>,
) -> Result<Json<Rules>, WebError> {
    Ok(Json(set_by_hand(&site, &login, worker, Some(body)).await?))
}

/// Leave a machine to its rules
///
/// What was set by hand ends.
#[utoipa::path(delete, path = "/api/v1/workers/{id}/by-hand", tag = "workers",
    responses((status = 200, body = Rules)))]
pub(in crate::web) async fn by_rules(
    State(site): State<Site>,
    login: Login,
    Named(worker): Named<WorkerId>,
) -> Result<Json<Rules>, WebError> {
    Ok(Json(set_by_hand(&site, &login, worker, None).await?))
}

/// Sets the rules of a machine; yields them.
///
/// # Errors
///
/// `Fields`; `NotFound`, also for a machine of somebody else's; `TooManyAttempts`, `Ask`.
pub(in crate::web) async fn set_rules(
    site: &Site,
    login: &Login,
    worker: WorkerId,
    rules: Rules,
) -> Result<Rules, WebError> {
    check_owner(site, login, worker)?;
    check(&rules)?;
    check_names(site, login, worker, &rules).await?;
    let bytes = serde_json::to_string(&rules).map_or(0, |text| text.len() as u64);
    let set = site.engine.set_rules(login.id(), worker, rules.clone());
    counted(site, login, bytes, async { Ok(set.await?) }).await?;
    tracing::info!(worker.id = worker.0, user.id = login.id().0, "a worker's rules were set");
    site.engine.shown().await; // Who looks next sees them.
    Ok(rules)
}

/// Sets what the owner of a machine wants now, or leaves it to its rules; yields them.
///
/// # Errors
///
/// As [`set_rules`].
pub(in crate::web) async fn set_by_hand(
    site: &Site,
    login: &Login,
    worker: WorkerId,
    wish: Option<SetByHand>,
) -> Result<Rules, WebError> {
    let now_ms = site.clock.now().0;
    let by_hand: Option<ByHand> =
        wish.map(|wish| wish.check(now_ms)).transpose().map_err(WebError::Fields)?;
    let snapshot = site.engine.snapshot();
    let view: &WorkerView = own_view(&snapshot, login, worker)?;
    let rules = Rules { by_hand, ..Rules::clone(&view.rules) };
    set_rules(site, login, worker, rules).await
}

/// Who is named in rules and is no user. Those who are named already may stay: what is changed beside
/// them, such as a pause, must not fail for their sake.
async fn check_names(
    site: &Site,
    login: &Login,
    worker: WorkerId,
    rules: &Rules,
) -> Result<(), WebError> {
    let Whose::Of(names) = &rules.limits.whose else { return Ok(()) };
    let snapshot = site.engine.snapshot();
    let is_kept = match &own_view(&snapshot, login, worker)?.rules.limits.whose {
        Whose::Of(kept) => names.iter().map(|name| kept.contains(name)).collect(),
        Whose::Everyone | Whose::Mine => vec![false; names.len()],
    };
    let fresh = names.iter().zip(is_kept).filter(|(_, is_kept)| !is_kept);
    let fresh: Vec<String> = fresh.map(|(name, _)| name.clone()).collect();
    let find = move |reader: &Reader| {
        let mut errors = Vec::new();
        for name in fresh {
            if reader.user_by_name(&name)?.is_none() {
                let message = format!("there is no user {name}");
                errors.push(FieldError { field: "limits.whose.of".to_owned(), message });
            }
        }
        Ok(errors)
    };
    let errors = site.readers.read(find).await?;
    if errors.is_empty() { Ok(()) } else { Err(WebError::Fields(errors)) }
}

/// What is wrong with rules, their time zone included.
fn check(rules: &Rules) -> Result<(), WebError> {
    let mut errors = rules.check().err().unwrap_or_default();
    let zone = &rules.when.zone;
    let is_told = errors.iter().any(|error| error.field == "when.zone");
    if !zone.is_empty() && !is_told && !campusgrid_sharing::zone::is_known(zone) {
        let message = "is no time zone that is known; one is Europe/Berlin".to_owned();
        errors.push(FieldError { field: "when.zone".to_owned(), message });
    }
    if errors.is_empty() { Ok(()) } else { Err(WebError::Fields(errors)) }
}
