//! Invitations to register, which operators make.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_core::effect::Refusal;
use campusgrid_core::policy::Admission;
use campusgrid_core::voucher::Purpose;
use campusgrid_protocol::id::VoucherId;
use campusgrid_protocol::rest::accounts::{Invitation, InvitationMade, NewInvitation};

use crate::engine::handle::AskError;
use crate::vouchers::{Terms, invitation};
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::{Body, Named};

const HOUR_MS: u64 = 3600 * 1000;

/// Lists the invitations that are good, newest first.
#[utoipa::path(get, path = "/api/v1/invitations", tag = "operators",
    responses((status = 200, body = Vec<Invitation>)))]
pub(in crate::web) async fn list(
    State(site): State<Site>,
    login: Login,
) -> Result<Json<Vec<Invitation>>, WebError> {
    Ok(Json(read_invitations(&site, &login).await?))
}

/// Makes an invitation to register.
///
/// It is shown this once.
#[utoipa::path(post, path = "/api/v1/invitations", tag = "operators",
    request_body = NewInvitation, responses((status = 201, body = InvitationMade), (status = 409)))]
pub(in crate::web) async fn make(
    State(site): State<Site>,
    login: Login,
    Body(body): Body<NewInvitation>,
) -> Result<(StatusCode, Json<InvitationMade>), WebError> {
    Ok((StatusCode::CREATED, Json(make_invitation(&site, &login, body).await?)))
}

/// Ends an invitation.
#[utoipa::path(delete, path = "/api/v1/invitations/{id}", tag = "operators",
    responses((status = 204, description = "It is over.")))]
pub(in crate::web) async fn revoke(
    State(site): State<Site>,
    login: Login,
    Named(id): Named<VoucherId>,
) -> Result<StatusCode, WebError> {
    revoke_invitation(&site, &login, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The invitations that are good now, newest first.
///
/// # Errors
///
/// `Read`.
pub(in crate::web) async fn read_invitations(
    site: &Site,
    login: &Login,
) -> Result<Vec<Invitation>, WebError> {
    let (viewer, now) = (login.viewer(), site.clock.now());
    let vouchers = site.readers.read(move |reader| reader.vouchers(viewer, now)).await?;
    let rows = vouchers.into_iter().filter_map(|voucher| match voucher.purpose {
        Purpose::Invitation { .. } => Some(Invitation {
            id: voucher.id.0,
            by: voucher.user_name,
            uses_left: voucher.uses_left,
            made_at_ms: voucher.made_at.0,
            until_ms: voucher.until.0,
        }),
        Purpose::Join { .. } => None,
    });
    Ok(rows.collect())
}

/// Makes an invitation; only the answer has the invitation itself.
///
/// # Errors
///
/// `Fields`; `Ask` for whoever is no operator or has too many, while registration is closed, or if the
/// engine is busy; `Random`.
pub(in crate::web) async fn make_invitation(
    site: &Site,
    login: &Login,
    body: NewInvitation,
) -> Result<InvitationMade, WebError> {
    body.check().map_err(WebError::Fields)?;
    if site.engine.policy().admission == Admission::Closed {
        return Err(AskError::Refused(Refusal::RegistrationClosed).into()); // Nobody could use it.
    }
    let NewInvitation { uses, hours } = body;
    let made_at = site.clock.now();
    let until = made_at.plus_ms(u64::from(hours) * HOUR_MS);
    let made = invitation(&site.engine, Terms { by: login.id(), uses, until }).await?;
    tracing::info!(
        user.id = login.id().0,
        voucher.id = made.id.0,
        uses,
        hours,
        "an invitation was made"
    );
    Ok(InvitationMade {
        invitation: made.to_string(),
        path: format!("/register?invitation={made}"),
        about: Invitation {
            id: made.id.0,
            by: login.user.name.clone(),
            uses_left: uses,
            made_at_ms: made_at.0,
            until_ms: until.0,
        },
    })
}

/// Ends an invitation; whoever has registered with it stays.
///
/// # Errors
///
/// `NotFound`, also for a token to join by; `Ask`, `Read`.
pub(in crate::web) async fn revoke_invitation(
    site: &Site,
    login: &Login,
    id: VoucherId,
) -> Result<(), WebError> {
    let invitations = read_invitations(site, login).await?;
    invitations.iter().find(|found| found.id == id.0).ok_or(WebError::NotFound)?;
    Ok(site.engine.revoke_voucher(login.id(), id).await?)
}
