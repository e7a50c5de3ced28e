//! Times in words for people, by the clock of a time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `14:02` on the day of `now_ms`, `Mon 18:00` less than six days from it, else `2026-11-22 18:00`.
/// Milliseconds since the Unix epoch.
pub(crate) fn time(ms: u64, now_ms: u64, zone: &TimeZone) -> String {
    let (time, now) = (moment(ms).to_zoned(zone.clone()), moment(now_ms).to_zoned(zone.clone()));
    let days = time.date().since(now.date()).map_or(i32::MAX, |span| span.get_days().abs());
    match days {
        0 => time.strftime("%H:%M").to_string(),
        1..=5 => time.strftime("%a %H:%M").to_string(),
        _ => time.strftime("%Y-%m-%d %H:%M").to_string(),
    }
}

/// Times beyond what calendars reach are taken for their end.
pub(crate) fn moment(ms: u64) -> Timestamp {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_times_are_short() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let ms = |text: &str| unix_ms(text.parse::<Timestamp>().unwrap());
        let now = ms("2026-11-22T20:00:00Z");
        let said = |text: &str| time(ms(text), now, &zone);
        assert_eq!(said("2026-11-22T13:02:00Z"), "14:02");
        assert_eq!(said("2026-11-22T23:30:00Z"), "Mon 00:30");
        assert_eq!(said("2026-11-17T12:00:00Z"), "Tue 13:00");
        assert_eq!(said("2026-11-29T12:00:00Z"), "2026-11-29 13:00");
        assert!(time(u64::MAX, now, &zone).starts_with("9999-12-"));
    }
}
