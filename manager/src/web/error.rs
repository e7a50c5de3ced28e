//! What can go wrong with a request, and the only place that knows status codes.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use campusgrid_core::effect::Refusal;
use campusgrid_protocol::rest::{ErrorBody, ErrorDetail, FieldError};

use crate::engine::handle::AskError;
use crate::store::StoreError;

/// Why a request is not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    #[error("log in first")]
    NotLoggedIn,
    #[error("no user has this name and password")]
    WrongPassword,
    #[error("this request came from another site; open the dashboard itself and try again")]
    CrossOrigin,
    #[error("this form is from another login; reload the page and try again")]
    StaleForm,
    #[error("there is no such page, or it is not yours")]
    NotFound,
    #[error("this address does not take this method")]
    MethodNotAllowed,
    #[error("{}", words_of(.0))]
    Fields(Vec<FieldError>),
    #[error("{0}")]
    Body(String),
    #[error("{0}")]
    Query(String),
    #[error("the request is larger than {} KiB", .max_bytes / 1024)]
    TooLarge { max_bytes: usize },
    #[error("the body must be sent as application/json")]
    NotJson,
    #[error("too many streams are open; close some pages and try again")]
    TooManyStreams,
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("failed to read the store")]
    Read(#[from] StoreError),
    #[error("failed to read a file")]
    File(#[source] std::io::Error),
    #[error("failed to hash a password: {0}")]
    Hash(String),
    #[error("failed to draw random numbers: {0}")]
    Random(getrandom::Error),
}

impl WebError {
    /// The status, the stable code, and the sentence for the client.
    pub(super) fn describe(&self) -> (StatusCode, &'static str, String) {
        let text = self.to_string();
        match self {
            Self::NotLoggedIn => (StatusCode::UNAUTHORIZED, "unauthenticated", text),
            Self::WrongPassword => (StatusCode::UNAUTHORIZED, "wrong_password", text),
            Self::CrossOrigin => (StatusCode::FORBIDDEN, "cross_origin", text),
            Self::StaleForm => (StatusCode::FORBIDDEN, "stale_form", text),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", text),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text),
            Self::Fields(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", text),
            Self::Body(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", text),
            Self::Query(_) => (StatusCode::BAD_REQUEST, "invalid_query", text),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", text),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", text),
            Self::TooManyStreams => (StatusCode::SERVICE_UNAVAILABLE, "busy", text),
            Self::Ask(AskError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "busy", text),
            Self::Ask(AskError::Stopping) => (StatusCode::SERVICE_UNAVAILABLE, "stopping", text),
            Self::Ask(AskError::Refused(refusal)) => describe_refusal(refusal),
            Self::Read(_) | Self::File(_) | Self::Hash(_) | Self::Random(_) => {
                let text = "the manager failed to do this; its log says why".to_owned();
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", text)
            }
        }
    }

    /// The fields that are wrong, if it is about fields.
    pub(super) fn fields(&self) -> Vec<FieldError> {
        if let Self::Fields(fields) = self { fields.clone() } else { Vec::new() }
    }

    fn shortfall_micros(&self) -> Option<i64> {
        if let Self::Ask(AskError::Refused(Refusal::Insufficient(lack))) = self {
            Some((lack.amount - lack.balance).0)
        } else {
            None
        }
    }

    /// Writes what the client is not told to the log, with its whole chain.
    pub(super) fn log(&self) {
        if self.describe().0 != StatusCode::INTERNAL_SERVER_ERROR {
            return;
        }
        let mut chain = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            chain.push_str(": ");
            chain.push_str(&error.to_string());
            cause = error.source();
        }
        tracing::error!(error = %chain, "a request failed");
    }
}

fn describe_refusal(refusal: &Refusal) -> (StatusCode, &'static str, String) {
    let text = refusal.to_string();
    match refusal {
        Refusal::NameTaken => (StatusCode::CONFLICT, "name_taken", text),
        Refusal::NotFound => (StatusCode::NOT_FOUND, "not_found", text),
        Refusal::HasEnded => (StatusCode::CONFLICT, "has_ended", text),
        Refusal::CodeUnknown => (StatusCode::NOT_FOUND, "code_unknown", text),
        Refusal::Insufficient(lack) => {
            let text = format!(
                "this job holds {} credits, your balance is {}: {} short",
                lack.amount,
                lack.balance,
                lack.amount - lack.balance
            );
            (StatusCode::PAYMENT_REQUIRED, "insufficient_credits", text)
        }
        Refusal::KeyReused { .. } => (StatusCode::CONFLICT, "key_reused", text),
        Refusal::TooManyJobs { .. } => (StatusCode::CONFLICT, "too_many_jobs", text),
        Refusal::PriceOverflow => (StatusCode::UNPROCESSABLE_ENTITY, "price_overflow", text),
    }
}

fn words_of(fields: &[FieldError]) -> String {
    let words: Vec<String> =
        fields.iter().map(|error| format!("{} {}", error.field, error.message)).collect();
    words.join("; ")
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        self.log();
        let (status, code, message) = self.describe();
        let error = ErrorDetail {
            code: code.to_owned(),
            message,
            fields: self.fields(),
            shortfall_micros: self.shortfall_micros(),
        };
        let mut response = (status, Json(ErrorBody { error })).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests;
