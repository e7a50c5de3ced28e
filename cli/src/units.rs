//! Sizes, spans, moments and credits, as people write and read them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Micro-credits of a credit.
const MICROS: u64 = 1_000_000;

/// Reads a size such as `4G`, `512M` or `1.5GiB`; a number alone is MiB. MiB, rounded up.
///
/// # Errors
///
/// What it would take, in words.
pub fn parse_mib(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no size such as 512M, 4G or 1.5G");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let thousandths = thousandths(number).ok_or_else(wrong)?;
    let kib: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => 1,
        "" | "m" | "mb" | "mib" => 1 << 10,
        "g" | "gb" | "gib" => 1 << 20,
        "t" | "tb" | "tib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let mib = thousandths.checked_mul(kib).map(|parts| parts.div_ceil(1000).div_ceil(1 << 10));
    mib.and_then(|mib| u32::try_from(mib).ok()).ok_or_else(wrong)
}

/// A number with at most three digits behind its point.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || part.len() > 3 || (text.contains('.') && part.is_empty()) {
        return None;
    }
    let part: u64 = format!("{part:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(part)
}

/// Reads a span such as `90m`, `1h30m`, `2d`, `45s` or `1:30:00`; a number alone is seconds.
///
/// # Errors
///
/// What it would take, in words.
pub fn parse_seconds(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no time such as 45s, 90m, 1h30m, 2d or 1:30:00");
    let seconds = if text.contains(':') { clock_seconds(text) } else { unit_seconds(text) };
    seconds.and_then(|seconds| u32::try_from(seconds).ok()).ok_or_else(wrong)
}

/// `H:MM:SS` or `M:SS`.
fn clock_seconds(text: &str) -> Option<u64> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 || parts[1..].iter().any(|part| part.len() != 2) {
        return None;
    }
    parts.iter().try_fold(0_u64, |seconds, part| {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let part: u64 = part.parse().ok().filter(|_| is_number)?;
        seconds.checked_mul(60)?.checked_add(part)
    })
}

fn unit_seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let (mut seconds, mut last) = (0_u64, u64::MAX);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "" | "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        // `30m1h` and `5m5m` are slips of the hand, and no times.
        if unit >= last {
            return None;
        }
        last = unit;
        rest = &rest[end..];
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
    }
    (!text.is_empty()).then_some(seconds)
}

/// Reads a moment: a span from now (`+2h`), RFC 3339 (`2026-11-24T18:00:00Z`), or this machine's own
/// time (`2026-11-24 18:00`). Milliseconds since the Unix epoch.
///
/// # Errors
///
/// What it would take, in words.
pub fn parse_moment(text: &str, now_ms: u64) -> Result<u64, String> {
    if let Some(span) = text.strip_prefix('+') {
        return Ok(now_ms + u64::from(parse_seconds(span)?) * 1000);
    }
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let local: DateTime = text.parse().ok()?;
        Some(local.to_zoned(TimeZone::system()).ok()?.timestamp())
    });
    moment.and_then(|moment| u64::try_from(moment.as_millisecond()).ok()).ok_or_else(|| {
        format!("{text:?} is no moment such as +2h, \"2026-11-24 18:00\" or 2026-11-24T18:00:00Z")
    })
}

