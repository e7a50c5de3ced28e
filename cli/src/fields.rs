//! What the manager calls by the name of a field, as it is typed here: by its flag, with units.

use campusgrid_protocol::rest::FieldError;

use crate::units::{credits, typed_mib, typed_seconds};

/// What the numbers in the words about a field count.
#[derive(Debug, Clone, Copy)]
enum Unit {
    /// What is typed, too.
    Same,
    Seconds,
    Minutes,
    Mib,
    Micros,
}

/// Fields of requests, what they are typed as, and what they count.
const FLAGS: &[(&str, &str, Unit)] = &[
    ("cores", "--cpus", Unit::Same),
    ("ram_mib", "--ram", Unit::Mib),
    ("disk_mib", "--disk", Unit::Mib),
    ("gpus", "--gpus", Unit::Same),
    ("gpu_memory_mib", "the memory of --gpus", Unit::Mib),
    ("time_limit_s", "--time", Unit::Seconds),
    ("array", "--array", Unit::Same),
    ("lines_file", "--lines", Unit::Same),
    ("at_once", "--at-once", Unit::Same),
    ("entry", "--entry", Unit::Same),
    ("outputs", "--out", Unit::Same),
    ("after", "--after", Unit::Same),
    ("retries", "--retries", Unit::Same),
    ("backoff_s", "--backoff", Unit::Seconds),
    ("warn_s", "--warn", Unit::Seconds),
    ("checkpoint_s", "--checkpoint-every", Unit::Seconds),
    ("max_price_micros", "--max-price", Unit::Micros),
    ("close_after_s", "--close-after", Unit::Seconds),
    ("verify", "--verify", Unit::Same),
    ("hold", "--hold", Unit::Same),
    ("deadline_at_ms", "--deadline", Unit::Same),
    ("priority", "--priority", Unit::Same),
    ("notify", "--notify", Unit::Same),
    ("notify.webhook", "--webhook", Unit::Same),
    ("requirements", "--requirements", Unit::Same),
    ("uv_lock", "--requirements", Unit::Same),
    ("flags", "--cflag", Unit::Same),
    ("image", "--image", Unit::Same),
    ("labels", "--label", Unit::Same),
    ("isolation", "--isolation", Unit::Same),
    ("price_micros", "the price", Unit::Micros),
    ("start_within_s", "--start-within", Unit::Seconds),
    ("for_s", "the time", Unit::Seconds),
    ("until_ms", "the time", Unit::Same),
    ("prices.base_micros", "--start", Unit::Micros),
    ("prices.core_micros", "--core", Unit::Micros),
    ("prices.ram_gib_micros", "--gib", Unit::Micros),
    ("prices.gpu_micros", "--gpu", Unit::Micros),
    ("prices.minute_micros", "--minute", Unit::Micros),
    ("prices.core_minute_micros", "--core-minute", Unit::Micros),
    ("prices.ram_gib_minute_micros", "--gib-minute", Unit::Micros),
    ("prices.gpu_minute_micros", "--gpu-minute", Unit::Micros),
    ("prices.minimum_micros", "--minimum", Unit::Micros),
    ("when.idle_minutes", "--idle", Unit::Minutes),
    ("when.hours", "--hours", Unit::Same),
    ("when.zone", "--zone", Unit::Same),
    ("when.power.above", "--power", Unit::Same),
    ("when.programs", "--programs", Unit::Same),
    ("when.others_load_percent", "--load", Unit::Same),
    ("when.temperature_c", "--temperature", Unit::Same),
    ("when.until_ms", "--until", Unit::Same),
    ("when.grace_s", "--grace", Unit::Seconds),
    ("when.checkpoint_s", "--checkpoint", Unit::Seconds),
    ("limits.cores", "--cores", Unit::Same),
    ("limits.core_percent", "--core-percent", Unit::Same),
    ("limits.ram_mib", "--ram", Unit::Mib),
    ("limits.disk_mib", "--disk", Unit::Mib),
    ("limits.gpus", "--gpus", Unit::Same),
    ("limits.network_kib_s", "--network", Unit::Same),
    ("limits.at_once", "--at-once", Unit::Same),
    ("limits.longest_s", "--longest", Unit::Seconds),
    ("limits.whose.of", "--whose", Unit::Same),
    ("limits.kinds", "--kinds", Unit::Same),
];

