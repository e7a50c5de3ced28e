//! What handlers take from a request: axum's extractors, with our errors.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::WebError;
use super::routes::BODY_MAX_BYTES;

/// A JSON body of at most [`BODY_MAX_BYTES`].
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = WebError;

    async fn from_request(request: Request, state: &S) -> Result<Self, WebError> {
        let body = Json::from_request(request, state).await;
        body.map(|Json(value)| Self(value)).map_err(|rejection: JsonRejection| {
            let status = rejection.status();
            if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
                WebError::NotJson
            } else if status == StatusCode::PAYLOAD_TOO_LARGE {
                WebError::TooLarge { max_bytes: BODY_MAX_BYTES }
            } else {
                WebError::Body(rejection.body_text())
            }
        })
    }
}

/// The query string.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, WebError> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(value)| Self(value))
            .map_err(|rejection: QueryRejection| WebError::Query(rejection.body_text()))
    }
}

/// What the path names; a name that cannot be one (a word for a number) is not there.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, WebError> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value)).map_err(|_| WebError::NotFound)
    }
}
