//! Tokens by which machines join: making them, listing those that are good, and revoking them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_core::effect::Refusal;
use campusgrid_core::voucher::Purpose;
use campusgrid_identity::token::JoinToken;
use campusgrid_protocol::id::{UserId, VoucherId};
use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::rest::workers::{JoinTokenMade, JoinTokenRow, JoinTokens, MakeJoinToken};

use super::Site;
use super::auth::Login;
use super::error::WebError;
use super::extract::{Body, Named};
use crate::engine::handle::AskError;
use crate::vouchers::{Terms, VoucherError, join_token};

const HOUR_MS: u64 = 3_600_000;

/// Lists the tokens by which machines may join.
#[utoipa::path(get, path = "/api/v1/workers/tokens", tag = "workers",
    responses((status = 200, body = JoinTokens)))]
pub(super) async fn list(
    State(site): State<Site>,
    login: Login,
) -> Result<Json<JoinTokens>, WebError> {
    let tokens = read_join_tokens(&site, &login).await?;
    Ok(Json(JoinTokens { fingerprint: site.fingerprint.to_string(), tokens }))
}

/// Makes a token by which machines may join.
///
/// It is shown this once.
#[utoipa::path(post, path = "/api/v1/workers/tokens", tag = "workers",
    request_body = MakeJoinToken, responses((status = 201, body = JoinTokenMade), (status = 404), (status = 409)))]
pub(super) async fn make(
    State(site): State<Site>,
    login: Login,
    Body(body): Body<MakeJoinToken>,
) -> Result<(StatusCode, Json<JoinTokenMade>), WebError> {
    let (token, row) = make_join_token(&site, &login, body).await?;
    let worker_port = site.worker_port;
    Ok((StatusCode::CREATED, Json(JoinTokenMade { token: token.to_string(), worker_port, row })))
}

/// Ends a token by which machines may join.
#[utoipa::path(delete, path = "/api/v1/workers/tokens/{id}", tag = "workers",
    responses((status = 204, description = "It is over.")))]
pub(super) async fn revoke(
    State(site): State<Site>,
    login: Login,
    Named(id): Named<VoucherId>,
) -> Result<StatusCode, WebError> {
    revoke_join_token(&site, &login, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The tokens that are good now, newest first: one's own, or for an operator all.
///
/// # Errors
///
/// `Read`.
pub(super) async fn read_join_tokens(
    site: &Site,
    login: &Login,
) -> Result<Vec<JoinTokenRow>, WebError> {
    let (viewer, now) = (login.viewer(), site.clock.now());
    let read = site.readers.read(move |reader| reader.vouchers(viewer, now));
    let vouchers = read.await?.into_iter();
    let rows = vouchers.filter_map(|voucher| match voucher.purpose {
        Purpose::Join { .. } => Some(JoinTokenRow {
            id: voucher.id.0,
            owner: voucher.user_name,
            uses_left: voucher.uses_left,
            made_at_ms: voucher.made_at.0,
            until_ms: voucher.until.0,
        }),
        Purpose::Invitation { .. } => None,
    });
    Ok(rows.collect())
}

/// Makes a token; only here its secret is known.
///
/// # Errors
///
/// `Fields`; `Ask`, also if a member asks for another's; `Read`, `Random`.
pub(super) async fn make_join_token(
    site: &Site,
    login: &Login,
    body: MakeJoinToken,
) -> Result<(JoinToken, JoinTokenRow), WebError> {
    body.check().map_err(WebError::Fields)?;
    let MakeJoinToken { owner, uses, hours } = body;
    let (owner, name) = owner_of(site, login, owner).await?;
    let made_at = site.clock.now();
    let until = made_at.plus_ms(u64::from(hours) * HOUR_MS);
    let terms = Terms { by: login.id(), uses, until };
    let token = join_token(&site.engine, site.fingerprint, owner, terms).await?;
    tracing::info!(
        user.id = login.id().0,
        voucher.id = token.id.0,
        uses,
        hours,
        "a token was made"
    );
    let row = JoinTokenRow {
        id: token.id.0,
        owner: name,
        uses_left: uses,
        made_at_ms: made_at.0,
        until_ms: until.0,
    };
    Ok((token, row))
}

/// Revokes a token; what has joined by it stays.
///
/// # Errors
///
/// `NotFound`, also for a token of somebody else's; `Ask`, `Read`.
pub(super) async fn revoke_join_token(
    site: &Site,
    login: &Login,
    id: VoucherId,
) -> Result<(), WebError> {
    // An operator's API token may be good for less than its user, which the engine does not know.
    let tokens = read_join_tokens(site, login).await?;
    tokens.iter().find(|row| row.id == id.0).ok_or(WebError::NotFound)?;
    Ok(site.engine.revoke_voucher(login.id(), id).await?)
}

async fn owner_of(
    site: &Site,
    login: &Login,
    name: Option<String>,
) -> Result<(UserId, String), WebError> {
    let Some(name) = name.filter(|name| *name != login.user.name) else {
        return Ok((login.id(), login.user.name.clone()));
    };
    if !login.is_operator() {
        return Err(AskError::Refused(Refusal::NotAnOperator).into());
    }
    let found = site.readers.read(move |reader| reader.user_by_name(&name)).await?;
    let nobody = || FieldError {
        field: "owner".to_owned(),
        message: "must be the name of a user".to_owned(),
    };
    let user = found.ok_or_else(|| WebError::Fields(vec![nobody()]))?;
    Ok((user.id, user.name))
}

impl From<VoucherError> for WebError {
    fn from(error: VoucherError) -> Self {
        match error {
            VoucherError::Random(error) => Self::Random(error),
            VoucherError::Ask(error) => Self::Ask(error),
        }
    }
}
