//! Turns at something scarce, shared out fairly between those who ask: a queue with a line for each
//! of them, and one turn after another round the lines.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use crate::web::network::Network;
use crate::web::throttle::Device;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::web) enum Party {
    /// Anybody from there.
    Network(Network),
    /// A browser that has logged in before, wherever it is.
    Device(Device),
}

/// All are taken, by others who have waited for fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowded;

/// What waits, in a line for each party.
///
/// When all places are taken, a newcomer gets that of the last of the longest line, if that is longer
/// than the newcomer's own would become. So a party that fills the queue alone gives way to all others,
/// each of whom has its turn within one round.
#[derive(Debug)]
struct Lines<T> {
    places: usize,
    lines: BTreeMap<Party, VecDeque<T>>,
    /// Whose turns come next; each has a line.
    round: VecDeque<Party>,
}

impl<T> Lines<T> {
    fn new(places: usize) -> Self {
        Self { places, lines: BTreeMap::new(), round: VecDeque::new() }
    }

    fn len(&self) -> usize {
        self.lines.values().map(VecDeque::len).sum()
    }

    fn waiting_of(&self, party: Party) -> usize {
        self.lines.get(&party).map_or(0, VecDeque::len)
    }

    /// Lets one wait; what has lost its place for it is dropped.
    fn push(&mut self, party: Party, item: T) -> Result<(), Crowded> {
        if self.len() >= self.places {
            let giving_way = self.giving_way(party).ok_or(Crowded)?;
            self.lines.get_mut(&giving_way).and_then(VecDeque::pop_back);
            self.drop_empty(giving_way);
        }
        let line = self.lines.entry(party).or_default();
        if line.is_empty() {
            self.round.push_back(party);
        }
        line.push_back(item);
        Ok(())
    }

    /// Which line a newcomer of this party may shorten.
    fn giving_way(&self, newcomer: Party) -> Option<Party> {
        let own = self.waiting_of(newcomer);
        let by_length = |party: &&Party| self.waiting_of(**party);
        let longest = self.round.iter().max_by_key(by_length).copied();
        let fair = longest.filter(|longest| self.waiting_of(*longest) > own + 1);
        // However many strangers come, each from a network of its own: a known device gets one place.
        let of_stranger = || match newcomer {
            Party::Device(_) if own == 0 => self.round.iter().rev().copied().find(is_stranger),
            Party::Device(_) | Party::Network(_) => None,
        };
        fair.or_else(of_stranger)
    }

    /// The next one, of the party whose last turn was longest ago.
    fn pop(&mut self) -> Option<T> {
        let party = self.round.pop_front()?;
        let line = self.lines.get_mut(&party)?;
        let item = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&party);
        } else {
            self.round.push_back(party);
        }
        item
    }

    /// Gives up what nobody waits for any more.
    fn retain(&mut self, mut wanted: impl FnMut(&T) -> bool) {
        let parties: Vec<Party> = self.lines.keys().copied().collect();
        for party in parties {
            if let Some(line) = self.lines.get_mut(&party) {
                line.retain(&mut wanted);
            }
            self.drop_empty(party);
        }
    }

    fn drop_empty(&mut self, party: Party) {
        if self.lines.get(&party).is_some_and(VecDeque::is_empty) {
            self.lines.remove(&party);
            self.round.retain(|other| *other != party);
        }
    }
}

fn is_stranger(party: &Party) -> bool {
    match party {
        Party::Network(_) => true,
        Party::Device(_) => false,
    }
}

/// Turns of which so many are taken at once. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Nobody waits while a turn is free.
    waiting: Lines<oneshot::Sender<Turn>>,
}

impl Turns {
    pub(super) fn new(at_once: usize, places: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: at_once, waiting: Lines::new(places) })))
    }

    /// Waits for a turn.
    ///
    /// # Errors
    ///
    /// `Crowded`, at once or while waiting, when others are to have the place.
    pub(super) async fn take(&self, party: Party) -> Result<Turn, Crowded> {
        let turn = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn(Some(self.clone())));
            }
            // Those who have hung up should not keep others out.
            state.waiting.retain(|waiting| !waiting.is_closed());
            let (sender, turn) = oneshot::channel();
            state.waiting.push(party, sender)?;
            turn
        };
        turn.await.map_err(|_| Crowded)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the turns")
    }

    fn pass_on(&self) {
        loop {
            let mut state = self.state();
            let Some(next) = state.waiting.pop() else {
                state.free += 1;
                return;
            };
            drop(state); // One that has hung up drops its turn here, which must not come back to us.
            match next.send(Turn(Some(self.clone()))) {
                Ok(()) => return,
                Err(mut unwanted) => unwanted.0 = None,
            }
        }
    }
}

