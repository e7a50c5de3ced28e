//! Several spans of a week in one line: `mon-fri 20:00-07:00, sun 00:00-24:00`.

use std::str::FromStr;

use campusgrid_protocol::rules::{Span, SpanError};

/// Spans of a week; none for all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours(pub Vec<Span>);

impl FromStr for Hours {
    type Err = SpanError;

    /// Days and hours, days alone, or hours alone; hours may share their days: `mon 8:00-9:00,
    /// 18:00-19:00`; `always` for all of the week.
    fn from_str(text: &str) -> Result<Self, SpanError> {
        if text.trim() == "always" {
            return Ok(Self(Vec::new()));
        }
        let (mut spans, mut days, mut is_used) = (Vec::new(), Vec::new(), false);
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            if word.contains(':') {
                spans.push(format!("{} {word}", days.join(",")).parse()?);
                is_used = true;
                continue;
            }
            if is_used {
                days.clear();
                is_used = false;
            }
            days.push(word);
        }
        if !is_used {
            spans.push(days.join(",").parse()?);
        }
        Ok(Self(spans))
    }
}

/// The words that are read back as these spans.
pub fn words(spans: &[Span]) -> String {
    if spans.is_empty() {
        return "always".to_owned();
    }
    spans.iter().map(Span::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Hours, words};

    fn again(text: &str) -> String {
        text.parse().map_or_else(|error| format!("{error:?}"), |Hours(spans)| words(&spans))
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
        assert_eq!(again("mon 8:00-9:00, sat"), "mon 08:00-09:00, sat 00:00-24:00");
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
