//! When a worker asks for its next certificate: at about two thirds of the life of this one.

use std::time::{Duration, SystemTime};

use campusgrid_identity::machine::Term;

use crate::backoff::random;
use crate::identity::Identity;

/// Timers stand still while the machine is suspended, so none is set for longer.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Between two requests, if the manager does not answer the first.
const RETRY: Duration = Duration::from_secs(600);

/// Machines that have joined in one lesson are to ask at different times: up to this part of a
/// certificate's life earlier or later, in thousandths.
const JITTER_PERMILLE: u32 = 50;

/// When the next request is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// None without a certificate.
    due: Option<SystemTime>,
}

impl Renewal {
    pub(crate) fn of(identity: &Identity) -> Self {
        Self { due: identity.term().map(|term| due(term, random())) }
    }

    /// How long to wait before looking again.
    pub(crate) fn pause(&self, now: SystemTime) -> Duration {
        let left = self.due.map(|due| due.duration_since(now).unwrap_or_default());
        // A little more than nothing, so that a request which may not be sent yet does not spin.
        left.unwrap_or(LOOK_MAX).clamp(Duration::from_millis(100), LOOK_MAX)
    }

    /// Whether a request is due; the next one is then planned.
    pub(crate) fn is_due(&mut self, now: SystemTime) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = Some(now + RETRY);
        }
        is_due
    }
}

/// `random` is uniform over all of `u32`.
fn due(term: Term, random: u32) -> SystemTime {
    let life = term.until.duration_since(term.from).unwrap_or_default();
    let share = life / 1000 * JITTER_PERMILLE;
    let later = share.mul_f64(2.0 * f64::from(random) / f64::from(u32::MAX));
    term.renew_at() - share + later
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(86_400) * (20_000 + day)
    }

    #[test]
    fn it_is_asked_for_at_about_two_thirds_of_its_life() {
        let term = Term { from: day(0), until: day(30) };
        let hours =
            |random| due(term, random).duration_since(day(20)).map(|later| later.as_secs() / 3600);
        assert_eq!(hours(u32::MAX).unwrap(), 36, "a twentieth of thirty days later");
        assert_eq!(day(20).duration_since(due(term, 0)).unwrap().as_secs() / 3600, 36);
    }

    #[test]
    fn it_is_asked_for_again_if_nobody_answers_and_never_in_a_spin() {
        let mut renewal = Renewal { due: Some(day(20)) };
        assert!(!renewal.is_due(day(19)));
        assert_eq!(renewal.pause(day(19)), LOOK_MAX);
        assert!(renewal.pause(day(21)) > Duration::ZERO);
        assert!(renewal.is_due(day(20)));
        assert!(!renewal.is_due(day(20) + RETRY / 2));
        assert!(renewal.is_due(day(20) + RETRY));
        let mut none = Renewal { due: None };
        assert!(!none.is_due(day(30)) && none.pause(day(30)) == LOOK_MAX);
    }
}
