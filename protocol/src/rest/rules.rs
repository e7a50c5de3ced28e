//! An owner's rules for a machine, as they come from a dashboard: what of them is wrong.

use serde::{Deserialize, Serialize};

use super::{FieldError, check_range, field, quoted};
use crate::rules::{
    ByHand, Conditions, Limits, Power, RULE_NAME_MAX_BYTES, RULE_NAMES_MAX, RULE_TIME_MAX_S, Rules,
    Span, Whose, Wish,
};
use crate::text::{check_user_name, is_hidden};

/// The longest time that a machine must have been unused: a day. Minutes.
pub const IDLE_MAX_MINUTES: u32 = 24 * 60;
/// The longest time that tasks stay frozen: an hour. Seconds.
pub const GRACE_MAX_S: u32 = 3600;
/// The longest time that a task has to write what it wants to go on from. Seconds.
pub const CHECKPOINT_GRACE_MAX_S: u32 = 600;

const DAY_MINUTES: u16 = 24 * 60;
const ALL_DAYS: u8 = 0b111_1111;
/// The end of the year 9999. Milliseconds since the Unix epoch.
const TIME_MAX_MS: u64 = 253_402_300_799_999;

/// `POST workers/{id}/by-hand`: what an owner wants now, whatever the conditions say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(example = json!({"wish": "pause", "for_s": 3600}))
)]
#[serde(deny_unknown_fields)]
pub struct SetByHand {
    pub wish: Wish,
    /// For so long, up to a year; for ever, if neither this nor `until_ms` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u32>,
    /// Until then. Milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

impl SetByHand {
    /// What that means at a time.
    ///
    /// # Errors
    ///
    /// All fields that are wrong.
    pub fn check(&self, now_ms: u64) -> Result<ByHand, Vec<FieldError>> {
        let mut errors = Vec::new();
        let longest_ms = now_ms.saturating_add(u64::from(RULE_TIME_MAX_S) * 1000);
        let until_ms = match (self.for_s, self.until_ms) {
            (None, until_ms) => until_ms,
            (Some(for_s), None) => {
                check_range(&mut errors, "for_s", for_s, 1, RULE_TIME_MAX_S);
                Some(now_ms.saturating_add(u64::from(for_s) * 1000))
            }
            (Some(_), Some(_)) => {
                errors.push(field("for_s", "takes the place of until_ms"));
                None
            }
        };
        if self.until_ms.is_some_and(|until_ms| until_ms <= now_ms || until_ms > longest_ms) {
            errors.push(field("until_ms", "must lie ahead, by a year at most"));
        }
        if errors.is_empty() { Ok(ByHand { wish: self.wish, until_ms }) } else { Err(errors) }
    }
}

impl Rules {
    /// Checks every rule. Whether its time zone is one that is known, is for whoever knows them.
    ///
    /// # Errors
    ///
    /// All fields that are wrong, by their paths, such as `limits.cores`.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        check_conditions(&mut errors, &self.when);
        check_limits(&mut errors, &self.limits);
        if let Some(ByHand { until_ms: Some(until_ms), .. }) = self.by_hand {
            check_time(&mut errors, "by_hand.until_ms", until_ms);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

fn check_conditions(errors: &mut Vec<FieldError>, when: &Conditions) {
    check_range(errors, "when.idle_minutes", when.idle_minutes, 0, IDLE_MAX_MINUTES);
    check_count(errors, "when.hours", when.hours.len());
    for (place, span) in when.hours.iter().take(RULE_NAMES_MAX).enumerate() {
        check_span(errors, place, span);
    }
    check_zone(errors, &when.zone);
    if let Power::Above(percent) = when.power {
        check_range(errors, "when.power.above", percent.into(), 1, 99);
    }
    check_count(errors, "when.programs", when.programs.len());
    for program in when.programs.iter().take(RULE_NAMES_MAX) {
        if !is_program(program) {
            let message = format!(
                "{} is not the name of a program's file: 1 to {RULE_NAME_MAX_BYTES} bytes without '/'",
                quoted(program)
            );
            errors.push(field("when.programs", &message));
        }
    }
    let load = when.others_load_percent.into();
    check_range(errors, "when.others_load_percent", load, 1, 100);
    if when.temperature_c != 0 {
        check_range(errors, "when.temperature_c", when.temperature_c.into(), 30, 120);
    }
    if let Some(until_ms) = when.until_ms {
        check_time(errors, "when.until_ms", until_ms);
    }
    check_range(errors, "when.grace_s", when.grace_s, 0, GRACE_MAX_S);
    check_range(errors, "when.checkpoint_s", when.checkpoint_s, 0, CHECKPOINT_GRACE_MAX_S);
}

fn check_span(errors: &mut Vec<FieldError>, place: usize, span: &Span) {
    let Span { days, from, to } = span;
    if days.0 == 0 || days.0 > ALL_DAYS {
        let message = "must be 1 to 127: bit 0 is Monday, bit 6 is Sunday";
        errors.push(field(&format!("when.hours[{place}].days"), message));
    }
    for (name, minute) in [("from", *from), ("to", *to)] {
        let name = format!("when.hours[{place}].{name}");
        check_range(errors, &name, minute.into(), 0, u32::from(DAY_MINUTES) - 1);
    }
}

fn check_limits(errors: &mut Vec<FieldError>, limits: &Limits) {
    check_range(errors, "limits.core_percent", limits.core_percent.into(), 10, 100);
    let bounded = [
        ("limits.cores", limits.cores, 1, 1024),
        ("limits.ram_mib", limits.ram_mib, 16, 4 << 20),
        ("limits.disk_mib", limits.disk_mib, 1, 4 << 20),
        ("limits.gpus", limits.gpus.map(u32::from), 0, 64),
        ("limits.network_kib_s", limits.network_kib_s, 1, 16 << 20),
        ("limits.at_once", limits.at_once, 1, 1024),
        ("limits.longest_s", limits.longest_s, 1, 30 * 24 * 3600),
    ];
    for (name, value, min, max) in bounded {
        if let Some(value) = value {
            check_range(errors, name, value, min, max);
        }
    }
    check_whose(errors, &limits.whose);
    let is_twice = |(place, kind)| limits.kinds[..place].contains(kind);
    if limits.kinds.iter().enumerate().any(is_twice) {
        errors.push(field("limits.kinds", "must name each only once"));
    }
}

fn check_whose(errors: &mut Vec<FieldError>, whose: &Whose) {
    let Whose::Of(names) = whose else { return };
    if names.is_empty() {
        errors.push(field("limits.whose.of", "must name somebody, or be \"mine\""));
    }
    check_count(errors, "limits.whose.of", names.len());
    for name in names.iter().take(RULE_NAMES_MAX) {
        if let Err(error) = check_user_name(name) {
            errors.push(field("limits.whose.of", &format!("{} {error}", quoted(name))));
        }
    }
}

/// The form only: `Europe/Berlin`, `UTC`, `Etc/GMT+1`; or nothing.
fn check_zone(errors: &mut Vec<FieldError>, zone: &str) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    if zone.len() > RULE_NAME_MAX_BYTES || !zone.chars().all(is_plain) {
        errors.push(field("when.zone", "must be a time zone's name such as Europe/Berlin"));
    }
}

fn is_program(name: &str) -> bool {
    (1..=RULE_NAME_MAX_BYTES).contains(&name.len())
        && !name.trim().is_empty()
        && !name.contains(|c: char| c == '/' || is_hidden(c))
}

fn check_count(errors: &mut Vec<FieldError>, name: &str, count: usize) {
    if count > RULE_NAMES_MAX {
        errors.push(field(name, &format!("must be at most {RULE_NAMES_MAX}")));
    }
}

fn check_time(errors: &mut Vec<FieldError>, name: &str, ms: u64) {
    if ms > TIME_MAX_MS {
        errors.push(field(name, "must be before the year 10000"));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::SetByHand;
    use crate::rest::tests::lines;
    use crate::rules::{ByHand, Rules, Wish};

    fn told(json: &str) -> String {
        let rules: Rules = serde_json::from_str(json).unwrap();
        rules.check().map_or_else(|errors| lines(&errors), |()| String::new())
    }

    #[test]
    fn rules_that_say_nothing_or_a_lot_are_right() {
        for right in [
            "{}",
            r#"{"when":{"power":"any","zone":"Europe/Berlin","hours":[{"days":31,"from":1080,"to":480}]}}"#,
            r#"{"when":{"power":{"above":50},"programs":["zoom","Web Content"],"temperature_c":80}}"#,
            r#"{"limits":{"cores":2,"gpus":0,"whose":{"of":["ada"]},"kinds":["python","container"]}}"#,
            r#"{"limits":{"whose":"mine"},"by_hand":{"wish":"pause","until_ms":null}}"#,
        ] {
            assert_eq!(told(right), "", "{right}");
        }
        for unknown in [r#"{"whem":{}}"#, r#"{"when":{"idle":1}}"#, r#"{"limits":{"core":1}}"#] {
            assert!(serde_json::from_str::<Rules>(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn each_rule_is_checked() {
        let when = r#"{"when":{"idle_minutes":1441,"hours":[{"days":0,"from":1440,"to":0},
            {"days":128,"from":0,"to":9999}],"zone":"Europe/../Berlin","power":{"above":100},
            "programs":["","/bin/sh","a\u202eb"],"others_load_percent":0,"temperature_c":29,
            "until_ms":253402300800000,"grace_s":3601,"checkpoint_s":601}}"#;
        expect![[r#"
            when.idle_minutes: must be 0 to 1440, is 1441
            when.hours[0].days: must be 1 to 127: bit 0 is Monday, bit 6 is Sunday
            when.hours[0].from: must be 0 to 1439, is 1440
            when.hours[1].days: must be 1 to 127: bit 0 is Monday, bit 6 is Sunday
            when.hours[1].to: must be 0 to 1439, is 9999
            when.zone: must be a time zone's name such as Europe/Berlin
            when.power.above: must be 1 to 99, is 100
            when.programs: "" is not the name of a program's file: 1 to 64 bytes without '/'
            when.programs: "/bin/sh" is not the name of a program's file: 1 to 64 bytes without '/'
            when.programs: "a\u{202e}b" is not the name of a program's file: 1 to 64 bytes without '/'
            when.others_load_percent: must be 1 to 100, is 0
            when.temperature_c: must be 30 to 120, is 29
            when.until_ms: must be before the year 10000
            when.grace_s: must be 0 to 3600, is 3601
            when.checkpoint_s: must be 0 to 600, is 601
        "#]]
        .assert_eq(&told(when));
        let limits = r#"{"limits":{"cores":0,"core_percent":9,"ram_mib":15,"disk_mib":0,"gpus":65,
            "network_kib_s":0,"at_once":0,"longest_s":0,"whose":{"of":["a b"]},"kinds":["c","c"]},
            "by_hand":{"wish":"share","until_ms":253402300800000}}"#;
        expect![[r#"
            limits.core_percent: must be 10 to 100, is 9
            limits.cores: must be 1 to 1024, is 0
            limits.ram_mib: must be 16 to 4194304, is 15
            limits.disk_mib: must be 1 to 4194304, is 0
            limits.gpus: must be 0 to 64, is 65
            limits.network_kib_s: must be 1 to 16777216, is 0
            limits.at_once: must be 1 to 1024, is 0
            limits.longest_s: must be 1 to 2592000, is 0
            limits.whose.of: "a b" must start with a letter or a digit and contain only letters, digits, '.', '_' and '-'
            limits.kinds: must name each only once
            by_hand.until_ms: must be before the year 10000
        "#]]
        .assert_eq(&told(limits));
        assert_eq!(
            told(r#"{"limits":{"whose":{"of":[]}}}"#),
            "limits.whose.of: must name somebody, or be \"mine\"\n"
        );
        let many = serde_json::json!({"when": {"programs": vec!["a"; 51]}}).to_string();
        assert_eq!(told(&many), "when.programs: must be at most 50\n");
    }

    #[test]
    fn a_wish_by_hand_lasts_for_some_time_or_for_ever() {
        let check = |json: &str| {
            let body: SetByHand = serde_json::from_str(json).unwrap();
            body.check(1_000).map_err(|errors| lines(&errors))
        };
        let by_hand = |wish, until_ms| Ok(ByHand { wish, until_ms });
        assert_eq!(check(r#"{"wish":"pause"}"#), by_hand(Wish::Pause, None));
        assert_eq!(check(r#"{"wish":"pause","for_s":2}"#), by_hand(Wish::Pause, Some(3_000)));
        assert_eq!(check(r#"{"wish":"share","until_ms":1001}"#), by_hand(Wish::Share, Some(1_001)));
        let wrong = [
            r#"{"wish":"pause","for_s":0}"#,
            r#"{"wish":"pause","for_s":31622401}"#,
            r#"{"wish":"pause","until_ms":1000}"#,
            r#"{"wish":"pause","until_ms":31622401001}"#,
            r#"{"wish":"pause","for_s":1,"until_ms":1001}"#,
        ];
        let told: String = wrong.map(|json| check(json).unwrap_err()).concat();
        expect![[r#"
            for_s: must be 1 to 31622400, is 0
            for_s: must be 1 to 31622400, is 31622401
            until_ms: must lie ahead, by a year at most
            until_ms: must lie ahead, by a year at most
            for_s: takes the place of until_ms
        "#]]
        .assert_eq(&told);
    }
}
