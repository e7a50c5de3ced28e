//! What a machine senses of its owner and of itself, and the time at which it does.

/// A moment, by both clocks of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the machine was started, the time that it was suspended included; never goes back.
    pub boot_ms: u64,
    /// Since the Unix epoch, by a clock that may be set.
    pub unix_ms: u64,
}

/// All that is sensed at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Senses {
    pub presence: Presence,
    pub feed: Feed,
    /// Whether the network is paid by volume; not, where nothing here can tell.
    pub is_metered: bool,
    /// Of the programs that rules name: those that run, other than in tasks.
    pub programs: Vec<String>,
    /// Of all cores: what is used by others than tasks; none, if that cannot be told.
    pub others_load_percent: Option<u8>,
    /// Of the hottest part of the processor; none, if that cannot be told.
    pub temperature_c: Option<u8>,
    /// The machine is about to be suspended, or has not been told that it woke up.
    pub is_asleep: bool,
}

/// Whether somebody uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing here tells.
    Unknown,
    Here,
    /// Nobody has used it since this time of [`Now::boot_ms`].
    AwaySince {
        boot_ms: u64,
    },
}

/// What feeds the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    Mains,
    Battery {
        /// None, if that cannot be told.
        charge_percent: Option<u8>,
    },
}
