//! One call of this program: with which manager, as whom, and what looks on.

use crate::arguments::Global;
use crate::client::Client;
use crate::client::address::Server;
use crate::client::trust::Trust;
use crate::config::{Config, Login, Place};
use crate::error::CliError;
use crate::screen::{Format, Screen, note};

/// What every command works with.
#[derive(Debug)]
pub struct Session {
    pub client: Client,
    pub screen: Screen,
}

impl Session {
    /// With the manager and the token that the command line, the environment or the last login names.
    ///
    /// # Errors
    ///
    /// `NoServer`, `NotLoggedIn`, `Address`; as `Place::load`.
    pub fn open(global: &Global) -> Result<Self, CliError> {
        let config = Place::of_user()?.load()?;
        let server = server(global, None, &config)?;
        let login = config.logins.get(&server.to_string());
        let client = Client::new(server, &trust(login), note);
        let token = variable("CAMPUSGRID_TOKEN").or_else(|| login?.token.clone());
        let token =
            token.ok_or_else(|| CliError::NotLoggedIn { server: client.server().to_string() })?;
        Ok(Self { client: client.logged_in(&token), screen: screen(global) })
    }
}

pub fn screen(global: &Global) -> Screen {
    Screen::new(if global.json { Format::Json } else { Format::People })
}

/// The manager that is meant.
///
/// # Errors
///
/// `NoServer`, `Address`.
pub fn server(global: &Global, named: Option<&str>, config: &Config) -> Result<Server, CliError> {
    let given = named.map(str::to_owned).or_else(|| global.server.clone());
    let text = given.or_else(|| variable("CAMPUSGRID_SERVER")).or_else(|| config.server.clone());
    Server::parse(&text.ok_or(CliError::NoServer)?)
}

/// Whom to believe for a manager.
pub fn trust(login: Option<&Login>) -> Trust {
    let authority = login.and_then(|login| unhex(login.authority.as_deref()?));
    authority.map_or(Trust::System, Trust::Authority)
}

/// An environment variable that says something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::{hex, unhex};

    #[test]
    fn hexadecimal_digits_are_read_back() {
        assert_eq!(unhex(&hex(&[0, 15, 171, 255])), Some(vec![0, 15, 171, 255]));
        assert_eq!((unhex("abc"), unhex("zz")), (None, None));
    }
}
