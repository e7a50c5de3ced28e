//! The conditions of one set of rules over time, and which of them keep the machine from being shared.

use campusgrid_protocol::rules::{Conditions, Power, Rules};
use jiff::tz::TimeZone;

use crate::gate::{Gate, HOLD_MS, Look};
use crate::hours::{Place, place};
use crate::senses::{Feed, Now, Presence, Senses};
use crate::words::time;
use crate::zone;

/// How much cooler than allowed a processor must be that was too hot. Degrees Celsius.
const COOLER_C: u8 = 8;
/// How much more charge than asked for a battery must have that had too little. Per cent.
const CHARGE_PERCENT: u8 = 5;

/// Why the machine is not shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) weight: Weight,
    /// They follow "not shared: ".
    pub(crate) words: String,
    /// When it may be over without anything else being sensed.
    pub(crate) over: Option<Over>,
}

/// What a reason does to tasks that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// They wait for a while for it to be over.
    Freezes,
    /// They are handed back at once: it lasts.
    Closes,
}

/// A time to look again, by the one or the other clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Boot(u64),
    Unix(u64),
}

/// One set of rules and what has become of its conditions.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) rules: Rules,
    /// Added to each reason.
    suffix: &'static str,
    /// None: that of the machine.
    zone: Option<TimeZone>,
    presence: Gate,
    power: Gate,
    metered: Gate,
    programs: Gate,
    load: Gate,
    temperature: Gate,
    /// Those that ran when their condition ended.
    ran: String,
}

impl Side {
    pub(crate) fn new(rules: Rules, suffix: &'static str) -> Self {
        Self {
            zone: zone::named(&rules.when.zone),
            rules,
            suffix,
            presence: Gate::New,
            power: Gate::New,
            metered: Gate::New,
            programs: Gate::New,
            load: Gate::New,
            temperature: Gate::New,
            ran: String::new(),
        }
    }

    /// Takes other rules. Conditions that have changed are looked at as if for the first time.
    pub(crate) fn set(&mut self, rules: Rules) {
        let (before, after) = (&self.rules.when, &rules.when);
        let renew = |gate: &mut Gate, is_same: bool| {
            if !is_same {
                *gate = Gate::New;
            }
        };
        renew(&mut self.presence, before.idle_minutes == after.idle_minutes);
        renew(&mut self.power, before.power == after.power);
        renew(&mut self.metered, before.metered == after.metered);
        renew(&mut self.programs, before.programs == after.programs);
        renew(&mut self.load, before.others_load_percent == after.others_load_percent);
        renew(&mut self.temperature, before.temperature_c == after.temperature_c);
        self.zone = zone::named(&after.zone);
        self.rules = rules;
    }

    /// Takes in what is sensed; `settle_ms` is given while tasks are frozen.
    pub(crate) fn step(&mut self, now: Now, senses: &Senses, settle_ms: Option<u64>) {
        let when = &self.rules.when;
        let hold_ms = settle_ms.unwrap_or(HOLD_MS);
        let idle_ms = u64::from(when.idle_minutes) * 60_000;
        let presence = presence(when, senses.presence);
        self.presence.step(now, presence, settle_ms.unwrap_or(idle_ms));
        self.power.step(now, power(when, senses.feed), hold_ms);
        self.metered.step(now, plain(when.metered || !senses.is_metered), hold_ms);
        let runs = running(when, senses);
        if !runs.is_empty() {
            self.ran = runs;
            self.programs.step(now, Look::Bad, hold_ms);
        } else {
            self.programs.step(now, Look::Good, hold_ms);
        }
        self.load.step(now, load(when, senses.others_load_percent), hold_ms);
        self.temperature.step(now, temperature(when, senses.temperature_c), hold_ms);
    }

    /// Why these rules keep the machine from being shared, what lasts longest first.
    pub(crate) fn reasons(&self, now: Now, senses: &Senses, own: &TimeZone) -> Vec<Reason> {
        let when = &self.rules.when;
        let zone = self.zone.as_ref().unwrap_or(own);
        let closes = |words: String, over| Reason {
            weight: Weight::Closes,
            words: words + self.suffix,
            over,
        };
        let mut reasons = Vec::new();
        if !when.enabled {
            reasons.push(closes("sharing is switched off".to_owned(), None));
        }
        if let Some(until_ms) = when.until_ms.filter(|&until_ms| until_ms <= now.unix_ms) {
            let since = time(until_ms, now.unix_ms, zone);
            reasons.push(closes(format!("its time is over since {since}"), None));
        }
        if self.zone.is_none() && !when.zone.is_empty() {
            reasons.push(closes(format!("its time zone {:?} is not known here", when.zone), None));
        }
        if let Place::Outside { until_ms } = place(&when.hours, zone, now.unix_ms) {
            let until = until_ms.map(|ms| format!(" until {}", time(ms, now.unix_ms, zone)));
            let words = format!("outside its hours{}", until.unwrap_or_default());
            reasons.push(closes(words, until_ms.map(Over::Unix)));
        }
        for (gate, words) in self.gates(senses) {
            reasons.extend(self.ended(gate, &words, now, zone));
        }
        reasons
    }

