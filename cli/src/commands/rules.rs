//! When and how much of a machine is shared, and what was said by hand.

use campusgrid_protocol::rest::rules::SetByHand;
use campusgrid_protocol::rules::{Power, Rules, Whose, Wish};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use ureq::http::Method;

use super::jobs::word;
use super::workers::own_machine;
use crate::arguments::market::Switch;
use crate::arguments::owner::{self, Limits, Most, Pause, Resume, When};
use crate::clock::now_ms;
use crate::error::CliError;
use crate::screen::Cell;
use crate::session::Session;
use crate::units::{mib, moment, parse_moment, parse_seconds, span};
use crate::week::words;

pub(super) fn rules(session: &Session, wanted: &owner::Rules) -> Result<(), CliError> {
    let machine = own_machine(session, &wanted.machine)?;
    let path = format!("workers/{}/rules", machine.worker);
    let mut rules: Rules = session.client.get(&*path)?;
    if !wanted.is_question() {
        change_when(&mut rules, &wanted.when)?;
        change_limits(&mut rules, &wanted.limits)?;
        rules = session.client.send(Method::PUT, path, &rules, None)?;
    }
    show(session, &rules);
    Ok(())
}

fn change_when(rules: &mut Rules, wanted: &When) -> Result<(), CliError> {
    let when = &mut rules.when;
    when.enabled = wanted.shared.map_or(when.enabled, Switch::is_on);
    when.idle_minutes = wanted.idle.map_or(when.idle_minutes, |idle| idle.div_ceil(60));
    if let Some(hours) = &wanted.hours {
        when.hours.clone_from(&hours.0);
    }
    if let Some(zone) = &wanted.zone {
        when.zone.clone_from(zone);
    }
    when.power = wanted.power.unwrap_or(when.power);
    when.metered = wanted.metered.map_or(when.metered, Switch::is_on);
    if let Some(programs) = &wanted.programs {
        when.programs.clone_from(&programs.0);
    }
    when.others_load_percent = wanted.load.unwrap_or(when.others_load_percent);
    when.temperature_c = wanted.temperature.unwrap_or(when.temperature_c);
    when.until_ms = match wanted.until.as_deref() {
        None => when.until_ms,
        Some("never") => None,
        Some(text) => Some(parse_moment(text, now_ms()).map_err(CliError::Usage)?),
    };
    when.grace_s = wanted.grace.unwrap_or(when.grace_s);
    when.checkpoint_s = wanted.checkpoint.unwrap_or(when.checkpoint_s);
    Ok(())
}

fn change_limits(rules: &mut Rules, wanted: &Limits) -> Result<(), CliError> {
    let limits = &mut rules.limits;
    let most = |now: Option<u32>, wanted: Option<Most>| wanted.map_or(now, |Most(most)| most);
    limits.cores = most(limits.cores, wanted.cores);
    limits.core_percent = wanted.core_percent.unwrap_or(limits.core_percent);
    limits.ram_mib = most(limits.ram_mib, wanted.ram);
    limits.disk_mib = most(limits.disk_mib, wanted.disk);
    let gpus = most(limits.gpus.map(u32::from), wanted.gpus).map(u16::try_from).transpose();
    limits.gpus =
        gpus.map_err(|_| CliError::Usage("--gpus: so many GPUs has nobody".to_owned()))?;
    limits.network_kib_s = most(limits.network_kib_s, wanted.network);
    limits.at_once = most(limits.at_once, wanted.at_once);
    limits.longest_s = most(limits.longest_s, wanted.longest);
    if let Some(whose) = &wanted.whose {
        limits.whose.clone_from(whose);
    }
    if let Some(kinds) = &wanted.kinds {
        limits.kinds.clone_from(&kinds.0);
    }
    Ok(())
}

pub(super) fn pause(session: &Session, wanted: &Pause) -> Result<(), CliError> {
    by_hand(session, &wanted.machine, Wish::Pause, wanted.time.as_deref())
}

