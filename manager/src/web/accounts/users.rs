//! All users, for operators, and the roles that these give.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_core::user::Role;
use campusgrid_protocol::id::UserId;
use campusgrid_protocol::rest::Page;
use campusgrid_protocol::rest::accounts::{self, ChangeUser};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::store::read_people::StoredUser;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::{Body, Named, Params};

/// Users of a page, unless the request says how many.
const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 500;

/// Which part of the list.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::web) struct UserPart {
    /// Those with higher numbers only.
    #[serde(default)]
    pub(in crate::web) after: u64,
    /// At most so many, 1 to 500.
    pub(in crate::web) limit: Option<u32>,
}

/// Lists the users.
///
/// Those who have registered first before.
#[utoipa::path(get, path = "/api/v1/users", tag = "operators",
    params(UserPart), responses((status = 200, body = Page<accounts::User>)))]
pub(in crate::web) async fn list(
    State(site): State<Site>,
    _login: Login,
    Params(part): Params<UserPart>,
) -> Result<Json<Page<accounts::User>>, WebError> {
    Ok(Json(read_users(&site, part).await?))
}

/// Gives a user a role.
#[utoipa::path(patch, path = "/api/v1/users/{id}", tag = "operators",
    request_body = ChangeUser, responses((status = 204, description = "The user has it."), (status = 409)))]
pub(in crate::web) async fn change(
    State(site): State<Site>,
    login: Login,
    Named(user): Named<UserId>,
    Body(body): Body<ChangeUser>,
) -> Result<StatusCode, WebError> {
    give_role(&site, &login, user, body.role).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A part of all users. The caller has checked who asks.
///
/// # Errors
///
/// `Read`.
pub(in crate::web) async fn read_users(
    site: &Site,
    part: UserPart,
) -> Result<Page<accounts::User>, WebError> {
    let limit = part.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let after = UserId(part.after);
    let users = site.readers.read(move |reader| reader.users(after, limit)).await?;
    let is_full = users.len() >= limit as usize;
    let next = users.last().filter(|_| is_full).map(|last| last.user.id.0);
    Ok(Page { items: users.into_iter().map(describe).collect(), next })
}

/// Gives a user a role. A token for operators does not do: whoever found it could outlast it.
///
/// # Errors
///
/// `MissingScope`; `Ask`, refused for whoever is no operator, for no user and for the last operator.
pub(in crate::web) async fn give_role(
    site: &Site,
    login: &Login,
    user: UserId,
    role: accounts::Role,
) -> Result<(), WebError> {
    login.in_person()?;
    let given = match role {
        accounts::Role::Member => Role::Member,
        accounts::Role::Operator => Role::Operator,
    };
    site.engine.set_role(login.id(), user, given).await?;
    tracing::info!(by.id = login.id().0, user.id = user.0, role = ?role, "a role was given");
    Ok(())
}

fn describe(stored: StoredUser) -> accounts::User {
    accounts::User {
        id: stored.user.id.0,
        name: stored.user.name,
        email: stored.email,
        role: match stored.user.role {
            Role::Member => accounts::Role::Member,
            Role::Operator => accounts::Role::Operator,
        },
        registered_at_ms: stored.registered_at.0,
        workers: stored.workers,
    }
}
