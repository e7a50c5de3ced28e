//! A user's logins: where they are, ending them, and the password that opens them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_protocol::id::LoginId;
use campusgrid_protocol::rest::accounts::{ChangePassword, Session};

use crate::web::Site;
use crate::web::auth::Login;
use crate::web::caller::Caller;
use crate::web::error::WebError;
use crate::web::extract::{Body, Named};
use crate::web::guard::PresentPassword;

/// Lists the logins that are open, newest first.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "account",
    responses((status = 200, body = Vec<Session>)))]
pub(in crate::web) async fn list(
    State(site): State<Site>,
    login: Login,
) -> Result<Json<Vec<Session>>, WebError> {
    Ok(Json(read_sessions(&site, &login).await?))
}

/// Closes a login.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "account",
    responses((status = 204, description = "It is closed.")))]
pub(in crate::web) async fn revoke(
    State(site): State<Site>,
    login: Login,
    Named(session): Named<LoginId>,
) -> Result<StatusCode, WebError> {
    revoke_session(&site, &login, session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Closes all logins, this one as well.
#[utoipa::path(delete, path = "/api/v1/sessions", tag = "account",
    responses((status = 204, description = "They are closed.")))]
pub(in crate::web) async fn revoke_all(
    State(site): State<Site>,
    login: Login,
) -> Result<StatusCode, WebError> {
    site.engine.revoke_logins(login.id(), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets a new password.
///
/// All other logins are closed, and all API tokens end.
#[utoipa::path(post, path = "/api/v1/password", tag = "account",
    request_body = ChangePassword, responses((status = 204, description = "It is set.")))]
pub(in crate::web) async fn change_password(
    State(site): State<Site>,
    login: Login,
    caller: Caller,
    Body(body): Body<ChangePassword>,
) -> Result<StatusCode, WebError> {
    set_password(&site, &login, &caller, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A user's logins that are open, newest first.
///
/// # Errors
///
/// `MissingScope`, `Read`.
pub(in crate::web) async fn read_sessions(
    site: &Site,
    login: &Login,
) -> Result<Vec<Session>, WebError> {
    let (user, now) = (login.id(), site.clock.now());
    let (_, current) = login.in_person()?;
    let read = site.readers.read(move |reader| reader.logins_of(user, now, Some(&current)));
    let session = |login: crate::store::read_people::StoredLogin| {
        let used_at = site.last_uses.of_login(login.id).unwrap_or(login.used_at);
        Session {
            session: login.id.0,
            from: login.from,
            opened_at_ms: login.opened_at.0,
            used_at_ms: used_at.max(login.used_at).0,
            until_ms: login.until.0,
            current: login.is_current,
        }
    };
    Ok(read.await?.into_iter().map(session).collect())
}

/// Ends one of a user's logins.
///
/// # Errors
///
/// `NotFound`, also for somebody else's; `Ask`, `Read`.
pub(in crate::web) async fn revoke_session(
    site: &Site,
    login: &Login,
    session: LoginId,
) -> Result<(), WebError> {
    let sessions = read_sessions(site, login).await?;
    sessions.iter().find(|found| found.session == session.0).ok_or(WebError::NotFound)?;
    Ok(site.engine.revoke_login(login.id(), session).await?)
}

/// Sets a new password for whoever shows the present one, and ends all other logins and all API tokens.
///
/// # Errors
///
/// `Fields`, also if the present password is wrong; `TooManyAttempts`, `MissingScope`; `Ask`, `Read`,
/// `Hash`, `Random`.
pub(in crate::web) async fn set_password(
    site: &Site,
    login: &Login,
    caller: &Caller,
    body: ChangePassword,
) -> Result<(), WebError> {
    let (_, token_hash) = login.in_person()?;
    body.check(&login.user.name).map_err(WebError::Fields)?;
    let present = PresentPassword { password: body.present, field: "present" };
    site.guard.shows_password(site, caller, login, present).await?;
    let user = login.id();
    let password_hash = site.guard.passwords.hash(caller.party(Some(user)), body.new).await?;
    site.engine.change_password(user, password_hash, Some(token_hash)).await?;
    tracing::info!(user.id = user.0, "a password was changed");
    Ok(())
}
