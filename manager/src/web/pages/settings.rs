//! The page of one's own account: password, logins and API tokens.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_protocol::id::{ApiTokenId, LoginId};
use campusgrid_protocol::rest::accounts::{
    self, ChangePassword, NewToken, Scope, Session, TOKEN_DAYS_MAX,
};
use campusgrid_protocol::rest::{FieldError, PASSWORD_MIN};
use serde::Deserialize;

use super::account::{again, error_of};
use super::form::{Fields, SignedForm};
use super::{Frame, PageError, Visitor};
use crate::web::Site;
use crate::web::accounts::sessions::{read_sessions, revoke_session, set_password};
use crate::web::accounts::tokens::{make_token, read_tokens, revoke_token};
use crate::web::accounts::verify::is_verified;
use crate::web::caller::Caller;
use crate::web::cookie::Cookie;
use crate::web::error::WebError;
use crate::web::extract::{Named, Params};
use crate::web::notices::make_webhook_secret;
use crate::web::words::{self, Moment};

/// What was done just before, to say so.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct Done {
    #[serde(default)]
    done: String,
}

/// A login in the list.
struct SessionRow {
    id: u64,
    from: String,
    opened: Moment,
    used: Moment,
    current: bool,
}

/// An API token in the list.
struct TokenRow {
    id: u64,
    name: String,
    scopes: String,
    used: Option<Moment>,
    /// How long it is still good, in words; absent if it is over.
    left: Option<String>,
}

/// A scope to choose.
struct ScopeChoice {
    name: &'static str,
    meaning: &'static str,
    chosen: bool,
}

#[derive(Template, WebTemplate)]
#[template(path = "account.html")]
pub(in crate::web) struct AccountPage {
    frame: Frame,
    sessions: Vec<SessionRow>,
    tokens: Vec<TokenRow>,
    scopes: Vec<ScopeChoice>,
    token_name: String,
    token_days: String,
    token_days_max: u32,
    password_min: usize,
    /// Shown this once.
    new_token: Option<String>,
    /// What webhooks are signed with from now on; shown this once.
    new_secret: Option<String>,
    has_secret: bool,
    /// Whether the address is shown to be theirs; absent where nothing hangs on that.
    verified: Option<bool>,
    notice: &'static str,
    problem: String,
    errors: Vec<FieldError>,
}

impl AccountPage {
    async fn new(site: &Site, visitor: Visitor, fields: &Fields) -> Result<Self, WebError> {
        let (now, user) = (site.clock.now(), visitor.login.id());
        let secret = site.readers.read(move |reader| reader.webhook_secret(user)).await?;
        let sessions = read_sessions(site, &visitor.login).await?;
        let tokens = read_tokens(site, &visitor.login).await?;
        let session = |session: Session| SessionRow {
            id: session.session,
            from: words::visible(&session.from),
            opened: Moment::new(session.opened_at_ms, now),
            used: Moment::new(session.used_at_ms, now),
            current: session.current,
        };
        let token = |token: accounts::Token| TokenRow {
            id: token.id,
            name: words::visible(&token.name),
            scopes: token.scopes.iter().map(|scope| name(*scope)).collect::<Vec<_>>().join(", "),
            used: token.used_at_ms.map(|at| Moment::new(at, now)),
            left: token.until_ms.checked_sub(now.0).filter(|left| *left > 0).map(words::hours_left),
        };
        let days = fields.text("days");
        Ok(Self {
            sessions: sessions.into_iter().map(session).collect(),
            tokens: tokens.into_iter().map(token).collect(),
            scopes: choices(visitor.login.is_operator(), fields),
            frame: visitor.frame,
            token_name: fields.text("name").to_owned(),
            token_days: if days.is_empty() { "90".to_owned() } else { days.to_owned() },
            token_days_max: TOKEN_DAYS_MAX,
            password_min: PASSWORD_MIN,
            new_token: None,
            new_secret: None,
            has_secret: secret.is_some(),
            verified: is_verified(site, user).await?,
            notice: "",
            problem: String::new(),
            errors: Vec::new(),
        })
    }

    /// What is wrong with a field; empty if nothing is.
    fn error(&self, field: &str) -> &str {
        error_of(&self.errors, field)
    }
}

/// `GET /account`.
pub(in crate::web) async fn account(
    State(site): State<Site>,
    visitor: Visitor,
    Params(Done { done }): Params<Done>,
) -> Result<AccountPage, PageError> {
    let mut page = AccountPage::new(&site, visitor, &Fields::default()).await?;
    page.notice = match done.as_str() {
        "password" => {
            "Your password is changed. All other logins are closed, and no API token is good any longer."
        }
        "session" => "That login is closed.",
        "verify" => "The mail is on its way; the link in it is good for a day.",
        "token" => "That token is good no longer.",
        _ => "",
    };
    Ok(page)
}

