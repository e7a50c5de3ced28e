//! What each source says of the owner and of the machine, and what they say together.

use campusgrid_sharing::senses::{Feed, Presence};

/// Where something is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// GNOME's monitor of the session.
    Mutter,
    /// That of KDE and others.
    ScreenSaver,
    /// Devices that are read as somebody uses them.
    Input,
    /// Terminals, those of people who are logged in from elsewhere included.
    Terminals,
    /// Sessions: whether desktops call them idle, whether they are locked.
    Logind,
    LogindSleep,
    UPower,
    PowerSupply,
    NetworkManager,
    Thermal,
    Processes,
}

/// What a source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Presence(Presence),
    /// It has seen nobody since it began to look, at this time of the boot clock.
    Quiet(u64),
    /// There is nothing that it could see anybody use.
    NoDevices,
    Feed(Feed),
    Metered(bool),
    Asleep(bool),
    Temperature(u8),
    Load(u8),
}

/// A source and what it says, or why it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub source: Source,
    pub said: Result<Said, String>,
}

impl Report {
    pub(super) fn new(source: Source, said: Result<Said, String>) -> Self {
        Self { source, said }
    }
}

impl Said {
    pub(super) fn metered(self) -> Option<bool> {
        if let Self::Metered(is_metered) = self { Some(is_metered) } else { None }
    }

    pub(super) fn asleep(self) -> Option<bool> {
        if let Self::Asleep(is_asleep) = self { Some(is_asleep) } else { None }
    }

    pub(super) fn load(self) -> Option<u8> {
        if let Self::Load(percent) = self { Some(percent) } else { None }
    }

    pub(super) fn temperature(self) -> Option<u8> {
        if let Self::Temperature(degrees) = self { Some(degrees) } else { None }
    }
}

impl Source {
    /// As people know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mutter => "GNOME",
            Self::ScreenSaver => "screen saver",
            Self::Input => "input devices",
            Self::Terminals => "terminals",
            Self::Logind => "logind",
            Self::LogindSleep => "logind",
            Self::UPower => "UPower",
            Self::PowerSupply => "kernel",
            Self::NetworkManager => "NetworkManager",
            Self::Thermal => "kernel",
            Self::Processes => "kernel",
        }
    }

    /// Whether it sees all that is done at this machine itself, to the second.
    fn is_strong(self) -> bool {
        match self {
            Self::Mutter | Self::ScreenSaver | Self::Input => true,
            Self::Terminals
            | Self::Logind
            | Self::LogindSleep
            | Self::UPower
            | Self::PowerSupply
            | Self::NetworkManager
            | Self::Thermal
            | Self::Processes => false,
        }
    }
}

/// Whether somebody is here, by all sources together.
///
/// Those that see everything count before logind, since not every desktop tells it when it is idle, and
/// then nobody would ever seem to have left. Whoever uses a terminal is here in any case. Terminals
/// alone say nothing of a desktop, so they are enough only where there is nothing else to use.
pub(crate) fn presence(reports: &[Report]) -> Presence {
    let (mut strong, mut logind, mut quiet) = (None, None, None);
    let (mut terminals, mut is_bare) = (0, false);
    for report in reports {
        match (report.source, &report.said) {
            (Source::Logind, Ok(Said::Presence(presence))) => logind = Some(*presence),
            (Source::Terminals, Ok(Said::Presence(Presence::AwaySince { boot_ms }))) => {
                terminals = *boot_ms;
            }
            (source, Ok(Said::Presence(presence))) if source.is_strong() => {
                strong = Some(strong.map_or(*presence, |before| later(before, *presence)));
            }
            (Source::Input, Ok(Said::Quiet(since))) => quiet = Some(*since),
            (Source::Input, Ok(Said::NoDevices)) => is_bare = true,
            (_, Ok(_) | Err(_)) => {}
        }
    }
    let away = |boot_ms| Presence::AwaySince { boot_ms };
    // One who has been idle for longer than hands were looked at is so still, if none was seen.
    let logind = match (logind, quiet) {
        (Some(Presence::Here) | None, Some(since)) => Some(away(since)),
        (logind, Some(_) | None) => logind,
    };
    match strong.or(logind).or(is_bare.then_some(away(0))) {
        Some(presence) => later(presence, away(terminals)),
        None => Presence::Unknown,
    }
}

