//! Why a command does not do what was asked, what to do about it, and the exit code that tells it to
//! scripts.

use std::path::PathBuf;

use campusgrid_protocol::rest::ErrorDetail;

use crate::fields;

/// The exit codes of this program, beside those of tasks that were waited for.
pub mod exit {
    /// The manager refused it, or what was waited for did not come to be.
    pub const REFUSED: u8 = 1;
    /// Of sysexits.h: the command line is wrong.
    pub const USAGE: u8 = 64;
    /// Of sysexits.h: a file cannot be read.
    pub const NO_INPUT: u8 = 66;
    /// Of sysexits.h: the manager cannot be reached.
    pub const UNREACHABLE: u8 = 69;
    /// Of sysexits.h: a file cannot be written.
    pub const CANNOT_WRITE: u8 = 73;
    /// Of sysexits.h: the grid gave the task up, which is not its own fault and costs nothing.
    pub const GRID_FAILED: u8 = 75;
    /// Of sysexits.h: not logged in, or not allowed to.
    pub const NOT_ALLOWED: u8 = 77;
    /// Of sysexits.h: what is kept between calls cannot be used.
    pub const CONFIG: u8 = 78;
    /// The task was cancelled.
    pub const CANCELLED: u8 = 123;
    /// The task ran into its time limit, as timeout(1) says it.
    pub const TIME_LIMIT: u8 = 124;
    /// The task ran into another limit, or could not be compiled or given its packages.
    pub const NO_EXIT_CODE: u8 = 125;
    /// This program was interrupted while it waited; the job goes on.
    pub const INTERRUPTED: u8 = 130;
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("no manager is known yet: campusgrid login http://HOST:5000, or set CAMPUSGRID_SERVER")]
    NoServer,
    #[error("not logged in at {server}: campusgrid login {server}")]
    NotLoggedIn { server: String },
    #[error("{server} is no address of a manager: it must be like http://HOST:5000")]
    Address { server: String },
    #[error("{server} does not answer; is the manager running, and the address right?")]
    Unreachable { server: String, source: Box<ureq::Error> },
    #[error(
        "{server} shows a certificate that this machine does not know; if the manager has made it \
         itself (tls = \"own\"), campusgrid login {server} asks whether to trust it"
    )]
    UnknownCertificate { server: String, source: Box<ureq::Error> },
    #[error("failed to see the certificate of {server}")]
    SeeCertificate { server: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(
        "{server} shows the fingerprint\n  {found}\nand not\n  {expected}\nSomebody may be passing for \
         the manager: nothing was sent"
    )]
    OtherFingerprint { server: String, expected: String, found: String },
    #[error("the certificate of {server} was not trusted, nothing was sent")]
    NotTrusted { server: String },
    #[error("{}", words_of_refusal(.0))]
    Refused(Box<ErrorDetail>),
    #[error("{server} answers with something that no manager says ({what}); is this its address?")]
    NotAGrid { server: String, what: String },
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{} is not used: {why}", path.display())]
    Unsafe { path: PathBuf, why: String },
    #[error("{} cannot be read: {what}; remove it and log in again", path.display())]
    Config { path: PathBuf, what: String },
    #[error("neither XDG_CONFIG_HOME nor HOME is set, so nothing can be kept")]
    NoHome,
    #[error("what came of {what} is not what the manager has: try again")]
    Damaged { what: String },
    #[error("the connection broke off while {what} came")]
    BrokenOff { what: String, source: std::io::Error },
    #[error("{} is there already with other content: --force replaces it", path.display())]
    InTheWay { path: PathBuf },
    #[error("nobody can be asked here: say it with --user, --password-stdin and --fingerprint")]
    Ask(#[source] std::io::Error),
    #[error("failed to draw random numbers")]
    Random(#[source] getrandom::Error),
    #[error("failed to catch Ctrl-C")]
    Signals(#[source] std::io::Error),
    #[error("failed to start {program}")]
    Start { program: String, source: std::io::Error },
    #[error("{left} files were not uploaded; go on with\n  {hint}")]
    UploadStopped { left: usize, hint: String, source: Box<CliError> },
}

impl CliError {
    /// What this program exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NoServer | Self::Address { .. } => exit::USAGE,
            Self::NotLoggedIn { .. } => exit::NOT_ALLOWED,
            Self::Unreachable { .. }
            | Self::UnknownCertificate { .. }
            | Self::SeeCertificate { .. }
            | Self::OtherFingerprint { .. }
            | Self::NotTrusted { .. }
            | Self::NotAGrid { .. }
            | Self::BrokenOff { .. } => exit::UNREACHABLE,
            Self::Refused(detail) if is_about_rights(detail) => exit::NOT_ALLOWED,
            Self::Refused(_) | Self::Damaged { .. } => exit::REFUSED,
            Self::Read { .. } => exit::NO_INPUT,
            Self::Write { .. } | Self::InTheWay { .. } => exit::CANNOT_WRITE,
            Self::Unsafe { .. } | Self::Config { .. } | Self::NoHome => exit::CONFIG,
            Self::Ask(_) | Self::Random(_) | Self::Signals(_) | Self::Start { .. } => exit::REFUSED,
            Self::UploadStopped { source, .. } => source.exit_code(),
        }
    }

    /// The stable code of a refusal of the manager's.
    pub fn code(&self) -> Option<&str> {
        if let Self::Refused(detail) = self { Some(&detail.code) } else { None }
    }

    /// All of it in one text, with its causes.
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }
}

fn is_about_rights(detail: &ErrorDetail) -> bool {
    let rights = ["unauthenticated", "wrong_password", "insufficient_scope", "not_an_operator"];
    rights.contains(&detail.code.as_str())
}

/// What the manager says, and what helps against it where this program can tell.
fn words_of_refusal(detail: &ErrorDetail) -> String {
    let advice = match detail.code.as_str() {
        "unauthenticated" => "; log in anew with campusgrid login",
        "insufficient_credits" => {
            "; ask for less time or fewer tasks, or earn credits with campusgrid share"
        }
        "storage_full" => "; remove what is no longer needed with campusgrid discard JOB",
        _ => "",
    };
    if detail.fields.is_empty() {
        return format!("{}{advice}", detail.message);
    }
    let words: Vec<String> = detail.fields.iter().map(fields::words).collect();
    format!("{}{advice}", words.join("; "))
}
