//! The page of all users and invitations, for operators.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_core::policy::Admission;
use campusgrid_protocol::id::{UserId, VoucherId};
use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::rest::accounts::{
    self, INVITATION_HOURS_MAX, INVITATION_USES_MAX, Invitation, NewInvitation, Role,
};
use serde::Deserialize;

use super::account::{again, error_of};
use super::form::{Fields, SignedForm};
use super::{Frame, PageError, Visitor};
use crate::web::Site;
use crate::web::accounts::invitations::{make_invitation, read_invitations, revoke_invitation};
use crate::web::accounts::users::{UserPart, give_role, read_users};
use crate::web::error::WebError;
use crate::web::extract::{Named, Params};
use crate::web::public_url::PublicUrl;
use crate::web::words::{self, Moment};

/// Which part of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Wanted {
    /// Those with higher numbers only.
    after: u64,
    /// What was done just before, to say so.
    done: String,
}

/// A user in the list.
struct UserRow {
    id: u64,
    name: String,
    email: Option<String>,
    operator: bool,
    workers: String,
    registered: Moment,
}

/// An invitation in the list.
struct InvitationRow {
    id: u64,
    by: String,
    uses_left: String,
    left: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "users.html")]
pub(in crate::web) struct UsersPage {
    frame: Frame,
    users: Vec<UserRow>,
    next: Option<u64>,
    invitations: Vec<InvitationRow>,
    admission: &'static str,
    uses: String,
    uses_max: u32,
    hours: String,
    hours_max: u32,
    /// Shown this once.
    new_link: Option<String>,
    notice: &'static str,
    problem: String,
    errors: Vec<FieldError>,
}

impl UsersPage {
    async fn new(
        site: &Site,
        visitor: Visitor,
        part: UserPart,
        fields: &Fields,
    ) -> Result<Self, WebError> {
        let now = site.clock.now();
        let users = read_users(site, part).await?;
        let invitations = read_invitations(site, &visitor.login).await?;
        let user = |user: accounts::User| UserRow {
            id: user.id,
            name: user.name,
            email: user.email.map(|email| words::visible(&email)),
            operator: user.role == Role::Operator,
            workers: words::counted(user.workers.into(), "machine", "machines"),
            registered: Moment::new(user.registered_at_ms, now),
        };
        let invitation = |invitation: Invitation| InvitationRow {
            id: invitation.id,
            by: invitation.by,
            uses_left: words::counted(invitation.uses_left.into(), "person", "people"),
            left: words::hours_left(invitation.until_ms.saturating_sub(now.0)),
        };
        let typed = |name: &str, default: &str| {
            let text = fields.text(name);
            if text.is_empty() { default.to_owned() } else { text.to_owned() }
        };
        Ok(Self {
            frame: visitor.frame,
            users: users.items.into_iter().map(user).collect(),
            next: users.next,
            invitations: invitations.into_iter().map(invitation).collect(),
            admission: match site.engine.policy().admission {
                Admission::Open => "Anybody who reaches this page can register.",
                Admission::Invitation => "Registering takes an invitation.",
                Admission::Closed => "Registration is closed; invitations do not open it.",
            },
            uses: typed("uses", "1"),
            uses_max: INVITATION_USES_MAX,
            hours: typed("hours", "72"),
            hours_max: INVITATION_HOURS_MAX,
            new_link: None,
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

/// `GET /users`.
pub(in crate::web) async fn users(
    State(site): State<Site>,
    visitor: Visitor,
    Params(Wanted { after, done }): Params<Wanted>,
) -> Result<UsersPage, PageError> {
    let part = UserPart { after, limit: None };
    let mut page = UsersPage::new(&site, visitor, part, &Fields::default()).await?;
    page.notice = match done.as_str() {
        "role" => "The role is changed.",
        "invitation" => "That invitation is good no longer.",
        _ => "",
    };
    Ok(page)
}

/// `POST /users/{id}/role`.
pub(in crate::web) async fn change_role(
    State(site): State<Site>,
    Named(user): Named<UserId>,
    SignedForm { visitor, fields }: SignedForm,
) -> Result<Response, PageError> {
    let role = match fields.text("role") {
        "operator" => Role::Operator,
        "member" => Role::Member,
        other => {
            let message = format!("{:?} is no role", words::visible(other));
            return Err(WebError::Body(message).into());
        }
    };
    match give_role(&site, &visitor.login, user, role).await {
        Ok(()) => Ok(Redirect::to("/users?done=role").into_response()),
        Err(error) => refused(&site, visitor, &Fields::default(), error).await,
    }
}

/// `POST /users/invitations`.
pub(in crate::web) async fn invite(
    State(site): State<Site>,
    headers: HeaderMap,
    SignedForm { visitor, fields }: SignedForm,
) -> Result<Response, PageError> {
    // What is no number is out of the range that the words name.
    let number = |name: &str| fields.text(name).trim().parse().unwrap_or(0);
    let body = NewInvitation { uses: number("uses"), hours: number("hours") };
    match make_invitation(&site, &visitor.login, body).await {
        Ok(made) => {
            let none = Fields::default();
            let mut page = UsersPage::new(&site, visitor, UserPart::default(), &none).await?;
            page.new_link = Some(format!("{}{}", origin(&site, &headers), made.path));
            Ok(page.into_response())
        }
        Err(error) => refused(&site, visitor, &fields, error).await,
    }
}

/// `POST /users/invitations/{id}/revoke`.
pub(in crate::web) async fn revoke(
    State(site): State<Site>,
    Named(id): Named<VoucherId>,
    form: SignedForm,
) -> Result<Redirect, PageError> {
    revoke_invitation(&site, &form.visitor.login, id).await?;
    Ok(Redirect::to("/users?done=invitation"))
}

/// Where others find this dashboard: as its operator says, or as the one who asks has found it.
fn origin(site: &Site, headers: &HeaderMap) -> String {
    if let Some(url) = &site.config.public_url {
        return PublicUrl::origin(url).to_owned();
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let scheme = if site.secure { "https" } else { "http" };
    format!("{scheme}://{host}")
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
    let mut page = UsersPage::new(site, visitor, UserPart::default(), fields).await?;
    page.errors = error.fields();
    if page.errors.is_empty() {
        page.problem = error.describe().2;
    }
    Ok(again(&error, page))
}
