//! The stable code of every error, its status, and what it means: the table that clients build on, in
//! the order of the statuses. `docs/api.md` has it word by word.

use axum::http::StatusCode;

/// What a client is told beside a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) struct Code {
    pub(in crate::web) name: &'static str,
    pub(in crate::web) status: StatusCode,
    /// In a sentence, for the documentation.
    pub(in crate::web) means: &'static str,
}

/// A table of codes, each as a constant, and all of them as a list, so that none can be forgotten.
macro_rules! codes {
    ($($constant:ident = $status:ident $name:literal: $means:literal;)*) => {
        $(pub(in crate::web) const $constant: Code =
            Code { name: $name, status: StatusCode::$status, means: $means };)*

        /// All of them.
        pub(in crate::web) const ALL: &[Code] = &[$($constant),*];
    };
}

codes! {
    INVALID_QUERY = BAD_REQUEST "invalid_query": "The query string is not what this address takes.";
    UNAUTHENTICATED = UNAUTHORIZED "unauthenticated":
        "No login and no API token that is good: `Authorization: Bearer …`.";
    WRONG_PASSWORD = UNAUTHORIZED "wrong_password": "No user has this name and password.";
    INSUFFICIENT_CREDITS = PAYMENT_REQUIRED "insufficient_credits":
        "The balance does not cover what would be held; `shortfall_micros` says by how much.";
    CROSS_ORIGIN = FORBIDDEN "cross_origin": "A browser sent it from another site.";
    INSUFFICIENT_SCOPE = FORBIDDEN "insufficient_scope":
        "The API token lacks a scope, or only a login with a password will do.";
    INVITATION_NEEDED = FORBIDDEN "invitation_needed": "Registration is by invitation.";
    NOT_AN_OPERATOR = FORBIDDEN "not_an_operator": "Only operators may do this.";
    REGISTRATION_CLOSED = FORBIDDEN "registration_closed": "Nobody can register here.";
    STALE_FORM = FORBIDDEN "stale_form": "A form of the pages is from another login, or too old.";
    CODE_UNKNOWN = NOT_FOUND "code_unknown": "No machine of yours shows this code now.";
    NOT_FOUND = NOT_FOUND "not_found": "There is no such thing, or it is not yours.";
    VOUCHER_UNKNOWN = NOT_FOUND "voucher_unknown":
        "This token or invitation was used up, has ended or was revoked, or never was.";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED "method_not_allowed":
        "The address does not take this method; `Allow` names those that it takes.";
    TOO_SLOW = REQUEST_TIMEOUT "too_slow": "The body came too slowly.";
    AFTER_UNKNOWN = CONFLICT "after_unknown":
        "A job that it should wait for is not there, or not yours.";
    BID_GONE = CONFLICT "bid_gone":
        "There is no such bid any more, or its price is another by now.";
    CANNOT_RUN = CONFLICT "cannot_run": "The machine cannot run this job; the message says why.";
    HAS_ENDED = CONFLICT "has_ended": "The job is over already.";
    KEY_REUSED = CONFLICT "key_reused": "This `Idempotency-Key` stands for something else.";
    LAST_OPERATOR = CONFLICT "last_operator": "The last operator stays one.";
    LAUNCHED = CONFLICT "launched": "The job is no draft any more: its files are as they are.";
    MACHINE_AWAY = CONFLICT "machine_away":
        "The machine is not connected, or not shared right now; its bid stands.";
    MACHINE_BUSY = CONFLICT "machine_busy":
        "The machine has no room for the job right now; its bid stands.";
    MACHINE_OWNED = CONFLICT "machine_owned": "This machine is another user's already.";
    MOVED = CONFLICT "moved":
        "Something that it was made of changed at the same moment; try again.";
    NAME_TAKEN = CONFLICT "name_taken": "Somebody has this name.";
    NEVER_STARTS = CONFLICT "never_starts":
        "A job that it should wait for is over and cannot come to that any more.";
    NOT_KEPT = CONFLICT "not_kept": "The files of the job are no longer kept.";
    NOT_LAUNCHED = CONFLICT "not_launched": "The job is a draft still.";
    NOT_OPEN = CONFLICT "not_open": "The job takes no bids, or no longer.";
    NOTHING_TO_RETRY = CONFLICT "nothing_to_retry": "No task of the job has failed.";
    ON_MARKET = CONFLICT "on_market":
        "A job that is sold by bids is one run of one task, and waits for nothing else.";
    OWN_JOB = CONFLICT "own_job": "Nobody bids on their own job.";
    PATH_TAKEN = CONFLICT "path_taken": "A file would be named like a directory of another.";
    SIZES_DIFFER = CONFLICT "sizes_differ":
        "Task can wait for task only where both jobs have as many.";
    STILL_OPEN = CONFLICT "still_open": "The job has not ended: cancel it first.";
    STORAGE_FULL = CONFLICT "storage_full":
        "Your share of the storage is used up; delete the files of old jobs.";
    TOO_MANY = CONFLICT "too_many": "You have as many of these as you may; remove one first.";
    TOO_MANY_BIDS = CONFLICT "too_many_bids": "As many bids stand on the job as may.";
    TOO_MANY_DRAFTS = CONFLICT "too_many_drafts":
        "You have as many drafts as you may; launch or discard one first.";
    TOO_MANY_FILES = CONFLICT "too_many_files": "A job may bring only so many files.";
    TOO_MANY_JOBS = CONFLICT "too_many_jobs": "You have as many jobs under way as you may.";
    TOO_MANY_UPLOADS = CONFLICT "too_many_uploads":
        "You have as many unfinished uploads as you may; end or drop some first.";
    UPLOAD_NEEDED = CONFLICT "upload_needed": "This content is not here yet: upload it.";
    UPLOAD_OFFSET = CONFLICT "upload_offset":
        "A piece begins at another place; `offset_bytes` says where the next one does.";
    UPLOAD_REPLACED = CONFLICT "upload_replaced":
        "Another upload of this path, or another piece of it, has begun since.";
    WITHDRAWN = GONE "withdrawn": "The machine no longer waits here.";
    FILE_TOO_LARGE = PAYLOAD_TOO_LARGE "file_too_large": "A file may not be as large as this.";
    TOO_LARGE = PAYLOAD_TOO_LARGE "too_large": "The body is larger than this address takes.";
    NOT_JSON = UNSUPPORTED_MEDIA_TYPE "not_json": "The body must come as `application/json`.";
    PART_MISSING = RANGE_NOT_SATISFIABLE "part_missing":
        "The range begins behind the end; `Content-Range` says where that is.";
    BAD_ARCHIVE = UNPROCESSABLE_ENTITY "bad_archive":
        "The archive is not one that is unpacked here; the message says why.";
    DEADLINE_OVER = UNPROCESSABLE_ENTITY "deadline_over": "The deadline has passed already.";
    INVALID_BODY = UNPROCESSABLE_ENTITY "invalid_body":
        "The body is not the JSON that this address takes; the message says where.";
    INVALID_FIELDS = UNPROCESSABLE_ENTITY "invalid_fields":
        "Some fields are wrong; `fields` names each, and what it would take.";
    PRICE_OVERFLOW = UNPROCESSABLE_ENTITY "price_overflow": "The price is beyond all numbers.";
    WRONG_HASH = UNPROCESSABLE_ENTITY "wrong_hash":
        "What came has another hash than was announced; upload it again.";
    TOO_MANY_ATTEMPTS = TOO_MANY_REQUESTS "too_many_attempts":
        "Too much in too short a time; `Retry-After` says when to try again.";
    TOO_MANY_NEWCOMERS = TOO_MANY_REQUESTS "too_many_newcomers":
        "Too many machines wait for approval.";
    INTERNAL = INTERNAL_SERVER_ERROR "internal": "The manager failed; its log says why.";
    BOOKS_BROKEN = SERVICE_UNAVAILABLE "books_broken":
        "The books do not balance: nothing is taken in until an operator has looked.";
    BUSY = SERVICE_UNAVAILABLE "busy":
        "Too much is under way; `Retry-After` says when to try again.";
    STOPPING = SERVICE_UNAVAILABLE "stopping":
        "The manager is stopping; try again when it is back.";
    DISK_FULL = INSUFFICIENT_STORAGE "disk_full":
        "The manager's disk is full: nothing new is taken in.";
}
