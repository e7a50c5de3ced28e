//! The pages to register, to log in and to log out.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_protocol::rest::{self, FieldError, PASSWORD_MIN};
use serde::Deserialize;

use super::form::{Fields, SignedForm};
use super::{Frame, PageError};
use crate::web::accounts::{check_password, open_account};
use crate::web::auth::{Token, clear_cookie};
use crate::web::error::WebError;
use crate::web::extract::Params;
use crate::web::local::Local;
use crate::web::{Site, words};

/// Where to go after logging in.
#[derive(Debug, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    name: String,
    next: String,
    problem: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "register.html")]
struct RegisterPage {
    frame: Frame,
    name: String,
    email: String,
    starting_credits: String,
    password_min: usize,
    problem: String,
    errors: Vec<FieldError>,
}

impl RegisterPage {
    fn new(site: &Site, fields: &Fields) -> Self {
        Self {
            frame: Frame::plain(),
            name: fields.text("name").to_owned(),
            email: fields.text("email").to_owned(),
            starting_credits: words::exact_credits(site.engine.policy().starting_credits.0),
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
pub(super) async fn login_form(Params(Next { next }): Params<Next>) -> impl IntoResponse {
    LoginPage { frame: Frame::plain(), name: String::new(), next, problem: String::new() }
}

/// `POST /login`.
pub(super) async fn log_in(
    State(site): State<Site>,
    fields: Fields,
) -> Result<Response, PageError> {
    let name = fields.text("name").trim().to_owned();
    let password = fields.text("password").to_owned();
    let next = fields.text("next").to_owned();
    match check_password(&site, rest::Login { name: name.clone(), password }).await {
        Ok((_, token)) => Ok(enter(&site, token, &next)),
        Err(error) if error.describe().0.is_server_error() => Err(error.into()),
        Err(error) => {
            let (status, _, problem) = error.describe();
            let page = LoginPage { frame: Frame::plain(), name, next, problem };
            Ok((status, page).into_response())
        }
    }
}

/// `GET /register`.
pub(super) async fn register_form(State(site): State<Site>) -> impl IntoResponse {
    RegisterPage::new(&site, &Fields::default())
}

/// `POST /register`.
pub(super) async fn register(
    State(site): State<Site>,
    local: Local,
    fields: Fields,
) -> Result<Response, PageError> {
    let email = Some(fields.text("email").trim().to_owned()).filter(|email| !email.is_empty());
    let name = fields.text("name").trim().to_owned();
    let body = rest::Register { name, password: fields.text("password").to_owned(), email };
    match open_account(&site, body, local).await {
        Ok((_, token)) => Ok(enter(&site, token, "/")),
        Err(error) if error.describe().0.is_server_error() => Err(error.into()),
        Err(error) => {
            let page = RegisterPage::new(&site, &fields);
            Ok(refused(page, &error).into_response())
        }
    }
}

/// `POST /logout`.
pub(super) async fn log_out(
    State(site): State<Site>,
    form: SignedForm,
) -> Result<Response, PageError> {
    site.engine.close_login(form.visitor.login.token.hash()).await?;
    Ok(([(SET_COOKIE, clear_cookie())], Redirect::to("/login")).into_response())
}

fn refused(mut page: RegisterPage, error: &WebError) -> impl IntoResponse + use<> {
    let (status, _, message) = error.describe();
    page.errors = error.fields();
    if page.errors.is_empty() {
        page.problem = message;
    }
    (status, page)
}

fn enter(site: &Site, token: Token, next: &str) -> Response {
    let cookie = token.set_cookie(site.config.login_days);
    ([(SET_COOKIE, cookie)], Redirect::to(own_page(next))).into_response()
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
