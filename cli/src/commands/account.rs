//! Accounts: opening one, the secret of webhooks, and where the API is told of.

use campusgrid_protocol::rest::accounts::{self, LoggedIn, Verified};
use campusgrid_protocol::rest::notify::WebhookSecret;
use serde_json::json;
use ureq::http::Method;

use super::login::Door;
use crate::arguments::Global;
use crate::arguments::account::{Register, Verify};
use crate::error::CliError;
use crate::prompt;
use crate::session::Session;

pub(super) fn register(global: &Global, wanted: Register) -> Result<(), CliError> {
    let mut door = Door::open(global, wanted.server.as_deref(), wanted.fingerprint.as_deref())?;
    let name = match wanted.user {
        Some(user) => user,
        None => prompt::line("Name to register: ")?,
    };
    let password =
        if wanted.password_stdin { prompt::secret_from_stdin()? } else { new_password()? };
    let Register { email, invitation, .. } = wanted;
    let body = accounts::Register { name, password, email, invitation };
    let answer: LoggedIn = door.client.send(Method::POST, "register", &body, None)?;
    door.login.user = Some(answer.user);
    door.login.token = Some(answer.token);
    door.keep()?.tell(global);
    Ok(())
}

fn new_password() -> Result<String, CliError> {
    let password = prompt::secret("Password: ")?;
    if prompt::secret("Once more: ")? != password {
        return Err(CliError::Usage("the passwords differ: nothing was registered".to_owned()));
    }
    Ok(password)
}

pub(super) fn webhook_secret(session: &Session) -> Result<(), CliError> {
    let made: WebhookSecret =
        session.client.send(Method::POST, "webhook-secret", &json!({}), None)?;
    session.screen.say(format!(
        "{}\nIt is shown only now; what is posted from now on is signed with it.",
        made.secret
    ));
    session.screen.object(&made);
    Ok(())
}

pub(super) fn verify(session: &Session, wanted: &Verify) -> Result<(), CliError> {
    let Some(token) = &wanted.token else {
        session.client.tell(Method::POST, "verify/resend", &json!({}))?;
        session.screen.say("A mail is on its way: open its link, or campusgrid verify TOKEN.");
        session.screen.object(&json!({ "sent": true }));
        return Ok(());
    };
    // Who has copied the whole link has what stands in it.
    let token = token.rsplit_once("token=").map_or(token.as_str(), |(_, token)| token).to_owned();
    let body = accounts::Verify { token };
    let verified: Verified = session.client.send(Method::POST, "verify", &body, None)?;
    session.screen.say("The address is yours.");
    session.screen.object(&verified);
    Ok(())
}

pub(super) fn docs(session: &Session) {
    let server = session.client.server();
    session
        .screen
        .say(format!("{server}/docs          for people\n{server}/openapi.json  for programs"));
    session.screen.object(&json!({
        "docs": format!("{server}/docs"), "openapi": format!("{server}/openapi.json"),
    }));
}
