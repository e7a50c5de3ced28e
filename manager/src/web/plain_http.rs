//! What is said to plain HTTP on a port that speaks TLS.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

const WORDS: &str = "This port speaks HTTPS only: use https:// in place of http://.\n";

const SENT_SECRET: &str = "This port speaks HTTPS only: use https:// in place of http://. The token \
                           that came with this request was readable on the way: revoke it.\n";

/// Leads browsers on to the encrypted address; says to everybody else, in words, what is wrong.
pub(super) fn answer(method: &Method, uri: &Uri, headers: &HeaderMap) -> Response<Body> {
    if headers.contains_key(header::AUTHORIZATION) {
        return (StatusCode::BAD_REQUEST, SENT_SECRET).into_response();
    }
    let is_safe = [Method::GET, Method::HEAD].contains(method);
    match encrypted(uri, headers).filter(|_| is_safe) {
        Some(target) => {
            let headers = [(header::LOCATION, target)];
            (StatusCode::TEMPORARY_REDIRECT, headers, WORDS).into_response()
        }
        None => (StatusCode::BAD_REQUEST, WORDS).into_response(),
    }
}

/// The same address over HTTPS, if the request says under which name we were found.
fn encrypted(uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    let target = uri.path_and_query()?.as_str();
    let is_good = !host.is_empty() && host.chars().all(is_host) && target.starts_with('/');
    is_good.then(|| HeaderValue::from_str(&format!("https://{host}{target}")).ok())?
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, Method, header};

    use super::answer;

    fn check(method: Method, target: &str, pairs: &[(&str, &str)]) -> (u16, String) {
        let pair = |&(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        };
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        let answer = answer(&method, &target.parse().unwrap(), &headers);
        let location = answer.headers().get(header::LOCATION);
        let location = location.map_or("", |location| location.to_str().unwrap());
        (answer.status().as_u16(), location.to_owned())
    }

    #[test]
    fn browsers_are_led_on_and_programs_are_told() {
        let host = ("host", "grid.campus:5000");
        for (method, target, headers, status, location) in [
            (Method::GET, "/jobs?a=1", &[host][..], 307, "https://grid.campus:5000/jobs?a=1"),
            (Method::GET, "/", &[("host", "[::1]:5000")], 307, "https://[::1]:5000/"),
            (Method::GET, "/", &[], 400, ""),
            (Method::GET, "/", &[("host", "evil.example/x?")], 400, ""),
            (Method::GET, "/", &[("host", "ada@grid.campus")], 400, ""),
            (Method::POST, "/login", &[host], 400, ""),
            (Method::GET, "/", &[host, ("authorization", "Bearer x")], 400, ""),
            (Method::GET, "//evil.example", &[host], 307, "https://grid.campus:5000//evil.example"),
        ] {
            let expected = (status, location.to_owned());
            assert_eq!(check(method, target, headers), expected, "{target} {headers:?}");
        }
    }
}
