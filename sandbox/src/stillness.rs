//! Whether a task stands still, and how much of its time has passed so: for its clock.

use std::time::Duration;

use tokio::time::Instant;

/// Who wants a task to stand still, and since when it does.
#[derive(Debug, Default)]
pub struct Stillness {
    /// The machine's owner does.
    is_held: bool,
    /// It is for the time of a copy.
    is_copied: bool,
    since: Option<Instant>,
    /// Of the step of the moment, stops that are over.
    passed: Duration,
}

/// What the task is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Freeze,
    /// It stood still for so long.
    Thaw(Duration),
}

impl Stillness {
    pub fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// Whether the machine's owner holds it.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    pub fn hold(&mut self, is_held: bool, now: Instant) -> Option<Turn> {
        self.is_held = is_held;
        self.turn(now)
    }

    pub fn copy(&mut self, is_copied: bool, now: Instant) -> Option<Turn> {
        self.is_copied = is_copied;
        self.turn(now)
    }

    /// Nobody wants it any more: the task is being ended, which thaws it.
    pub fn end(&mut self, now: Instant) {
        (self.is_held, self.is_copied) = (false, false);
        let _told_otherwise = self.turn(now);
    }

    fn turn(&mut self, now: Instant) -> Option<Turn> {
        match (self.since, self.is_held || self.is_copied) {
            (None, true) => {
                self.since = Some(now);
                Some(Turn::Freeze)
            }
            (Some(since), false) => {
                let stood = now.saturating_duration_since(since);
                self.since = None;
                self.passed += stood;
                Some(Turn::Thaw(stood))
            }
            (None, false) | (Some(_), true) => None,
        }
    }

    /// A step begins, maybe one that stands still from its beginning.
    pub fn begin_step(&mut self, now: Instant) {
        self.passed = Duration::ZERO;
        self.since = self.since.map(|_| now);
    }

    /// How long the step of the moment has stood still.
    pub fn of_step(&self, now: Instant) -> Duration {
        let lasts = self.since.map(|since| now.saturating_duration_since(since));
        self.passed + lasts.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_held_and_copied_goes_on_when_neither_is_wanted() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut still = Stillness::default();
        still.begin_step(at(0));
        assert_eq!(still.copy(true, at(10)), Some(Turn::Freeze));
        assert_eq!(still.hold(true, at(20)), None);
        assert_eq!(still.copy(false, at(30)), None);
        assert_eq!(still.of_step(at(30)), Duration::from_millis(20));
        assert_eq!(still.hold(false, at(50)), Some(Turn::Thaw(Duration::from_millis(40))));
        assert_eq!((still.is_on(), still.of_step(at(60))), (false, Duration::from_millis(40)));
        still.begin_step(at(70));
        assert_eq!(still.of_step(at(80)), Duration::ZERO);
    }
}
