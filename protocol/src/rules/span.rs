//! Hours of the week in words, as people write and read them: `mon-fri 20:00-07:00`.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use super::{Days, Span};

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ALL: u8 = 0b111_1111;
const DAY_MINUTES: u16 = 24 * 60;

/// Why words are no hours of the week.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    #[error("{word:?} is no day: mon, tue, wed, thu, fri, sat, sun, daily")]
    Day { word: String },
    #[error("{word:?} is no span of hours such as 20:00-07:00")]
    Hours { word: String },
    #[error("{word:?} stands behind the hours")]
    Behind { word: String },
    #[error("no hours such as 'mon-fri 20:00-07:00' are named")]
    Empty,
}

impl FromStr for Span {
    type Err = SpanError;

    /// Days and hours, days alone, or hours alone, which are meant daily: `Mon-Fri 18:00-08:00`,
    /// `sat,sun`, `daily 22:00-6:00`.
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let (mut bits, mut hours) = (0, None);
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            if hours.is_some() {
                return Err(SpanError::Behind { word: word.to_owned() });
            }
            if word.contains(':') {
                hours = Some(self::hours(word)?);
            } else {
                bits |= days(word)?;
            }
        }
        if bits == 0 && hours.is_none() {
            return Err(SpanError::Empty);
        }
        let (from, to) = hours.unwrap_or((0, 0));
        Ok(Self { days: Days(if bits == 0 { ALL } else { bits }), from, to })
    }
}

impl Display for Span {
    /// In words that are read back as this span, if it has any day.
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let to = if self.to == 0 { "24:00".to_owned() } else { clock(self.to) };
        write!(out, "{} {}-{to}", self.days, clock(self.from))
    }
}

impl Display for Days {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let has = |day: usize| self.0 >> day & 1 == 1;
        let mut runs = Vec::new();
        let mut day = 0;
        while day < NAMES.len() {
            if let Some(last) = (day..NAMES.len()).take_while(|day| has(*day)).last() {
                runs.push(match last - day {
                    0 => NAMES[day].to_owned(),
                    1 => format!("{},{}", NAMES[day], NAMES[last]),
                    _ => format!("{}-{}", NAMES[day], NAMES[last]),
                });
                day = last;
            }
            day += 1;
        }
        out.write_str(&runs.join(","))
    }
}

/// `mon`, `fri-mon` or `daily`.
fn days(word: &str) -> Result<u8, SpanError> {
    if word.eq_ignore_ascii_case("daily") {
        return Ok(ALL);
    }
    let number = |name: &str| {
        let found = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
        found.ok_or_else(|| SpanError::Day { word: word.to_owned() })
    };
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (number(first)?, number(last)?);
    // From Saturday to Monday is three days.
    let count = (last + 7 - first) % 7 + 1;
    Ok((0..count).fold(0, |bits, more| bits | 1 << ((first + more) % 7)))
}

/// `20:00-07:00`, in minutes since midnight. The end of a day is the beginning of the next.
fn hours(word: &str) -> Result<(u16, u16), SpanError> {
    let wrong = || SpanError::Hours { word: word.to_owned() };
    let time = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_time = hour.len() <= 2 && minute.len() == 2 && is_number(hour) && is_number(minute);
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (is_time && minute < 60).then(|| hour * 60 + minute)
    };
    let (from, to) = word.split_once('-').ok_or_else(wrong)?;
    let (from, to) = (time(from).ok_or_else(wrong)?, time(to).ok_or_else(wrong)?);
    if from >= DAY_MINUTES || to > DAY_MINUTES {
        return Err(wrong());
    }
    Ok((from, to % DAY_MINUTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_read_and_written() {
        for (text, words) in [
            ("mon-fri 20:00-07:00", "mon-fri 20:00-07:00"),
            ("Mon-Fri 18:00-08:00", "mon-fri 18:00-08:00"),
            ("sat,Sun 00:00-24:00", "sat,sun 00:00-24:00"),
            ("sat,sun", "sat,sun 00:00-24:00"),
            ("22:00-6:30", "mon-sun 22:00-06:30"),
            ("daily 22:00-06:00", "mon-sun 22:00-06:00"),
            ("sat-mon 0:00-24:00", "mon,sat,sun 00:00-24:00"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string(), words, "{text}");
            assert_eq!(words.parse(), Ok(span), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_of_a_week_is_refused() {
        for text in [
            "",
            "monday",
            "mon 20:00",
            "25:00-7:00",
            "99:00-7:00",
            "7:60-8:00",
            "24:00-1:00",
            "7:0-8:00",
            "+7:00-8:00",
            "8:00-9:00 mon",
            "8:00-9:00 10:00-11:00",
            "7:00-24:01",
        ] {
            let span = text.parse::<Span>();
            assert!(span.is_err(), "{text}: {span:?}");
        }
    }
}
