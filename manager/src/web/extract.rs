//! What handlers take from a request: axum's extractors, with our errors.

use std::fmt;
use std::marker::PhantomData;

use axum::Json;
use axum::body::HttpBody;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

use super::error::WebError;
use super::patience::TooSlow;
use super::routes::BODY_MAX_BYTES;

/// A JSON body of at most [`BODY_MAX_BYTES`].
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = WebError;

    async fn from_request(request: Request, state: &S) -> Result<Self, WebError> {
        let body = Json::from_request(request, state).await;
        body.map(|Json(Object(value))| Self(value)).map_err(|rejection: JsonRejection| {
            let status = rejection.status();
            if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
                WebError::NotJson
            } else if status == StatusCode::PAYLOAD_TOO_LARGE {
                WebError::TooLarge { max_bytes: BODY_MAX_BYTES }
            } else if TooSlow::is_behind(&rejection) {
                WebError::TooSlow
            } else {
                WebError::Body(plain_words(&rejection.body_text()))
            }
        })
    }
}

/// As [`Body`], but that there may be none.
pub(super) struct MaybeBody<T>(pub(super) Option<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for MaybeBody<T> {
    type Rejection = WebError;

    async fn from_request(request: Request, state: &S) -> Result<Self, WebError> {
        // What hyper has read the headers of says how long its body will be.
        if request.body().size_hint().exact() == Some(0) {
            return Ok(Self(None));
        }
        Body::from_request(request, state).await.map(|Body(body)| Self(Some(body)))
    }
}

/// What is written as a JSON object: by itself, serde takes a list of a struct's fields as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OfObject(PhantomData)).map(Self)
    }
}

struct OfObject<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OfObject<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// The libraries' words about a request, with those about Rust replaced.
pub(super) fn plain_words(text: &str) -> String {
    let mut plain = text.to_owned();
    for (theirs, ours) in [
        ("Failed to deserialize the JSON body into the target type: ", ""),
        ("Failed to parse the request body as JSON: ", "the body is not JSON: "),
        ("Failed to deserialize query string: ", ""),
        ("EOF while parsing", "it ends in the middle of"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number from 0 to 4294967295"),
        ("expected u64", "expected a whole number of at least 0"),
        ("expected a sequence", "expected an array"),
        ("invalid type: sequence", "invalid type: array"),
        ("invalid type: map", "invalid type: object"),
        ("invalid digit found in string", "must be a whole number of at least 0"),
    ] {
        plain = plain.replace(theirs, ours);
    }
    plain
}

/// The query string.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, WebError> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(value)| Self(value)).map_err(|rejection: QueryRejection| {
            WebError::Query(plain_words(&rejection.body_text()))
        })
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
