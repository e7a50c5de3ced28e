//! Turns at something scarce, shared out fairly between those who ask: a queue with a line for each
//! of them, and one turn after another round the lines.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use campusgrid_protocol::id::UserId;

use crate::web::network::Network;

/// Accounts of one network that wait in lines of their own; those of all others wait together. It is a
/// sixteenth of the places, as accounts cost nothing where registration is open.
const LINES_OF_NETWORK_MAX: usize = 4;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) struct Party {
    pub(in crate::web) network: Network,
    /// Whoever has shown to belong to it: by a login, or by the device cookie of one.
    pub(in crate::web) account: Option<UserId>,
}

/// Whose a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// Anybody's from there.
    Network(Network),
    /// An account's, wherever it is and by however many devices.
    Account(UserId),
}

/// All are taken, by others who have waited for fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowded;

/// Those who wait for the same reason.
#[derive(Debug)]
struct Line<T> {
    /// Where its first one came from.
    network: Network,
    items: VecDeque<T>,
}

/// What waits, in a line for each account that is known and one for everybody else of a network.
///
/// When all places are taken, a newcomer gets that of the last of the longest line, if that is longer
/// than the newcomer's own would become. So whoever fills the queue alone gives way to all others, each
/// of whom has a turn within one round. An account that has no line gets a place as well from a network
/// that has more lines than its own, and from strangers.
#[derive(Debug)]
struct Lines<T> {
    places: usize,
    lines: BTreeMap<Owner, Line<T>>,
    /// Whose turns come next; each has a line.
    round: VecDeque<Owner>,
}

impl<T> Lines<T> {
    fn new(places: usize) -> Self {
        Self { places, lines: BTreeMap::new(), round: VecDeque::new() }
    }

    fn len(&self) -> usize {
        self.lines.values().map(|line| line.items.len()).sum()
    }

    fn waiting_of(&self, owner: Owner) -> usize {
        self.lines.get(&owner).map_or(0, |line| line.items.len())
    }

    fn lines_of(&self, network: Network) -> usize {
        self.lines.values().filter(|line| line.network == network).count()
    }

    /// Lets one wait; what has lost its place for it is dropped.
    fn push(&mut self, party: Party, item: T) -> Result<(), Crowded> {
        let owner = self.owner(party);
        if self.len() >= self.places {
            let giving_way = self.giving_way(owner, party.network).ok_or(Crowded)?;
            self.lines.get_mut(&giving_way).and_then(|line| line.items.pop_back());
            self.drop_empty(giving_way);
        }
        let fresh = || Line { network: party.network, items: VecDeque::new() };
        let line = self.lines.entry(owner).or_insert_with(fresh);
        if line.items.is_empty() {
            self.round.push_back(owner);
        }
        line.items.push_back(item);
        Ok(())
    }

    /// In which line one of this party is to wait.
    fn owner(&self, Party { network, account }: Party) -> Owner {
        let own = account.map(Owner::Account).filter(|own| {
            self.lines.contains_key(own) || self.lines_of(network) < LINES_OF_NETWORK_MAX
        });
        own.unwrap_or(Owner::Network(network))
    }

    /// Which line a newcomer to a line may shorten.
    fn giving_way(&self, newcomer: Owner, network: Network) -> Option<Owner> {
        let own = self.waiting_of(newcomer);
        let by_length = |owner: &&Owner| self.waiting_of(**owner);
        let longest = self.round.iter().max_by_key(by_length).copied();
        let fair = longest.filter(|longest| self.waiting_of(*longest) > own + 1);
        let of_others = || match newcomer {
            Owner::Account(_) if own == 0 => {
                // However many strangers come, each from a network of its own: they give way.
                let stranger = self.round.iter().rev().copied().find(is_strangers);
                stranger.or_else(|| self.of_most_lines(self.lines_of(network) + 1))
            }
            Owner::Account(_) | Owner::Network(_) => None,
        };
        fair.or_else(of_others)
    }

    /// The latest line of the network that has most, if it has more than so many.
    fn of_most_lines(&self, more_than: usize) -> Option<Owner> {
        let network_of = |owner: &Owner| self.lines.get(owner).map(|line| line.network);
        let count = |owner: &Owner| network_of(owner).map_or(0, |network| self.lines_of(network));
        let found = self.round.iter().copied().max_by_key(count);
        found.filter(|owner| count(owner) > more_than)
    }

