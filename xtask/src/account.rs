//! The users of a demo or a test: made-up names, random passwords.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::client::Client;

/// The code by which the API says that a name is another's.
const NAME_TAKEN: &str = "name_taken";
/// Names tried before it is given up.
const NAMES_MAX: usize = 100;

/// What a person needs to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl Account {
    /// # Errors
    ///
    /// When the kernel gives no random bytes.
    pub(crate) fn with_random_password(name: &str) -> Result<Self> {
        let mut bytes = [0; 9];
        let mut source = File::open("/dev/urandom").context("failed to open /dev/urandom")?;
        source.read_exact(&mut bytes).context("failed to read /dev/urandom")?;
        let password = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { name: name.to_owned(), password })
    }

    /// Registers it and yields the client as this user.
    ///
    /// # Errors
    ///
    /// When the API refuses it, for example because the name is taken.
    pub(crate) fn register(&self, client: &Client) -> Result<Client> {
        let answer = client.post("register", &self.body())?;
        token(client, &answer)
    }

    /// Logs in, or registers where nobody of that name is known.
    ///
    /// # Errors
    ///
    /// When neither is possible: the name belongs to somebody with another password.
    pub(crate) fn enter(&self, client: &Client) -> Result<Client> {
        match client.try_post("login", &self.body())? {
            Ok(answer) => token(client, &answer),
            Err(_) => self.register(client),
        }
    }

    fn body(&self) -> serde_json::Value {
        json!({ "name": self.name, "password": self.password })
    }
}

/// Registers `BASE-N` with the least N from `first` on that is nobody's yet.
///
/// # Errors
///
/// When the API refuses it for another reason.
pub(crate) fn register_fresh(client: &Client, base: &str, first: u64) -> Result<(Account, Client)> {
    let mut account = Account::with_random_password(base)?;
    for number in (first..).take(NAMES_MAX) {
        account.name = format!("{base}-{number}");
        match client.try_post("register", &account.body())? {
            Ok(answer) => return Ok((account, token(client, &answer)?)),
            Err(refused) if refused.code() == NAME_TAKEN => {}
            Err(refused) => bail!("failed to register {}: {refused}", account.name),
        }
    }
    bail!("{NAMES_MAX} names from {base}-{first} on are taken; use another data directory")
}

fn token(client: &Client, answer: &serde_json::Value) -> Result<Client> {
    let token = answer["token"].as_str().context("the API gave no token")?;
    Ok(client.logged_in(token))
}
