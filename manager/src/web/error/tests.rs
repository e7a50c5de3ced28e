//! The status, code and words of every error that clients build on.

use std::collections::BTreeSet;

use axum::http::header;
use axum::response::IntoResponse;
use campusgrid_core::effect::Refusal;
use campusgrid_core::ledger::Insufficient;
use campusgrid_core::money::Micros;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::FieldError;

use super::{WebError, codes};
use crate::engine::handle::AskError;

fn refused(refusal: Refusal) -> WebError {
    WebError::Ask(AskError::Refused(refusal))
}

fn poor() -> WebError {
    let (amount, balance) = (Micros(31_000_000), Micros(7_500_000));
    refused(Refusal::Insufficient(Insufficient { amount, balance }))
}

#[test]
fn each_error_has_its_status_and_code() {
    let field = FieldError { field: "cores".to_owned(), message: "must be 1 to 8".to_owned() };
    for (error, status, code) in [
        (WebError::NotLoggedIn, 401, "unauthenticated"),
        (WebError::BadApiToken, 401, "unauthenticated"),
        (WebError::WrongPassword, 401, "wrong_password"),
        (poor(), 402, "insufficient_credits"),
        (WebError::CrossOrigin, 403, "cross_origin"),
        (WebError::StaleForm, 403, "stale_form"),
        (WebError::NotFound, 404, "not_found"),
        (refused(Refusal::NotFound), 404, "not_found"),
        (refused(Refusal::CodeUnknown), 404, "code_unknown"),
        (WebError::MethodNotAllowed, 405, "method_not_allowed"),
        (refused(Refusal::NameTaken), 409, "name_taken"),
        (refused(Refusal::HasEnded), 409, "has_ended"),
        (refused(Refusal::TooManyJobs { max: 100 }), 409, "too_many_jobs"),
        (refused(Refusal::Launched), 409, "launched"),
        (refused(Refusal::Moved), 409, "moved"),
        (refused(Refusal::NeverStarts { job: JobId(1) }), 409, "never_starts"),
        (refused(Refusal::NotOpen), 409, "not_open"),
        (refused(Refusal::OnMarket), 409, "on_market"),
        (refused(Refusal::OwnJob), 409, "own_job"),
        (refused(Refusal::CannotRun { why: "it is too small" }), 409, "cannot_run"),
        (refused(Refusal::MachineBusy), 409, "machine_busy"),
        (refused(Refusal::MachineAway), 409, "machine_away"),
        (refused(Refusal::BidGone), 409, "bid_gone"),
        (refused(Refusal::TooManyBids { max: 100 }), 409, "too_many_bids"),
        (refused(Refusal::DeadlineOver), 422, "deadline_over"),
        (WebError::NothingToRetry, 409, "nothing_to_retry"),
        (WebError::TooManyAttempts { wait_ms: 1 }, 429, "too_many_attempts"),
        (WebError::TooLarge { max_bytes: 1 << 20 }, 413, "too_large"),
        (WebError::NotJson, 415, "not_json"),
        (WebError::Fields(vec![field]), 422, "invalid_fields"),
        (WebError::Body("unknown field".to_owned()), 422, "invalid_body"),
        (refused(Refusal::PriceOverflow), 422, "price_overflow"),
        (refused(Refusal::VoucherUnknown), 404, "voucher_unknown"),
        (refused(Refusal::InvitationNeeded), 403, "invitation_needed"),
        (refused(Refusal::RegistrationClosed), 403, "registration_closed"),
        (refused(Refusal::NotAnOperator), 403, "not_an_operator"),
        (refused(Refusal::LastOperator), 409, "last_operator"),
        (refused(Refusal::TooManyNewcomers), 429, "too_many_newcomers"),
        (refused(Refusal::TooMany { max: 100 }), 409, "too_many"),
        (WebError::Hash("secret detail".to_owned()), 500, "internal"),
        (refused(Refusal::DiskFull), 507, "disk_full"),
        (refused(Refusal::BooksBroken), 503, "books_broken"),
        (WebError::Ask(AskError::Busy), 503, "busy"),
        (WebError::Ask(AskError::Stopping), 503, "stopping"),
    ] {
        let (found_status, found_code, text) = error.describe();
        assert_eq!((found_status.as_u16(), found_code), (status, code), "{error:?}");
        assert!(!text.contains("secret detail"), "{text}");
        let retries = error.into_response().headers().contains_key(header::RETRY_AFTER);
        assert_eq!(retries, [429, 503, 507].contains(&status), "{code}");
    }
}

#[tokio::test]
async fn a_short_balance_is_told_in_words_and_numbers() {
    let body = axum::body::to_bytes(poor().into_response().into_body(), 4096).await.unwrap();
    expect_test::expect![[r#"{"error":{"code":"insufficient_credits","message":"this job holds 31 credits, your balance is 7.5: 23.5 short","shortfall_micros":23500000}}"#]]
    .assert_eq(std::str::from_utf8(&body).unwrap());
}

#[test]
fn the_table_of_codes_is_in_order_and_has_each_once() {
    let all = codes::ALL.iter().map(|code| (code.status.as_u16(), code.name));
    let sorted: BTreeSet<_> = all.clone().collect();
    assert!(all.eq(sorted), "sorted by status, then by name");
    let names: BTreeSet<_> = codes::ALL.iter().map(|code| code.name).collect();
    assert_eq!(names.len(), codes::ALL.len());
}

#[test]
fn the_documentation_has_the_table_of_codes() {
    let guide = include_str!("../../../../docs/api.md");
    let table: String = codes::ALL
        .iter()
        .map(|code| format!("| {} | `{}` | {} |\n", code.status.as_u16(), code.name, code.means))
        .collect();
    assert!(guide.contains(&table), "docs/api.md must have these lines:\n{table}");
}
