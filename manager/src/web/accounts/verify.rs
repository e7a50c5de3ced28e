//! Showing that an address is one's own, by a link that came to it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_core::effect::Refusal;
use campusgrid_core::user::User;
use campusgrid_protocol::id::UserId;
use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::rest::accounts::{Verified, Verify};

use crate::engine::handle::AskError;
use crate::notify::{Claim, LinkError, identity};
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::Body;

/// Shows that an address is one's own.
///
/// By what stands in the link that was mailed to it. Whoever has it need not be logged in.
#[utoipa::path(post, path = "/api/v1/verify", tag = "account",
    request_body = Verify, responses((status = 200, body = Verified), (status = 404)))]
pub(in crate::web) async fn verify(
    State(site): State<Site>,
    Body(body): Body<Verify>,
) -> Result<Json<Verified>, WebError> {
    verify_token(&site, &body.token).await?;
    Ok(Json(Verified { verified: true }))
}

/// Sends the link again.
///
/// To the address of one's account; the link before is good for nothing any more.
#[utoipa::path(post, path = "/api/v1/verify/resend", tag = "account",
    responses((status = 204, description = "It is on its way."),
        (status = 422, body = campusgrid_protocol::rest::ErrorBody)))]
pub(in crate::web) async fn send_again(
    State(site): State<Site>,
    login: Login,
) -> Result<StatusCode, WebError> {
    resend(&site, &login).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Notes that the address that a link was sent to is its user's.
///
/// # Errors
///
/// `Ask`, refused if the link is unknown or too old; the link stays good if the engine is busy. `Fields` for
/// an address whose domain is worth nothing by now.
pub(in crate::web) async fn verify_token(site: &Site, token: &str) -> Result<(), WebError> {
    let unknown = || WebError::from(AskError::Refused(Refusal::VoucherUnknown));
    let links = site.links.as_ref().ok_or_else(unknown)?;
    let (user, address) = links.find(token, site.clock.now()).ok_or_else(unknown)?;
    site.config.verified_domains.check(&address)?;
    site.engine.verify(user, identity(&address)).await?;
    links.forget(token);
    tracing::info!(user.id = user.0, "a user has shown an address to be theirs");
    Ok(())
}

/// Has a fresh link sent to the address of one's account.
///
/// # Errors
///
/// `Fields` if there is no address, no mail server, nothing to show any more, or the address's domain is
/// worth nothing; `TooManyAttempts`,
/// `MissingScope`; `Ask(Busy)`, `Read`, `Random`.
pub(in crate::web) async fn resend(site: &Site, login: &Login) -> Result<(), WebError> {
    login.in_person()?;
    let refuse = |message: &str| {
        let (field, message) = ("email".to_owned(), message.to_owned());
        Err(WebError::Fields(vec![FieldError { field, message }]))
    };
    let Some(links) = &site.links else {
        return refuse(
            "cannot be verified: this manager has no mail server ([mail] in its settings)",
        );
    };
    let user = login.id();
    let read =
        site.readers.read(move |reader| Ok((reader.address_of(user)?, reader.verified_at(user)?)));
    let address = match read.await? {
        (_, Some(_)) => return refuse("is verified already"),
        (None, None) => return refuse("is not known: this account has none"),
        (Some(address), None) => address,
    };
    site.config.verified_domains.check(&address)?;
    let now = site.clock.now();
    let claim = Claim { user, name: &login.user.name, address: &address };
    links.send(claim, now).map_err(|error| match error {
        LinkError::TooMany { until } => WebError::TooManyAttempts { wait_ms: until.since_ms(now) },
        LinkError::Busy => AskError::Busy.into(),
        LinkError::Random(error) => WebError::Random(error),
    })
}

/// Whether a user has shown their address, where the starting credits hang on it; none elsewhere.
///
/// # Errors
///
/// `Read`.
pub(in crate::web) async fn is_verified(
    site: &Site,
    user: UserId,
) -> Result<Option<bool>, WebError> {
    if site.links.is_none() || !site.engine.policy().verified_grants {
        return Ok(None);
    }
    let at = site.readers.read(move |reader| reader.verified_at(user)).await?;
    Ok(Some(at.is_some()))
}

/// Sends a user who has just registered the first link, where the starting credits hang on it. If that
/// fails, another can be sent.
pub(in crate::web) fn welcome(site: &Site, user: &User, address: Option<&str>) {
    let (Some(links), Some(address)) = (&site.links, address) else { return };
    if !site.engine.policy().verified_grants {
        return;
    }
    let claim = Claim { user: user.id, name: &user.name, address };
    if let Err(error) = links.send(claim, site.clock.now()) {
        tracing::debug!(user.id = user.id.0, %error, "sent no first link");
    }
}