    /// When a condition of the clock's may end that holds now.
    pub(crate) fn next_end(&self, now: Now, own: &TimeZone) -> Option<u64> {
        let when = &self.rules.when;
        let zone = self.zone.as_ref().unwrap_or(own);
        let hours = match place(&when.hours, zone, now.unix_ms) {
            Place::Inside { until_ms } => until_ms,
            Place::Outside { .. } => None,
        };
        let until = when.until_ms.filter(|&until_ms| until_ms > now.unix_ms);
        hours.into_iter().chain(until).min()
    }

    /// The conditions, each with what is said when it has ended.
    fn gates(&self, senses: &Senses) -> [(&Gate, String); 6] {
        let when = &self.rules.when;
        let presence = match senses.presence {
            Presence::Unknown => "whether it is in use cannot be told",
            Presence::Here | Presence::AwaySince { .. } => "in use",
        };
        let power = match when.power {
            Power::Any | Power::Mains => "on battery".to_owned(),
            Power::Above(percent) => format!("on battery with {percent} % of charge or less"),
        };
        let load = match senses.others_load_percent {
            Some(_) => format!("others use more than {} % of its cores", when.others_load_percent),
            None => "what others use of its cores cannot be told".to_owned(),
        };
        let temperature = match senses.temperature_c {
            Some(_) => format!("hotter than {} °C", when.temperature_c),
            None => "how hot it is cannot be told".to_owned(),
        };
        [
            (&self.presence, presence.to_owned()),
            (&self.power, power),
            (&self.metered, "on a metered network".to_owned()),
            (&self.programs, format!("{} runs", self.ran)),
            (&self.load, load),
            (&self.temperature, temperature),
        ]
    }

    fn ended(&self, gate: &Gate, words: &str, now: Now, zone: &TimeZone) -> Option<Reason> {
        let said = |ms| time(ms, now.unix_ms, zone);
        let (words, over) = match gate {
            Gate::New | Gate::Holds { .. } => return None,
            Gate::Ended { at, good: None, .. } => {
                (format!("{words} since {}", said(at.unix_ms)), None)
            }
            Gate::Ended { good: Some(good), hold_ms, .. } => {
                let again = good.unix_ms.saturating_add(*hold_ms);
                let words = format!(
                    "{words} until {}, shared again at {}",
                    said(good.unix_ms),
                    said(again)
                );
                (words, Some(Over::Boot(good.boot_ms.saturating_add(*hold_ms))))
            }
        };
        Some(Reason { weight: Weight::Freezes, words: words + self.suffix, over })
    }
}

fn plain(holds: bool) -> Look {
    if holds { Look::Good } else { Look::Bad }
}

/// What holds by little is fair, what holds by more is good.
fn graded(holds: bool, by_more: bool) -> Look {
    match (holds, by_more) {
        (false, _) => Look::Bad,
        (true, false) => Look::Fair,
        (true, true) => Look::Good,
    }
}

/// As long as nobody has come back, one who has left stays away, however short that is.
fn presence(when: &Conditions, sensed: Presence) -> Look {
    if when.idle_minutes == 0 {
        return Look::Good;
    }
    match sensed {
        Presence::Unknown | Presence::Here => Look::Bad,
        Presence::AwaySince { boot_ms } => Look::GoodSince(boot_ms),
    }
}

fn power(when: &Conditions, feed: Feed) -> Look {
    match (when.power, feed) {
        (Power::Any, _) | (_, Feed::Mains) => Look::Good,
        (Power::Mains, Feed::Battery { .. }) => Look::Bad,
        (Power::Above(least), Feed::Battery { charge_percent }) => {
            let charge = charge_percent.unwrap_or(0);
            graded(charge > least, charge >= least.saturating_add(CHARGE_PERCENT).min(100))
        }
    }
}

/// The named programs that run, as a list in words.
fn running(when: &Conditions, senses: &Senses) -> String {
    let runs: Vec<&str> = when
        .programs
        .iter()
        .filter(|name| senses.programs.contains(name))
        .map(String::as_str)
        .collect();
    match runs.as_slice() {
        [first, second, _, ..] => format!("{first}, {second} and more"),
        few => few.join(" and "),
    }
}

fn load(when: &Conditions, sensed: Option<u8>) -> Look {
    let most = when.others_load_percent;
    if most >= 100 {
        return Look::Good;
    }
    let Some(load) = sensed else { return Look::Bad };
    graded(load <= most, u16::from(load) * 4 <= u16::from(most) * 3)
}

fn temperature(when: &Conditions, sensed: Option<u8>) -> Look {
    let most = when.temperature_c;
    if most == 0 {
        return Look::Good;
    }
    let Some(heat) = sensed else { return Look::Bad };
    graded(heat <= most, heat <= most.saturating_sub(COOLER_C))
}
