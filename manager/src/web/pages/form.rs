//! Forms as browsers send them: texts by name, so that what was typed can be shown again.

pub(super) mod credits;
pub(in crate::web) mod files;
pub(super) mod moments;

use std::collections::BTreeMap;

use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};

use super::{PageError, Visitor};
use crate::web::Site;
use crate::web::auth::Token;
use crate::web::caller::Caller;
use crate::web::cookie::Cookie;
use crate::web::error::WebError;
use crate::web::patience::TooSlow;
use crate::web::routes::FORM_MAX_BYTES;

/// What was typed, by the names of the fields.
#[derive(Debug, Clone, Default)]
pub(in crate::web) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// A field's text; empty if it was not sent.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// What the names of fields that are not empty go on with, of those that begin so.
    pub(super) fn named<'a>(&'a self, beginning: &'a str) -> impl Iterator<Item = &'a str> {
        let filled = self.0.iter().filter(|(_, text)| !text.is_empty());
        filled.filter_map(move |(name, _)| name.strip_prefix(beginning))
    }

    pub(super) fn set(&mut self, name: &str, text: &str) {
        self.0.insert(name.to_owned(), text.to_owned());
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &S) -> Result<Self, PageError> {
        let form = Form::<BTreeMap<String, String>>::from_request(request, state).await;
        let Form(fields) = form.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                WebError::TooLarge { max_bytes: FORM_MAX_BYTES }
            } else if TooSlow::is_behind(&rejection) {
                WebError::TooSlow
            } else {
                WebError::Body(rejection.body_text())
            }
        })?;
        Ok(Self(fields))
    }
}

/// A form of a logged-in user that came from one of this login's own pages.
#[derive(Debug)]
pub(in crate::web) struct SignedForm {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

impl FromRequest<Site> for SignedForm {
    type Rejection = PageError;

    async fn from_request(request: Request, site: &Site) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, site).await?;
        let fields = Fields::from_request(Request::from_parts(parts, body), site).await?;
        if !visitor.login.made_form(fields.text("form_token")) {
            return Err(WebError::StaleForm.into());
        }
        Ok(Self { visitor, fields })
    }
}

/// How long a form to log in or to register stays good. Seconds: a day.
const OPEN_FORM_S: u64 = 24 * 3600;

/// What a form carries that is filled in by somebody who is not logged in: it agrees with a cookie of
/// the same browser, so that no other site can log anybody in, as somebody else.
#[derive(Debug, Clone)]
pub(in crate::web) struct OpenForm {
    pub(super) form_token: String,
    pub(super) cookie: HeaderValue,
}

impl OpenForm {
    /// Keeps the browser's cookie, if it has one, so that the forms of all its tabs are good.
    fn new(site: &Site, headers: &HeaderMap) -> Result<Self, WebError> {
        let token = match open_token(site, headers) {
            Some(token) => token,
            None => Token::fresh()?,
        };
        let cookie = site.cookies.keep(Cookie::Form, &token.to_string(), OPEN_FORM_S);
        Ok(Self { form_token: token.form_token(), cookie })
    }
}

impl FromRequestParts<Site> for OpenForm {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, PageError> {
        Ok(Self::new(site, &parts.headers)?)
    }
}

fn open_token(site: &Site, headers: &HeaderMap) -> Option<Token> {
    Token::parse(&site.cookies.find(Cookie::Form, headers)?)
}

/// A form of somebody who is not logged in, that came from one of our pages in the same browser.
#[derive(Debug)]
pub(in crate::web) struct StrangersForm {
    pub(super) caller: Caller,
    pub(super) fields: Fields,
    /// For the page that shows the form again.
    pub(super) open: OpenForm,
}

impl FromRequest<Site> for StrangersForm {
    type Rejection = PageError;

    async fn from_request(request: Request, site: &Site) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let Ok(caller) = Caller::from_request_parts(&mut parts, site).await;
        let open = OpenForm::new(site, &parts.headers)?;
        let token = open_token(site, &parts.headers);
        let fields = Fields::from_request(Request::from_parts(parts, body), site).await?;
        if !token.is_some_and(|token| token.made_form(fields.text("form_token"))) {
            return Err(WebError::StaleForm.into());
        }
        Ok(Self { caller, fields, open })
    }
}
