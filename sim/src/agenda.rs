//! The made-up clock: what will happen when, in the order of time and then of planning; and the
//! dice that everything random comes from.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::event::Event;

#[derive(Debug)]
pub(crate) struct Agenda {
    now_ms: u64,
    planned: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub(crate) dice: fastrand::Rng,
}

impl Agenda {
    pub(crate) fn new(seed: u64) -> Self {
        let dice = fastrand::Rng::with_seed(seed);
        Self { now_ms: 0, planned: 0, queue: BTreeMap::new(), dice }
    }

    /// Milliseconds since the world began.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(crate) fn at(&mut self, at_ms: u64, event: Event) {
        self.planned += 1;
        self.queue.insert((at_ms.max(self.now_ms), self.planned), event);
    }

    /// Plans an event for a random moment this many milliseconds from now.
    pub(crate) fn within(&mut self, ms: Range<u64>, event: Event) {
        let at_ms = self.now_ms + self.dice.u64(ms);
        self.at(at_ms, event);
    }

    pub(crate) fn chance(&mut self, permille: u32) -> bool {
        self.dice.u32(0..1000) < permille
    }

    /// Moves the clock to the next event.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let ((at_ms, _), event) = self.queue.pop_first()?;
        self.now_ms = at_ms;
        Some(event)
    }
}
