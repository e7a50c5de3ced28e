//! Credits as people type them.

use campusgrid_protocol::rest::market::PRICE_MAX_MICROS;

/// The highest amount that anybody names, as in the API. Credits.
const CREDITS_MAX: i64 = PRICE_MAX_MICROS / MICROS;

/// Micro-credits in one credit.
const MICROS: i64 = 1_000_000;

/// Micro-credits of an amount such as `12`, `0.05` or `0,05`; None for anything else, for one with more
/// than six decimals and for one that is too large.
pub(in crate::web::pages) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let (whole, decimals) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + decimals.len() == 0 || decimals.len() > 6 {
        return None;
    }
    if !is_number(whole) || !is_number(decimals) {
        return None;
    }
    let credits: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let micros: i64 = format!("{decimals:0<6}").parse().ok()?;
    (credits <= CREDITS_MAX).then_some(credits * MICROS + micros)
}

/// As [`parse`] reads it, with as few decimals as there are; empty for what is absent.
pub(in crate::web::pages) fn write(micros: Option<i64>) -> String {
    let Some(micros) = micros else { return String::new() };
    let (whole, rest) = (micros.div_euclid(MICROS), micros.rem_euclid(MICROS));
    let decimals = format!("{rest:06}");
    match decimals.trim_end_matches('0') {
        "" => whole.to_string(),
        decimals => format!("{whole}.{decimals}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, write};

    #[test]
    fn amounts_are_exact() {
        for (text, micros) in [
            ("12", Some(12_000_000)),
            (" 0.05 ", Some(50_000)),
            ("0,05", Some(50_000)),
            (".5", Some(500_000)),
            ("7.", Some(7_000_000)),
            ("0.000001", Some(1)),
            ("1000000", Some(1_000_000_000_000)),
            ("1000001", None),
            ("99999999999999999999", None),
            ("0.0000001", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("1.2.3", None),
            (".", None),
            ("", None),
            ("many", None),
        ] {
            assert_eq!(parse(text), micros, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        for (micros, text) in [(0, "0"), (1, "0.000001"), (7_500_000, "7.5"), (12_000_000, "12")] {
            assert_eq!(write(Some(micros)), text);
            assert_eq!(parse(text), Some(micros));
        }
        assert_eq!(write(None), "");
    }
}
