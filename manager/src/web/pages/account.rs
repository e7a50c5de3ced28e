//! The pages to register, to log in and to log out.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use campusgrid_core::policy::Admission;
use campusgrid_core::user::User;
use campusgrid_protocol::rest::{self, FieldError, PASSWORD_MIN};
use serde::Deserialize;

use super::form::{Fields, OpenForm, SignedForm, StrangersForm};
use super::{Frame, PageError};
use crate::web::accounts::{check_password, open_account};
use crate::web::auth::Token;
use crate::web::caller::Caller;
use crate::web::cookie::Cookie;
use crate::web::device;
use crate::web::error::WebError;
use crate::web::extract::Params;
use crate::web::local::{self, Local};
use crate::web::{Site, words};

/// Where to go after logging in.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct Next {
    #[serde(default)]
    next: String,
}

/// What lets somebody register, from a link.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct Invited {
    #[serde(default)]
    invitation: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "login.html")]
pub(in crate::web) struct LoginPage {
    frame: Frame,
    form_token: String,
    name: String,
    next: String,
    problem: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "register.html")]
pub(in crate::web) struct RegisterPage {
    frame: Frame,
    form_token: String,
    name: String,
    email: String,
    invitation: String,
    by_invitation: bool,
    /// Whether there is no form at all.
    closed: bool,
    starting_credits: String,
    /// Whether they come only when an address is shown to be one's own.
    by_mail: bool,
    /// How the first operator is made, where nobody becomes one by registering and there is none.
    operator_command: Option<&'static str>,
    password_min: usize,
    problem: String,
    errors: Vec<FieldError>,
}

impl RegisterPage {
    async fn new(site: &Site, open: &OpenForm, fields: &Fields) -> Self {
        let needs_command = !local::can_be(&site.config) && local::are_none(&site.readers).await;
        let admission = site.engine.policy().admission;
        // The first user, who is the operator, is let in whatever the rule is.
        let is_first = site.engine.snapshot().users == 0;
        Self {
            frame: Frame::plain(site),
            form_token: open.form_token.clone(),
            name: fields.text("name").to_owned(),
            email: fields.text("email").to_owned(),
            invitation: fields.text("invitation").to_owned(),
            by_invitation: admission == Admission::Invitation,
            closed: admission == Admission::Closed && !is_first,
            starting_credits: words::exact_credits(site.engine.policy().starting_credits.0),
            by_mail: site.engine.policy().verified_grants,
            operator_command: needs_command.then_some(local::BY_COMMAND),
            password_min: PASSWORD_MIN,
            problem: String::new(),
            errors: Vec::new(),
        }
    }

    /// What is wrong with a field; empty if nothing is.
    fn error(&self, field: &str) -> &str {
        error_of(&self.errors, field)
    }
}

/// `GET /login`.
pub(in crate::web) async fn login_form(
    State(site): State<Site>,
    open: OpenForm,
    Params(Next { next }): Params<Next>,
) -> Response {
    let (frame, form_token) = (Frame::plain(&site), open.form_token);
    let page = LoginPage { frame, form_token, name: String::new(), next, problem: String::new() };
    ([(SET_COOKIE, open.cookie)], page).into_response()
}

/// `POST /login`.
pub(in crate::web) async fn log_in(
    State(site): State<Site>,
    StrangersForm { caller, fields, open }: StrangersForm,
) -> Result<Response, PageError> {
    let name = fields.text("name").trim().to_owned();
    let password = fields.text("password").to_owned();
    let next = fields.text("next").to_owned();
    match check_password(&site, &caller, rest::accounts::Login { name: name.clone(), password })
        .await
    {
        Ok((user, token)) => Ok(enter(&site, &caller, &user, token, &next)?),
        Err(error) if error.describe().0.is_server_error() => Err(error.into()),
        Err(error) => {
            let problem = error.describe().2;
            let (frame, form_token) = (Frame::plain(&site), open.form_token);
            let page = LoginPage { frame, form_token, name, next, problem };
            Ok(again(&error, page))
        }
    }
}

