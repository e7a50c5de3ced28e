//! The cookies that we give to browsers, and how they are kept from everybody else.

use axum::http::{HeaderMap, HeaderValue};
use axum_extra::extract::CookieJar;

/// What we keep in browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cookie {
    /// The token of a login.
    Session,
    /// What the forms to log in and to register must agree with.
    Form,
    /// That this browser has logged in before.
    Device,
}

/// How cookies travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cookies {
    /// Without TLS, for want of it.
    Plain,
    /// Under names that browsers take from this very host only, over TLS, for all of it: neither a
    /// neighbour under the same domain nor somebody on the way can set them (RFC 6265bis, 4.1.3.2).
    HostOnly,
}

impl Cookies {
    /// Those for browsers that speak TLS, or do not.
    pub(super) fn of(is_secure: bool) -> Self {
        if is_secure { Self::HostOnly } else { Self::Plain }
    }

    fn name(self, cookie: Cookie) -> &'static str {
        match (self, cookie) {
            (Self::Plain, Cookie::Session) => "cg_session",
            (Self::Plain, Cookie::Form) => "cg_form",
            (Self::Plain, Cookie::Device) => "cg_device",
            (Self::HostOnly, Cookie::Session) => "__Host-cg_session",
            (Self::HostOnly, Cookie::Form) => "__Host-cg_form",
            (Self::HostOnly, Cookie::Device) => "__Host-cg_device",
        }
    }

    /// The value that a request brings.
    pub(super) fn find(self, cookie: Cookie, headers: &HeaderMap) -> Option<String> {
        let jar = CookieJar::from_headers(headers);
        jar.get(self.name(cookie)).map(|found| found.value().to_owned())
    }

    /// The header that makes a browser keep a value; of ASCII without spaces, commas and semicolons.
    pub(super) fn keep(self, cookie: Cookie, value: &str, seconds: u64) -> HeaderValue {
        let name = self.name(cookie);
        let secure = match self {
            Self::Plain => "",
            Self::HostOnly => "; Secure",
        };
        let text =
            format!("{name}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}{secure}");
        HeaderValue::from_str(&text).expect("digits, letters and dots are good in a header")
    }

    /// The header that makes a browser forget it.
    pub(super) fn forget(self, cookie: Cookie) -> HeaderValue {
        self.keep(cookie, "", 0)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, header};

    use super::{Cookie, Cookies};

    #[test]
    fn cookies_are_kept_from_scripts_and_other_sites() {
        let plain = Cookies::Plain.keep(Cookie::Session, "00ff", 60);
        assert_eq!(plain, "cg_session=00ff; HttpOnly; SameSite=Lax; Path=/; Max-Age=60");
        let secure = Cookies::HostOnly.forget(Cookie::Device);
        let expected = "__Host-cg_device=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0; Secure";
        assert_eq!(secure, expected);
    }

    #[test]
    fn over_tls_only_the_protected_names_count() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, "a=b; cg_form=1; __Host-cg_form=2; c=d".parse().unwrap());
        assert_eq!(Cookies::Plain.find(Cookie::Form, &headers).as_deref(), Some("1"));
        assert_eq!(Cookies::HostOnly.find(Cookie::Form, &headers).as_deref(), Some("2"));
        assert_eq!(Cookies::HostOnly.find(Cookie::Session, &headers), None);
    }
}
