//! What can go wrong with a request, and the only place that knows status codes.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use campusgrid_core::effect::Refusal;
use campusgrid_protocol::rest::{ErrorBody, ErrorDetail, FieldError};

use super::access::Access;
use super::words;
use crate::engine::handle::AskError;
use crate::store::StoreError;

/// Why a request is not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    #[error("log in first")]
    NotLoggedIn,
    #[error("this API token is not good, or no longer: make one on the page Account")]
    BadApiToken,
    #[error("no user has this name and password")]
    WrongPassword,
    #[error("too many attempts; try again in {}", words::span(.wait_ms.div_ceil(1000) * 1000))]
    TooManyAttempts { wait_ms: u64 },
    #[error("{}", words_of_missing(*.needed))]
    MissingScope { needed: Access },
    #[error("this request came from another site; open the dashboard itself and try again")]
    CrossOrigin,
    #[error("this form is from another login or too old; reload the page and try again")]
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
    #[error("the request came too slowly")]
    TooSlow,
    #[error("the body must be sent as application/json")]
    NotJson,
    #[error("too many streams are open; close some pages and try again")]
    TooManyStreams,
    #[error("too many requests from your network are under way; try again in a moment")]
    TooManyRequests,
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("failed to read the store")]
    Read(#[from] StoreError),
    #[error("failed to read a file")]
    File(#[source] std::io::Error),
    #[error("failed to write the metrics")]
    Metrics,
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
            Self::NotLoggedIn | Self::BadApiToken => {
                (StatusCode::UNAUTHORIZED, "unauthenticated", text)
            }
            Self::WrongPassword => (StatusCode::UNAUTHORIZED, "wrong_password", text),
            Self::TooManyAttempts { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", text)
            }
            Self::MissingScope { .. } => (StatusCode::FORBIDDEN, "insufficient_scope", text),
            Self::CrossOrigin => (StatusCode::FORBIDDEN, "cross_origin", text),
            Self::StaleForm => (StatusCode::FORBIDDEN, "stale_form", text),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", text),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text),
            Self::Fields(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", text),
            Self::Body(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", text),
            Self::Query(_) => (StatusCode::BAD_REQUEST, "invalid_query", text),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", text),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too_slow", text),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", text),
            Self::TooManyStreams | Self::TooManyRequests => {
                (StatusCode::SERVICE_UNAVAILABLE, "busy", text)
            }
            Self::Ask(AskError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "busy", text),
            Self::Ask(AskError::Stopping) => (StatusCode::SERVICE_UNAVAILABLE, "stopping", text),
            Self::Ask(AskError::Refused(refusal)) => describe_refusal(refusal),
            Self::Read(_) | Self::File(_) | Self::Metrics | Self::Hash(_) | Self::Random(_) => {
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

    /// When it is worth trying again, where that is known. Seconds.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        if let Self::TooManyAttempts { wait_ms } = self {
            return Some(wait_ms.div_ceil(1000));
        }
        let shut = [Refusal::DiskFull, Refusal::BooksBroken];
        if matches!(self, Self::Ask(AskError::Refused(refusal)) if shut.contains(refusal)) {
            return Some(60); // A person must act first.
        }
        (self.describe().0 == StatusCode::SERVICE_UNAVAILABLE).then_some(1)
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
        Refusal::VoucherUnknown => (StatusCode::NOT_FOUND, "voucher_unknown", text),
        Refusal::MachineOwned => (StatusCode::CONFLICT, "machine_owned", text),
        Refusal::InvitationNeeded => (StatusCode::FORBIDDEN, "invitation_needed", text),
        Refusal::RegistrationClosed => (StatusCode::FORBIDDEN, "registration_closed", text),
        Refusal::NotAnOperator => (StatusCode::FORBIDDEN, "not_an_operator", text),
        Refusal::LastOperator => (StatusCode::CONFLICT, "last_operator", text),
        Refusal::TooManyNewcomers => (StatusCode::TOO_MANY_REQUESTS, "too_many_newcomers", text),
        Refusal::TooMany { .. } => (StatusCode::CONFLICT, "too_many", text),
        Refusal::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk_full", text),
        Refusal::BooksBroken => (StatusCode::SERVICE_UNAVAILABLE, "books_broken", text),
        Refusal::Withdrawn => (StatusCode::GONE, "withdrawn", text),
    }
}

/// What an API token lacks.
fn words_of_missing(needed: Access) -> String {
    let scope = match needed {
        Access::Anyone | Access::Person => {
            return "this needs a login with a password; no API token will do".to_owned();
        }
        Access::Read => "read",
        Access::Submit => "submit",
        Access::Own => "own",
        Access::Operate => "operate",
    };
    format!("this API token is not good for this: it needs the scope \"{scope}\"")
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
        let retry_after = self.retry_after_s().map(HeaderValue::from);
        let error = ErrorDetail {
            code: code.to_owned(),
            message,
            fields: self.fields(),
            shortfall_micros: self.shortfall_micros(),
        };
        let mut response = (status, Json(ErrorBody { error })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 11.6.1: who is not let in is told by what they would be.
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        if let Some(wait) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        response
    }
}

#[cfg(test)]
mod tests;
