//! What the form says about when a job starts, how often it runs and who hears of it.

use std::str::FromStr;

use campusgrid_protocol::rest::{After, FieldError};
use campusgrid_protocol::terms::{AFTER_MAX, Notify, When};

use super::{non_empty, wrong};
use crate::web::pages::form::{Fields, moments};

/// The names of the fields of a row about another job begin so and go on with the row's number.
pub(in crate::web::pages::submit) const AFTER_JOB: &str = "after_job.";
pub(in crate::web::pages::submit) const AFTER_WHEN: &str = "after_when.";
pub(in crate::web::pages::submit) const AFTER_EACH: &str = "after_each.";

/// A number that may be left out.
pub(in crate::web::pages::submit) fn number<N: FromStr>(
    fields: &Fields,
    name: &str,
    errors: &mut Vec<FieldError>,
) -> Option<N> {
    let text = fields.text(name).trim();
    if text.is_empty() {
        return None;
    }
    let number = text.parse().ok();
    if number.is_none() {
        let is_whole = text.parse::<i64>().is_ok();
        let message = if is_whole { "is out of range" } else { "must be a whole number" };
        errors.push(wrong(name, message));
    }
    number
}

/// The rows about other jobs that name one, in their order.
pub(super) fn after(fields: &Fields, errors: &mut Vec<FieldError>) -> Vec<After> {
    let mut rows: Vec<(u32, &str)> = fields
        .named(AFTER_JOB)
        .filter_map(|row| Some((row.parse().ok()?, row)))
        .take(AFTER_MAX + 1)
        .collect();
    rows.sort_unstable();
    let mut after = Vec::new();
    for (_, row) in rows {
        let text = fields.text(&format!("{AFTER_JOB}{row}"));
        let job = text.trim().trim_start_matches('#').parse();
        let when = when(fields.text(&format!("{AFTER_WHEN}{row}")));
        let each = !fields.text(&format!("{AFTER_EACH}{row}")).is_empty();
        match (job, when) {
            (Ok(job), Some(when)) => after.push(After { job, when, each }),
            (Err(_), _) if text.trim().is_empty() => {}
            (Err(_), _) => errors.push(wrong("after", "must be the number of a job")),
            (Ok(_), None) => errors.push(wrong("after", "must be one of those in the list")),
        }
    }
    after
}

/// When another job has come so far; as the form and the API write it.
pub(in crate::web::pages::submit) fn when(text: &str) -> Option<When> {
    match text {
        "" | "ok" => Some(When::Ok),
        "any" => Some(When::Any),
        "failed" => Some(When::Failed),
        "started" => Some(When::Started),
        _ => None,
    }
}

/// A moment as browsers write it, in the time zone that the page's script has found, or UTC.
pub(super) fn deadline(fields: &Fields, errors: &mut Vec<FieldError>) -> Option<u64> {
    let text = non_empty(fields.text("deadline"))?;
    let moment = moments::parse(&text, fields.text("zone_minutes"));
    if moment.is_none() {
        errors.push(wrong("deadline_at_ms", "must be a date and a time"));
    }
    moment
}

/// Nothing if nothing is to be told.
pub(super) fn notify(fields: &Fields) -> Option<Notify> {
    let is_on = |name: &str| !fields.text(name).is_empty();
    let notify = Notify {
        start: is_on("notify_start"),
        end: is_on("notify_end"),
        failure: is_on("notify_failure"),
        mail: is_on("notify_mail"),
        webhook: non_empty(fields.text("webhook")),
    };
    // What this browser alone tells is between it and the page.
    let by_browser = is_on("notify_browser") && !notify.mail && notify.webhook.is_none();
    (notify != Notify::default() && !by_browser).then_some(notify)
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rest::After;
    use campusgrid_protocol::terms::When;

    use super::{after, deadline, notify, number};
    use crate::web::pages::form::Fields;

    fn form(texts: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, text) in texts {
            fields.set(name, text);
        }
        fields
    }

    #[test]
    fn a_deadline_that_is_none_is_told() {
        for (text, at_ms) in [("2027-01-15T09:30", Some(1_800_000_000_000)), ("soon", None)] {
            let mut errors = Vec::new();
            let fields = form(&[("deadline", text), ("zone_minutes", "90")]);
            assert_eq!(deadline(&fields, &mut errors), at_ms, "{text}");
            assert_eq!(errors.is_empty(), at_ms.is_some());
        }
        assert_eq!(deadline(&form(&[]), &mut Vec::new()), None);
    }

    #[test]
    fn rows_about_other_jobs_keep_their_order_and_may_be_empty() {
        let mut errors = Vec::new();
        let fields = form(&[
            ("after_job.10", "7"),
            ("after_when.10", "any"),
            ("after_job.2", " #5 "),
            ("after_each.2", "on"),
            ("after_job.3", ""),
            ("after_when.3", "failed"),
        ]);
        let first = After { job: 5, when: When::Ok, each: true };
        let second = After { job: 7, when: When::Any, each: false };
        assert_eq!(after(&fields, &mut errors), [first, second]);
        assert!(errors.is_empty());
        for texts in [
            [("after_job.0", "x"), ("after_when.0", "ok")],
            [("after_job.0", "1"), ("after_when.0", "x")],
        ] {
            let mut errors = Vec::new();
            assert!(after(&form(&texts), &mut errors).is_empty());
            assert_eq!(errors[0].field, "after");
        }
    }

    #[test]
    fn numbers_may_be_left_out() {
        let fields = form(&[("a", ""), ("b", " 3 "), ("c", "300"), ("d", "many")]);
        let mut errors = Vec::new();
        assert_eq!(number::<u8>(&fields, "a", &mut errors), None);
        assert_eq!(number::<u8>(&fields, "b", &mut errors), Some(3));
        assert!(errors.is_empty());
        for name in ["c", "d"] {
            assert_eq!(number::<u8>(&fields, name, &mut errors), None);
        }
        assert_eq!(errors.len(), 2);
    }

    #[test]
    fn what_the_browser_alone_tells_is_not_asked_of_the_manager() {
        assert_eq!(notify(&form(&[])), None);
        assert_eq!(notify(&form(&[("notify_end", "on"), ("notify_browser", "on")])), None);
        let both =
            notify(&form(&[("notify_end", "on"), ("notify_browser", "on"), ("notify_mail", "on")]));
        assert!(both.is_some_and(|notify| notify.mail && notify.end));
    }
}
