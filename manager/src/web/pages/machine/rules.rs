//! A machine's rules as the form on its page has them.

mod spans;

use std::str::FromStr;

use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::rules::{ByHand, Conditions, Kind, Limits, Power, Rules, Whose};

use crate::web::pages::form::{Fields, moments};

pub(in crate::web::pages) use spans::{DAYS, SpanRow, rows};

/// Kinds of work: as the form sends them, and in words.
pub(in crate::web::pages) const KINDS: [(&str, &str, Kind); 4] = [
    ("kind.python", "Python", Kind::Python),
    ("kind.c", "C", Kind::C),
    ("kind.shell", "Shell commands", Kind::Shell),
    ("kind.container", "Whatever is in a container", Kind::Container),
];

/// The form as rules; what was said by hand stays.
///
/// # Errors
///
/// All fields that cannot be read; whether the rest makes sense, the API's checks say.
pub(super) fn read(fields: &Fields, by_hand: Option<ByHand>) -> Result<Rules, Vec<FieldError>> {
    let mut errors = Vec::new();
    let rules = Rules {
        when: read_when(fields, &mut errors),
        limits: read_limits(fields, &mut errors),
        by_hand,
    };
    if errors.is_empty() { Ok(rules) } else { Err(errors) }
}

fn read_when(fields: &Fields, errors: &mut Vec<FieldError>) -> Conditions {
    let usual = Conditions::default();
    let charge = number(fields, "charge", errors);
    let power = match (fields.text("power"), charge) {
        ("any", _) => Power::Any,
        ("above", Some(charge)) => Power::Above(charge),
        ("above", None) => {
            errors.push(wrong("when.power", "must be a charge in per cent"));
            Power::Mains
        }
        _ => Power::Mains,
    };
    let until = fields.text("until");
    let until_ms = moments::parse(until, fields.text("zone_minutes"));
    if until_ms.is_none() && !until.trim().is_empty() {
        errors.push(wrong("when.until_ms", "must be a date and a time"));
    }
    Conditions {
        enabled: is_on(fields, "enabled"),
        idle_minutes: number(fields, "idle_minutes", errors).unwrap_or(0),
        hours: spans::read(fields, errors),
        zone: fields.text("zone").trim().to_owned(),
        power,
        metered: is_on(fields, "metered"),
        programs: lines(fields.text("programs")),
        others_load_percent: number(fields, "others_load_percent", errors)
            .unwrap_or(usual.others_load_percent),
        temperature_c: number(fields, "temperature_c", errors).unwrap_or(0),
        until_ms,
        grace_s: number(fields, "grace_s", errors).unwrap_or(usual.grace_s),
        checkpoint_s: number(fields, "checkpoint_s", errors).unwrap_or(usual.checkpoint_s),
    }
}

fn read_limits(fields: &Fields, errors: &mut Vec<FieldError>) -> Limits {
    let chosen = KINDS.iter().filter(|(name, _, _)| is_on(fields, name));
    let mut kinds: Vec<Kind> = chosen.map(|(_, _, kind)| *kind).collect();
    if kinds.is_empty() {
        errors.push(wrong("limits.kinds", "must be one at least"));
    } else if kinds.len() == KINDS.len() {
        kinds.clear();
    }
    let whose = match fields.text("whose") {
        "mine" => Whose::Mine,
        "of" => Whose::Of(names(fields.text("people"))),
        _ => Whose::Everyone,
    };
    Limits {
        cores: number(fields, "cores", errors),
        core_percent: number(fields, "core_percent", errors)
            .unwrap_or(Limits::default().core_percent),
        ram_mib: number(fields, "ram_mib", errors),
        disk_mib: number(fields, "disk_mib", errors),
        gpus: number(fields, "gpus", errors),
        network_kib_s: number(fields, "network_kib_s", errors),
        at_once: number(fields, "at_once", errors),
        longest_s: number(fields, "longest_s", errors),
        whose,
        kinds,
    }
}

/// Rules as the fields of a form that reads as them.
pub(super) fn write(rules: &Rules) -> Fields {
    let mut fields = Fields::default();
    write_when(&mut fields, &rules.when);
    write_limits(&mut fields, &rules.limits);
    fields
}

fn write_when(fields: &mut Fields, when: &Conditions) {
    check(fields, "enabled", when.enabled);
    check(fields, "metered", when.metered);
    fields.set("idle_minutes", &unless(when.idle_minutes, 0));
    fields.set("zone", &when.zone);
    fields.set("programs", &when.programs.join("\n"));
    fields.set("others_load_percent", &unless(when.others_load_percent, 100));
    fields.set("temperature_c", &unless(when.temperature_c, 0));
    fields.set("grace_s", &when.grace_s.to_string());
    fields.set("checkpoint_s", &when.checkpoint_s.to_string());
    let power = match when.power {
        Power::Any => "any",
        Power::Mains => "mains",
        Power::Above(charge) => {
            fields.set("charge", &charge.to_string());
            "above"
        }
    };
    fields.set("power", power);
    fields.set("until", &when.until_ms.map(moments::write).unwrap_or_default());
    spans::write(fields, &when.hours);
}