/// A turn; whoever is next has it when this is dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<Turns>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Crowded, Lines, Party, Turns};
    use crate::web::network::Network;
    use crate::web::throttle::Device;

    /// A letter's network, or a digit's device.
    fn party(name: char) -> Party {
        match name.to_digit(10) {
            Some(digit) => Party::Device(Device([digit as u8; 16])),
            None => Party::Network(Network::V4(name.into())),
        }
    }

    /// Lets these come in turn, each with its name for what it wants, and then all have their turns.
    fn served(places: usize, names: &str) -> String {
        let mut lines = Lines::new(places);
        for name in names.chars() {
            lines.push(party(name), name).ok();
        }
        std::iter::from_fn(|| lines.pop()).collect()
    }

    #[test]
    fn turns_go_round() {
        for (names, expected) in [
            ("", ""),
            ("abc", "abc"),
            ("aaaab", "abaaa"),
            ("aaabbc", "abcaba"),
            ("aaaaaaaaaaaaaaaa", "aaaaaaaa"),
            ("aaaaaaaaaaaaaaaabcb", "abcabaaa"),
            ("aaaabbbbbbbbbbbbbbb", "abababab"),
            ("abcdefghijklm", "abcdefgh"),
            ("abcdefgh1", "abcdefg1"),
            ("abcdefgh11", "abcdefg1"),
            ("abcdefgh12345678999", "12345678"),
        ] {
            assert_eq!(served(8, names), expected, "{names}");
        }
    }

    proptest! {
        #[test]
        fn one_party_cannot_keep_another_out(
            flood in prop::collection::vec(0_u32..3, 0..200),
            others in 1_u32..30,
        ) {
            let mut lines = Lines::new(64);
            for from in flood {
                lines.push(Party::Network(Network::V4(from)), from).ok();
            }
            for from in 100..100 + others {
                prop_assert!(lines.push(Party::Network(Network::V4(from)), from).is_ok());
            }
            prop_assert!(lines.len() <= 64);
            // All parties have had one turn before any has its second.
            let round = lines.round.len();
            let first: Vec<u32> = std::iter::from_fn(|| lines.pop()).take(round).collect();
            for from in 100..100 + others {
                prop_assert!(first.contains(&from));
            }
        }

        #[test]
        fn every_line_that_has_somebody_is_in_the_round_once(
            steps in prop::collection::vec((0_u32..12, 0_u8..4), 0..300),
        ) {
            let mut lines = Lines::new(10);
            for (from, step) in steps {
                match step {
                    0 => {
                        lines.pop();
                    }
                    1 => lines.retain(|item| item % 3 != from % 3),
                    _ => {
                        lines.push(Party::Network(Network::V4(from)), from).ok();
                    }
                }
                prop_assert!(lines.len() <= 10);
                let mut counts = BTreeMap::new();
                for party in &lines.round {
                    *counts.entry(*party).or_insert(0) += 1;
                }
                prop_assert!(counts.values().all(|count| *count == 1));
                prop_assert!(counts.keys().eq(lines.lines.keys()));
                prop_assert!(lines.lines.values().all(|line| !line.is_empty()));
            }
        }
    }

    #[tokio::test]
    async fn a_turn_that_ends_is_the_next_ones() {
        let turns = Turns::new(1, 4);
        let first = turns.take(party('a')).await.unwrap();
        let hung_up = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take(party('b')).await.map(drop) }
        });
        let waiting = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take(party('c')).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(turns.state().waiting.len(), 2);
        hung_up.abort();
        drop(hung_up.await);
        drop(first);
        waiting.await.unwrap().unwrap();
        let state = turns.state();
        assert_eq!((state.free, state.waiting.len()), (1, 0));
    }

    #[tokio::test]
    async fn whoever_gives_way_is_told() {
        let turns = Turns::new(1, 2);
        let first = turns.take(party('a')).await.unwrap();
        let take = |name: char| {
            let turns = turns.clone();
            tokio::spawn(async move { turns.take(party(name)).await.map(drop) })
        };
        let of_a = [take('a'), take('a')];
        tokio::task::yield_now().await;
        assert_eq!(turns.take(party('a')).await.err(), Some(Crowded));
        let of_b = take('b');
        tokio::task::yield_now().await;
        drop(first);
        let [earlier, later] = of_a;
        assert_eq!(earlier.await.unwrap(), Ok(()));
        assert_eq!(later.await.unwrap(), Err(Crowded));
        assert_eq!(of_b.await.unwrap(), Ok(()));
    }
}