pub(super) fn resume(session: &Session, wanted: &Resume) -> Result<(), CliError> {
    if let Some(time) = &wanted.share {
        return by_hand(session, &wanted.machine, Wish::Share, Some(time));
    }
    let machine = own_machine(session, &wanted.machine)?;
    session.client.delete(format!("workers/{}/by-hand", machine.worker))?;
    let rules: Rules = session.client.get(format!("workers/{}/rules", machine.worker))?;
    say_wish(session, &machine.name, &rules);
    Ok(())
}

fn by_hand(
    session: &Session,
    machine: &str,
    wish: Wish,
    time: Option<&str>,
) -> Result<(), CliError> {
    let machine = own_machine(session, machine)?;
    let (for_s, until_ms) = match time {
        None => (None, None),
        Some(text) => match parse_seconds(text) {
            Ok(seconds) if !text.contains(':') => (Some(seconds), None),
            Ok(_) | Err(_) => (None, Some(later(text).map_err(CliError::Usage)?)),
        },
    };
    let body = SetByHand { wish, for_s, until_ms };
    let path = format!("workers/{}/by-hand", machine.worker);
    let rules: Rules = session.client.send(Method::POST, path, &body, None)?;
    say_wish(session, &machine.name, &rules);
    Ok(())
}

/// A moment that is to come: `tomorrow`, `18:00`, or as everywhere.
fn later(text: &str) -> Result<u64, String> {
    let now = i64::try_from(now_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let now = now.unwrap_or_default().to_zoned(TimeZone::system());
    let failed = |_| format!("{text:?} does not exist on this machine's clock");
    let at = if matches!(text, "tomorrow" | "until-tomorrow") {
        now.tomorrow().and_then(|day| day.start_of_day()).map_err(failed)?
    } else if let Ok(time) = text.parse::<jiff::civil::Time>() {
        let today = now.with().time(time).build().map_err(failed)?;
        if today > now { today } else { today.tomorrow().map_err(failed)? }
    } else {
        return parse_moment(text, now_ms());
    };
    let at = at.round(Unit::Second).map_err(failed)?;
    u64::try_from(at.timestamp().as_millisecond()).map_err(|_| format!("{text:?} is over"))
}

fn say_wish(session: &Session, name: &str, rules: &Rules) {
    session.screen.object(rules);
    let words = wish_in_words(rules).unwrap_or_else(|| "is shared by its rules".to_owned());
    session.screen.say(format!("{name} {words}."));
}

fn wish_in_words(rules: &Rules) -> Option<String> {
    let by_hand = rules.by_hand?;
    let until = by_hand.until_ms.map_or_else(String::new, |at| format!(" until {}", moment(at)));
    Some(match by_hand.wish {
        Wish::Pause => format!("is paused{until}"),
        Wish::Share => format!(
            "is shared{until}, whatever its conditions say, unless the policy file on it \
             forbids"
        ),
    })
}

fn show(session: &Session, rules: &Rules) {
    session.screen.object(rules);
    let when = &rules.when;
    let yes = |is: bool| if is { "yes" } else { "no" };
    let seconds = |seconds: u32| span(u64::from(seconds) * 1000);
    let mut pairs: Vec<(&str, Cell)> = vec![("shared", yes(when.enabled).into())];
    pairs.extend(wish_in_words(rules).map(|words| ("by hand", Cell::from(words))));
    let idle = match when.idle_minutes {
        0 => "whether or not".to_owned(),
        minutes => format!("for {minutes} min"),
    };
    let power = match when.power {
        Power::Any => "any".to_owned(),
        Power::Mains => "mains".to_owned(),
        Power::Above(percent) => format!("mains, or above {percent} %"),
    };
    let zone = if when.zone.is_empty() { "" } else { &format!(" ({})", when.zone) };
    pairs.extend([
        ("idle", Cell::from(idle)),
        ("hours", format!("{}{zone}", words(&when.hours)).into()),
        ("power", power.into()),
        ("metered", yes(when.metered).into()),
    ]);
    if !when.programs.is_empty() {
        pairs.push(("not with", when.programs.join(", ").into()));
    }
    if when.others_load_percent < 100 {
        pairs.push(("load", format!("below {} %", when.others_load_percent).into()));
    }
    if when.temperature_c > 0 {
        pairs.push(("temperature", format!("below {} °C", when.temperature_c).into()));
    }
    pairs.extend(when.until_ms.map(|at| ("until", Cell::from(moment(at)))));
    pairs.push(("grace", seconds(when.grace_s).into()));
    pairs.push(("checkpoint", seconds(when.checkpoint_s).into()));
    pairs.extend(limits_in_words(rules));
    session.screen.pairs(&pairs);
}

fn limits_in_words(rules: &Rules) -> Vec<(&'static str, Cell)> {
    let limits = &rules.limits;
    let count = |most: Option<u32>| most.map(|most| Cell::from(most.to_string()));
    let size = |most: Option<u32>| most.map(|most| Cell::from(mib(most)));
    let longest = limits.longest_s.map(|most| Cell::from(span(u64::from(most) * 1000)));
    let network = limits.network_kib_s.map(|most| Cell::from(format!("{most} KiB/s")));
    let whose = match &limits.whose {
        Whose::Everyone => None,
        Whose::Mine => Some(Cell::from("mine")),
        Whose::Of(names) => Some(Cell::from(names.join(", "))),
    };
    let kinds = (!limits.kinds.is_empty())
        .then(|| Cell::from(limits.kinds.iter().map(word).collect::<Vec<_>>().join(", ")));
    let percent =
        (limits.core_percent < 100).then(|| Cell::from(format!("{} %", limits.core_percent)));
    let all = [
        ("cores", count(limits.cores)),
        ("of each core", percent),
        ("memory", size(limits.ram_mib)),
        ("disk", size(limits.disk_mib)),
        ("GPUs", count(limits.gpus.map(u32::from))),
        ("network", network),
        ("at once", count(limits.at_once)),
        ("longest", longest),
        ("whose jobs", whose),
        ("kinds", kinds),
    ];
    all.into_iter().filter_map(|(name, cell)| Some((name, cell?))).collect()
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rules::{Power, Rules};

    use super::{change_limits, change_when, later};
    use crate::arguments::market::Switch;
    use crate::arguments::owner::{Limits, Most, When};
    use crate::clock::now_ms;

    #[test]
    fn what_is_not_named_stays() {
        let mut rules = Rules::default();
        rules.limits.cores = Some(4);
        rules.when.idle_minutes = 9;
        let when = When {
            idle: Some(61),
            power: Some(Power::Any),
            metered: Some(Switch::On),
            ..When::default()
        };
        change_when(&mut rules, &when).unwrap();
        let limits =
            Limits { gpus: Some(Most(Some(1))), ram: Some(Most(None)), ..Limits::default() };
        change_limits(&mut rules, &limits).unwrap();
        assert_eq!((rules.when.idle_minutes, rules.when.power), (2, Power::Any));
        assert!(rules.when.metered && rules.when.enabled);
        assert_eq!((rules.limits.cores, rules.limits.gpus), (Some(4), Some(1)));
        change_limits(&mut rules, &Limits { cores: Some(Most(None)), ..Limits::default() })
            .unwrap();
        assert_eq!(rules.limits.cores, None);
        let absurd = Limits { gpus: Some(Most(Some(70_000))), ..Limits::default() };
        assert!(change_limits(&mut rules, &absurd).is_err());
    }

    #[test]
    fn moments_that_are_to_come_are_told_from_spans() {
        let now = now_ms();
        for text in ["tomorrow", "00:00", "23:59", "+1h"] {
            let at = later(text).unwrap();
            assert!(at >= now && at <= now + 49 * 3_600_000, "{text}: {at}");
        }
        assert!(later("soon").is_err());
    }
}