/// A moment in this machine's own time.
pub fn moment(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(
        || "-".to_owned(),
        |at| at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// A span in at most two units: `45 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let two = |large: u64, of: &str, small: u64, its: &str| {
        if small == 0 { format!("{large} {of}") } else { format!("{large} {of} {small} {its}") }
    };
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// A span as it is typed: `45s`, `1h30m`, `7d`.
pub fn typed_seconds(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds % 86_400 / 3600, "h"),
        (seconds % 3600 / 60, "m"),
        (seconds % 60, "s"),
    ];
    let some = parts.into_iter().filter(|(number, _)| *number > 0);
    let text: String = some.map(|(number, unit)| format!("{number}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A size as it is typed: `512M`, `4G`.
pub fn typed_mib(size_mib: u64) -> String {
    match size_mib {
        0 => "0".to_owned(),
        _ if size_mib.is_multiple_of(1024) => format!("{}G", size_mib / 1024),
        _ => format!("{size_mib}M"),
    }
}

/// A size: `12 B`, `1.5 MiB`.
pub fn bytes(size: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let Some(power) = (1..=units.len()).rev().find(|power| size >> (10 * power) > 0) else {
        return format!("{size} B");
    };
    let tenths = (u128::from(size) * 10) >> (10 * power);
    format!("{}.{} {}", tenths / 10, tenths % 10, units[power - 1])
}

/// A size that is kept in MiB.
pub fn mib(size_mib: u32) -> String {
    bytes(u64::from(size_mib) << 20)
}

/// Reads credits such as `12`, `0.5` or `7.000001`. Micro-credits.
///
/// # Errors
///
/// What it would take, in words.
pub fn parse_credits(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no number of credits such as 12 or 0.5");
    if text.strip_prefix('-').is_some_and(|rest| parse_credits(rest).is_ok()) {
        return Err("a price is positive".to_owned());
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = !whole.is_empty() && is_digits(whole) && is_digits(part) && part.len() <= 6;
    if !is_number || (text.contains('.') && part.is_empty()) {
        return Err(wrong());
    }
    let part: i64 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
    let whole = whole.parse::<i64>().ok().and_then(|whole| whole.checked_mul(1_000_000));
    whole.and_then(|whole| whole.checked_add(part)).ok_or_else(wrong)
}

/// A factor that is kept in thousandths: `1`, `1.25`.
pub fn rate(permille: u32) -> String {
    let text = format!("{}.{:03}", permille / 1000, permille % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How reliable a machine has been, of a hundred.
pub fn score(permille: u32) -> String {
    format!("{} %", permille / 10)
}

/// Micro-credits as credits, exactly: `7`, `7.0167`, `-0.000001`.
pub fn credits(micros: i64) -> String {
    let (sign, all) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let text = format!("{sign}{}.{:06}", all / MICROS, all % MICROS);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{
        bytes, credits, parse_credits, parse_mib, parse_moment, parse_seconds, rate, span,
    };

    #[test]
    fn credits_are_read_exactly() {
        for (text, micros) in
            [("12", 12_000_000), ("0.5", 500_000), ("7.000001", 7_000_001), ("0", 0)]
        {
            assert_eq!(parse_credits(text), Ok(micros), "{text}");
            assert_eq!(credits(micros), text);
        }
        for text in ["", ".", ".5", "1.", "-1", "+1", "1e3", "0.0000001", "9999999999999", "1,5"] {
            assert!(parse_credits(text).is_err(), "{text}");
        }
        assert_eq!([1000, 1250, 2000, 1001].map(rate), ["1", "1.25", "2", "1.001"]);
    }

    #[test]
    fn sizes_have_units() {
        for (text, mib) in [
            ("512", 512),
            ("512M", 512),
            ("4G", 4096),
            ("4GiB", 4096),
            ("1.5g", 1536),
            ("1T", 1 << 20),
            ("1500K", 2),
            ("0", 0),
        ] {
            assert_eq!(parse_mib(text), Ok(mib), "{text}");
        }
        for text in ["", "G", "4X", "-1", "1.", ".5G", "1.2345G", "1e3", "9999999T", "4 G 2"] {
            assert!(parse_mib(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, seconds) in [
            ("45", 45),
            ("45s", 45),
            ("90m", 5400),
            ("1h30m", 5400),
            ("2d", 172_800),
            ("1:30:00", 5400),
            ("5:00", 300),
            ("1h5", 3605),
        ] {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
        for text in ["", "m", "30m1h", "5m5m", "1:2", "1:2:3:4", "-5m", "1.5h", "99999999d", "+5"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_from_now_or_on_a_clock() {
        assert_eq!(parse_moment("+2h", 1000), Ok(7_201_000));
        assert_eq!(parse_moment("1970-01-01T00:01:00Z", 0), Ok(60_000));
        assert!(parse_moment("1970-01-05 00:00", 0).is_ok());
        for text in ["", "tomorrow", "+", "2026-13-01 00:00"] {
            assert!(parse_moment(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0, 12, 1023, 1024, 1536 << 10, 5 << 30].map(bytes),
            ["0 B", "12 B", "1023 B", "1.0 KiB", "1.5 MiB", "5.0 GiB"]
        );
        assert_eq!(
            [7, 45_000, 200_000, 7_500_000, 273_600_000].map(span),
            ["7 ms", "45 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"]
        );
        let shown = [0, 1, -1, 7_000_000, 7_016_700, -100_500_000].map(credits);
        assert_eq!(shown, ["0", "0.000001", "-0.000001", "7", "7.0167", "-100.5"]);
    }
}
