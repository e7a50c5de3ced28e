//! Who is at the other end, before anything is known of their account: an address, a program, and maybe
//! a browser that was here before.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use campusgrid_protocol::id::UserId;

use super::Site;
use super::client::ClientAddress;
use super::cookie::Cookie;
use super::network::Network;
use super::passwords::turns::Party;
use super::throttle::Device;

/// The other end of a request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) address: ClientAddress,
    program: String,
    device_cookie: Option<String>,
}

impl FromRequestParts<Site> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Infallible> {
        let address = ClientAddress::from_request_parts(parts, site).await?;
        let program = program(&parts.headers);
        let device_cookie = site.cookies.find(Cookie::Device, &parts.headers);
        Ok(Self { address, program, device_cookie })
    }
}

impl Caller {
    pub(super) fn network(&self) -> Network {
        Network::of(self.address.0)
    }

    /// The device that it has shown itself to be towards this user.
    pub(super) fn device(&self, site: &Site, user: UserId) -> Option<Device> {
        site.guard.devices.check(self.device_cookie.as_deref()?, user)
    }

    /// As whom it waits: as whose it has shown itself to be, or else as anybody from there.
    pub(super) fn party(&self, account: Option<UserId>) -> Party {
        Party { network: self.network(), account }
    }

    /// For its user to recognise: an address and a program, in words.
    pub(super) fn words(&self) -> String {
        format!("{}, {}", self.address.0, self.program)
    }
}

/// What a program calls itself, in words of ours: it may call itself anything.
fn program(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
    // Most browsers name those that they want to pass for as well, so the order matters.
    let programs = [
        ("campusgrid", "campusgrid"),
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chromium/", "Chromium"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
        ("Wget/", "Wget"),
        ("python", "Python"),
    ];
    let systems = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("CrOS", "ChromeOS"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ];
    let found = |names: &[(&str, &'static str)]| {
        names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    match (found(&programs), found(&systems)) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(program), None) => program.to_owned(),
        (None, Some(system)) => format!("a program on {system}"),
        (None, None) => "a program".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, header};

    use super::program;

    #[test]
    fn programs_are_told_in_words_of_ours() {
        for (agent, words) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/125.0.0.0 Safari/537.36 Edg/125.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, \
                 like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            ("curl/8.9.1", "curl"),
            ("<script>alert(1)</script>", "a program"),
            ("", "a program"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, agent.parse().unwrap());
            assert_eq!(program(&headers), words, "{agent}");
        }
        assert_eq!(program(&HeaderMap::new()), "a program");
    }
}
