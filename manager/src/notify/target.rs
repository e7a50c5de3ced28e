//! Where a webhook leads: its address in words, and whether we connect to what that comes to. Anybody
//! may name one, so without these checks it would reach what only this machine reaches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::Uri;

/// What a webhook's address says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_secure: bool,
    /// A name or an address, that of IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As the header has it.
    pub(super) authority: String,
    /// Path and query, at least `/`.
    pub(super) path: String,
}

/// Why an address is none that a webhook may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("must be an http:// or https:// address, without a user and without #")]
    Form,
    #[error("must have port 80, 443 or one from 1024 on")]
    Port,
    #[error("leads to this machine or to a private network, where this manager sends no webhooks")]
    Private,
}

impl Target {
    /// Reads an address. If it names a host by an address that webhooks may not have, it is refused
    /// here already; names are looked up when they are used.
    ///
    /// # Errors
    ///
    /// All of [`TargetError`].
    pub(super) fn parse(text: &str, reach: Reach) -> Result<Self, TargetError> {
        let uri: Uri = text.parse().map_err(|_| TargetError::Form)?;
        let (is_secure, usual_port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            Some(_) | None => return Err(TargetError::Form),
        };
        let authority = uri.authority().ok_or(TargetError::Form)?;
        let has_good_port =
            authority.as_str() == authority.host() || authority.port_u16().is_some();
        if text.contains(['@', '#']) || authority.host().is_empty() || !has_good_port {
            return Err(TargetError::Form);
        }
        let port = authority.port_u16().unwrap_or(usual_port);
        if !matches!(port, 80 | 443 | 1024..) {
            return Err(TargetError::Port);
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        if host.parse().is_ok_and(|address| !reach.has(address)) {
            return Err(TargetError::Private);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            is_secure,
            host: host.to_ascii_lowercase(),
            port,
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
        })
    }
}

/// Which addresses are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those that anybody reaches.
    Public,
    /// Also this machine and private networks.
    Everything,
}

impl Reach {
    pub(super) fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            Self::Everything => true,
        }
    }
}

/// By the IANA's registries of special-purpose addresses: what is not reachable by all is out, and what
/// stands for an address of IPv4 is that address.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_unspecified()
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a, b & 0b1100_0000) == (100, 64) // Shared by carriers.
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a, b & 0b1111_1110) == (198, 18); // For benchmarks.
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (a, b) {
        (0, 0) if (c, d, e, f) == (0, 0, 0, 0xffff) => is_public_v4(v4(g, h)),
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => is_public_v4(v4(g, h)),
        (0x2002, high) => is_public_v4(v4(high, c)),
        // Teredo, benchmarks, identifiers without a place; documentation.
        (0x2001, 0..0x200) | (0x2001, 0xdb8) | (0x3fff, 0..0x1000) => false,
        (a, _) => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::{Reach, Target, TargetError};

    #[test]
    fn an_address_is_taken_apart() {
        for (text, host, port, authority, path) in [
            ("http://a.example", "a.example", 80, "a.example", "/"),
            ("https://A.example:8443/x?y=1", "a.example", 8443, "A.example:8443", "/x?y=1"),
            ("https://[2606:4700::1]/x", "2606:4700::1", 443, "[2606:4700::1]", "/x"),
        ] {
            let target = Target::parse(text, Reach::Public).unwrap();
            let found = (target.host.as_str(), target.port, target.authority.as_str());
            assert_eq!((found, target.path.as_str()), ((host, port, authority), path));
            assert_eq!(target.is_secure, text.starts_with("https"));
        }
    }

    #[test]
    fn what_is_no_address_or_leads_home_is_refused() {
        for text in [
            "",
            "a.example",
            "ftp://a.example",
            "http://",
            "http:///x",
            "http://user@a.example",
            "http://a.example/#x",
            "http://a.example:port/",
            "http://a example/",
            "http://a.example/\r\nX: y",
            "javascript:alert(1)",
        ] {
            assert_eq!(Target::parse(text, Reach::Everything), Err(TargetError::Form), "{text}");
        }
        for text in ["http://a.example:25/", "https://a.example:0/", "http://a.example:22"] {
            assert_eq!(Target::parse(text, Reach::Everything), Err(TargetError::Port), "{text}");
        }
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a00:1]",
            "[::7f00:1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001::1]",
            "[2001:db8::1]",
            "[fc00::1]",
            "[fd12::1]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
        ] {
            let text = format!("http://{host}:8080/");
            assert_eq!(Target::parse(&text, Reach::Public), Err(TargetError::Private), "{text}");
            assert!(Target::parse(&text, Reach::Everything).is_ok(), "{text}");
        }
        for host in ["8.8.8.8", "172.32.0.1", "[2606:4700::1111]", "[64:ff9b::808:808]"] {
            assert!(Target::parse(&format!("http://{host}"), Reach::Public).is_ok(), "{host}");
        }
    }
}
