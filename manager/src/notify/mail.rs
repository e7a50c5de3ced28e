//! Mail: plain text to one address, through the server that the operator has named.

use std::time::{Duration, SystemTime};

use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, SinglePart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::letter::Letter;
use super::settings::{Encryption, MailConfig, PasswordError};

/// From connecting to the last answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers by which a server says that it will never take a mail for this address (RFC 5321): no such
/// mailbox, another's, a name that is none, a host that takes no mail. Others speak of what passes,
/// or of us.
const NEVER: [u16; 5] = [521, 550, 551, 553, 556];

/// Sends mail. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Postman {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// The mail server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NoPostman {
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("failed to set up TLS for mail")]
    Tls(#[source] SmtpError),
}

/// Why a mail was not sent, in words for whoever was to get it.
#[derive(Debug, thiserror::Error)]
pub(super) enum MailError {
    #[error("the account's address is none that mail can be sent to")]
    Address(#[source] lettre::address::AddressError),
    #[error("the mail cannot be written")]
    Write(#[source] lettre::error::Error),
    #[error("the mail server answered {code}")]
    Answer { code: u16 },
    #[error("the mail server cannot be reached, or does not agree on TLS")]
    Server(#[source] SmtpError),
    #[error("the mail server took longer than {} s", PATIENCE.as_secs())]
    Patience,
}

impl MailError {
    /// Whether trying again cannot help.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Address(_) | Self::Write(_) => true,
            Self::Answer { code } => NEVER.contains(code),
            Self::Server(_) | Self::Patience => false,
        }
    }
}

impl Postman {
    pub(super) fn new(config: &MailConfig) -> Result<Self, NoPostman> {
        let MailConfig { host, port, encryption, login, from } = config;
        let parameters = || TlsParameters::new(host.clone()).map_err(NoPostman::Tls);
        let tls = match encryption {
            Encryption::None => Tls::None,
            Encryption::StartTls => Tls::Required(parameters()?),
            Encryption::Tls => Tls::Wrapper(parameters()?),
        };
        // Dangerous only where nothing is said of TLS, which is settled here.
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(*port)
            .tls(tls)
            .timeout(Some(PATIENCE))
            .hello_name(own_name());
        if let Some(login) = login {
            let credentials = Credentials::new(login.user.clone(), login.password.read()?);
            transport = transport.credentials(credentials);
        }
        Ok(Self { transport: transport.build(), from: from.clone() })
    }

    /// Sends a mail; `id` names what it is about, the same at each try.
    pub(super) async fn send(
        &self,
        address: &str,
        id: &str,
        letter: Letter,
        now: SystemTime,
    ) -> Result<(), MailError> {
        let message = message(&self.from, address, id, letter, now)?;
        let sent = tokio::time::timeout(PATIENCE, self.transport.send(message)).await;
        match sent.map_err(|_| MailError::Patience)? {
            Ok(_) => Ok(()),
            // What else it says may name the address, which belongs in no log.
            Err(error) => Err(match error.status() {
                Some(code) => MailError::Answer { code: code.into() },
                None => MailError::Server(error),
            }),
        }
    }
}

fn message(
    from: &Mailbox,
    address: &str,
    id: &str,
    letter: Letter,
    now: SystemTime,
) -> Result<Message, MailError> {
    let to = Mailbox::new(None, address.parse().map_err(MailError::Address)?);
    Message::builder()
        .from(from.clone())
        .to(to)
        .date(now)
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        .header(AutoSubmitted)
        .subject(letter.subject)
        .singlepart(SinglePart::plain(letter.text))
        .map_err(MailError::Write)
}

/// Keeps other machines from answering (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// How this machine introduces itself.
fn own_name() -> ClientId {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let is_good = |name: &String| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    };
    name.filter(is_good).map_or_else(ClientId::default, ClientId::Domain)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use expect_test::expect;

    use super::{MailError, message};
    use crate::notify::letter::Letter;

    fn formatted(address: &str, subject: &str) -> Result<String, MailError> {
        let from = "CampusGrid <grid@campus.edu>".parse().unwrap();
        let letter = Letter { subject: subject.to_owned(), text: "Über alles.\n".to_owned() };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let message = message(&from, address, "notice-7", letter, now)?;
        Ok(String::from_utf8(message.formatted()).unwrap().replace('\r', ""))
    }

    #[test]
    fn a_mail_is_as_the_standards_want_it() {
        let text = formatted("ada@campus.edu", "Job 12 (Größe) has ended").unwrap();
        expect![[r#"
            From: CampusGrid <grid@campus.edu>
            To: ada@campus.edu
            Date: Tue, 14 Nov 2023 22:13:20 +0000
            Message-ID: <notice-7@campus.edu>
            Auto-Submitted: auto-generated
            Subject: Job 12 =?utf-8?b?KEdyw7bDn2Up?= has ended
            MIME-Version: 1.0
            Content-Type: text/plain; charset=utf-8
            Content-Transfer-Encoding: quoted-printable

            =C3=9Cber alles.

        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn no_subject_and_no_address_adds_a_header() {
        let text = formatted("ada@campus.edu", "a\r\nBcc: all@campus.edu\r\n\r\nbuy").unwrap();
        assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
        let body = text.split_once("\n\n").unwrap().1;
        assert!(!body.contains("buy"), "{text}");
        for address in ["a@b.c\r\nBcc: d@e.f", "a@b.c, d@e.f", "<a@b.c>", "nobody", ""] {
            assert!(matches!(formatted(address, "s"), Err(MailError::Address(_))), "{address}");
        }
    }
}
