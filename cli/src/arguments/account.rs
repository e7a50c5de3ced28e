//! The words of commands about accounts.

use clap::Args;

#[derive(Debug, Args)]
pub struct Login {
    /// The manager's address, such as https://grid.example.edu
    #[arg(value_name = "URL")]
    pub server: Option<String>,
    /// Who logs in [default: whoever did last, or is asked]
    #[arg(long, short)]
    pub user: Option<String>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "token_stdin")]
    pub password_stdin: bool,
    /// Read a token of the dashboard's page Account from standard input, instead of a password
    #[arg(long)]
    pub token_stdin: bool,
    /// Keep an API token instead of a login: it may look, submit and share, for so many days
    #[arg(long, value_name = "DAYS", conflicts_with = "token_stdin")]
    pub api_token: Option<u32>,
    /// Trust a manager with a certificate of its own (tls = "own") by this fingerprint
    #[arg(long, value_name = "HEX")]
    pub fingerprint: Option<String>,
}

#[derive(Debug, Args)]
pub struct Register {
    /// The manager's address, such as https://grid.example.edu
    #[arg(value_name = "URL")]
    pub server: Option<String>,
    /// The name to register [default: is asked]
    #[arg(long, short)]
    pub user: Option<String>,
    #[arg(long)]
    pub email: Option<String>,
    /// What an operator has handed out, where it takes that
    #[arg(long)]
    pub invitation: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// Trust a manager with a certificate of its own (tls = "own") by this fingerprint
    #[arg(long, value_name = "HEX")]
    pub fingerprint: Option<String>,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// What stands in the link of the mail [default: have a mail sent]
    pub token: Option<String>,
}

#[derive(Debug, Args)]
pub struct Credits {
    /// Also the last rows of the ledger
    #[arg(long, short, value_name = "COUNT", num_args = 0..=1, default_missing_value = "20")]
    pub transfers: Option<u32>,
}
