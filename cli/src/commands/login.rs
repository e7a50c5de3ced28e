//! Logs in and out, and decides once whom to trust.

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_protocol::rest::accounts::{LoggedIn, Me, NewToken, Scope, TokenMade};
use campusgrid_protocol::rest::operate::Health;
use serde_json::json;
use ureq::http::Method;

use crate::arguments::Global;
use crate::arguments::account::Login as Wanted;
use crate::client::Client;
use crate::client::address::Server;
use crate::client::trust::Trust;
use crate::client::trust::look::look;
use crate::config::{Config, Login, Place};
use crate::error::CliError;
use crate::prompt;
use crate::screen::note;
use crate::session::{hex, screen, server, trust};

pub(super) fn log_in(global: &Global, wanted: Wanted) -> Result<(), CliError> {
    let mut door = Door::open(global, wanted.server.as_deref(), wanted.fingerprint.as_deref())?;
    let last = door.login.user.clone();
    let (user, token) = if wanted.token_stdin {
        let token = prompt::secret_from_stdin()?;
        let me: Me = door.client.logged_in(&token).get("me")?;
        (me.user, token)
    } else {
        let user = match wanted.user {
            Some(user) => user,
            None => asked_user(last.as_deref())?,
        };
        let password = if wanted.password_stdin {
            prompt::secret_from_stdin()?
        } else {
            prompt::secret("Password: ")?
        };
        let body = json!({ "name": user, "password": password });
        let answer: LoggedIn = door.client.send(Method::POST, "login", &body, None)?;
        let token = match wanted.api_token {
            None => answer.token,
            Some(days) => api_token(&door.client.logged_in(&answer.token), days, password)?,
        };
        (answer.user, token)
    };
    door.login.user = Some(user);
    door.login.token = Some(token);
    door.keep()?.tell(global);
    Ok(())
}

fn asked_user(last: Option<&str>) -> Result<String, CliError> {
    let question = match last {
        Some(last) => format!("User [{last}]: "),
        None => "User: ".to_owned(),
    };
    let answer = prompt::line(&question)?;
    Ok(if answer.is_empty() { last.unwrap_or_default().to_owned() } else { answer })
}

/// Makes an API token for this machine, and closes the login that was opened for it.
fn api_token(client: &Client, days: u32, password: String) -> Result<String, CliError> {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = format!("campusgrid on {}", host.as_deref().unwrap_or("a machine"));
    let name = name.chars().take(64).collect();
    let scopes = vec![Scope::Read, Scope::Submit, Scope::Own];
    let body = NewToken { name, scopes, days, password };
    let made: TokenMade = client.send(Method::POST, "tokens", &body, None)?;
    client.tell(Method::POST, "logout", &json!({}))?;
    Ok(made.token)
}

pub(super) fn log_out(global: &Global) -> Result<(), CliError> {
    let place = Place::of_user()?;
    let mut config = place.load()?;
    let server = server(global, None, &config)?;
    let name = server.to_string();
    let Some(login) = config.logins.get_mut(&name) else {
        return Err(CliError::NotLoggedIn { server: name });
    };
    let Some(token) = login.token.take() else {
        return Err(CliError::NotLoggedIn { server: name });
    };
    let client = Client::new(server, &trust(Some(login)), note).logged_in(&token);
    place.store(&config)?;
    let screen = screen(global);
    if token.starts_with("cgp_") {
        screen.say(format!(
            "The token is forgotten here. It stays good until it is revoked on the page Account of {name}."
        ));
    } else {
        // It is forgotten in any case; what is said is whether the manager has forgotten it too.
        match client.tell(Method::POST, "logout", &json!({})) {
            Ok(()) => screen.say(format!("Logged out of {name}.")),
            Err(error) if error.code() == Some("unauthenticated") => {
                screen.say(format!("The login at {name} was over already."));
            }
            Err(error) => return Err(error),
        }
    }
    screen.object(&json!({ "server": name }));
    Ok(())
}

/// The way in to a manager for whoever is not logged in there.
pub(super) struct Door {
    pub(super) client: Client,
    pub(super) login: Login,
    place: Place,
    config: Config,
}

/// What was kept.
pub(super) struct Kept {
    user: String,
    server: String,
    file: String,
}

impl Door {
    /// Reaches a manager, and asks whether to trust one that vouches for itself.
    pub(super) fn open(
        global: &Global,
        named: Option<&str>,
        fingerprint: Option<&str>,
    ) -> Result<Self, CliError> {
        let place = Place::of_user()?;
        let config = place.load()?;
        let server = server(global, named, &config)?;
        let mut login = config.logins.get(&server.to_string()).cloned().unwrap_or_default();
        let expected = fingerprint.map(str::parse::<Fingerprint>).transpose();
        let expected =
            expected.map_err(|error| CliError::Usage(format!("--fingerprint: {error}")))?;
        if !server.is_encrypted() && !server.is_loopback() {
            note(&format!("{server} is not encrypted: whoever is on the way can read passwords"));
        }
        let mut client = Client::new(server.clone(), &trust(Some(&login)), note);
        if expected.is_some() && server.is_encrypted() {
            client = take_authority(&server, &mut login, expected)?;
        }
        match client.get::<Health>("/health") {
            Err(CliError::UnknownCertificate { .. }) if expected.is_none() => {
                client = take_authority(&server, &mut login, None)?;
                client.get::<Health>("/health")?;
            }
            // A manager that is not well says so with 503, and logs in all the same.
            Err(CliError::NotAGrid { what, .. }) if what.starts_with("503") => {}
            answer => drop(answer?),
        }
        Ok(Self { client, login, place, config })
    }

    pub(super) fn keep(mut self) -> Result<Kept, CliError> {
        let server = self.client.server().to_string();
        let user = self.login.user.clone().unwrap_or_default();
        self.config.logins.insert(server.clone(), self.login);
        self.config.server = Some(server.clone());
        self.place.store(&self.config)?;
        let file = self.place.file().display().to_string();
        Ok(Kept { user, server, file })
    }
}

impl Kept {
    pub(super) fn tell(&self, global: &Global) {
        let screen = screen(global);
        screen.say(format!("Logged in as {} at {}.", self.user, self.server));
        screen.object(&json!({ "user": self.user, "server": self.server, "file": self.file }));
    }
}

/// Trusts the authority of a manager that has the fingerprint, or that a person takes for the right one.
fn take_authority(
    server: &Server,
    login: &mut Login,
    expected: Option<Fingerprint>,
) -> Result<Client, CliError> {
    let seen = look(server)?;
    let name = server.to_string();
    match expected {
        Some(expected) if expected != seen.fingerprint => {
            let (expected, found) = (expected.grouped(), seen.fingerprint.grouped());
            return Err(CliError::OtherFingerprint { server: name, expected, found });
        }
        Some(_) => {}
        None => {
            if login.authority.is_some() {
                note("This is another certificate than the one that was trusted before.");
            }
            note(&format!(
                "{name} vouches for itself, with the fingerprint\n  {}\nThe manager's log and the \
                 dashboard's page Workers show the right one.",
                seen.fingerprint.grouped()
            ));
            if !prompt::is_affirmed("Is it the same?")? {
                return Err(CliError::NotTrusted { server: name });
            }
        }
    }
    login.authority = Some(hex(&seen.authority));
    Ok(Client::new(server.clone(), &Trust::Authority(seen.authority), note))
}
