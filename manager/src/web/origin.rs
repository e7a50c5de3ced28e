//! Refuses requests that another site made a browser send.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::auth::has_bearer;
use super::error::WebError;

/// Lets a request pass unless it could change something and came from another site.
///
/// # Errors
///
/// `CrossOrigin`.
pub(super) async fn check(request: Request, next: Next) -> Result<Response, WebError> {
    if may_pass(request.method(), request.headers()) {
        Ok(next.run(request).await)
    } else {
        Err(WebError::CrossOrigin)
    }
}

/// Browsers say where a request comes from in `Sec-Fetch-Site` (on secure origins) and `Origin`; a
/// client that sends neither is none, and carries no cookie that it was not given on purpose.
/// Source: the algorithm of Go's `net/http.CrossOriginProtection`.
fn may_pass(method: &Method, headers: &HeaderMap) -> bool {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) || has_bearer(headers) {
        return true;
    }
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin_host = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    origin_host.is_some() && origin_host == host
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, Method};

    use super::may_pass;

    fn check(method: Method, headers: &[(&str, &str)]) -> bool {
        let pair = |&(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        };
        may_pass(&method, &headers.iter().map(pair).collect::<HeaderMap>())
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
            (&[host, ("origin", "http://evil.example"), ("authorization", "Bearer x")], true),
        ] {
            assert_eq!(check(Method::POST, headers), passes, "POST {headers:?}");
            assert_eq!(check(Method::DELETE, headers), passes, "DELETE {headers:?}");
            assert!(check(Method::GET, headers), "GET {headers:?}");
        }
    }
}
