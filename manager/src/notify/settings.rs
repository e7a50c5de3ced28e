//! The settings of notices: `[mail]` and `[notify]`.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use campusgrid_settings::reader::Reader;
use lettre::message::Mailbox;

/// How notices leave this machine.
#[derive(Debug, Clone)]
pub struct Config {
    /// None: no mail is sent, and jobs that ask for it are refused.
    pub mail: Option<MailConfig>,
    /// Whether webhooks may lead to this machine and to private networks.
    pub private_addresses: bool,
    /// Mails to one address in an hour. What is due beyond that comes later, as one mail.
    pub mails_per_hour: u32,
    /// To all addresses together.
    pub all_mails_per_hour: u32,
    /// Before a delivery that has failed is tried again; twice as long before each try that follows.
    /// Seconds.
    pub retry_s: u32,
    /// Webhooks of one user in an hour. What is due beyond that comes later.
    pub webhooks_per_hour: u32,
}

/// A server that takes mail in.
#[derive(Debug, Clone)]
pub struct MailConfig {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    pub login: Option<MailLogin>,
    pub from: Mailbox,
}

/// How the way to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    None,
    /// Begun in the clear; nothing is sent before TLS stands (RFC 3207).
    StartTls,
    /// From the first byte on (RFC 8314).
    Tls,
}

/// As whom the manager logs in to the mail server.
#[derive(Debug, Clone)]
pub struct MailLogin {
    pub user: String,
    pub password: Password,
}

/// Where the password is.
#[derive(Clone)]
pub enum Password {
    Given(String),
    File(PathBuf),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("Given(…)"), // A secret never reaches a log.
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// A setting names a file that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("mail.password_file: failed to read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("mail.password_file: {} is empty or more than one line", path.display())]
    Form { path: PathBuf },
}

/// Longest password. Bytes.
const PASSWORD_MAX_BYTES: u64 = 1024;

impl Password {
    /// The password itself.
    ///
    /// # Errors
    ///
    /// Both of [`PasswordError`].
    pub fn read(&self) -> Result<String, PasswordError> {
        let path = match self {
            Self::Given(password) => return Ok(password.clone()),
            Self::File(path) => path,
        };
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(PASSWORD_MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(|source| PasswordError::Read { path: path.clone(), source })?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        if password.is_empty() || password.contains('\n') || text.len() as u64 > PASSWORD_MAX_BYTES
        {
            return Err(PasswordError::Form { path: path.clone() });
        }
        Ok(password.to_owned())
    }
}

impl Config {
    /// Reads both sections; what is wrong with them is told by the reader.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            mail: mail(reader),
            private_addresses: reader.switch("notify.private_addresses", false),
            retry_s: reader.integer("notify.retry_s", 60, 1..=3600),
            mails_per_hour: reader.integer("notify.mails_per_hour", 20, 1..=100_000),
            all_mails_per_hour: reader.integer("notify.all_mails_per_hour", 1000, 1..=1_000_000),
            webhooks_per_hour: reader.integer("notify.webhooks_per_hour", 600, 1..=1_000_000),
        }
    }

    /// Reads the files that are named, if any are, so that what is wrong with them is told before
    /// anything is opened.
    ///
    /// # Errors
    ///
    /// Both of [`PasswordError`].
    pub fn check_files(&self) -> Result<(), PasswordError> {
        let login = self.mail.as_ref().and_then(|mail| mail.login.as_ref());
        login.map_or(Ok(()), |login| login.password.read().map(drop))
    }
}

fn mail(reader: &mut Reader) -> Option<MailConfig> {
    let host = reader.optional_text("mail.host", check_host);
    let port = reader.optional_integer("mail.port", 1..=65535);
    let words =
        [("none", Encryption::None), ("starttls", Encryption::StartTls), ("tls", Encryption::Tls)];
    let encryption = reader.word("mail.encryption", Encryption::StartTls, &words);
    let user = reader.optional_text("mail.user", check_line);
    let password = reader.optional_text("mail.password", check_line);
    let file = reader.optional_path("mail.password_file");
    let from = reader.optional_text("mail.from", |text| text.parse::<Mailbox>().map(drop));
    let login = login(reader, user, password, file);
    let Some(host) = host else {
        if login.is_some() || port.is_some() || from.is_some() {
            reader.problem("mail.host is needed where anything else of [mail] is set".to_owned());
        }
        return None;
    };
    if login.is_some() && encryption == Encryption::None {
        reader
            .problem("mail.encryption = \"none\" would send mail.password in the clear".to_owned());
    }
    let Some(from) = from.and_then(|from| from.parse().ok()) else {
        reader.problem("mail.from is needed where mail.host is set".to_owned());
        return None;
    };
    let usual_port = match encryption {
        Encryption::None => 25,
        Encryption::StartTls => 587,
        Encryption::Tls => 465,
    };
    Some(MailConfig { host, port: port.unwrap_or(usual_port), encryption, login, from })
}

