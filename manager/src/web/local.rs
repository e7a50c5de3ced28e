//! Whether a request comes from the manager's own machine, by a person who sits at it.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

/// True for a request from this machine to this machine. What a proxy passes on comes from here as
/// well, but was meant for another host or says that it was forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Local(pub(super) bool);

impl<S: Send + Sync> FromRequestParts<S> for Local {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(peer.is_some_and(|ConnectInfo(peer)| is_local(*peer, &parts.headers))))
    }
}

/// Set by proxies, each by some.
const FORWARDED: [&str; 5] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

fn is_local(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    peer.ip().to_canonical().is_loopback()
        && ["localhost", "127.0.0.1", "[::1]"].contains(&without_port(host))
        && FORWARDED.iter().all(|&name| !headers.contains_key(name))
}

/// A host without its port; the colons of an address in brackets are its own.
pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::http::{HeaderMap, HeaderName};

    use super::{is_local, without_port};

    #[test]
    fn only_who_sits_at_the_machine_is_local() {
        let host = ("host", "localhost:5000");
        for (peer, headers, local) in [
            ("127.0.0.1:4000", &[host][..], true),
            ("[::1]:4000", &[("host", "[::1]:5000")], true),
            ("[::ffff:127.0.0.1]:4000", &[("host", "127.0.0.1")], true),
            ("10.0.0.7:4000", &[host], false),
            ("127.0.0.1:4000", &[("host", "grid.example")], false),
            ("127.0.0.1:4000", &[], false),
            ("127.0.0.1:4000", &[host, ("x-forwarded-for", "10.0.0.7")], false),
            ("127.0.0.1:4000", &[host, ("via", "1.1 proxy")], false),
        ] {
            let pair = |&(name, value): &(&str, &str)| {
                (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
            };
            let headers: HeaderMap = headers.iter().map(pair).collect();
            let peer: SocketAddr = peer.parse().unwrap();
            assert_eq!(is_local(peer, &headers), local, "{peer} {headers:?}");
        }
    }

    #[test]
    fn ports_are_left_out() {
        for (host, name) in [
            ("grid.campus:5000", "grid.campus"),
            ("grid.campus", "grid.campus"),
            ("[::1]:5000", "[::1]"),
            ("[2001:db8::7]", "[2001:db8::7]"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
