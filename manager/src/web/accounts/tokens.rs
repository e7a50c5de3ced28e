//! A user's API tokens: what programs log in with, for a while and for some things only.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_core::effect::Refusal;
use campusgrid_core::input::NewApiToken;
use campusgrid_core::user::Scopes;
use campusgrid_protocol::id::ApiTokenId;
use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::rest::accounts::{self, NewToken, Scope, TokenMade};

use crate::engine::handle::AskError;
use crate::store::read_people::{API_TOKENS_MAX, StoredApiToken};
use crate::web::Site;
use crate::web::auth::{API_TOKEN_PREFIX, Login, Token};
use crate::web::caller::Caller;
use crate::web::error::WebError;
use crate::web::extract::{Body, Named};
use crate::web::guard::PresentPassword;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// Lists the API tokens, newest first.
///
/// Those that are over as well.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "account",
    responses((status = 200, body = Vec<accounts::Token>)))]
pub(in crate::web) async fn list(
    State(site): State<Site>,
    login: Login,
) -> Result<Json<Vec<accounts::Token>>, WebError> {
    Ok(Json(read_tokens(&site, &login).await?))
}

/// Makes an API token.
///
/// It is shown this once.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "account",
    request_body = NewToken, responses((status = 201, body = TokenMade), (status = 409)))]
pub(in crate::web) async fn make(
    State(site): State<Site>,
    login: Login,
    caller: Caller,
    Body(body): Body<NewToken>,
) -> Result<(StatusCode, Json<TokenMade>), WebError> {
    Ok((StatusCode::CREATED, Json(make_token(&site, &login, &caller, body).await?)))
}

/// Ends an API token.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "account",
    responses((status = 204, description = "It is over.")))]
pub(in crate::web) async fn revoke(
    State(site): State<Site>,
    login: Login,
    Named(token): Named<ApiTokenId>,
) -> Result<StatusCode, WebError> {
    revoke_token(&site, &login, token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A user's API tokens, newest first.
///
/// # Errors
///
/// `Read`.
pub(in crate::web) async fn read_tokens(
    site: &Site,
    login: &Login,
) -> Result<Vec<accounts::Token>, WebError> {
    let user = login.id();
    let tokens = site.readers.read(move |reader| reader.api_tokens_of(user)).await?;
    Ok(tokens.into_iter().map(|token| describe(site, token)).collect())
}

/// Makes an API token for whoever shows the present password: a login that was stolen for a moment must
/// not last a year. Only the answer has the token itself.
///
/// # Errors
///
/// `Fields`, also if the password is wrong; `TooManyAttempts`, `MissingScope`; `Ask` if the user has too
/// many or the engine is busy; `Read`, `Hash`, `Random`.
pub(in crate::web) async fn make_token(
    site: &Site,
    login: &Login,
    caller: &Caller,
    body: NewToken,
) -> Result<TokenMade, WebError> {
    login.in_person()?; // A token that could make tokens would outlive its own end.
    body.check().map_err(WebError::Fields)?;
    check_scopes(login, &body.scopes)?;
    let (user, now) = (login.id(), site.clock.now());
    let tokens = site.readers.read(move |reader| reader.api_tokens_of(user)).await?;
    let good = tokens.iter().filter(|token| token.until > now).count();
    if good >= API_TOKENS_MAX as usize {
        return Err(AskError::Refused(Refusal::TooMany { max: API_TOKENS_MAX }).into());
    }
    let present = PresentPassword { password: body.password, field: "password" };
    let shown = site.guard.shows_password(site, caller, login, present).await?;
    let token = Token::fresh()?;
    let hash = token.hash();
    let new = NewApiToken {
        user,
        name: body.name,
        token_hash: hash,
        scopes: from_list(&body.scopes),
        until: now.plus_ms(u64::from(body.days) * DAY_MS),
    };
    site.engine.open_api_token(new).await?;
    let made = site.readers.read(move |reader| {
        let found = reader.api_token(&hash, now)?;
        let tokens = reader.api_tokens_of(user)?;
        Ok(found.and_then(|(_, _, id)| tokens.into_iter().find(|token| token.id == id)))
    });
    // It is there, unless the same user has revoked it in this very moment.
    let made = made.await?.ok_or(WebError::NotFound)?;
    // A new password ends all tokens; one that was made by the old one just after is not among them.
    if site.readers.read(move |reader| reader.password_of(user)).await? != shown {
        site.engine.revoke_api_token(user, made.id).await?;
        return Err(WebError::NotLoggedIn);
    }
    tracing::info!(user.id = user.0, token.id = made.id.0, "an API token was made");
    Ok(TokenMade { token: format!("{API_TOKEN_PREFIX}{token}"), about: describe(site, made) })
}

/// A token with a scope that its user cannot use now would gain it, unasked, with a later role.
///
/// # Errors
///
/// `Fields`.
fn check_scopes(login: &Login, scopes: &[Scope]) -> Result<(), WebError> {
    if scopes.contains(&Scope::Operate) && !login.is_operator() {
        let message = "operate is for operators only".to_owned();
        return Err(WebError::Fields(vec![FieldError { field: "scopes".to_owned(), message }]));
    }
    Ok(())
}

/// Ends one of a user's API tokens.
///
/// # Errors
///
/// `NotFound`, also for somebody else's; `Ask`, `Read`.
pub(in crate::web) async fn revoke_token(
    site: &Site,
    login: &Login,
    token: ApiTokenId,
) -> Result<(), WebError> {
    let tokens = read_tokens(site, login).await?;
    tokens.iter().find(|found| found.id == token.0).ok_or(WebError::NotFound)?;
    Ok(site.engine.revoke_api_token(login.id(), token).await?)
}

fn describe(site: &Site, token: StoredApiToken) -> accounts::Token {
    let used_at = site.last_uses.of_token(token.id).max(token.used_at);
    accounts::Token {
        id: token.id.0,
        name: token.name,
        scopes: to_list(token.scopes),
        made_at_ms: token.made_at.0,
        used_at_ms: used_at.map(|at| at.0),
        until_ms: token.until.0,
    }
}

fn from_list(list: &[Scope]) -> Scopes {
    let has = |scope| list.contains(&scope);
    Scopes {
        read: has(Scope::Read),
        submit: has(Scope::Submit),
        own: has(Scope::Own),
        operate: has(Scope::Operate),
    }
}

fn to_list(Scopes { read, submit, own, operate }: Scopes) -> Vec<Scope> {
    let all = [
        (read, Scope::Read),
        (submit, Scope::Submit),
        (own, Scope::Own),
        (operate, Scope::Operate),
    ];
    all.into_iter().filter_map(|(has, scope)| has.then_some(scope)).collect()
}
