//! Where a manager is.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

use crate::error::CliError;

/// A manager's address: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    scheme: String,
    host: String,
    port: u16,
}

impl Server {
    /// Reads what people write: `http://HOST:5000`, `https://HOST`, or `HOST:5000` for plain HTTP on this
    /// machine and TLS elsewhere.
    ///
    /// # Errors
    ///
    /// `Address`.
    pub fn parse(text: &str) -> Result<Self, CliError> {
        let wrong = || CliError::Address { server: text.chars().take(200).collect() };
        let trimmed = text.trim().trim_end_matches('/');
        let with_scheme = if trimmed.contains("://") {
            trimmed.to_owned()
        } else {
            let bare = Self::parse(&format!("https://{trimmed}")).map_err(|_| wrong())?;
            // Passwords must not travel in the clear because somebody left out a word.
            format!("{}://{trimmed}", if bare.is_loopback() { "http" } else { "https" })
        };
        let uri: Uri = with_scheme.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
        let usual = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        let is_bare = uri.path() == "/" && uri.query().is_none();
        if authority.host().is_empty() || authority.as_str().contains('@') || !is_bare {
            return Err(wrong());
        }
        let (host, port) = (authority.host().to_ascii_lowercase(), authority.port_u16());
        if port.is_none() && authority.as_str().len() != host.len() {
            return Err(wrong()); // What stands behind the colon is no port.
        }
        Ok(Self { scheme, host, port: port.unwrap_or(usual) })
    }

    /// The address of what is behind `/api/v1/`, or of a path from the root.
    pub fn url(&self, path: &str) -> String {
        if path.starts_with('/') {
            format!("{self}{path}")
        } else {
            format!("{self}/api/v1/{path}")
        }
    }

    /// Without brackets, if it is an address of IPv6.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn is_encrypted(&self) -> bool {
        self.scheme == "https"
    }

    pub fn is_loopback(&self) -> bool {
        let address: Result<IpAddr, _> = self.host().parse();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// A part of a path, so that nothing in it means anything: RFC 3986, section 2.3.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        // A slash stays: what is encoded are paths of files, and their parts are parts of the address.
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{Server, encoded};

    #[test]
    fn one_manager_has_one_address() {
        for (text, shown) in [
            ("http://localhost:5000", "http://localhost:5000"),
            ("localhost:5000", "http://localhost:5000"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("grid.example.edu", "https://grid.example.edu:443"),
            ("HTTPS://Grid.Example.EDU/", "https://grid.example.edu:443"),
            ("http://grid", "http://grid:80"),
        ] {
            assert_eq!(Server::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "",
            "http://",
            "ftp://grid",
            "http://a b",
            "http://ada:secret@grid",
            "http://grid/api",
            "http://grid:99999",
            "http://grid:",
            "http://grid?x",
        ] {
            assert!(Server::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_files_cannot_leave_their_place() {
        assert_eq!(encoded("a/b c?x=%41#é"), "a/b%20c%3Fx%3D%2541%23%C3%A9");
    }
}
