//! What people can be told of their jobs, and the secret that their webhooks are signed with.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_protocol::id::UserId;
use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::rest::notify::WebhookSecret;
use campusgrid_protocol::terms::Notify;

use super::Site;
use super::auth::Login;
use super::error::WebError;
use crate::notify;

/// Makes the secret that webhooks are signed with.
///
/// It is shown this once; the one before is good for nothing any more.
#[utoipa::path(post, path = "/api/v1/webhook-secret", tag = "account",
    responses((status = 201, body = WebhookSecret)))]
pub(super) async fn make_secret(
    State(site): State<Site>,
    login: Login,
) -> Result<(StatusCode, Json<WebhookSecret>), WebError> {
    Ok((StatusCode::CREATED, Json(make_webhook_secret(&site, &login).await?)))
}

/// Makes the secret that this user's webhooks are signed with from now on; the one before is good for
/// nothing any more. Only the answer has it.
///
/// # Errors
///
/// `MissingScope` for a token; `Ask`, `Random`.
pub(super) async fn make_webhook_secret(
    site: &Site,
    login: &Login,
) -> Result<WebhookSecret, WebError> {
    login.in_person()?;
    let secret = notify::new_secret().map_err(WebError::Random)?;
    site.engine.set_webhook_secret(login.id(), secret.clone()).await?;
    tracing::info!(user.id = login.id().0, "a secret for webhooks was made");
    Ok(WebhookSecret { secret })
}

/// Whether a user can be told of a job so. Nothing is looked up on the network.
///
/// # Errors
///
/// `Fields`, `Read`.
pub(super) async fn check(site: &Site, user: UserId, wish: &Notify) -> Result<(), WebError> {
    let offered = site.config.notices;
    let mut errors = Vec::new();
    let mut refuse = |field: &str, message: String| {
        errors.push(FieldError { field: field.to_owned(), message });
    };
    if wish.mail && !offered.mail {
        let message = "is not possible: this manager has no mail server ([mail] in its settings)";
        refuse("notify.mail", message.to_owned());
    }
    let (wants_mail, wants_webhook) = (wish.mail && offered.mail, wish.webhook.is_some());
    if let Err(error) = offered.check_webhook(wish) {
        refuse("notify.webhook", error.to_string());
    }
    if wants_mail || wants_webhook {
        let find = move |reader: &crate::store::read::Reader| {
            Ok((reader.address_of(user)?, reader.webhook_secret(user)?))
        };
        let (address, secret) = site.readers.read(find).await?;
        if wants_mail && address.is_none() {
            let message = "is not possible: your account has no e-mail address";
            refuse("notify.mail", message.to_owned());
        }
        if wants_webhook && secret.is_none() {
            let message = "needs a secret to be signed with: make one on your account's page, or \
                           with POST /api/v1/webhook-secret";
            refuse("notify.webhook", message.to_owned());
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(WebError::Fields(errors)) }
}
