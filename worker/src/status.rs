//! How a machine stands, for its owner: whose work runs, since when, by which limits, why it is not
//! shared, what each source says, what it has earned.

use std::fmt::Write;

use campusgrid_protocol::rules::{ByHand, Limits, Phase, Whose, Wish};
use campusgrid_sharing::senses::{Feed, Now, Presence};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::senses::Work;
use crate::senses::report::{Report, Said};

/// Micro-credits of a credit.
const MICROS: i64 = 1_000_000;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// When this was so. All times are milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// None: not connected to a manager.
    pub works_for: Option<String>,
    /// Ever; none: no manager has said so yet.
    pub earned_micros: Option<i64>,
    pub phase: Phase,
    /// Why it is not open, in words.
    pub why: String,
    pub since_ms: u64,
    pub limits: Limits,
    pub checkpoint_s: u32,
    /// What was said at this machine.
    pub by_hand: Option<ByHand>,
    /// What was said in the dashboard.
    pub dashboard_by_hand: Option<ByHand>,
    /// The policy file that holds.
    pub policy: Option<String>,
    pub works: Vec<Work>,
    pub sources: Vec<SourceLine>,
}

/// A source and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLine {
    pub source: String,
    pub says: String,
    /// Whether it says anything of what is asked for.
    pub works: bool,
}

impl SourceLine {
    /// A report in words.
    pub(crate) fn of(report: &Report, now: Now) -> Self {
        let (says, works) = match &report.said {
            Ok(said) => (words(*said, now), true),
            Err(why) => (why.clone(), false),
        };
        Self { source: report.source.name().to_owned(), says, works }
    }
}

fn words(said: Said, now: Now) -> String {
    match said {
        Said::Presence(Presence::Unknown) => "cannot tell whether somebody is here".to_owned(),
        Said::Presence(Presence::Here) => "in use".to_owned(),
        Said::Presence(Presence::AwaySince { boot_ms: 0 }) => "nobody has been here".to_owned(),
        Said::Presence(Presence::AwaySince { boot_ms }) => {
            let ago_s = now.boot_ms.saturating_sub(boot_ms) / 1000;
            format!("nobody here for {}", length(ago_s))
        }
        Said::Quiet(boot_ms) => {
            let ago_s = now.boot_ms.saturating_sub(boot_ms) / 1000;
            format!("nobody seen in the {} since it looks", length(ago_s))
        }
        Said::NoDevices => "there are none".to_owned(),
        Said::Feed(Feed::Mains) => "on mains power".to_owned(),
        Said::Feed(Feed::Battery { charge_percent: None }) => "on battery".to_owned(),
        Said::Feed(Feed::Battery { charge_percent: Some(percent) }) => {
            format!("on battery, {percent} % of charge")
        }
        Said::Metered(true) => "the network is metered".to_owned(),
        Said::Metered(false) => "the network is not metered".to_owned(),
        Said::Asleep(true) => "the machine is being suspended".to_owned(),
        Said::Asleep(false) => "the machine is awake".to_owned(),
        Said::Temperature(degrees) => format!("{degrees} °C at the hottest"),
        Said::Load(percent) => format!("others use {percent} % of its cores"),
    }
}