/// `POST /account/password`.
pub(in crate::web) async fn change_password(
    State(site): State<Site>,
    caller: Caller,
    form: SignedForm,
) -> Result<Response, PageError> {
    let (present, new) = (form.fields.text("present"), form.fields.text("new"));
    let body = ChangePassword { present: present.to_owned(), new: new.to_owned() };
    match set_password(&site, &form.visitor.login, &caller, body).await {
        Ok(()) => Ok(Redirect::to("/account?done=password").into_response()),
        Err(error) => refused(&site, form.visitor, &Fields::default(), error).await,
    }
}

/// `POST /account/sessions/{id}/close`.
pub(in crate::web) async fn close_session(
    State(site): State<Site>,
    Named(session): Named<LoginId>,
    form: SignedForm,
) -> Result<Redirect, PageError> {
    revoke_session(&site, &form.visitor.login, session).await?;
    // Whoever has closed the login of this very browser is led on to log in.
    Ok(Redirect::to("/account?done=session"))
}

/// `POST /account/sessions/close`: logs out everywhere, here as well.
pub(in crate::web) async fn close_all_sessions(
    State(site): State<Site>,
    form: SignedForm,
) -> Result<Response, PageError> {
    site.engine.revoke_logins(form.visitor.login.id(), None).await?;
    Ok(([(SET_COOKIE, site.cookies.forget(Cookie::Session))], Redirect::to("/login"))
        .into_response())
}

/// `POST /account/tokens`.
pub(in crate::web) async fn open_token(
    State(site): State<Site>,
    caller: Caller,
    SignedForm { visitor, fields }: SignedForm,
) -> Result<Response, PageError> {
    let all = [Scope::Read, Scope::Submit, Scope::Own, Scope::Operate];
    let chosen: Vec<&str> = fields.named("scope.").collect();
    let body = NewToken {
        name: fields.text("name").trim().to_owned(),
        scopes: all.into_iter().filter(|scope| chosen.contains(&name(*scope))).collect(),
        // What is no number is out of the range that the words name.
        days: fields.text("days").trim().parse().unwrap_or(0),
        password: fields.text("password").to_owned(),
    };
    match make_token(&site, &visitor.login, &caller, body).await {
        Ok(made) => {
            let mut page = AccountPage::new(&site, visitor, &Fields::default()).await?;
            page.new_token = Some(made.token);
            Ok(page.into_response())
        }
        Err(error) => refused(&site, visitor, &fields, error).await,
    }
}

/// `POST /account/tokens/{id}/revoke`.
pub(in crate::web) async fn close_token(
    State(site): State<Site>,
    Named(token): Named<ApiTokenId>,
    form: SignedForm,
) -> Result<Redirect, PageError> {
    revoke_token(&site, &form.visitor.login, token).await?;
    Ok(Redirect::to("/account?done=token"))
}

/// `POST /account/webhook-secret`: a new one, which takes the place of any before.
pub(in crate::web) async fn new_webhook_secret(
    State(site): State<Site>,
    SignedForm { visitor, .. }: SignedForm,
) -> Result<AccountPage, PageError> {
    let made = make_webhook_secret(&site, &visitor.login).await?;
    let mut page = AccountPage::new(&site, visitor, &Fields::default()).await?;
    page.new_secret = Some(made.secret);
    Ok(page)
}

/// The page once more, with what was wrong.
async fn refused(
    site: &Site,
    visitor: Visitor,
    fields: &Fields,
    error: WebError,
) -> Result<Response, PageError> {
    if error.describe().0.is_server_error() {
        return Err(error.into());
    }
    let mut page = AccountPage::new(site, visitor, fields).await?;
    page.errors = error.fields();
    if page.errors.is_empty() {
        page.problem = error.describe().2;
    }
    Ok(again(&error, page))
}

fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Submit => "submit",
        Scope::Own => "own",
        Scope::Operate => "operate",
    }
}

/// What a token may be for, and what of it was chosen; reading, if nothing was.
fn choices(is_operator: bool, fields: &Fields) -> Vec<ScopeChoice> {
    let meaning = |scope| match scope {
        Scope::Read => "look at your jobs, machines and credits",
        Scope::Submit => "submit and cancel jobs, and so spend your credits",
        Scope::Own => "look after your machines: add and remove them, rules, prices, bids",
        Scope::Operate => "do what you may as an operator",
    };
    let all = [Scope::Read, Scope::Submit, Scope::Own, Scope::Operate];
    let offered = all.into_iter().filter(|scope| is_operator || *scope != Scope::Operate);
    let is_new = fields.named("scope.").next().is_none() && fields.text("name").is_empty();
    offered
        .map(|scope| ScopeChoice {
            name: name(scope),
            meaning: meaning(scope),
            chosen: if is_new {
                scope == Scope::Read
            } else {
                fields.named("scope.").any(|chosen| chosen == name(scope))
            },
        })
        .collect()
}