/// What is wrong with a field, in words of the command line; with those of the manager where no flag
/// stands for it.
pub fn words(error: &FieldError) -> String {
    let name = error.field.split('[').next().unwrap_or_default();
    let Some((_, flag, unit)) = FLAGS.iter().find(|(field, _, _)| *field == name) else {
        return format!("{} {}", error.field, error.message);
    };
    let message = error.message.replace("with market \"rule\"", "with --market rule");
    // Numbers are bounds and what they bound only here; elsewhere they may be part of what was typed.
    let is_range = message.strip_prefix("must be ").is_some_and(|rest| {
        rest.starts_with(|first: char| first.is_ascii_digit()) && message.contains(", is ")
    });
    if !is_range {
        // Most words about a field go on from its name; a few are sentences of their own.
        let colon = if message.starts_with("there is ") { ":" } else { "" };
        return format!("{flag}{colon} {message}");
    }
    let message = message.replace(" micro-credits,", " credits,");
    let word = |word: &str| {
        let (digits, rest) = word.strip_suffix(',').map_or((word, ""), |digits| (digits, ","));
        let typed = digits.parse().ok().and_then(|number| typed(number, *unit));
        typed.map_or_else(|| word.to_owned(), |typed| format!("{typed}{rest}"))
    };
    format!("{flag} {}", message.split(' ').map(word).collect::<Vec<_>>().join(" "))
}

/// A number of the manager's as somebody would type it; none if nobody could.
fn typed(number: i64, unit: Unit) -> Option<String> {
    Some(match unit {
        Unit::Same => number.to_string(),
        Unit::Seconds => typed_seconds(u64::try_from(number).ok()?),
        Unit::Minutes => typed_seconds(u64::try_from(number).ok()?.checked_mul(60)?),
        Unit::Mib => typed_mib(u64::try_from(number).ok()?),
        Unit::Micros => credits(number),
    })
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rest::FieldError;
    use clap::CommandFactory;

    use super::{FLAGS, words};
    use crate::arguments::Arguments;

    fn told(field: &str, message: &str) -> String {
        words(&FieldError { field: field.to_owned(), message: message.to_owned() })
    }

    #[test]
    fn fields_are_called_as_they_are_typed() {
        for (field, message, expected) in [
            (
                "close_after_s",
                "is needed with market \"rule\"",
                "--close-after is needed with --market rule",
            ),
            (
                "close_after_s",
                "must be 5 to 604800, is 604801",
                "--close-after must be 5s to 7d, is 7d1s",
            ),
            (
                "max_price_micros",
                "must be 1 to 1000000000000 micro-credits, is 0",
                "--max-price must be 0.000001 to 1000000 credits, is 0",
            ),
            ("when.idle_minutes", "must be 0 to 1440, is 1500", "--idle must be 0s to 1d, is 1d1h"),
            ("limits.ram_mib", "must be 16 to 4194304, is 3", "--ram must be 16M to 4096G, is 3M"),
            (
                "when.hours[3].days",
                "must be 1 to 127: bit 0 is Monday, bit 6 is Sunday",
                "--hours must be 1 to 127: bit 0 is Monday, bit 6 is Sunday",
            ),
            ("limits.whose.of", "there is no user 12", "--whose: there is no user 12"),
            ("password", "must have 8 to 1000 bytes", "password must have 8 to 1000 bytes"),
        ] {
            assert_eq!(told(field, message), expected);
        }
    }

    #[test]
    fn every_flag_is_one_of_some_command() {
        let command = Arguments::command();
        for (field, flag, _) in FLAGS {
            let Some(long) = flag.strip_prefix("--") else { continue };
            let has = command
                .get_subcommands()
                .any(|one| one.get_arguments().any(|it| it.get_long() == Some(long)));
            assert!(has, "{field}: {flag}");
        }
    }
}
