//! Hours of the week as the form has them: rows of days, a beginning and an end.

use std::collections::BTreeSet;

use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::rules::{Days, RULE_NAMES_MAX, Span};

use super::wrong;
use crate::web::pages::form::Fields;

/// Days of the week, Monday first: in short and in full.
pub(in crate::web::pages) const DAYS: [(&str, &str); 7] = [
    ("Mo", "Monday"),
    ("Tu", "Tuesday"),
    ("We", "Wednesday"),
    ("Th", "Thursday"),
    ("Fr", "Friday"),
    ("Sa", "Saturday"),
    ("Su", "Sunday"),
];

/// Names of the fields of a row begin so and go on with its number; those of days with a dot and the
/// day's number, from 0.
const FROM: &str = "from.";
const TO: &str = "to.";
const DAY: &str = "day.";

/// Rows that are shown at least.
const ROWS_MIN: usize = 2;

/// A row as it is shown.
pub(in crate::web::pages) struct SpanRow {
    pub(in crate::web::pages) number: usize,
    pub(in crate::web::pages) from: String,
    pub(in crate::web::pages) to: String,
    pub(in crate::web::pages) days: [bool; 7],
}

/// The rows that were filled in, and an empty one.
pub(in crate::web::pages) fn rows(fields: &Fields) -> Vec<SpanRow> {
    let filled = numbers(fields);
    let mut rows: Vec<SpanRow> = filled
        .iter()
        .enumerate()
        .map(|(number, row)| SpanRow {
            number,
            from: fields.text(&format!("{FROM}{row}")).to_owned(),
            to: fields.text(&format!("{TO}{row}")).to_owned(),
            days: days(fields, *row),
        })
        .collect();
    let wanted = (rows.len() + 1).clamp(ROWS_MIN, RULE_NAMES_MAX);
    for number in rows.len()..wanted {
        rows.push(SpanRow { number, from: String::new(), to: String::new(), days: [false; 7] });
    }
    rows
}

/// The rows that were filled in. Without times a row stands for whole days.
pub(super) fn read(fields: &Fields, errors: &mut Vec<FieldError>) -> Vec<Span> {
    let mut spans = Vec::new();
    for row in numbers(fields) {
        let time = |beginning: &str| minute(fields.text(&format!("{beginning}{row}")).trim());
        let days = days(fields, row);
        let mask = days.iter().rev().fold(0, |mask, day| mask << 1 | u8::from(*day));
        match (time(FROM), time(TO), mask) {
            (Ok(_), Ok(_), 0) => errors.push(wrong("when.hours", "must name the days")),
            (Ok(from), Ok(to), mask) => spans.push(Span { days: Days(mask), from, to }),
            (Err(()), _, _) | (_, Err(()), _) => {
                errors.push(wrong("when.hours", "must be times such as 08:30"));
            }
        }
    }
    spans
}

pub(super) fn write(fields: &mut Fields, spans: &[Span]) {
    for (row, span) in spans.iter().enumerate() {
        fields.set(&format!("{FROM}{row}"), &time(span.from));
        fields.set(&format!("{TO}{row}"), &time(span.to));
        for day in (0..DAYS.len()).filter(|day| span.days.0 >> day & 1 == 1) {
            fields.set(&format!("{DAY}{row}.{day}"), "on");
        }
    }
}

/// Rows of which something is filled in, in their order.
fn numbers(fields: &Fields) -> BTreeSet<usize> {
    let of_day = fields.named(DAY).filter_map(|rest| rest.split('.').next());
    let rows = fields.named(FROM).chain(fields.named(TO)).chain(of_day);
    rows.filter_map(|row| row.parse().ok()).take(RULE_NAMES_MAX * 9).collect()
}

fn days(fields: &Fields, row: usize) -> [bool; 7] {
    std::array::from_fn(|day| !fields.text(&format!("{DAY}{row}.{day}")).is_empty())
}

/// Minutes since midnight; of nothing, midnight.
fn minute(text: &str) -> Result<u16, ()> {
    if text.is_empty() {
        return Ok(0);
    }
    let time: jiff::civil::Time = text.parse().map_err(drop)?;
    u16::try_from(i32::from(time.hour()) * 60 + i32::from(time.minute())).map_err(drop)
}

fn time(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::{Fields, read, rows};

    fn form(texts: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, text) in texts {
            fields.set(name, text);
        }
        fields
    }

    #[test]
    fn rows_need_days_and_times_that_are_some() {
        for (texts, spans) in [
            (&[("day.0.0", "on"), ("from.0", "18:00"), ("to.0", "08:30")][..], "1 1080-510"),
            (&[("day.3.6", "on"), ("day.3.5", "on")], "96 0-0"),
            (&[("from.0", ""), ("to.1", "")], ""),
            (&[("from.0", "18:00")], "when.hours"),
            (&[("day.0.0", "on"), ("to.0", "25:00")], "when.hours"),
            (&[("day.0.9", "on")], "when.hours"),
        ] {
            let mut errors = Vec::new();
            let read = read(&form(texts), &mut errors);
            let said = read.iter().map(|span| format!("{} {}-{}", span.days.0, span.from, span.to));
            let said = said.chain(errors.into_iter().map(|error| error.field));
            assert_eq!(said.collect::<Vec<_>>().join(","), spans);
        }
    }

    #[test]
    fn there_is_always_an_empty_row() {
        assert_eq!(rows(&form(&[])).len(), 2);
        let fields = form(&[("from.7", "18:00"), ("day.9.1", "on"), ("to.2", "09:00")]);
        let shown: Vec<String> = rows(&fields)
            .iter()
            .map(|row| format!("{}{}{}", row.number, row.from, row.to))
            .collect();
        assert_eq!(shown, ["009:00", "118:00", "2", "3"]);
    }
}