fn login(
    reader: &mut Reader,
    user: Option<String>,
    password: Option<String>,
    file: Option<PathBuf>,
) -> Option<MailLogin> {
    let password = match (password, file) {
        (None, None) => None,
        (Some(password), None) => Some(Password::Given(password)),
        (None, Some(path)) => Some(Password::File(path)),
        (Some(_), Some(_)) => {
            reader.problem("mail.password and mail.password_file exclude each other".to_owned());
            return None;
        }
    };
    match (user, password) {
        (None, None) => None,
        (Some(user), Some(password)) => Some(MailLogin { user, password }),
        (Some(_), None) => {
            reader.problem("mail.user needs mail.password or mail.password_file".to_owned());
            None
        }
        (None, Some(_)) => {
            reader.problem("mail.password and mail.password_file need mail.user".to_owned());
            None
        }
    }
}

fn check_host(text: &str) -> Result<(), &'static str> {
    let is_one = rustls::pki_types::ServerName::try_from(text).is_ok();
    if is_one { Ok(()) } else { Err("must be a host name or an address") }
}

fn check_line(text: &str) -> Result<(), &'static str> {
    let is_one = !text.is_empty() && !text.contains(|c: char| c.is_control());
    if is_one { Ok(()) } else { Err("must be one line that is not empty") }
}

#[cfg(test)]
mod tests {
    use campusgrid_settings::file::ConfigFile;
    use campusgrid_settings::reader::Reader;

    use super::{Config, Encryption, Password, PasswordError};

    fn read(text: &str) -> (Config, Vec<String>) {
        let file = ConfigFile { name: "config.toml".to_owned(), text: text.to_owned() };
        let mut reader = Reader::new(Some(file), [], []);
        let config = Config::read(&mut reader);
        (config, reader.finish().map_err(|problems| problems.0).err().unwrap_or_default())
    }

    #[test]
    fn mail_is_off_until_a_server_is_named() {
        let (config, problems) = read("");
        assert!(config.mail.is_none() && problems.is_empty(), "{problems:?}");
        let text = "[mail]\nhost = \"mail.campus\"\nfrom = \"CampusGrid <grid@campus.edu>\"\n";
        let (config, problems) = read(text);
        let mail = config.mail.unwrap();
        assert_eq!(problems, [""; 0]);
        assert_eq!((mail.port, mail.encryption), (587, Encryption::StartTls));
        let (config, problems) =
            read(&format!("{text}encryption = \"tls\"\nuser = \"u\"\npassword = \"s3cret\"\n"));
        assert_eq!(problems, [""; 0]);
        assert_eq!(config.mail.as_ref().unwrap().port, 465);
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let server = "host = \"m\"\nfrom = \"g@c.edu\"\n";
        for (settings, words) in [
            ("host = \"mail.campus\"\n".to_owned(), "mail.from is needed"),
            ("from = \"g@c.edu\"\n".to_owned(), "mail.host is needed"),
            ("host = \"no host\"\nfrom = \"g@c.edu\"\n".to_owned(), "must be a host name"),
            ("host = \"m\"\nfrom = \"nobody\"\n".to_owned(), "mail.from"),
            (format!("{server}user = \"u\"\n"), "mail.user needs"),
            (format!("{server}password = \"p\"\n"), "need mail.user"),
            (
                format!("{server}user = \"u\"\npassword = \"p\"\npassword_file = \"f\"\n"),
                "exclude each other",
            ),
            (
                format!("{server}encryption = \"none\"\nuser = \"u\"\npassword = \"p\"\n"),
                "in the clear",
            ),
            (format!("{server}encryption = \"ssl\"\n"), "must be one of: none, starttls, tls"),
        ] {
            let (_, problems) = read(&format!("[mail]\n{settings}"));
            assert!(problems.iter().any(|it| it.contains(words)), "{settings}: {problems:?}");
        }
    }

    #[test]
    fn a_password_is_one_line_of_a_file() {
        let path = std::env::temp_dir().join(format!("cg-mail-{}", std::process::id()));
        let password = Password::File(path.clone());
        assert!(matches!(password.read(), Err(PasswordError::Read { .. })));
        for (text, good) in [("s3cret\n", true), ("s3cret", true), ("\n", false), ("a\nb\n", false)]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(password.read().ok().as_deref(), good.then_some("s3cret"), "{text:?}");
        }
        std::fs::remove_file(path).unwrap();
    }
}
