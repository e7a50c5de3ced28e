//! Forms as browsers send them: texts by name, so that what was typed can be shown again.

use std::collections::BTreeMap;

use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;

use super::{FORM_MAX_BYTES, PageError, Visitor};
use crate::web::Site;
use crate::web::error::WebError;

/// What was typed, by the names of the fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(BTreeMap<String, String>);

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
            } else {
                WebError::Body(rejection.body_text())
            }
        })?;
        Ok(Self(fields))
    }
}

/// A form of a logged-in user that came from one of this login's own pages.
#[derive(Debug)]
pub(super) struct SignedForm {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

impl FromRequest<Site> for SignedForm {
    type Rejection = PageError;

    async fn from_request(request: Request, site: &Site) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, site).await?;
        let fields = Fields::from_request(Request::from_parts(parts, body), site).await?;
        if !visitor.login.token.made_form(fields.text("form_token")) {
            return Err(WebError::StaleForm.into());
        }
        Ok(Self { visitor, fields })
    }
}
