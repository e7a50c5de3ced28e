//! The dashboard: each page asks what the API asks and shows it.

pub(super) mod account;
pub(super) mod add_worker;
pub(super) mod draft;
pub(super) mod earnings;
pub(super) mod files;
mod form;
pub(super) mod job;
pub(super) mod jobs;
pub(super) mod machine;
pub(super) mod market;
pub(super) mod overview;
pub(super) mod settings;
pub(super) mod standing;
pub(super) mod submit;
pub(super) mod users;
pub(super) mod verify;
pub(super) mod workers;

use askama::Template;
use askama_web::WebTemplate;
use axum::Extension;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_core::input::{Intake, Shut};

use super::auth::{Login, shown};
use super::credits::read_credits;
use super::error::WebError;
use super::health::shut_words;
use super::{Site, assets, words};

/// What is around the content of every page.
#[derive(Debug, Clone)]
struct Frame {
    /// Where the style sheets and scripts are.
    assets: &'static str,
    user: Option<FrameUser>,
    /// The address that the page's script listens to for changes; empty if it need not.
    events: String,
    banner: Option<Banner>,
}

/// What everybody should know about the manager.
#[derive(Debug, Clone)]
struct Banner {
    words: &'static str,
    /// What a check of the books has found; for operators only.
    findings: Vec<String>,
}

impl Banner {
    fn new(site: &Site) -> Option<Self> {
        let snapshot = site.engine.snapshot();
        // An engine that waits for room to write publishes nothing meanwhile.
        let is_stuck = site.health.is_stuck();
        let stuck = Intake::Shut(Shut::DiskFull);
        let intake = if is_stuck { &stuck } else { &snapshot.intake };
        let words = shut_words(intake)?;
        let findings = match intake {
            Intake::Shut(Shut::BooksBroken { findings }) => findings,
            Intake::Open | Intake::Shut(Shut::DiskFull) => &Vec::new(),
        };
        let findings = findings.iter().map(|finding| words::visible(finding)).collect();
        Some(Self { words, findings })
    }
}

/// Who looks at the page.
#[derive(Debug, Clone)]
struct FrameUser {
    name: String,
    balance: String,
    operator: bool,
    /// Carried by every form.
    form_token: String,
}

impl Frame {
    /// For whoever is not logged in.
    fn plain(site: &Site) -> Self {
        let banner = Banner::new(site);
        Self { assets: &assets::ROOT, user: None, events: String::new(), banner }
    }

    fn form_token(&self) -> &str {
        self.user.as_ref().map_or("", |user| &user.form_token)
    }

    /// Whether an operator looks.
    fn is_operators(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.operator)
    }

    /// Keeps the page fresh by what happens on the whole grid from now on.
    fn following_grid(mut self, site: &Site) -> Self {
        self.events = format!("/api/v1/events?after={}", *site.engine.events().borrow());
        self
    }
}

/// A logged-in user and the frame of their page.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    login: Login,
    frame: Frame,
}

impl Visitor {
    async fn new(site: &Site, login: Login) -> Result<Self, WebError> {
        let credits = read_credits(site, login.id()).await?;
        let user = FrameUser {
            name: login.user.name.clone(),
            balance: words::credits(credits.balance_micros),
            operator: login.is_operator(),
            form_token: login.form_token(),
        };
        Ok(Self { login, frame: Frame { user: Some(user), ..Frame::plain(site) } })
    }
}

impl FromRequestParts<Site> for Visitor {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, PageError> {
        match Login::from_request_parts(parts, site).await {
            Ok(login) => Ok(Self::new(site, login).await?),
            Err(WebError::NotLoggedIn) => {
                let next = parts.uri.path_and_query().map_or("/", |target| target.as_str());
                Err(PageError::LogIn {
                    next: next.to_owned(),
                    fragment: is_fragment(&parts.headers),
                })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether only a part of the page will be used: the page's script says so.
fn is_fragment(headers: &HeaderMap) -> bool {
    headers.contains_key("hx-request")
}

/// Why there is no page.
#[derive(Debug)]
pub(super) enum PageError {
    /// Log in first, then go on to `next`.
    LogIn {
        next: String,
        fragment: bool,
    },
    Failed(WebError),
}

impl<E: Into<WebError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    status: StatusCode,
    message: String,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            Self::LogIn { fragment: true, .. } => {
                // A redirect would put the login page into the middle of this one.
                (StatusCode::OK, [("hx-redirect", "/login")]).into_response()
            }
            Self::LogIn { next, .. } if next == "/" => Redirect::to("/login").into_response(),
            Self::LogIn { next, .. } => {
                Redirect::to(&format!("/login?next={}", account::encode(&next))).into_response()
            }
            Self::Failed(WebError::NotLoggedIn) => Redirect::to("/login").into_response(),
            Self::Failed(error) => {
                error.log();
                let (status, _, message) = error.describe();
                (status, Extension(Failure(message))).into_response()
            }
        }
    }
}

/// Travels with a response that is to be an error's page: what to say there.
#[derive(Debug, Clone)]
struct Failure(String);

/// Makes the pages of errors, in the frame of whoever asked: an error alone does not know them.
pub(super) async fn show_errors(
    State(site): State<Site>,
    request: Request,
    next: Next,
) -> Response {
    let shown = shown(site.cookies, request.headers());
    let mut response = next.run(request).await;
    let Some(Failure(message)) = response.extensions_mut().remove() else { return response };
    let frame = match Login::of(&site, shown).await {
        Ok(login) => Visitor::new(&site, login).await.map(|visitor| visitor.frame),
        Err(error) => Err(error),
    };
    // What stands in the way of a frame, such as not being logged in, is no reason for no page.
    let (frame, status) = (frame.unwrap_or_else(|_| Frame::plain(&site)), response.status());
    (status, ErrorPage { frame, status, message }).into_response()
}