fn write_limits(fields: &mut Fields, limits: &Limits) {
    for (name, number) in [
        ("cores", limits.cores),
        ("ram_mib", limits.ram_mib),
        ("disk_mib", limits.disk_mib),
        ("gpus", limits.gpus.map(u32::from)),
        ("network_kib_s", limits.network_kib_s),
        ("at_once", limits.at_once),
        ("longest_s", limits.longest_s),
    ] {
        fields.set(name, &number.map_or(String::new(), |number| number.to_string()));
    }
    fields.set("core_percent", &unless(limits.core_percent, 100));
    let whose = match &limits.whose {
        Whose::Everyone => "everyone",
        Whose::Mine => "mine",
        Whose::Of(people) => {
            fields.set("people", &people.join(" "));
            "of"
        }
    };
    fields.set("whose", whose);
    for (name, _, kind) in KINDS {
        check(fields, name, limits.kinds.is_empty() || limits.kinds.contains(&kind));
    }
}

/// A number that may be left out.
fn number<N: FromStr>(fields: &Fields, name: &str, errors: &mut Vec<FieldError>) -> Option<N> {
    let text = fields.text(name).trim();
    if text.is_empty() {
        return None;
    }
    let number = text.parse().ok();
    if number.is_none() {
        let is_whole = text.parse::<i64>().is_ok();
        let message = if is_whole { "is out of range" } else { "must be a whole number" };
        errors.push(wrong(&path_of(name), message));
    }
    number
}

/// A field of the form as the API calls it.
fn path_of(name: &str) -> String {
    match name {
        "charge" => "when.power".to_owned(),
        "idle_minutes" | "others_load_percent" | "temperature_c" | "grace_s" | "checkpoint_s" => {
            format!("when.{name}")
        }
        name => format!("limits.{name}"),
    }
}

fn is_on(fields: &Fields, name: &str) -> bool {
    !fields.text(name).is_empty()
}

fn check(fields: &mut Fields, name: &str, is_on: bool) {
    if is_on {
        fields.set(name, "on");
    }
}

/// Empty for what stands for no rule.
fn unless<N: PartialEq + ToString>(number: N, none: N) -> String {
    if number == none { String::new() } else { number.to_string() }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Names with blanks or commas between them.
fn names(text: &str) -> Vec<String> {
    let names = text.split(|c: char| c.is_whitespace() || c == ',');
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn wrong(field: &str, message: &str) -> FieldError {
    FieldError { field: field.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rules::{
        ByHand, Conditions, Days, Kind, Limits, Power, Rules, Span, Whose, Wish,
    };

    use super::{Fields, read, write};

    fn wrong_fields(changes: &[(&str, &str)]) -> Vec<String> {
        let mut fields = write(&Rules::default());
        for (name, text) in changes {
            fields.set(name, text);
        }
        read(&fields, None).err().into_iter().flatten().map(|error| error.field).collect()
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        let when = Conditions {
            enabled: false,
            idle_minutes: 5,
            hours: vec![
                Span { days: Days(0b1_1111), from: 18 * 60, to: 8 * 60 + 30 },
                Span { days: Days(0b110_0000), from: 0, to: 0 },
            ],
            zone: "Europe/Berlin".to_owned(),
            power: Power::Above(60),
            metered: true,
            programs: vec!["zoom".to_owned(), "my game".to_owned()],
            others_load_percent: 30,
            temperature_c: 85,
            until_ms: Some(1_800_000_000_000),
            grace_s: 10,
            checkpoint_s: 45,
        };
        let limits = Limits {
            cores: Some(2),
            core_percent: 50,
            ram_mib: Some(2048),
            disk_mib: Some(4096),
            gpus: Some(0),
            network_kib_s: Some(500),
            at_once: Some(1),
            longest_s: Some(3600),
            whose: Whose::Of(vec!["ann".to_owned(), "bob".to_owned()]),
            kinds: vec![Kind::Python, Kind::C],
        };
        let by_hand = Some(ByHand { wish: Wish::Pause, until_ms: None });
        for rules in [Rules::default(), Rules { when, limits, by_hand }] {
            assert_eq!(read(&write(&rules), rules.by_hand), Ok(rules));
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_by_the_names_of_the_api() {
        assert_eq!(
            wrong_fields(&[("idle_minutes", "soon"), ("core_percent", "1000"), ("cores", "-1")]),
            ["when.idle_minutes", "limits.cores", "limits.core_percent"]
        );
        assert_eq!(wrong_fields(&[("power", "above")]), ["when.power"]);
        assert_eq!(wrong_fields(&[("until", "later")]), ["when.until_ms"]);
        let kinds = ["kind.python", "kind.c", "kind.shell", "kind.container"];
        assert_eq!(wrong_fields(&kinds.map(|kind| (kind, ""))), ["limits.kinds"]);
        assert_eq!(wrong_fields(&[]), [""; 0]);
        assert!(read(&Fields::default(), None).is_err());
    }
}
