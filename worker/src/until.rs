//! Until when something holds that is said by hand, as people write it.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::config::period;

/// What was written is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text}: must be a time such as 90m, 8h or 2d, a time of day such as 18:00, or until-tomorrow"
)]
pub struct NotATime {
    text: String,
}

/// Milliseconds since the Unix epoch: `90m` from now, `18:00` of today or else of tomorrow by the clock of
/// `zone`, or until tomorrow begins there.
///
/// # Errors
///
/// When it is neither.
pub fn until_ms(text: &str, now_ms: u64, zone: &TimeZone) -> Result<u64, NotATime> {
    let wrong = || NotATime { text: text.to_owned() };
    if let Ok(period) = period(text) {
        return Ok(now_ms.saturating_add(millis(period)));
    }
    let now = i64::try_from(now_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let now = now.ok_or_else(wrong)?.to_zoned(zone.clone());
    let moment = if matches!(text, "until-tomorrow" | "tomorrow") {
        now.tomorrow().and_then(|day| day.start_of_day()).map_err(|_| wrong())?
    } else {
        let clock = text.strip_prefix("until-").unwrap_or(text);
        let clock = Time::strptime("%H:%M", clock).map_err(|_| wrong())?;
        let on = |day: jiff::civil::Date| day.to_datetime(clock).to_zoned(zone.clone());
        let today = on(now.date()).map_err(|_| wrong())?;
        if today > now { today } else { now.date().tomorrow().and_then(on).map_err(|_| wrong())? }
    };
    u64::try_from(moment.timestamp().as_millisecond()).map_err(|_| wrong())
}

fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_say_them() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        // 2026-11-23, 14:00.
        let now = 1_795_438_800_000;
        let hours = |text: &str| until_ms(text, now, &zone).map(|ms| (ms - now) / 60_000);
        assert_eq!(hours("90m"), Ok(90));
        assert_eq!(hours("until-tomorrow"), Ok(600));
        assert_eq!(
            [hours("18:30"), hours("until-18:30"), hours("14:00")],
            [Ok(270), Ok(270), Ok(1440)]
        );
        for bad in ["", "soon", "25:00", "1.5h", "-3h", "until-"] {
            let error = until_ms(bad, now, &zone).unwrap_err();
            assert!(error.to_string().contains("90m"), "{error}");
        }
    }
}
