//! Registering, logging in and out, and who one is.

pub(super) mod domains;
pub(super) mod invitations;
pub(super) mod sessions;
pub(super) mod tokens;
pub(super) mod users;
pub(super) mod verify;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_core::effect::Refusal;
use campusgrid_core::input::{NewLogin, Registration};
use campusgrid_core::policy::Admission;
use campusgrid_core::user::User;
use campusgrid_core::voucher::Shown;
use campusgrid_protocol::rest::PASSWORD_MAX;
use campusgrid_protocol::rest::accounts::{self, LoggedIn, Me, Register};

use super::Site;
use super::auth::{Login, Token};
use super::caller::Caller;
use super::credits::read_credits;
use super::error::WebError;
use super::extract::Body;
use super::guard::Claim;
use super::local::Local;
use super::passwords::Verdict;
use crate::engine::handle::AskError;
use crate::vouchers::Invitation;

/// Registers.
///
/// And logs in: the token goes into `Authorization: Bearer …`.
#[utoipa::path(post, path = "/api/v1/register", tag = "account",
    request_body = Register, responses((status = 201, body = LoggedIn), (status = 404), (status = 409)))]
pub(super) async fn register(
    State(site): State<Site>,
    caller: Caller,
    local: Local,
    Body(body): Body<Register>,
) -> Result<(StatusCode, Json<LoggedIn>), WebError> {
    let (user, token) = open_account(&site, &caller, body, local).await?;
    Ok((StatusCode::CREATED, Json(logged_in(user, token))))
}

/// Logs in.
///
/// The token goes into `Authorization: Bearer …`.
#[utoipa::path(post, path = "/api/v1/login", tag = "account",
    request_body = accounts::Login, responses((status = 200, body = LoggedIn), (status = 401)))]
pub(super) async fn log_in(
    State(site): State<Site>,
    caller: Caller,
    Body(body): Body<accounts::Login>,
) -> Result<Json<LoggedIn>, WebError> {
    let (user, token) = check_password(&site, &caller, body).await?;
    Ok(Json(logged_in(user, token)))
}

/// Logs out.
#[utoipa::path(post, path = "/api/v1/logout", tag = "account",
    responses((status = 204, description = "The login is over.")))]
pub(super) async fn log_out(
    State(site): State<Site>,
    login: Login,
) -> Result<StatusCode, WebError> {
    let (_, token_hash) = login.in_person()?;
    site.engine.close_login(token_hash).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says who asks.
#[utoipa::path(get, path = "/api/v1/me", tag = "account",
    responses((status = 200, body = Me)))]
pub(super) async fn me(State(site): State<Site>, login: Login) -> Result<Json<Me>, WebError> {
    let credits = read_credits(&site, login.id()).await?;
    let operator = login.is_operator();
    let balance_micros = credits.balance_micros;
    let user = login.id();
    let verified_at = site.readers.read(move |reader| reader.verified_at(user)).await?;
    let verified = verified_at.is_some();
    Ok(Json(Me { user: login.user.name, operator, balance_micros, verified }))
}

/// Registers a user and opens a first login.
///
/// # Errors
///
/// `Fields`, `TooManyAttempts`; `Ask` if the name is taken, registration is not open to this one or the
/// engine is busy; `Hash`, `Random`.
pub(super) async fn open_account(
    site: &Site,
    caller: &Caller,
    body: Register,
    Local(local): Local,
) -> Result<(User, Token), WebError> {
    body.check().map_err(WebError::Fields)?;
    if let Some(address) = &body.email {
        site.config.verified_domains.check(address)?;
    }
    let invitation = admit(site, body.invitation.as_deref(), local)?;
    site.guard.register(site.clock.now(), caller)?;
    let password_hash = site.guard.passwords.hash(caller.party(None), body.password).await?;
    let Register { name, email, .. } = body;
    let address = email.clone();
    let registration = Registration { name, email, password_hash, local, invitation };
    let user = site.engine.register(registration).await?;
    verify::welcome(site, &user, address.as_deref());
    let token = open_login(site, caller, &user).await?;
    tracing::info!(user.id = user.id.0, local, "a user registered");
    Ok((user, token))
}

/// Refuses what the grid would refuse before any work is done for it; the grid has the last word.
fn admit(site: &Site, invitation: Option<&str>, local: bool) -> Result<Option<Shown>, WebError> {
    let shown = invitation.map(str::trim).filter(|text| !text.is_empty());
    let shown = shown.map(|text| text.parse().map(|invitation: Invitation| invitation.shown()));
    let refuse = |refusal| Err(AskError::Refused(refusal).into());
    match (site.engine.policy().admission, shown) {
        (Admission::Closed, _) if !local => refuse(Refusal::RegistrationClosed),
        (Admission::Invitation, None) if !local => refuse(Refusal::InvitationNeeded),
        (Admission::Invitation, Some(Err(_))) => refuse(Refusal::VoucherUnknown),
        (_, shown) => Ok(shown.and_then(Result::ok)),
    }
}

/// Opens a login for whoever knows the password.
///
/// # Errors
///
/// `WrongPassword`, equal in words and work for unknown names; `TooManyAttempts`; `Ask`, `Read`,
/// `Hash`, `Random`.
pub(super) async fn check_password(
    site: &Site,
    caller: &Caller,
    body: accounts::Login,
) -> Result<(User, Token), WebError> {
    let accounts::Login { name, password } = body;
    if password.chars().count() > PASSWORD_MAX {
        site.counters.login_failed();
        return Err(WebError::WrongPassword);
    }
    let named = name.clone();
    let known = site.readers.read(move |reader| reader.password(&named)).await?;
    let claim = Claim { name, password, known: known.clone() };
    let verdict = site.guard.log_in(site, caller, claim).await?;
    let (user, old) = known.ok_or(WebError::WrongPassword)?;
    let mut right = vec![old.clone()];
    match verdict {
        Verdict::Wrong => return Err(WebError::WrongPassword),
        Verdict::Right => {}
        Verdict::Outdated { hash } => {
            right.push(hash.clone());
            // The login is good in any case; if the engine is busy, the next one brings it again.
            if let Err(error) = site.engine.rehash(user.id, old, hash).await {
                tracing::debug!(%error, user.id = user.id.0, "a password keeps its old costs");
            }
        }
    }
    let token = open_login(site, caller, &user).await?;
    // Whoever changes a password closes all logins that are open; one that the old password opens just
    // after is not among them.
    let id = user.id;
    let now = site.readers.read(move |reader| reader.password_of(id)).await?;
    if !now.is_some_and(|now| right.contains(&now)) {
        site.engine.close_login(token.hash()).await?;
        return Err(WebError::WrongPassword);
    }
    Ok((user, token))
}

async fn open_login(site: &Site, caller: &Caller, user: &User) -> Result<Token, WebError> {
    let token = Token::fresh()?;
    let lasts_ms = u64::from(site.config.login_days) * 24 * 3600 * 1000;
    let until = site.clock.now().plus_ms(lasts_ms);
    let (token_hash, from) = (token.hash(), caller.words());
    site.engine.open_login(NewLogin { user: user.id, token_hash, until, from }).await?;
    Ok(token)
}

fn logged_in(user: User, token: Token) -> LoggedIn {
    LoggedIn { user: user.name, token: token.to_string() }
}
