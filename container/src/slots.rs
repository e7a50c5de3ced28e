//! Uids for containers: no two that are there at once have the same.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Uids in all; as many containers can be there at once.
pub(crate) const SLOTS: u32 = 256;

#[derive(Debug, Clone, Default)]
pub(crate) struct Slots(Arc<Mutex<BTreeSet<u32>>>);

/// One of them, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    book: Slots,
}

impl Slots {
    /// The lowest that is free; `None` if all are taken.
    pub(crate) fn take(&self) -> Option<Slot> {
        let mut book = self.lock();
        let number = (0..SLOTS).find(|number| !book.contains(number))?;
        book.insert(number);
        Some(Slot { number, book: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // A set stays whole in any panic.
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.book.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let slots = Slots::default();
        let (first, second) = (slots.take().unwrap(), slots.take().unwrap());
        assert_eq!((first.number, second.number), (0, 1));
        drop(first);
        assert_eq!(slots.take().unwrap().number, 0);
    }
}