    /// The next one, of whoever had the last turn longest ago.
    fn pop(&mut self) -> Option<T> {
        let owner = self.round.pop_front()?;
        let line = self.lines.get_mut(&owner)?;
        let item = line.items.pop_front();
        if line.items.is_empty() {
            self.lines.remove(&owner);
        } else {
            self.round.push_back(owner);
        }
        item
    }

    /// Gives up what nobody waits for any more.
    fn retain(&mut self, mut wanted: impl FnMut(&T) -> bool) {
        let owners: Vec<Owner> = self.lines.keys().copied().collect();
        for owner in owners {
            if let Some(line) = self.lines.get_mut(&owner) {
                line.items.retain(&mut wanted);
            }
            self.drop_empty(owner);
        }
    }

    fn drop_empty(&mut self, owner: Owner) {
        if self.lines.get(&owner).is_some_and(|line| line.items.is_empty()) {
            self.lines.remove(&owner);
            self.round.retain(|other| *other != owner);
        }
    }
}

fn is_strangers(owner: &Owner) -> bool {
    match owner {
        Owner::Network(_) => true,
        Owner::Account(_) => false,
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

    use campusgrid_protocol::id::UserId;

    use super::{Crowded, LINES_OF_NETWORK_MAX, Lines, Party, Turns};
    use crate::web::network::Network;

    /// A stranger of a letter's network, or a digit's account, each of which is in a network of its own.
    fn party(name: char) -> Party {
        let account = name.to_digit(10).map(|digit| UserId(digit.into()));
        Party { network: Network::V4(name.into()), account }
    }

    fn stranger(number: u32) -> Party {
        Party { network: Network::V4(number), account: None }
    }

    fn account(number: u32, network: u32) -> Party {
        Party { network: Network::V4(network), account: Some(UserId(number.into())) }
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

    #[test]
    fn an_account_has_one_line_whatever_it_comes_by_and_from() {
        let mut lines = Lines::new(64);
        for number in 0..200 {
            lines.push(account(1, number), number).ok();
        }
        assert_eq!((lines.len(), lines.round.len()), (64, 1));
        lines.push(stranger(500), 500).unwrap();
        lines.push(account(2, 501), 501).unwrap();
        let first: Vec<u32> = std::iter::from_fn(|| lines.pop()).take(3).collect();
        assert_eq!(first, [0, 500, 501]);
    }

    #[test]
    fn many_accounts_of_one_network_leave_room_to_all_others() {
        let mut lines = Lines::new(64);
        for number in 0..200 {
            lines.push(account(number, 7), number).ok();
        }
        // Some in lines of their own, the others in that of their network.
        assert_eq!((lines.len(), lines.round.len()), (64, LINES_OF_NETWORK_MAX + 1));
        for from in 500..530 {
            assert!(lines.push(stranger(from), from).is_ok());
            assert!(lines.push(account(from, from), from).is_ok());
        }
    }

    #[test]
    fn accounts_of_many_networks_leave_room_to_an_account_elsewhere() {
        let mut lines = Lines::new(64);
        for network in 0..16 {
            for number in 0..4 {
                lines.push(account(network * 4 + number, network), number).unwrap();
            }
        }
        assert_eq!((lines.len(), lines.round.len()), (64, 64));
        assert!(lines.push(stranger(500), 500).is_err());
        assert!(lines.push(account(500, 500), 500).is_ok());
    }

    proptest! {
        #[test]
        fn one_party_cannot_keep_another_out(
            flood in prop::collection::vec(0_u32..3, 0..200),
            others in 1_u32..30,
        ) {
            let mut lines = Lines::new(64);
            for from in flood {
                lines.push(stranger(from), from).ok();
            }
            for from in 100..100 + others {
                prop_assert!(lines.push(stranger(from), from).is_ok());
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
                        lines.push(stranger(from), from).ok();
                    }
                }
                prop_assert!(lines.len() <= 10);
                let mut counts = BTreeMap::new();
                for party in &lines.round {
                    *counts.entry(*party).or_insert(0) += 1;
                }
                prop_assert!(counts.values().all(|count| *count == 1));
                prop_assert!(counts.keys().eq(lines.lines.keys()));
                prop_assert!(lines.lines.values().all(|line| !line.items.is_empty()));
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
