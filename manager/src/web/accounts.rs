//! Registering, logging in and out, and who one is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_core::user::User;
use campusgrid_protocol::rest::{self, LoggedIn, Me, PASSWORD_MAX};

use super::Site;
use super::auth::{Login, Token};
use super::credits::read_credits;
use super::error::WebError;
use super::extract::Body;
use super::local::Local;

/// `POST register`.
pub(super) async fn register(
    State(site): State<Site>,
    local: Local,
    Body(body): Body<rest::Register>,
) -> Result<(StatusCode, Json<LoggedIn>), WebError> {
    let (user, token) = open_account(&site, body, local).await?;
    Ok((StatusCode::CREATED, Json(logged_in(user, token))))
}

/// `POST login`.
pub(super) async fn log_in(
    State(site): State<Site>,
    Body(body): Body<rest::Login>,
) -> Result<Json<LoggedIn>, WebError> {
    let (user, token) = check_password(&site, body).await?;
    Ok(Json(logged_in(user, token)))
}

/// `POST logout`.
pub(super) async fn log_out(
    State(site): State<Site>,
    login: Login,
) -> Result<StatusCode, WebError> {
    site.engine.close_login(login.token.hash()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET me`.
pub(super) async fn me(State(site): State<Site>, login: Login) -> Result<Json<Me>, WebError> {
    let credits = read_credits(&site, login.id()).await?;
    let operator = login.is_operator();
    let balance_micros = credits.balance_micros;
    Ok(Json(Me { user: login.user.name, operator, balance_micros }))
}

/// Registers a user and opens a first login.
///
/// # Errors
///
/// `Fields`; `Ask` if the name is taken or the engine is busy; `Hash`, `Random`.
pub(super) async fn open_account(
    site: &Site,
    body: rest::Register,
    Local(local): Local,
) -> Result<(User, Token), WebError> {
    body.check().map_err(WebError::Fields)?;
    let hash = site.passwords.hash(body.password).await?;
    let user = site.engine.register(body.name, body.email, hash, local).await?;
    let token = open_login(site, &user).await?;
    tracing::info!(user.id = user.id.0, local, "a user registered");
    Ok((user, token))
}

/// Opens a login for whoever knows the password.
///
/// # Errors
///
/// `WrongPassword`, equal in words and work for unknown names; `Ask`, `Read`, `Random`.
pub(super) async fn check_password(
    site: &Site,
    body: rest::Login,
) -> Result<(User, Token), WebError> {
    let rest::Login { name, password } = body;
    if password.chars().count() > PASSWORD_MAX {
        return Err(WebError::WrongPassword);
    }
    let known = site.readers.read(move |reader| reader.password(&name)).await?;
    let (user, hash) = known.unzip();
    let right = site.passwords.verify(password, hash).await?;
    let user = user.filter(|_| right).ok_or(WebError::WrongPassword)?;
    let token = open_login(site, &user).await?;
    Ok((user, token))
}

async fn open_login(site: &Site, user: &User) -> Result<Token, WebError> {
    let token = Token::fresh()?;
    let lasts_ms = u64::from(site.config.login_days) * 24 * 3600 * 1000;
    let until = site.clock.now().plus_ms(lasts_ms);
    site.engine.open_login(user.id, token.hash(), until).await?;
    Ok(token)
}

fn logged_in(user: User, token: Token) -> LoggedIn {
    LoggedIn { user: user.name, token: token.to_string() }
}
