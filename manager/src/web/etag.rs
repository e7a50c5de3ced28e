//! Answers that a client may have already: what it says that it has, and an answer as JSON.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Hexadecimal digits of a hash that tell two answers about one thing apart.
const DIGITS: usize = 32;

/// Whether a client has what goes by this tag, quotes included (RFC 9110, section 13.1.2: compared
/// weakly).
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).into_iter();
    let mut tags = known.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tags.any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

/// A value as JSON under a tag that changes with it; without a body if the client has it.
pub(super) fn json<T: Serialize>(headers: &HeaderMap, value: &T) -> Response {
    let body = serde_json::to_vec(value).expect("bodies of answers are JSON");
    let tag = format!("\"{}\"", &blake3::hash(&body).to_hex()[..DIGITS]);
    let fresh = [
        (header::ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits in quotes")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    if is_known(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, fresh).into_response();
    }
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (fresh, json, body).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, header};

    use super::{is_known, json};

    fn headers(known: &str) -> HeaderMap {
        [(header::IF_NONE_MATCH, known.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn what_a_client_has_is_not_sent_again() {
        for (known, is) in [
            (r#""a""#, true),
            (r#"W/"a""#, true),
            (r#""b", "a""#, true),
            ("*", true),
            (r#""ab""#, false),
            ("a", false),
            ("", false),
        ] {
            assert_eq!(is_known(&headers(known), r#""a""#), is, "{known}");
        }
        assert!(!is_known(&HeaderMap::new(), r#""a""#));
        let first = json(&HeaderMap::new(), &[1, 2]);
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        assert_eq!(json(&headers(tag), &[1, 2]).status(), 304);
        assert_eq!(json(&headers(tag), &[1, 3]).status(), 200);
    }
}
