//! Moments as browsers write and read them: without a time zone, which the page's script names apart.

/// A moment of a `datetime-local` field, so many minutes east of UTC; in UTC, if they are no number.
/// Milliseconds since the Unix epoch; None for what is no moment.
pub(in crate::web::pages) fn parse(text: &str, zone_minutes: &str) -> Option<u64> {
    let moment = text.trim().parse::<jiff::civil::DateTime>().ok()?;
    let offset = offset(zone_minutes)?;
    u64::try_from(offset.to_timestamp(moment).ok()?.as_millisecond()).ok()
}

/// In UTC, to the minute.
pub(in crate::web::pages) fn write(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M").to_string()
}

/// When the day is over, so many minutes east of UTC. Milliseconds since the Unix epoch.
pub(in crate::web::pages) fn midnight(now_ms: u64, zone_minutes: &str) -> Option<u64> {
    let now = jiff::Timestamp::from_millisecond(i64::try_from(now_ms).ok()?).ok()?;
    let offset = offset(zone_minutes)?;
    let tomorrow = offset.to_datetime(now).date().tomorrow().ok()?;
    let midnight = offset.to_timestamp(tomorrow.at(0, 0, 0, 0)).ok()?;
    u64::try_from(midnight.as_millisecond()).ok()
}

/// None for what no place on earth has.
fn offset(zone_minutes: &str) -> Option<jiff::tz::Offset> {
    let minutes = zone_minutes.trim().parse::<i32>().unwrap_or(0);
    jiff::tz::Offset::from_seconds(minutes.checked_mul(60)?).ok()
}

#[cfg(test)]
mod tests {
    use super::{midnight, parse, write};

    #[test]
    fn moments_are_in_the_readers_own_time() {
        for (text, zone, at_ms) in [
            ("2027-01-15T08:00", "", Some(1_800_000_000_000)),
            ("2027-01-15T08:00", "0", Some(1_800_000_000_000)),
            ("2027-01-15T09:30", "90", Some(1_800_000_000_000)),
            ("2027-01-15T03:00", "-300", Some(1_800_000_000_000)),
            ("2027-01-15T08:00", "x", Some(1_800_000_000_000)),
            ("2027-01-15T08:00", "99999999", None),
            ("2027-13-15T08:00", "", None),
            ("1960-01-01T00:00", "", None),
            ("soon", "", None),
        ] {
            assert_eq!(parse(text, zone), at_ms, "{text} {zone}");
        }
        assert_eq!(write(1_800_000_000_000), "2027-01-15T08:00");
        write(u64::MAX);
    }

    #[test]
    fn a_day_is_over_at_the_readers_own_midnight() {
        let now = parse("2027-01-15T23:30", "").unwrap();
        for (zone, expected) in
            [("", "2027-01-16T00:00"), ("60", "2027-01-16T23:00"), ("-60", "2027-01-16T01:00")]
        {
            assert_eq!(midnight(now, zone).map(write).as_deref(), Some(expected), "{zone}");
        }
        assert_eq!(midnight(u64::MAX, ""), None);
    }
}
