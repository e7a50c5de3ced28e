//! Refuses requests that another site made a browser send.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::access::Access;
use super::auth::{has_bearer, token_of};
use super::error::WebError;
use super::public_url::PublicUrl;
use super::routes::answer;
use super::{Config, Site, TlsSetting};

/// Carries the form token of requests to the API that come by cookie.
const FORM_TOKEN: &str = "x-form-token";

/// Lets a request pass unless it could change something and came from another site.
pub(super) async fn check(State(site): State<Site>, request: Request, next: Next) -> Response {
    let (method, headers) = (request.method(), request.headers());
    if is_safe(method) || has_bearer(headers) || is_own(&site.address, headers) {
        next.run(request).await
    } else {
        answer(request.uri(), WebError::CrossOrigin)
    }
}

/// Lets a request to the API that comes by cookie change something only with the form token of its
/// login, which no other site can know. Forms of pages carry theirs among their fields.
///
/// # Errors
///
/// `StaleForm`.
pub(super) async fn check_form(
    State(site): State<Site>,
    request: Request,
    next: Next,
) -> Result<Response, WebError> {
    let headers = request.headers();
    let is_api = request.uri().path().starts_with("/api/");
    let is_anyones = request.extensions().get::<Access>() == Some(&Access::Anyone);
    if is_api && !is_anyones && !is_safe(request.method()) && !has_bearer(headers) {
        let sent = headers.get(FORM_TOKEN).and_then(|token| token.to_str().ok()).unwrap_or("");
        let login = token_of(site.cookies, headers).ok_or(WebError::NotLoggedIn)?;
        if !login.made_form(sent) {
            return Err(WebError::StaleForm);
        }
    }
    Ok(next.run(request).await)
}

/// Whether a request of this method changes nothing.
pub(super) fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Where browsers find us.
#[derive(Debug, Clone)]
pub(super) enum OwnAddress {
    /// Wherever a browser says it has found us. What is in front may speak TLS, so that the scheme
    /// says nothing.
    Asked,
    /// Wherever a browser says it has found us, over TLS.
    AskedOverTls,
    /// Behind a proxy; or on our own port, as whoever sits at the machine does.
    Public(PublicUrl),
}

impl OwnAddress {
    pub(super) fn of(config: &Config) -> Self {
        match (&config.public_url, &config.tls) {
            (Some(url), _) => Self::Public(url.clone()),
            (None, TlsSetting::Off) => Self::Asked,
            (None, TlsSetting::Own { .. } | TlsSetting::Files { .. }) => Self::AskedOverTls,
        }
    }

    fn is(&self, origin: &str, host: Option<&str>) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let is_host = host == Some(authority);
        match self {
            Self::Asked => is_host,
            Self::AskedOverTls => is_host && scheme == "https",
            Self::Public(url) => is_host || url.origin() == origin,
        }
    }
}

/// Browsers say where a request comes from in `Sec-Fetch-Site` (on secure origins) and `Origin`; a
/// client that sends neither is none, and carries no cookie that it was not given on purpose.
/// Source: the algorithm of Go's `net/http.CrossOriginProtection`.
fn is_own(address: &OwnAddress, headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    origin.to_str().is_ok_and(|origin| address.is(origin, host))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName};

    use super::{OwnAddress, is_own};

    fn check(address: &OwnAddress, headers: &[(&str, &str)]) -> bool {
        let pair = |&(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        };
        is_own(address, &headers.iter().map(pair).collect::<HeaderMap>())
    }

    #[test]
    fn only_own_pages_and_programs_may_change_anything() {
        let host = ("host", "grid.campus:5000");
        for (headers, passes) in [
            (&[host][..], true),
            (&[host, ("sec-fetch-site", "same-origin")], true),
            (&[host, ("sec-fetch-site", "none")], false),
            (&[host, ("sec-fetch-site", "same-site")], false),
            (&[host, ("sec-fetch-site", "cross-site")], false),
            (&[host, ("origin", "http://grid.campus:5000")], true),
            (&[host, ("origin", "http://grid.campus")], false),
            (&[host, ("origin", "http://evil.example:5000")], false),
            (&[host, ("origin", "http://grid.campus:5000.evil.example")], false),
            (&[host, ("origin", "null")], false),
            (&[("origin", "null")], false),
            (
                &[("sec-fetch-site", "cross-site"), ("origin", "http://grid.campus:5000"), host],
                false,
            ),
        ] {
            assert_eq!(check(&OwnAddress::Asked, headers), passes, "{headers:?}");
        }
    }

    #[test]
    fn under_tls_a_page_without_it_is_another_site() {
        let headers = |origin| [("host", "grid.campus"), ("origin", origin)];
        assert!(check(&OwnAddress::AskedOverTls, &headers("https://grid.campus")));
        assert!(!check(&OwnAddress::AskedOverTls, &headers("http://grid.campus")));
    }

    #[test]
    fn behind_a_proxy_the_public_address_is_ours() {
        let public = OwnAddress::Public("https://grid.campus".parse().unwrap());
        for (origin, passes) in [
            ("https://grid.campus", true),
            ("http://grid.campus", false),
            ("https://grid.campus:444", false),
            ("https://evil.example", false),
            ("http://127.0.0.1:5000", true),
        ] {
            let headers = [("host", "127.0.0.1:5000"), ("origin", origin)];
            assert_eq!(check(&public, &headers), passes, "{origin}");
        }
    }
}
