//! What of a submit is wrong that is about how its price comes about, and about checks of its results.

use super::super::market::{SoldBy, check_price};
use super::super::{FieldError, Submit, check_range, field};
use crate::terms::{CLOSE_AFTER_MAX_S, CLOSE_AFTER_MIN_S, Sale};

/// The shortest pause between two checkpoints, which each make the task stand still. Seconds.
const CHECKPOINT_MIN_S: u32 = 5;
/// The longest. Seconds.
const CHECKPOINT_MAX_S: u32 = 24 * 3600;

/// How the price of a job comes about; of one that is right.
pub(super) fn sale(submit: &Submit, errors: &mut Vec<FieldError>) -> Sale {
    check_checks(submit, errors);
    if submit.market != Some(SoldBy::Rule) {
        let is_given = [
            ("max_price_micros", submit.max_price_micros.is_some()),
            ("close_after_s", submit.close_after_s.is_some()),
        ];
        for (name, _) in is_given.into_iter().filter(|(_, is_given)| *is_given) {
            errors.push(field(name, "is for jobs with market \"rule\""));
        }
    }
    if submit.market.is_some() {
        check_alone(submit, errors);
    }
    match submit.market {
        None => Sale::Formula,
        Some(SoldBy::Hand) => Sale::Hand,
        Some(SoldBy::Rule) => Sale::Rule {
            max_price_micros: needed(
                errors,
                "max_price_micros",
                submit.max_price_micros,
                |errors, micros| {
                    check_price(errors, "max_price_micros", micros, 1);
                },
            ),
            close_after_s: needed(
                errors,
                "close_after_s",
                submit.close_after_s,
                |errors, seconds| {
                    let (min, max) = (CLOSE_AFTER_MIN_S, CLOSE_AFTER_MAX_S);
                    check_range(errors, "close_after_s", seconds, min, max);
                },
            ),
        },
    }
}

/// A number without which a job cannot be sold by rule; zero if it is not there, which is wrong.
fn needed<N: Copy + Default>(
    errors: &mut Vec<FieldError>,
    name: &str,
    number: Option<N>,
    check: impl FnOnce(&mut Vec<FieldError>, N),
) -> N {
    match number {
        Some(number) => check(errors, number),
        None => errors.push(field(name, "is needed with market \"rule\"")),
    }
    number.unwrap_or_default()
}

/// A bid is for one run of one task on one machine, and for now.
fn check_alone(submit: &Submit, errors: &mut Vec<FieldError>) {
    let wrong = [
        ("tasks", submit.tasks != 1, "must be 1 for a job on the market"),
        ("array", submit.array.is_some(), "is not for jobs on the market, which have one task"),
        (
            "lines_file",
            submit.lines_file.is_some(),
            "is not for jobs on the market, which have one task",
        ),
        ("retries", submit.retries > 0, "must be 0 for a job on the market: a bid is for one run"),
        (
            "after",
            !submit.after.is_empty(),
            "must be empty for a job on the market, which waits for nothing else",
        ),
        ("verify", submit.verify, "is not for jobs on the market, which run on one machine"),
        ("hold", submit.hold, "is not for jobs on the market, which wait for bids"),
    ];
    for (name, _, message) in wrong.into_iter().filter(|(_, is_wrong, _)| *is_wrong) {
        errors.push(field(name, message));
    }
}

fn check_checks(submit: &Submit, errors: &mut Vec<FieldError>) {
    if submit.verify && submit.retries > 0 && submit.market.is_none() {
        let message = "must be 0 where results are verified: every machine's counts";
        errors.push(field("retries", message));
    }
    if submit.checkpoint_s > 0 {
        let (min, max) = (CHECKPOINT_MIN_S, CHECKPOINT_MAX_S);
        check_range(errors, "checkpoint_s", submit.checkpoint_s, min, max);
    }
}
