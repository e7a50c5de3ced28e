//! Hours of the week in a time zone, nights in which clocks are set included.

use campusgrid_protocol::rules::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::words::{moment, unix_ms};

/// Days before and after today on which a span can begin that counts now, or is the next one.
const BACK: i32 = 2;
const AHEAD: i32 = 8;

/// Where a moment lies in hours of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Until this time; milliseconds since the Unix epoch. None: there is no end within a week.
    Inside { until_ms: Option<u64> },
    /// Until this time; none: for ever.
    Outside { until_ms: Option<u64> },
}

/// Where `now_ms` lies in `hours`; no hours are all of them.
///
/// Where clocks are set forward, a span that would begin or end in the hour that is not there does so
/// as much later; where they are set back, it begins with the first of two equal times and ends with
/// the second. So spans that meet on the clock meet in every night.
pub(crate) fn place(hours: &[Span], zone: &TimeZone, now_ms: u64) -> Place {
    if hours.is_empty() {
        return Place::Inside { until_ms: None };
    }
    let now = moment(now_ms);
    let today = now.to_zoned(zone.clone()).date();
    let mut spans: Vec<(Timestamp, Timestamp)> = (-BACK..=AHEAD)
        .filter_map(|days| today.checked_add(days.days()).ok())
        .flat_map(|date| hours.iter().filter_map(move |span| on(*span, date, zone)))
        .collect();
    spans.sort_unstable();
    let mut until = now;
    for &(from, to) in &spans {
        if from <= until && to > until {
            until = to;
        }
    }
    if until > now {
        let is_endless = spans.last().is_some_and(|&(from, _)| from < until);
        return Place::Inside { until_ms: (!is_endless).then(|| unix_ms(until)) };
    }
    let next = spans.iter().find(|(from, _)| *from > now);
    Place::Outside { until_ms: next.map(|&(from, _)| unix_ms(from)) }
}

/// When the span that begins on this day begins and ends, if one does.
fn on(span: Span, date: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let day = u32::from(date.weekday().to_monday_zero_offset().unsigned_abs());
    if span.days.0 >> day & 1 == 0 {
        return None;
    }
    let next = if span.to <= span.from { date.tomorrow().ok()? } else { date };
    let at = |date: Date, minutes: u16| {
        let (hour, minute) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
        Some(zone.to_ambiguous_timestamp(
            date.to_datetime(jiff::civil::Time::new(hour, minute, 0, 0).ok()?),
        ))
    };
    let from = at(date, span.from)?.compatible().ok()?;
    let to = at(next, span.to)?.later().ok()?;
    Some((from, to))
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rules::Days;
    use proptest::prelude::*;

    use super::*;

    const ALL: Days = Days(0b111_1111);

    fn ms(text: &str) -> u64 {
        unix_ms(text.parse::<Timestamp>().unwrap())
    }

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn check(hours: &[Span], now: &str) -> String {
        let said = |ms: Option<u64>| {
            ms.map_or("ever".to_owned(), |ms| {
                moment(ms).to_zoned(berlin()).strftime("%a %d %H:%M %Z").to_string()
            })
        };
        match place(hours, &berlin(), ms(now)) {
            Place::Inside { until_ms } => format!("inside until {}", said(until_ms)),
            Place::Outside { until_ms } => format!("outside until {}", said(until_ms)),
        }
    }

    #[test]
    fn hours_of_the_week_are_those_of_the_zone() {
        // Weekdays from 18:00 to 8:00, so also Saturday until 8:00.
        let nights = [Span { days: Days(0b001_1111), from: 1080, to: 480 }];
        // 2026-11-23 is a Monday; Berlin is an hour ahead.
        assert_eq!(check(&nights, "2026-11-23T16:59:59Z"), "outside until Mon 23 18:00 CET");
        assert_eq!(check(&nights, "2026-11-23T17:00:00Z"), "inside until Tue 24 08:00 CET");
        assert_eq!(check(&nights, "2026-11-28T06:59:00Z"), "inside until Sat 28 08:00 CET");
        assert_eq!(check(&nights, "2026-11-28T07:00:00Z"), "outside until Mon 30 18:00 CET");
        assert_eq!(check(&[], "2026-11-28T07:00:00Z"), "inside until ever");
        assert_eq!(
            check(&[Span { days: ALL, from: 0, to: 0 }], "2026-11-28T07:00:00Z"),
            "inside until ever"
        );
        assert_eq!(
            check(&[Span { days: Days(0), from: 0, to: 9 }], "2026-11-28T07:00:00Z"),
            "outside until ever"
        );
    }

    #[test]
    fn spans_that_meet_are_one() {
        let two =
            [Span { days: Days(1), from: 1200, to: 0 }, Span { days: Days(2), from: 0, to: 300 }];
        assert_eq!(check(&two, "2026-11-23T20:00:00Z"), "inside until Tue 24 05:00 CET");
    }

    #[test]
    fn a_span_in_the_night_in_which_clocks_are_set() {
        let early = [Span { days: ALL, from: 150, to: 240 }];
        // On 2026-03-29 it is 3:00 after 1:59, on 2026-10-25 it is 2:00 again after 2:59.
        assert_eq!(check(&early, "2026-03-29T00:30:00Z"), "outside until Sun 29 03:30 CEST");
        assert_eq!(check(&early, "2026-03-29T01:45:00Z"), "inside until Sun 29 04:00 CEST");
        assert_eq!(check(&early, "2026-10-25T00:15:00Z"), "outside until Sun 25 02:30 CEST");
        assert_eq!(check(&early, "2026-10-25T01:15:00Z"), "inside until Sun 25 04:00 CET");
    }

    proptest! {
        #[test]
        fn what_is_said_of_the_end_is_so(
            days in 1..128u8, from in 0..1440u16, to in 0..1440u16, minutes in 0..600_000u64,
        ) {
            let hours = [Span { days: Days(days), from, to }];
            let now = ms("2026-01-01T00:00:00Z") + minutes * 60_000;
            let inside = |ms| match place(&hours, &berlin(), ms) {
                Place::Inside { .. } => true,
                Place::Outside { .. } => false,
            };
            let (Place::Inside { until_ms } | Place::Outside { until_ms }) = place(&hours, &berlin(), now);
            if let Some(until) = until_ms {
                prop_assert!(until > now);
                prop_assert!(inside(until) != inside(now));
                prop_assert_eq!(inside(until - 1), inside(now));
            }
        }
    }
}
