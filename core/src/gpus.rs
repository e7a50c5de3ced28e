//! Which GPUs of a machine: numbers, as a set that is as cheap as one.

use std::fmt;
use std::str::FromStr;

/// Numbers of GPUs of one machine, which are their places in its capacity. In words: `0,3`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GpuSet(u64);

/// Not numbers of GPUs with commas between them, each once and in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be numbers below {}, rising, with commas between them", GpuSet::NUMBERS)]
pub struct GpuSetError;

impl GpuSet {
    /// GPUs are numbered below this; what a machine has beyond is never granted.
    pub const NUMBERS: u16 = 64;

    /// No GPU.
    pub const NONE: Self = Self(0);

    /// Adds a GPU.
    ///
    /// # Panics
    ///
    /// If the number is not below [`GpuSet::NUMBERS`].
    pub fn insert(&mut self, number: u16) {
        assert!(number < Self::NUMBERS, "GPU {number} is beyond what a set holds");
        self.0 |= 1 << number;
    }

    /// Whether the GPU of this number is among them.
    pub fn contains(self, number: u16) -> bool {
        number < Self::NUMBERS && self.0 & (1 << number) != 0
    }

    /// How many they are.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The numbers, lowest first.
    pub fn numbers(self) -> impl Iterator<Item = u16> {
        (0..Self::NUMBERS).filter(move |&number| self.contains(number))
    }
}

impl FromIterator<u16> for GpuSet {
    fn from_iter<I: IntoIterator<Item = u16>>(numbers: I) -> Self {
        let mut set = Self::NONE;
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

impl fmt::Display for GpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, number) in self.numbers().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{number}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for GpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl FromStr for GpuSet {
    type Err = GpuSetError;

    fn from_str(text: &str) -> Result<Self, GpuSetError> {
        let mut set = Self::NONE;
        for number in text.split(',').filter(|_| !text.is_empty()) {
            let number = number.parse().map_err(|_| GpuSetError)?;
            if number >= Self::NUMBERS {
                return Err(GpuSetError);
            }
            set.insert(number);
        }
        // One set has one text.
        if set.to_string() == text { Ok(set) } else { Err(GpuSetError) }
    }
}

#[cfg(test)]
mod tests {
    use super::GpuSet;

    #[test]
    fn a_set_has_one_text() {
        for (numbers, text) in
            [(vec![], ""), (vec![0], "0"), (vec![63, 3, 0, 3], "0,3,63"), (vec![10, 9], "9,10")]
        {
            let set: GpuSet = numbers.iter().copied().collect();
            assert_eq!(set.to_string(), text);
            assert_eq!(text.parse(), Ok(set));
            assert!(numbers.iter().all(|&number| set.contains(number)));
            assert_eq!(set.numbers().count(), usize::try_from(set.len()).unwrap());
        }
        for text in [",", "0,", "64", "1,0", "0,0", "00", "+1", "-1", "a", "0 ", "65536"] {
            assert!(text.parse::<GpuSet>().is_err(), "{text}");
        }
        assert!(!GpuSet::NONE.contains(64) && !GpuSet::NONE.contains(u16::MAX));
    }
}