/// `GET /register`.
pub(in crate::web) async fn register_form(
    State(site): State<Site>,
    open: OpenForm,
    Params(Invited { invitation }): Params<Invited>,
) -> Response {
    let mut fields = Fields::default();
    fields.set("invitation", &invitation);
    let page = RegisterPage::new(&site, &open, &fields).await;
    ([(SET_COOKIE, open.cookie)], page).into_response()
}

/// `POST /register`.
pub(in crate::web) async fn register(
    State(site): State<Site>,
    local: Local,
    StrangersForm { caller, fields, open }: StrangersForm,
) -> Result<Response, PageError> {
    let given =
        |name: &str| Some(fields.text(name).trim().to_owned()).filter(|text| !text.is_empty());
    let body = rest::accounts::Register {
        name: fields.text("name").trim().to_owned(),
        password: fields.text("password").to_owned(),
        email: given("email"),
        invitation: given("invitation"),
    };
    match open_account(&site, &caller, body, local).await {
        Ok((user, token)) => Ok(enter(&site, &caller, &user, token, "/")?),
        Err(error) if error.describe().0.is_server_error() => Err(error.into()),
        Err(error) => {
            let mut page = RegisterPage::new(&site, &open, &fields).await;
            page.errors = error.fields();
            if page.errors.is_empty() {
                page.problem = error.describe().2;
            }
            Ok(again(&error, page))
        }
    }
}

/// `POST /logout`. The browser stays known as a device.
pub(in crate::web) async fn log_out(
    State(site): State<Site>,
    form: SignedForm,
) -> Result<Response, PageError> {
    let (_, token_hash) = form.visitor.login.in_person()?;
    site.engine.close_login(token_hash).await?;
    Ok(([(SET_COOKIE, site.cookies.forget(Cookie::Session))], Redirect::to("/login"))
        .into_response())
}

/// The page with the form once more, and what was wrong with it.
pub(super) fn again(error: &WebError, page: impl IntoResponse) -> Response {
    let mut response = (error.describe().0, page).into_response();
    if let Some(wait_s) = error.retry_after_s() {
        response.headers_mut().insert(RETRY_AFTER, wait_s.into());
    }
    response
}

/// Lets a browser keep its new login, and that it has logged in as this user.
fn enter(
    site: &Site,
    caller: &Caller,
    user: &User,
    token: Token,
    next: &str,
) -> Result<Response, WebError> {
    let device = site.guard.devices.sign(user.id, caller.device(site, user.id));
    let device = device.map_err(WebError::Random)?;
    let seconds = u64::from(site.config.login_days) * 24 * 3600;
    let cookies = AppendHeaders([
        (SET_COOKIE, site.cookies.keep(Cookie::Session, &token.to_string(), seconds)),
        (SET_COOKIE, site.cookies.keep(Cookie::Device, &device, device::KEPT_S)),
    ]);
    Ok((cookies, Redirect::to(own_page(next))).into_response())
}

/// The address to go on to, if it is one of ours; a link must not lead from our login elsewhere.
fn own_page(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//");
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && is_plain { next } else { "/" }
}

/// An address as a value in a query.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/.-_".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// What is wrong with a field; empty if nothing is.
pub(super) fn error_of<'a>(errors: &'a [FieldError], field: &str) -> &'a str {
    errors.iter().find(|error| error.field == field).map_or("", |error| &error.message)
}

#[cfg(test)]
mod tests {
    use super::{encode, own_page};

    #[test]
    fn after_logging_in_one_stays_here() {
        for (next, target) in [
            ("/jobs/3?task=1", "/jobs/3?task=1"),
            ("", "/"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
            ("javascript:alert(1)", "/"),
        ] {
            assert_eq!(own_page(next), target);
        }
    }

    #[test]
    fn addresses_are_quoted_for_queries() {
        assert_eq!(encode("/jobs/3?task=1&a=ü"), "/jobs/3%3Ftask%3D1%26a%3D%C3%BC");
    }
}
