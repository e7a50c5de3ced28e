//! Credits: whole micro-credits, never a float.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use serde::{Deserialize, Serialize};

/// Micro-credits, 1,000,000 to the credit. Negative only as the balance of the mint.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    pub const ZERO: Self = Self(0);

    /// Whole credits. Panics beyond nine million million credits.
    pub const fn from_credits(credits: u32) -> Self {
        Self(credits as i64 * 1_000_000)
    }

    /// The amount `times` over, or `None` where that does not fit.
    pub fn checked_times(self, times: u32) -> Option<Self> {
        self.0.checked_mul(times.into()).map(Self)
    }
}

// Overflow means a ledger that lies; a stopped manager is better.
impl Add for Micros {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.checked_add(other.0).expect("credits overflow"))
    }
}

impl Sub for Micros {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.checked_sub(other.0).expect("credits overflow"))
    }
}

impl Neg for Micros {
    type Output = Self;

    fn neg(self) -> Self {
        Self::ZERO - self
    }
}

impl AddAssign for Micros {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Micros {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Micros {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// Credits with as many decimals as it takes and no more: `12`, `7.5`, `0.000001`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) = (self.0.unsigned_abs() / 1_000_000, self.0.unsigned_abs() % 1_000_000);
        if part == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{part:06}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::Micros;

    #[test]
    fn credits_are_shown_with_the_decimals_they_need() {
        for (micros, text) in [
            (0, "0"),
            (12_000_000, "12"),
            (7_500_000, "7.5"),
            (1, "0.000001"),
            (-100_000_000, "-100"),
            (-500_000, "-0.5"),
            (i64::MIN, "-9223372036854.775808"),
        ] {
            assert_eq!(Micros(micros).to_string(), text);
        }
    }
}
