//! Hours of the week, as people write and read them: `mon-fri 20:00-07:00, sun 00:00-24:00`.

use std::str::FromStr;

use campusgrid_protocol::rules::{Days, Span};

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ALL: u8 = 0b111_1111;
const DAY: u16 = 24 * 60;

/// Spans of a week; none for all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours(pub Vec<Span>);

impl FromStr for Hours {
    type Err = String;

    /// Days and hours, days alone, or hours alone; `always` for all of the week.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "always" {
            return Ok(Self(Vec::new()));
        }
        let (mut spans, mut days, mut is_fresh) = (Vec::new(), 0, true);
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            if word.contains(':') {
                let (from, to) = span(word)?;
                let of = if days == 0 { ALL } else { days };
                spans.push(Span { days: Days(of), from, to });
                is_fresh = false;
                continue;
            }
            if !is_fresh {
                (days, is_fresh) = (0, true);
            }
            days |= self::days(word)?;
        }
        if is_fresh && days > 0 {
            spans.push(Span { days: Days(days), from: 0, to: 0 });
        }
        if spans.is_empty() {
            return Err(format!("{text:?} names no hours such as 'mon-fri 20:00-07:00'"));
        }
        Ok(Self(spans))
    }
}

/// `mon`, or `fri-mon`.
fn days(word: &str) -> Result<u8, String> {
    let number = |name: &str| {
        let found = NAMES.iter().position(|known| *known == name.to_ascii_lowercase());
        found.ok_or_else(|| format!("{name:?} is no day: mon, tue, wed, thu, fri, sat, sun"))
    };
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (number(first)?, number(last)?);
    let count = (last + 7 - first) % 7 + 1;
    Ok((0..count).fold(0, |days, more| days | 1 << ((first + more) % 7)))
}

/// `20:00-07:00`, in minutes since midnight. The end of a day is the beginning of the next.
fn span(word: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("{word:?} is no span such as 20:00-07:00");
    let time = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let is_time = hour.len() <= 2 && minute.len() == 2;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        let minutes = hour * 60 + minute;
        (is_time && minute < 60 && minutes <= DAY).then_some(minutes)
    };
    let (from, to) = word.split_once('-').ok_or_else(wrong)?;
    let (from, to) = (time(from).ok_or_else(wrong)?, time(to).ok_or_else(wrong)?);
    if from == DAY { Err(wrong()) } else { Ok((from, to % DAY)) }
}

/// The words that are read back as these spans.
pub fn words(spans: &[Span]) -> String {
    if spans.is_empty() {
        return "always".to_owned();
    }
    let one = |span: &Span| {
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let to = if span.to == 0 { "24:00".to_owned() } else { clock(span.to) };
        format!("{}{}-{to}", days_in_words(span.days), clock(span.from))
    };
    spans.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn days_in_words(Days(days): Days) -> String {
    if days & ALL == ALL {
        return "mon-sun ".to_owned();
    }
    let has = |day: usize| days >> day & 1 == 1;
    let mut runs = Vec::new();
    let mut day = 0;
    while day < 7 {
        let last = (day..7).take_while(|day| has(*day)).last();
        if let Some(last) = last {
            runs.push(match last - day {
                0 => NAMES[day].to_owned(),
                1 => format!("{},{}", NAMES[day], NAMES[last]),
                _ => format!("{}-{}", NAMES[day], NAMES[last]),
            });
            day = last;
        }
        day += 1;
    }
    format!("{} ", runs.join(","))
}

#[cfg(test)]
mod tests {
    use super::{Hours, words};

    fn again(text: &str) -> String {
        text.parse().map_or_else(|error| error, |Hours(spans)| words(&spans))
    }

    #[test]
    fn hours_are_read_and_written() {
        assert_eq!(again("mon-fri 20:00-07:00"), "mon-fri 20:00-07:00");
        assert_eq!(again("sat,sun"), "sat,sun 00:00-24:00");
        assert_eq!(again("22:00-6:30"), "mon-sun 22:00-06:30");
        let two = "mon-thu 20:00-07:00, fri,sun 18:00-24:00";
        assert_eq!(again(two), two);
        assert_eq!(again("mon 8:00-9:00,18:00-19:00"), "mon 08:00-09:00, mon 18:00-19:00");
        assert_eq!(again("Fri-Mon 0:00-24:00"), "mon,fri-sun 00:00-24:00");
        assert_eq!(again("always"), "always");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "monday", "mon 20:00", "25:00-7:00", "7:60-8:00", "24:00-1:00", "7:0-8:00"]
        {
            let error = text.parse::<Hours>();
            assert!(error.is_err(), "{text}: {error:?}");
        }
    }
}
