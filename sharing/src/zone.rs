//! Which time zones are known: those that came with this build.

use jiff::tz::TimeZone;

/// The time zone of IANA's name, if there is one.
pub(crate) fn named(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

/// Whether there is a time zone of this name; the empty name stands for the machine's own.
pub fn is_known(name: &str) -> bool {
    name.is_empty() || named(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_known_where_the_system_has_none() {
        assert!(
            ["", "Europe/Berlin", "UTC", "America/Argentina/Ushuaia"].into_iter().all(is_known)
        );
        assert!(!is_known("Mars/Olympus_Mons") && !is_known("../../etc/passwd"));
    }
}
