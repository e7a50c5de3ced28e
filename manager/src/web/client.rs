//! Where a request comes from: the other end of its connection, or whoever a proxy that we trust
//! names.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::Site;

/// Set by proxies: the addresses that a request came through, each added behind the others.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Tells, once, that somebody forwards requests whom nobody has named as a proxy: all who come through it
/// share one allowance. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct UnlistedProxy(Arc<AtomicBool>);

impl UnlistedProxy {
    fn note(&self, peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) {
        let is_one = headers.contains_key(FORWARDED_FOR) && !proxies.has(peer.to_canonical());
        if is_one && !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %peer,
                "requests come with X-Forwarded-For from an address that dashboard.proxies does not \
                 name: if it is your proxy, name it, or all who come through it count as one"
            );
        }
    }
}

/// Where a request comes from. What is not an IPv6 address in earnest is an IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientAddress(pub(super) IpAddr);

impl FromRequestParts<Site> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        // Every connection has another end; without one, nobody is told from anybody.
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |ConnectInfo(peer)| peer.ip());
        site.unlisted_proxy.note(peer, &parts.headers, &site.config.proxies);
        Ok(Self(address(peer, &parts.headers, &site.config.proxies)))
    }
}

/// The last address on the way that is not one of our proxies: everything before it may be made up.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) -> IpAddr {
    let mut known = peer.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).iter();
    let names: Vec<&str> =
        lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).collect();
    let mut names = names.into_iter().rev();
    while proxies.has(known) {
        let Some(name) = names.next() else { break };
        let Some(address) = parse(name.trim()) else { break };
        known = address;
    }
    known
}

/// Some proxies add the port.
fn parse(name: &str) -> Option<IpAddr> {
    let with_port = || name.parse::<SocketAddr>().ok().map(|address| address.ip());
    name.parse::<IpAddr>().ok().or_else(with_port).map(|address| address.to_canonical())
}

/// Proxies that are believed about whom they speak for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Block>);

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    first: IpAddr,
    bits: u32,
}

/// A text that is no list of proxies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no block of them: must be such as 10.0.0.7 or 10.0.0.0/24")]
pub struct NotAProxy(String);

impl Proxies {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is at this address, of which an IPv4 one is not written as IPv6.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|block| block.has(address))
    }
}

impl FromStr for Proxies {
    type Err = NotAProxy;

    /// Addresses and blocks of them, separated by commas.
    fn from_str(text: &str) -> Result<Self, NotAProxy> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Block {
    type Err = NotAProxy;

    fn from_str(text: &str) -> Result<Self, NotAProxy> {
        let wrong = || NotAProxy(text.chars().take(60).collect());
        let (first, bits) = match text.split_once('/') {
            Some((first, bits)) => (first, Some(bits.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let first: IpAddr = first.parse().map_err(|_| wrong())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(wrong()) } else { Ok(Self { first, bits }) }
    }
}

impl Block {
    fn has(&self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differing = first.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.bits
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differing = first.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use axum::http::HeaderMap;

    use super::{Proxies, UnlistedProxy, address};

    fn check(peer: &str, forwarded: &[&str], proxies: &str) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        address(peer.parse().unwrap(), &headers, &proxies.parse().unwrap()).to_string()
    }

    #[test]
    fn only_own_proxies_are_believed_and_only_about_the_last_step() {
        for (peer, forwarded, proxies, expected) in [
            ("10.0.0.7", &[][..], "", "10.0.0.7"),
            ("10.0.0.7", &["1.2.3.4"], "", "10.0.0.7"),
            ("10.0.0.7", &["1.2.3.4"], "10.0.0.8", "10.0.0.7"),
            ("10.0.0.7", &["1.2.3.4"], "10.0.0.7", "1.2.3.4"),
            ("10.0.0.7", &["6.6.6.6, 1.2.3.4"], "10.0.0.0/8", "1.2.3.4"),
            ("10.0.0.7", &["6.6.6.6", "1.2.3.4"], "10.0.0.0/8", "1.2.3.4"),
            ("10.0.0.7", &["6.6.6.6, 1.2.3.4, 10.9.9.9"], "10.0.0.0/8", "1.2.3.4"),
            ("10.0.0.7", &["10.1.1.1, 10.2.2.2"], "10.0.0.0/8", "10.1.1.1"),
            ("10.0.0.7", &["6.6.6.6, unknown"], "10.0.0.7", "10.0.0.7"),
            ("10.0.0.7", &["1.2.3.4:5678"], "10.0.0.7", "1.2.3.4"),
            ("::ffff:10.0.0.7", &["1.2.3.4"], "10.0.0.7", "1.2.3.4"),
            ("fd00::1", &["2001:db8::9"], "fd00::/8", "2001:db8::9"),
            ("fd00::1", &["[2001:db8::9]:80"], "::/0", "2001:db8::9"),
            ("127.0.0.1", &["::ffff:1.2.3.4"], "127.0.0.1, ::1", "1.2.3.4"),
        ] {
            assert_eq!(check(peer, forwarded, proxies), expected, "{peer} {forwarded:?} {proxies}");
        }
    }

    #[test]
    fn a_proxy_that_nobody_has_named_is_noticed() {
        for (peer, forwarded, noticed) in [
            ("10.0.0.7", None, false),
            ("10.0.0.8", Some("1.2.3.4"), false),
            ("::ffff:10.0.0.8", Some("1.2.3.4"), false),
            ("10.0.0.7", Some("1.2.3.4"), true),
        ] {
            let proxy = UnlistedProxy::default();
            let mut headers = HeaderMap::new();
            headers.extend(
                forwarded.map(|line| ("x-forwarded-for".parse().ok(), line.parse().unwrap())),
            );
            proxy.note(peer.parse().unwrap(), &headers, &"10.0.0.8".parse().unwrap());
            assert_eq!(proxy.0.load(Ordering::Relaxed), noticed, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn what_is_no_list_of_addresses_is_refused() {
        for text in
            ["proxy.campus", "10.0.0.0/33", "::/129", "10.0.0.0/x", "10.0.0", "10.0.0.1 1.2.3.4"]
        {
            assert!(text.parse::<Proxies>().is_err(), "{text}");
        }
        assert_eq!(" ,, ".parse(), Ok(Proxies::default()));
    }
}
