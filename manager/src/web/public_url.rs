//! The address under which people know the dashboard, where that is not the one it listens on.

use std::fmt;
use std::str::FromStr;

use axum::http::Uri;

use super::local::without_port;

/// `http://HOST[:PORT]` or `https://HOST[:PORT]`, written as browsers write an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    secure: bool,
}

/// A text that is no such address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be https://HOST, http://HOST or either with a port, and nothing after it")]
pub struct NotPublic;

impl PublicUrl {
    /// As browsers send it in `Origin`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The host, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        let authority = self.origin.split_once("://").map_or("", |(_, authority)| authority);
        without_port(authority)
    }

    /// Whether browsers speak TLS to it.
    pub fn is_secure(&self) -> bool {
        self.secure
    }
}

impl FromStr for PublicUrl {
    type Err = NotPublic;

    fn from_str(text: &str) -> Result<Self, NotPublic> {
        let uri: Uri = text.parse().map_err(|_| NotPublic)?;
        let (secure, usual_port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            Some(_) | None => return Err(NotPublic),
        };
        let authority = uri.authority().ok_or(NotPublic)?;
        let is_bare = uri.path() == "/" && uri.query().is_none() && !text.contains(['@', '#']);
        let has_good_port =
            authority.as_str() == authority.host() || authority.port_u16().is_some();
        if !is_bare || !has_good_port || authority.host().is_empty() {
            return Err(NotPublic);
        }
        let scheme = if secure { "https" } else { "http" };
        let host = authority.host().to_ascii_lowercase();
        let port = authority.port_u16().filter(|&port| port != usual_port);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self { origin: format!("{scheme}://{host}{port}"), secure })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::PublicUrl;

    #[test]
    fn an_address_is_kept_as_browsers_write_it() {
        for (text, origin) in [
            ("https://grid.campus", "https://grid.campus"),
            ("https://Grid.Campus/", "https://grid.campus"),
            ("https://grid.campus:443", "https://grid.campus"),
            ("https://grid.campus:8443/", "https://grid.campus:8443"),
            ("http://10.0.0.7:5000", "http://10.0.0.7:5000"),
            ("https://[2001:db8::7]:8443", "https://[2001:db8::7]:8443"),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!(url.origin(), origin);
            assert_eq!(url.is_secure(), origin.starts_with("https"));
            assert!(!url.host().is_empty() && text.to_ascii_lowercase().contains(url.host()));
        }
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        for text in [
            "",
            "grid.campus",
            "/jobs",
            "ftp://grid.campus",
            "https://",
            "https:///jobs",
            "https://grid.campus/grid",
            "https://grid.campus?x",
            "https://grid.campus/#x",
            "https://ada@grid.campus",
            "https://grid.campus:port",
            "https://grid .campus",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}
