//! An owner's rules for a machine: when it is shared, how much of it, and with whom; and what a machine
//! says of itself by them.
//!
//! Rules are made in the dashboard and kept by the manager; a policy file on the machine holds the same
//! vocabulary and holds in addition, so that nothing can lift what it says.

mod span;

use serde::{Deserialize, Serialize};

pub use span::SpanError;

/// Most programs, spans or people that one rule names.
pub const RULE_NAMES_MAX: usize = 50;
/// Longest name of a program or of a time zone, bytes.
pub const RULE_NAME_MAX_BYTES: usize = 64;
/// The longest of all times in rules but [`Limits::longest_s`]: a year. Seconds.
pub const RULE_TIME_MAX_S: u32 = 366 * 24 * 3600;
/// Between the signal and the end of a task that is handed back, unless its owner says otherwise.
pub const CHECKPOINT_GRACE_S: u32 = 30;
/// How long a task stays frozen before it is handed back, unless the owner says otherwise.
pub const FREEZE_GRACE_S: u32 = 60;

/// All that an owner says about one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    pub when: Conditions,
    pub limits: Limits,
    /// What the owner has said by hand, which counts before `when` as long as it lasts.
    pub by_hand: Option<ByHand>,
}

/// When a machine is shared: all of these must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Never, if not.
    pub enabled: bool,
    /// How long nobody must have used the machine; 0 for whether or not. Minutes.
    pub idle_minutes: u32,
    /// Hours of the week, by the clock of `zone`; none for all.
    pub hours: Vec<Span>,
    /// IANA's name of a time zone, such as `Europe/Berlin`; the machine's own if empty.
    pub zone: String,
    pub power: Power,
    /// Whether also on a network that is paid by volume.
    pub metered: bool,
    /// Programs that must not run, by the name of their file, such as `zoom`.
    pub programs: Vec<String>,
    /// The most of all cores that others than tasks may use; 100 for whatever. Per cent.
    pub others_load_percent: u8,
    /// The hottest that the processor may be; 0 for whatever. Degrees Celsius.
    pub temperature_c: u8,
    /// Until when the machine is offered at all. Milliseconds since the Unix epoch.
    pub until_ms: Option<u64>,
    /// How long tasks stay frozen, when a condition ends, before they are handed back.
    pub grace_s: u32,
    /// How long a task that is handed back has to write what it wants to go on from.
    pub checkpoint_s: u32,
}

/// Hours of the week in which a machine is shared. One that ends where it begins, or before, goes on
/// into the day that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Span {
    pub days: Days,
    /// Minutes since midnight, below 1440.
    pub from: u16,
    /// As `from`, exclusive.
    pub to: u16,
}

/// Days of the week on which a span begins: bit 0 is Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Days(pub u8);

/// What a machine must be fed by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// Whatever.
    Any,
    /// The mains.
    #[default]
    Mains,
    /// The mains, or a battery with more than this charge. Per cent.
    Above(u8),
}

/// How much of a machine is shared, and with whom. `None` leaves it to what the machine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = RuleLimits))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub cores: Option<u32>,
    /// Of each core that a task has, 10 to 100.
    pub core_percent: u8,
    pub ram_mib: Option<u32>,
    pub disk_mib: Option<u32>,
    pub gpus: Option<u16>,
    /// For all files that tasks need and leave, in each direction. KiB per second.
    pub network_kib_s: Option<u32>,
    /// Tasks that may run at once.
    pub at_once: Option<u32>,
    /// The longest time limit of a task. Seconds.
    pub longest_s: Option<u32>,
    pub whose: Whose,
    /// None for all.
    pub kinds: Vec<Kind>,
}

/// Whose jobs a machine runs; its owner's in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    #[default]
    Everyone,
    /// These users', by name.
    Of(Vec<String>),
    Mine,
}

/// What an owner tells jobs apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Python,
    C,
    Shell,
    /// Of any language, in an image.
    Container,
}

/// What an owner has said by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ByHand {
    pub wish: Wish,
    /// For ever, if absent. Milliseconds since the Unix epoch.
    pub until_ms: Option<u64>,
}

/// What is wished by hand. A pause counts before a wish to share, wherever each of them was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Whatever the conditions say; but those of the policy file hold.
    Share,
    Pause,
}

/// What a machine says of its sharing, after it has joined and whenever that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    pub phase: Phase,
    /// Why it is not [`Phase::Open`], in words that follow "not shared: "; empty while it is.
    pub why: String,
    /// Since when, by the machine's own clock. Milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// The limits that hold: those of the rules and those of the machine's policy file together.
    pub limits: Limits,
}

/// Whether a machine takes tasks, and what it does with those that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It takes and runs tasks.
    Open,
    /// It takes none; those that it has stand still for now.
    Frozen,
    /// It takes none, and hands back those that it has.
    Closed,
}

impl Whose {
    /// Whether jobs of the user of this name are among them, the machine's owner aside. Names differ by
    /// more than the case of their letters.
    pub fn includes(&self, name: &str) -> bool {
        match self {
            Self::Everyone => true,
            Self::Of(names) => names.iter().any(|known| known.eq_ignore_ascii_case(name)),
            Self::Mine => false,
        }
    }
}

impl Default for Conditions {
    /// A laptop that is plugged in and that nobody uses.
    fn default() -> Self {
        Self {
            enabled: true,
            idle_minutes: 0,
            hours: Vec::new(),
            zone: String::new(),
            power: Power::default(),
            metered: false,
            programs: Vec::new(),
            others_load_percent: 100,
            temperature_c: 0,
            until_ms: None,
            grace_s: FREEZE_GRACE_S,
            checkpoint_s: CHECKPOINT_GRACE_S,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cores: None,
            core_percent: 100,
            ram_mib: None,
            disk_mib: None,
            gpus: None,
            network_kib_s: None,
            at_once: None,
            longest_s: None,
            whose: Whose::Everyone,
            kinds: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        let some = Whose::Of(vec!["Ada".to_owned()]);
        assert!(some.includes("ada") && some.includes("ADA") && !some.includes("adam"));
        assert!(Whose::Everyone.includes("eve") && !Whose::Mine.includes("eve"));
    }
}
