//! What the kernel says of power and of heat, for machines whose desktop says nothing.

use std::fs;
use std::path::Path;

use campusgrid_sharing::senses::Feed;

use super::report::{Report, Said, Source};

/// Mains or battery, by `/sys/class/power_supply`.
///
/// A machine without a battery is fed by the mains. One with a battery is too, as long as a supply says
/// that it is online, or no battery says that it is discharged.
pub(super) fn feed(sys: &Path) -> Report {
    let (mut is_fed, mut is_drained, mut charges) = (false, false, Vec::new());
    let entries = fs::read_dir(sys.join("class/power_supply")).into_iter().flatten().flatten();
    for supply in entries.map(|entry| entry.path()) {
        let read = |name: &str| fs::read_to_string(supply.join(name)).unwrap_or_default();
        // Batteries of mice and headphones feed nothing else.
        if read("scope").trim() == "Device" {
            continue;
        }
        match read("type").trim() {
            "Battery" => {
                is_drained |= read("status").trim() == "Discharging";
                charges.extend(read("capacity").trim().parse::<u8>().ok());
            }
            "Mains" | "USB" | "Wireless" => is_fed |= read("online").trim() == "1",
            _ => {}
        }
    }
    let feed = if is_drained && !is_fed {
        // With several batteries the emptiest one counts.
        Feed::Battery { charge_percent: charges.into_iter().min().map(|charge| charge.min(100)) }
    } else {
        Feed::Mains
    };
    Report::new(Source::PowerSupply, Ok(Said::Feed(feed)))
}

/// The hottest part of the processor by `/sys/class/thermal`, and where that has none, `/sys/class/hwmon`.
pub(super) fn temperature(sys: &Path) -> Report {
    let zones = hottest(&sys.join("class/thermal"), |name| name == "temp");
    let sensors = || {
        hottest(&sys.join("class/hwmon"), |name| {
            name.starts_with("temp") && name.ends_with("_input")
        })
    };
    let said = zones.or_else(sensors).map(Said::Temperature);
    Report::new(Source::Thermal, said.ok_or_else(|| "no thermometer".to_owned()))
}

/// The highest reading of the files that are wanted, one folder beneath `folder`. Degrees Celsius.
fn hottest(folder: &Path, is_wanted: fn(&str) -> bool) -> Option<u8> {
    let places = fs::read_dir(folder).ok()?.flatten().flat_map(|entry| fs::read_dir(entry.path()));
    let files = places.flat_map(|place| place.flatten()).map(|entry| entry.path());
    let wanted = files
        .filter(|path| path.file_name().is_some_and(|name| is_wanted(&name.to_string_lossy())));
    let milli: Option<i64> = wanted
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
        // What is broken or not a temperature says something impossible.
        .filter(|&milli| (1_000..=130_000).contains(&milli))
        .max();
    u8::try_from(milli? / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sys(files: &[(&str, &str)]) -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = sys.path().join("class").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        sys
    }

    fn feed_of(files: &[(&str, &str)]) -> Feed {
        match feed(sys(files).path()).said {
            Ok(Said::Feed(feed)) => feed,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_laptop_is_on_battery_when_nothing_else_feeds_it() {
        let battery = [
            ("power_supply/BAT0/type", "Battery"),
            ("power_supply/BAT0/status", "Discharging"),
            ("power_supply/BAT0/capacity", "61"),
            ("power_supply/mouse/type", "Battery"),
            ("power_supply/mouse/scope", "Device"),
            ("power_supply/mouse/capacity", "3"),
            ("power_supply/AC/type", "Mains"),
        ];
        assert_eq!(feed_of(&[]), Feed::Mains);
        assert_eq!(feed_of(&battery), Feed::Battery { charge_percent: Some(61) });
        let plugged = [&battery[..], &[("power_supply/AC/online", "1")]].concat();
        assert_eq!(feed_of(&plugged), Feed::Mains);
        let full = [&battery[..], &[("power_supply/BAT0/status", "Not charging")]].concat();
        assert_eq!(feed_of(&full), Feed::Mains);
    }

    #[test]
    fn the_hottest_part_counts_and_nonsense_does_not() {
        let files = [
            ("thermal/thermal_zone0/temp", "45000"),
            ("thermal/thermal_zone1/temp", "61700"),
            ("thermal/thermal_zone2/temp", "-274000"),
            ("thermal/thermal_zone3/temp", "99999000"),
        ];
        assert_eq!(temperature(sys(&files).path()).said, Ok(Said::Temperature(61)));
        let sensor = [("hwmon/hwmon0/temp1_input", "38000"), ("hwmon/hwmon0/temp1_max", "99000")];
        assert_eq!(temperature(sys(&sensor).path()).said, Ok(Said::Temperature(38)));
        assert_eq!(temperature(sys(&[]).path()).said, Err("no thermometer".to_owned()));
    }
}