/// Who is here is here, whoever else has left.
fn later(one: Presence, other: Presence) -> Presence {
    match (one, other) {
        (Presence::Unknown, presence) | (presence, Presence::Unknown) => presence,
        (Presence::Here, _) | (_, Presence::Here) => Presence::Here,
        (Presence::AwaySince { boot_ms: one }, Presence::AwaySince { boot_ms: other }) => {
            Presence::AwaySince { boot_ms: one.max(other) }
        }
    }
}

/// What feeds the machine: UPower is told at once, the kernel's own words are looked up.
pub(super) fn feed(reports: &[Report]) -> Feed {
    let said = |source| {
        reports.iter().find(|report| report.source == source).and_then(|report| match report.said {
            Ok(Said::Feed(feed)) => Some(feed),
            Ok(_) | Err(_) => None,
        })
    };
    // Whichever of the two knows of the battery: one that was missed would be drained.
    match (said(Source::UPower), said(Source::PowerSupply)) {
        (Some(Feed::Battery { charge_percent }), other) => Feed::Battery {
            charge_percent: match other {
                Some(Feed::Battery { charge_percent: known }) => charge_percent.or(known),
                Some(Feed::Mains) | None => charge_percent,
            },
        },
        (Some(Feed::Mains), _) => Feed::Mains,
        (None, other) => other.unwrap_or(Feed::Mains),
    }
}

/// Of the sources that tell it, what the first one tells.
pub(super) fn first<T>(reports: &[Report], pick: fn(Said) -> Option<T>) -> Option<T> {
    reports.iter().find_map(|report| pick(*report.said.as_ref().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn away(boot_ms: u64) -> Presence {
        Presence::AwaySince { boot_ms }
    }

    fn said(source: Source, presence: Presence) -> Report {
        Report::new(source, Ok(Said::Presence(presence)))
    }

    #[test]
    fn a_monitor_counts_before_logind() {
        let logind = said(Source::Logind, Presence::Here);
        assert_eq!(presence(std::slice::from_ref(&logind)), Presence::Here);
        assert_eq!(presence(&[logind.clone(), said(Source::Mutter, away(7))]), away(7));
        let both = [said(Source::Input, away(9)), logind, said(Source::Mutter, away(7))];
        assert_eq!(presence(&both), away(9));
    }

    #[test]
    fn hands_that_were_not_seen_yet_leave_it_to_others_for_how_long() {
        let quiet = Report::new(Source::Input, Ok(Said::Quiet(90)));
        let with = |other: Report| presence(&[quiet.clone(), other]);
        assert_eq!(with(said(Source::Mutter, away(7))), away(7));
        assert_eq!(with(said(Source::Logind, away(8))), away(8));
        assert_eq!(with(said(Source::Logind, Presence::Here)), away(90));
        assert_eq!(presence(std::slice::from_ref(&quiet)), away(90));
    }

    #[test]
    fn somebody_at_a_terminal_is_here_whatever_the_desktop_says() {
        let terminal = said(Source::Terminals, away(50));
        assert_eq!(presence(&[terminal.clone(), said(Source::Mutter, away(7))]), away(50));
        assert_eq!(presence(&[terminal.clone(), said(Source::Logind, away(60))]), away(60));
        // A desktop that nobody can see into may be in use.
        let blind = Report::new(Source::Input, Err("no".to_owned()));
        assert_eq!(presence(&[terminal.clone(), blind]), Presence::Unknown);
        let bare = Report::new(Source::Input, Ok(Said::NoDevices));
        assert_eq!(presence(&[terminal, bare]), away(50));
    }

    #[test]
    fn a_battery_that_one_source_knows_of_counts() {
        let feed_of = |source, feed| Report::new(source, Ok(Said::Feed(feed)));
        let battery = |charge_percent| Feed::Battery { charge_percent };
        let kernel = feed_of(Source::PowerSupply, battery(Some(40)));
        assert_eq!(feed(&[]), Feed::Mains);
        assert_eq!(feed(std::slice::from_ref(&kernel)), battery(Some(40)));
        let upower = feed_of(Source::UPower, battery(None));
        assert_eq!(feed(&[upower, kernel.clone()]), battery(Some(40)));
        assert_eq!(feed(&[feed_of(Source::UPower, Feed::Mains), kernel]), Feed::Mains);
    }
}
