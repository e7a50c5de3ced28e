//! What can go wrong with a request, and the only place that knows status codes.

pub(super) mod codes;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use campusgrid_core::effect::Refusal;
use campusgrid_protocol::rest::{ErrorBody, ErrorDetail, FieldError};

use super::access::Access;
use super::words;
use crate::archive::ArchiveError;
use crate::blobs::BlobError;
use crate::engine::handle::AskError;
use crate::store::StoreError;
use codes::Code;

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
    #[error("no task of this job has failed, or is to be run again")]
    NothingToRetry,
    #[error("the files of this job are no longer kept")]
    NotKept,
    #[error("a file may have at most {max_bytes} bytes here")]
    FileTooLarge { max_bytes: u64 },
    #[error(
        "this would take {wanted_bytes} bytes of your storage, of which {left_bytes} are left (of \
         {max_bytes}): delete what you need no more, such as the files of old jobs"
    )]
    StorageFull { wanted_bytes: u64, left_bytes: u64, max_bytes: u64 },
    #[error(
        "you have brought too much within two days, whether it is still here or not: at most \
         {max_bytes} bytes and {max_files} files; go on later"
    )]
    WrittenTooMuch { max_bytes: u64, max_files: u64 },
    #[error("the next piece of this upload begins at {offset_bytes}")]
    UploadOffset { offset_bytes: u64 },
    #[error("another upload of this path, or another piece of it, has begun since")]
    UploadReplaced,
    #[error("you have no file or output with this content here: upload it")]
    UploadNeeded,
    #[error("you have {max} uploads that are not finished; end or drop some first")]
    TooManyUploads { max: usize },
    #[error("too many uploads of yours are under way; wait until one is over")]
    UploadsBusy,
    #[error("{max} jobs of yours take bids, as many as may: accept a bid or cancel one first")]
    TooManyOpen { max: u32 },
    #[error("this job has not ended: cancel it first")]
    StillOpen,
    #[error("it has {size_bytes} bytes, and the part that was asked for begins behind them")]
    PartMissing { size_bytes: u64 },
    #[error(transparent)]
    Archive(ArchiveError),
    #[error("too many streams are open; close some pages and try again")]
    TooManyStreams,
    #[error("too many requests from your network are under way; try again in a moment")]
    TooManyRequests,
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("failed to read the store")]
    Read(#[from] StoreError),
    #[error(transparent)]
    Keep(#[from] BlobError),
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
        let Code { status, name, .. } = self.code();
        let text = if let Self::Ask(AskError::Refused(Refusal::Insufficient(lack))) = self {
            let (hold, balance) = (lack.amount, lack.balance);
            format!(
                "this job holds {hold} credits, your balance is {balance}: {} short",
                hold - balance
            )
        } else if status == StatusCode::INTERNAL_SERVER_ERROR {
            // A client never sees the words of a library or of the system.
            "the manager failed to do this; its log says why".to_owned()
        } else {
            self.to_string()
        };
        (status, name, text)
    }

    fn code(&self) -> Code {
        match self {
            Self::NotLoggedIn | Self::BadApiToken => codes::UNAUTHENTICATED,
            Self::WrongPassword => codes::WRONG_PASSWORD,
            Self::TooManyAttempts { .. } => codes::TOO_MANY_ATTEMPTS,
            Self::MissingScope { .. } => codes::INSUFFICIENT_SCOPE,
            Self::CrossOrigin => codes::CROSS_ORIGIN,
            Self::StaleForm => codes::STALE_FORM,
            Self::NotFound => codes::NOT_FOUND,
            Self::MethodNotAllowed => codes::METHOD_NOT_ALLOWED,
            Self::Fields(_) => codes::INVALID_FIELDS,
            Self::Body(_) => codes::INVALID_BODY,
            Self::Query(_) => codes::INVALID_QUERY,
            Self::TooLarge { .. } => codes::TOO_LARGE,
            Self::TooSlow => codes::TOO_SLOW,
            Self::NotJson => codes::NOT_JSON,
            Self::NothingToRetry => codes::NOTHING_TO_RETRY,
            Self::NotKept => codes::NOT_KEPT,
            Self::Keep(BlobError::DiskFull { .. } | BlobError::TooMuchAtOnce { .. }) => {
                codes::DISK_FULL
            }
            Self::FileTooLarge { .. } => codes::FILE_TOO_LARGE,
            Self::StorageFull { .. } | Self::WrittenTooMuch { .. } => codes::STORAGE_FULL,
            Self::UploadOffset { .. } => codes::UPLOAD_OFFSET,
            Self::UploadReplaced => codes::UPLOAD_REPLACED,
            Self::UploadNeeded => codes::UPLOAD_NEEDED,
            Self::TooManyUploads { .. } => codes::TOO_MANY_UPLOADS,
            Self::TooManyOpen { .. } => codes::TOO_MANY_JOBS,
            Self::StillOpen => codes::STILL_OPEN,
            Self::PartMissing { .. } => codes::PART_MISSING,
            Self::Keep(BlobError::WrongHash { .. }) => codes::WRONG_HASH,
            Self::Archive(ArchiveError::Read(_)) => codes::INTERNAL,
            Self::Archive(_) => codes::BAD_ARCHIVE,
            Self::TooManyStreams | Self::TooManyRequests | Self::UploadsBusy => codes::BUSY,
            Self::Ask(AskError::Busy) => codes::BUSY,
            Self::Ask(AskError::Stopping) => codes::STOPPING,
            Self::Ask(AskError::Refused(refusal)) => code_of(refusal),
            Self::Keep(
                BlobError::Directory { .. }
                | BlobError::List { .. }
                | BlobError::Remove { .. }
                | BlobError::Reread { .. }
                | BlobError::Write { .. }
                | BlobError::TooLong { .. }
                | BlobError::TooShort { .. },
            )
            | Self::Read(_)
            | Self::File(_)
            | Self::Metrics
            | Self::Hash(_)
            | Self::Random(_) => codes::INTERNAL,
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

    fn offset_bytes(&self) -> Option<u64> {
        if let Self::UploadOffset { offset_bytes } = self { Some(*offset_bytes) } else { None }
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
        let status = self.code().status;
        let is_short = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
        is_short.contains(&status).then_some(1)
    }

    /// Writes what the client is not told to the log, with its whole chain.
    pub(super) fn log(&self) {
        if self.code() != codes::INTERNAL {
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

fn code_of(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::NameTaken => codes::NAME_TAKEN,
        Refusal::NotFound => codes::NOT_FOUND,
        Refusal::HasEnded => codes::HAS_ENDED,
        Refusal::CodeUnknown => codes::CODE_UNKNOWN,
        Refusal::Insufficient(_) => codes::INSUFFICIENT_CREDITS,
        Refusal::KeyReused { .. } => codes::KEY_REUSED,
        Refusal::TooManyJobs { .. } => codes::TOO_MANY_JOBS,
        Refusal::PriceOverflow => codes::PRICE_OVERFLOW,
        Refusal::TooManyDrafts { .. } => codes::TOO_MANY_DRAFTS,
        Refusal::TooManyFiles { .. } => codes::TOO_MANY_FILES,
        Refusal::PathTaken => codes::PATH_TAKEN,
        Refusal::Launched => codes::LAUNCHED,
        Refusal::NotLaunched => codes::NOT_LAUNCHED,
        Refusal::Moved => codes::MOVED,
        Refusal::AfterUnknown { .. } => codes::AFTER_UNKNOWN,
        Refusal::NeverStarts { .. } => codes::NEVER_STARTS,
        Refusal::SizesDiffer { .. } => codes::SIZES_DIFFER,
        Refusal::DeadlineOver => codes::DEADLINE_OVER,
        Refusal::NotOpen => codes::NOT_OPEN,
        Refusal::OnMarket => codes::ON_MARKET,
        Refusal::OwnJob => codes::OWN_JOB,
        Refusal::CannotRun { .. } => codes::CANNOT_RUN,
        Refusal::MachineBusy => codes::MACHINE_BUSY,
        Refusal::MachineAway => codes::MACHINE_AWAY,
        Refusal::BidGone => codes::BID_GONE,
        Refusal::TooManyBids { .. } => codes::TOO_MANY_BIDS,
        Refusal::VoucherUnknown => codes::VOUCHER_UNKNOWN,
        Refusal::MachineOwned => codes::MACHINE_OWNED,
        Refusal::InvitationNeeded => codes::INVITATION_NEEDED,
        Refusal::RegistrationClosed => codes::REGISTRATION_CLOSED,
        Refusal::NotAnOperator => codes::NOT_AN_OPERATOR,
        Refusal::LastOperator => codes::LAST_OPERATOR,
        Refusal::TooManyNewcomers => codes::TOO_MANY_NEWCOMERS,
        Refusal::TooMany { .. } => codes::TOO_MANY,
        Refusal::DiskFull => codes::DISK_FULL,
        Refusal::BooksBroken => codes::BOOKS_BROKEN,
        Refusal::Withdrawn => codes::WITHDRAWN,
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
        let (status, name, message) = self.describe();
        let retry_after = self.retry_after_s().map(HeaderValue::from);
        let error = ErrorDetail {
            code: name.to_owned(),
            message,
            fields: self.fields(),
            shortfall_micros: self.shortfall_micros(),
            offset_bytes: self.offset_bytes(),
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
        if let Self::PartMissing { size_bytes } = self {
            let size = HeaderValue::from_str(&format!("bytes */{size_bytes}"));
            let size = size.expect("digits are good in a header");
            response.headers_mut().insert(header::CONTENT_RANGE, size);
        }
        response
    }
}

#[cfg(test)]
mod tests;
