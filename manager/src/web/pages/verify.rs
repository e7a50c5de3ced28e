//! The page behind the link that is mailed to an address, to show that it is one's own.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::account::again;
use super::form::{OpenForm, SignedForm, StrangersForm};
use super::{Frame, PageError};
use crate::web::Site;
use crate::web::accounts::verify::{resend, verify_token};
use crate::web::extract::Params;

/// What came with the link; empty if it is to be typed.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct Link {
    #[serde(default)]
    token: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "verify.html")]
struct VerifyPage {
    frame: Frame,
    form_token: String,
    token: String,
    done: bool,
    problem: String,
}

impl VerifyPage {
    fn new(site: &Site, open: &OpenForm, token: String) -> Self {
        let (frame, form_token) = (Frame::plain(site), open.form_token.clone());
        Self { frame, form_token, token, done: false, problem: String::new() }
    }
}

/// `GET /verify`. It changes nothing: mail servers look at the links in what they carry.
pub(in crate::web) async fn verify_form(
    State(site): State<Site>,
    open: OpenForm,
    Params(Link { token }): Params<Link>,
) -> Response {
    let page = VerifyPage::new(&site, &open, token);
    ([(SET_COOKIE, open.cookie)], page).into_response()
}

/// `POST /verify`.
pub(in crate::web) async fn verify(
    State(site): State<Site>,
    StrangersForm { fields, open, .. }: StrangersForm,
) -> Result<Response, PageError> {
    let token = fields.text("token").trim().to_owned();
    let done = verify_token(&site, &token).await;
    let mut page = VerifyPage::new(&site, &open, token);
    match done {
        Ok(()) => {
            page.done = true;
            Ok(page.into_response())
        }
        Err(error) if error.describe().0.is_server_error() => Err(error.into()),
        Err(error) => {
            page.problem = error.describe().2;
            Ok(again(&error, page))
        }
    }
}

/// `POST /account/verify`: sends the link again.
pub(in crate::web) async fn send_again(
    State(site): State<Site>,
    form: SignedForm,
) -> Result<Redirect, PageError> {
    resend(&site, &form.visitor.login).await?;
    Ok(Redirect::to("/account?done=verify"))
}
