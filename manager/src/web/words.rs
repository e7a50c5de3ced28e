//! Numbers, states and levels as people read them.

use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::rest::{JobState, WorkKind};
use campusgrid_protocol::text::is_hidden;

/// Credits to the micro-credit, for receipts: what is shown must add up.
pub(super) fn exact_credits(micros: i64) -> String {
    Micros(micros).to_string()
}

/// Credits with two decimals, rounded down: nobody has more than they see.
pub(super) fn credits(micros: i64) -> String {
    let hundredths = micros.div_euclid(10_000);
    let (sign, size) = if hundredths < 0 { ("-", -hundredths) } else { ("", hundredths) };
    format!("{sign}{}.{:02}", size / 100, size % 100)
}

/// Bytes in binary units, with one decimal where it says something.
pub(super) fn bytes(count: u64) -> String {
    let mut unit = "bytes";
    let (mut whole, mut tenth) = (count, 0);
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if whole < 1024 {
            break;
        }
        tenth = (whole % 1024) * 10 / 1024;
        whole /= 1024;
        unit = next;
    }
    if unit == "bytes" || whole >= 100 {
        format!("{whole} {unit}")
    } else {
        format!("{whole}.{tenth} {unit}")
    }
}

/// MiB, as GiB from one GiB on.
pub(super) fn mib(count: u32) -> String {
    if count >= 1024 && count.is_multiple_of(1024) {
        format!("{} GiB", count / 1024)
    } else if count >= 1024 {
        format!("{}.{} GiB", count / 1024, count % 1024 * 10 / 1024)
    } else {
        format!("{count} MiB")
    }
}

/// Thousandths of a core as cores.
pub(super) fn cores(millis: u32) -> String {
    match (millis / 1000, millis % 1000 / 100) {
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

/// A time span with its two largest units, the smaller left out where it is none.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let (large, small) = match seconds {
        0..10 if ms % 1000 >= 100 => return format!("{}.{} s", seconds, ms % 1000 / 100),
        0..60 => return format!("{seconds} s"),
        60..3600 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3600..86_400 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "min")),
        86_400.. => ((seconds / 86_400, "d"), (seconds % 86_400 / 3600, "h")),
    };
    match small {
        (0, _) => format!("{} {}", large.0, large.1),
        (rest, unit) => format!("{} {} {rest} {unit}", large.0, large.1),
    }
}

/// A time span that is still to come, in whole hours: of 90 days that have just begun, 90.
pub(super) fn hours_left(ms: u64) -> String {
    span(ms.div_ceil(3_600_000) * 3_600_000)
}

/// Minutes with two decimals, as prices count them.
pub(super) fn minutes(ms: u64) -> String {
    let hundredths = ms.div_ceil(600);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// A number with its noun.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// Text from outside with its hidden characters named, so that none of it reads as something else.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            shown.push_str(&format!("[U+{:04X}]", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Words of a worker, which may be several lines, as one line without hidden characters.
pub(super) fn one_line(text: &str) -> String {
    let mut all = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let between = if all.is_empty() {
            ""
        } else if all.ends_with(':') {
            " "
        } else {
            "; "
        };
        all.push_str(between);
        all.push_str(line);
    }
    visible(&all)
}

/// A moment, for people and for machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// ISO 8601; the page's script shows it in the reader's own time zone.
    pub(super) iso: String,
    /// In UTC.
    pub(super) text: String,
    /// How long ago.
    pub(super) ago: String,
}

impl Moment {
    pub(super) fn new(at_ms: u64, now: Timestamp) -> Self {
        let at =
            i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        let at = at.unwrap_or(jiff::Timestamp::MAX);
        let passed_ms = now.since_ms(Timestamp(at_ms));
        let ago = match passed_ms / 1000 {
            0..5 => "just now".to_owned(),
            5..60 => format!("{} s ago", passed_ms / 1000),
            60..3600 => format!("{} min ago", passed_ms / 60_000),
            3600..86_400 => format!("{} h ago", passed_ms / 3_600_000),
            86_400.. => format!("{} d ago", passed_ms / 86_400_000),
        };
        Self {
            iso: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            text: at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            ago,
        }
    }
}

/// A job's state.
pub(super) fn state(state: JobState) -> &'static str {
    match state {
        JobState::Draft => "draft",
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

/// A kind of work.
pub(super) fn kind(kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::Python => "Python",
        WorkKind::C => "C",
        WorkKind::Shell => "Shell",
    }
}

/// The least confinement that a job accepts.
pub(super) fn least_isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Full => "a full sandbox",
        Isolation::Docker => "a full sandbox or a container",
        Isolation::Restricted => "at least a restricted sandbox",
        Isolation::None => "any, also none",
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_core::time::Timestamp;

    use super::{Moment, bytes, cores, credits, mib, minutes, one_line, span, visible};

    #[test]
    fn amounts_are_short_and_never_too_large() {
        for (micros, text) in [
            (0, "0.00"),
            (100_000_000, "100.00"),
            (7_509_999, "7.50"),
            (1, "0.00"),
            (-1, "-0.01"),
            (-7_500_000, "-7.50"),
        ] {
            assert_eq!(credits(micros), text);
        }
    }

    #[test]
    fn sizes_and_spans_have_units_that_fit() {
        for (count, text) in
            [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (1_600_000, "1.5 MiB")]
        {
            assert_eq!(bytes(count), text);
        }
        for (ms, text) in [
            (0, "0 s"),
            (850, "0.8 s"),
            (9050, "9 s"),
            (600_000, "10 min"),
            (59_999, "59 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(span(ms), text);
        }
        assert_eq!([mib(512), mib(1024), mib(1536)], ["512 MiB", "1 GiB", "1.5 GiB"]);
        assert_eq!([cores(1000), cores(2500)], ["1", "2.5"]);
        assert_eq!([minutes(0), minutes(1), minutes(90_000)], ["0.00", "0.01", "1.50"]);
    }

    #[test]
    fn hidden_characters_are_named() {
        for (text, shown) in [
            ("größe 1.csv", "größe 1.csv"),
            ("photo\u{202e}gpj.exe", "photo[U+202E]gpj.exe"),
            ("a\nb", "a[U+000A]b"),
            ("\u{e0041}", "[U+E0041]"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn lines_become_one() {
        assert_eq!(
            one_line("it failed:\n  error: no\r\n\ncause\u{202e}\n"),
            "it failed: error: no; cause[U+202E]"
        );
        assert_eq!(one_line(""), "");
    }

    #[test]
    fn moments_are_in_utc_and_never_in_the_future() {
        let moment = Moment::new(86_400_000, Timestamp(86_400_000 + 120_000));
        assert_eq!(moment.iso, "1970-01-02T00:00:00Z");
        assert_eq!(moment.text, "1970-01-02 00:00 UTC");
        assert_eq!(moment.ago, "2 min ago");
        assert_eq!(Moment::new(5000, Timestamp(0)).ago, "just now");
        Moment::new(u64::MAX, Timestamp(0));
    }
}
