//! `GET /docs`: the API's description, for people to read and try, in Swagger UI.

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

use super::assets;

/// As everywhere, but that the viewer draws its signs from addresses that hold the picture itself.
const CONTENT_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'",
);

/// `GET /docs`.
pub(super) async fn page() -> Response {
    let root = &*assets::ROOT;
    let page = format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API · CampusGrid</title>
<link rel="icon" href="{root}/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{root}/swagger-ui-5.35.0.min.css">
<link rel="stylesheet" href="{root}/docs.css">
<script src="{root}/swagger-ui-5.35.0.min.js" defer></script>
<script src="{root}/docs.js" defer></script>
</head>
<body>
<header><a href="/">CampusGrid</a> <a href="/openapi.json">openapi.json</a></header>
<main id="docs"><noscript><p>This page needs JavaScript. The same is in
<a href="/openapi.json">openapi.json</a>.</p></noscript></main>
</body>
</html>
"#
    );
    ([(header::CONTENT_SECURITY_POLICY, CONTENT_POLICY)], Html(page)).into_response()
}