fn length(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Whether the machine is shared, and what was said by hand; lines for people.
pub fn headline(status: &Status, zone: &TimeZone) -> String {
    let at = |ms| time(ms, status.now_ms, zone);
    let since = at(status.since_ms);
    let mut text = match status.phase {
        Phase::Open => format!("shared since {since}\n"),
        Phase::Frozen => format!("frozen since {since}: {}\n", status.why),
        Phase::Closed => format!("not shared since {since}: {}\n", status.why),
    };
    for (place, by_hand) in
        [("here", status.by_hand), ("in the dashboard", status.dashboard_by_hand)]
    {
        let Some(by_hand) = by_hand else { continue };
        let wish = match by_hand.wish {
            Wish::Share => "share",
            Wish::Pause => "pause",
        };
        let until = by_hand
            .until_ms
            .map_or("until it is taken back".to_owned(), |ms| format!("until {}", at(ms)));
        let _ = writeln!(text, "said {place}: {wish} {until}");
    }
    text
}

/// All of it for people, by the clock of `zone`; ends with a line break.
pub fn print(status: &Status, zone: &TimeZone) -> String {
    let at = |ms| time(ms, status.now_ms, zone);
    let mut text = headline(status, zone);
    if let Some(policy) = &status.policy {
        let _ = writeln!(text, "policy file: {policy}");
    }
    let _ = writeln!(text, "limits: {}", limits(&status.limits));
    let _ = writeln!(text, "{}", earned(status));
    if status.works.is_empty() {
        text.push_str("nothing runs here\n");
    }
    for work in &status.works {
        let gpus = if work.gpus > 0 { format!(", {} GPUs", work.gpus) } else { String::new() };
        let _ = writeln!(
            text,
            "{} {} of {}: {} since {}, {} cores, {} MiB{gpus}, at most {}\n  \
             to end it here: campusgrid-worker stop {}",
            work.attempt,
            plain(&work.name),
            plain(&work.whose),
            work.state,
            at(work.since_ms),
            thousandths(work.cpu_millis),
            work.ram_mib,
            length(work.limit_ms / 1000),
            work.attempt,
        );
    }
    text.push_str("\nwhat is sensed:\n");
    let width = status.sources.iter().map(|line| line.source.chars().count()).max().unwrap_or(0);
    for line in &status.sources {
        let _ = writeln!(text, "  {:<width$}  {}", line.source, plain(&line.says));
    }
    text
}

fn earned(status: &Status) -> String {
    let earned = status.earned_micros.map_or(String::new(), |micros| {
        let cents = micros.unsigned_abs() / (MICROS.unsigned_abs() / 100);
        format!("; has earned {}.{:02} credits", cents / 100, cents % 100)
    });
    match &status.works_for {
        Some(owner) => format!("works for {}{earned}", plain(owner)),
        None => format!("not connected to its manager{earned}"),
    }
}

fn limits(limits: &Limits) -> String {
    let mut said = Vec::new();
    let mut say = |value: Option<u32>, words: &str| {
        said.extend(value.map(|value| format!("{value} {words}")));
    };
    say(limits.cores, "cores");
    say((limits.core_percent < 100).then_some(limits.core_percent.into()), "% of each core");
    say(limits.ram_mib, "MiB of memory");
    say(limits.disk_mib, "MiB of disk");
    say(limits.gpus.map(u32::from), "GPUs");
    say(limits.network_kib_s, "KiB/s");
    say(limits.at_once, "tasks at once");
    say(limits.longest_s.map(|s| s / 60), "minutes at most");
    match &limits.whose {
        Whose::Everyone => {}
        Whose::Of(names) => said.push(format!("only jobs of {}", plain(&names.join(", ")))),
        Whose::Mine => said.push("only its owner's jobs".to_owned()),
    }
    if !limits.kinds.is_empty() {
        let kinds: Vec<String> =
            limits.kinds.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
        said.push(format!("only {}", kinds.join(", ")));
    }
    if said.is_empty() { "those of the machine".to_owned() } else { said.join(", ") }
}

fn thousandths(millis: u32) -> String {
    match millis % 1000 {
        0 => (millis / 1000).to_string(),
        rest => format!("{}.{}", millis / 1000, rest / 100),
    }
}

/// `14:02` within a day, else with the date.
fn time(ms: u64, now_ms: u64, zone: &TimeZone) -> String {
    let moment = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let format = if ms.abs_diff(now_ms) < DAY_MS { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    let moment = moment.unwrap_or(Timestamp::MAX).to_zoned(zone.clone());
    moment.strftime(format).to_string()
}

/// Other people's words, which must not play tricks on a terminal.
fn plain(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// For programs.
pub fn json(status: &Status) -> String {
    let text = serde_json::to_string_pretty(status);
    text.expect("strings, numbers and lists have a form in JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rules::Kind;
    use expect_test::expect;

    use super::*;

    #[test]
    fn an_owner_sees_whose_work_runs_and_how_to_end_it() {
        let work = Work {
            attempt: "12.0#1".to_owned(),
            whose: "bob".to_owned(),
            name: "ren\u{1b}[2Jder".to_owned(),
            since_ms: 1_795_438_800_000,
            cpu_millis: 1500,
            ram_mib: 512,
            gpus: 0,
            limit_ms: 3_600_000,
            state: "running".to_owned(),
        };
        let line = |source: &str, says: &str| SourceLine {
            source: source.to_owned(),
            says: says.to_owned(),
            works: true,
        };
        let status = Status {
            version: "1".to_owned(),
            now_ms: 1_795_438_860_000,
            works_for: Some("ada".to_owned()),
            earned_micros: Some(12_345_678),
            phase: Phase::Frozen,
            why: "on battery since 14:02".to_owned(),
            since_ms: 1_795_438_850_000,
            limits: Limits {
                cores: Some(2),
                core_percent: 50,
                whose: Whose::Mine,
                kinds: vec![Kind::Python],
                ..Limits::default()
            },
            checkpoint_s: 30,
            by_hand: Some(ByHand { wish: Wish::Share, until_ms: Some(1_795_640_000_000) }),
            dashboard_by_hand: None,
            policy: Some("/etc/campusgrid/policy.toml".to_owned()),
            works: vec![work],
            sources: vec![line("UPower", "on battery"), line("terminals", "nobody here for 5 min")],
        };
        expect![[r#"
            frozen since 13:00: on battery since 14:02
            said here: share until 2026-11-25 20:53
            policy file: /etc/campusgrid/policy.toml
            limits: 2 cores, 50 % of each core, only its owner's jobs, only python
            works for ada; has earned 12.34 credits
            12.0#1 ren[2Jder of bob: running since 13:00, 1.5 cores, 512 MiB, at most 60 min
              to end it here: campusgrid-worker stop 12.0#1

            what is sensed:
              UPower     on battery
              terminals  nobody here for 5 min
        "#]]
        .assert_eq(&print(&status, &TimeZone::UTC));
        let read: Status = serde_json::from_str(&json(&status)).unwrap();
        assert_eq!(read, status);
    }
}
