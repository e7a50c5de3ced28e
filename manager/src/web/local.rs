//! Whether a request comes from the manager's own machine, by a person who sits at it.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Version, header};

use super::{Config, Site, Web};
use crate::readers::Readers;

/// True for a request from this machine to this machine. What a proxy passes on comes from here as
/// well, but was meant for another host or says that it was forwarded. Some proxies do not even say
/// that, so nothing is from here where the settings speak of a proxy or a public address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Local(pub(super) bool);

impl FromRequestParts<Site> for Local {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let is_direct = peer.is_some_and(|ConnectInfo(peer)| is_local(*peer, parts));
        Ok(Self(can_be(&site.config) && is_direct))
    }
}

/// Whether requests can be known to come from this machine at all.
pub(super) fn can_be(config: &Config) -> bool {
    config.public_url.is_none() && config.proxies.is_empty()
}

/// Set by proxies, each by some; beside all that begin with `x-forwarded`.
const FORWARDED: [&str; 8] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "true-client-ip",
    "cf-connecting-ip",
];

fn is_local(peer: SocketAddr, request: &Parts) -> bool {
    let headers = &request.headers;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let is_forwarded = |name: &str| name.starts_with("x-forwarded") || FORWARDED.contains(&name);
    peer.ip().to_canonical().is_loopback()
        && ["localhost", "127.0.0.1", "[::1]"].contains(&without_port(host))
        && !headers.keys().any(|name| is_forwarded(name.as_str()))
        // No browser speaks it, but nginx to what is behind it, unless told otherwise.
        && request.version != Version::HTTP_10
}

/// Whether anybody is an operator, and what is to be said where registering makes none.
#[derive(Debug)]
pub(super) struct Operators {
    readers: Readers,
    by_registering: bool,
}

/// How there comes to be one where nobody who registers can be.
pub(super) const BY_COMMAND: &str = "campusgrid-manager role NAME operator";

impl Operators {
    pub(super) fn new(web: &Web) -> Self {
        Self { readers: web.readers.clone(), by_registering: can_be(&web.config) }
    }

    /// Says how to make the first one, unless there is one or the first to register here is it.
    pub(super) async fn tell(&self) {
        if !self.by_registering && are_none(&self.readers).await {
            tracing::warn!(
                "there is no operator yet, and with dashboard.public_url or dashboard.proxies set \
                 nobody becomes one by registering: register, and run \"{BY_COMMAND}\" on this machine"
            );
        }
    }
}

/// Whether there are no operators; no if that cannot be read.
pub(super) async fn are_none(readers: &Readers) -> bool {
    readers.read(|reader| reader.operators()).await.is_ok_and(|operators| operators.is_empty())
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

    use axum::http::{Request, Version};

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
            ("127.0.0.1:4000", &[host, ("x-forwarded-proto", "https")], false),
            ("127.0.0.1:4000", &[host, ("X-Real-IP", "10.0.0.7")], false),
            ("127.0.0.1:4000", &[host, ("via", "1.1 proxy")], false),
        ] {
            for (version, local) in [(Version::HTTP_11, local), (Version::HTTP_10, false)] {
                let mut request = Request::builder().version(version);
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let (parts, ()) = request.body(()).unwrap().into_parts();
                let peer: SocketAddr = peer.parse().unwrap();
                assert_eq!(is_local(peer, &parts), local, "{peer} {version:?} {headers:?}");
            }
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
