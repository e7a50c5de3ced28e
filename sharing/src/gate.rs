//! One condition over time: that it ends at once, and comes back only after it has held for a while.

use crate::senses::Now;

/// How long a condition that has ended must hold again before the machine is shared: shorter breaks
/// would have tasks started that are handed back at once.
pub(crate) const HOLD_MS: u64 = 60_000;

/// While tasks are frozen they wait for half of the grace, at least and at most this long.
const SETTLE_MIN_MS: u64 = 10_000;

/// How long a condition must hold again for tasks that are frozen to go on.
///
/// Half of the grace, so that an owner who has only brushed against the machine costs nobody a task.
pub(crate) fn settle_ms(grace_s: u32) -> u64 {
    (u64::from(grace_s) * 500).clamp(SETTLE_MIN_MS, HOLD_MS)
}

/// The states of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It was not looked at yet.
    New,
    Holds {
        since_boot_ms: u64,
    },
    Ended {
        at: Now,
        /// From when on it holds again, if it does.
        good: Option<Now>,
        /// For how long it must.
        hold_ms: u64,
    },
}

/// What is sensed of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It does not hold.
    Bad,
    /// It holds, but not by so much that one that has ended would be back.
    Fair,
    Good,
    /// It has held since this time of the boot clock, which ends one that has held from before.
    GoodSince(u64),
}

impl Gate {
    /// Takes a look in; `hold_ms` is how long one that has ended must hold again.
    pub(crate) fn step(&mut self, now: Now, look: Look, hold_ms: u64) {
        let good = match look {
            Look::Bad | Look::Fair => None,
            Look::Good => Some(now),
            Look::GoodSince(boot_ms) => Some(now.back_to(boot_ms)),
        };
        *self = match *self {
            Self::New | Self::Holds { .. } if look == Look::Bad => {
                Self::Ended { at: now, good: None, hold_ms }
            }
            Self::Holds { since_boot_ms } => match good {
                Some(good) if good.boot_ms > since_boot_ms && look != Look::Good => {
                    Self::waiting(now, now, good, hold_ms)
                }
                Some(_) | None => Self::Holds { since_boot_ms },
            },
            Self::New => match good {
                Some(good) if look != Look::Good => Self::waiting(now, good, good, hold_ms),
                Some(_) | None => Self::Holds { since_boot_ms: now.boot_ms },
            },
            Self::Ended { at, good: before, .. } => {
                let good = match look {
                    Look::Good => before.or(good),
                    Look::Bad | Look::Fair | Look::GoodSince(_) => good,
                };
                match good {
                    Some(good) => Self::waiting(now, at, good, hold_ms),
                    None => Self::Ended { at, good: None, hold_ms },
                }
            }
        };
    }

    /// One that has held again since `good`.
    fn waiting(now: Now, at: Now, good: Now, hold_ms: u64) -> Self {
        if now.boot_ms.saturating_sub(good.boot_ms) >= hold_ms {
            Self::Holds { since_boot_ms: now.boot_ms }
        } else {
            Self::Ended { at, good: Some(good), hold_ms }
        }
    }
}

impl Now {
    /// The moment at which the boot clock showed this.
    fn back_to(self, boot_ms: u64) -> Self {
        let ago_ms = self.boot_ms.saturating_sub(boot_ms);
        Self { boot_ms, unix_ms: self.unix_ms.saturating_sub(ago_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot_ms: u64) -> Now {
        Now { boot_ms, unix_ms: 1_000_000 + boot_ms }
    }

    #[test]
    fn it_ends_at_once_and_comes_back_after_a_while() {
        let mut gate = Gate::New;
        let mut step = |ms, look| {
            gate.step(at(ms), look, 100);
            match gate {
                Gate::Holds { since_boot_ms } => Some(since_boot_ms),
                Gate::New | Gate::Ended { .. } => None,
            }
        };
        assert_eq!(step(0, Look::Good), Some(0));
        assert_eq!(step(10, Look::Fair), Some(0));
        assert_eq!(step(20, Look::Bad), None);
        // What is only fair is no beginning of a return.
        assert_eq!(step(30, Look::Fair), None);
        assert_eq!(step(40, Look::Good), None);
        assert_eq!(step(130, Look::Fair), None);
        assert_eq!(step(140, Look::Good), None);
        assert_eq!(step(239, Look::Good), None);
        assert_eq!(step(240, Look::Good), Some(240));
    }

    #[test]
    fn one_that_is_new_holds_without_a_wait() {
        let mut gate = Gate::New;
        gate.step(at(0), Look::Fair, 100);
        assert_eq!(gate, Gate::Holds { since_boot_ms: 0 });
    }

    #[test]
    fn tasks_wait_for_half_of_the_grace() {
        assert_eq!([0, 60, 600].map(settle_ms), [10_000, 30_000, 60_000]);
    }
}
