//! Places that anybody may take, so few of them for one party that others find some, too: when all are
//! taken, whoever has most gives one up to whoever has fewer.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio_util::sync::CancellationToken;

use super::FleetError;

/// Bits of an IPv6 address by which neighbours are told apart: one subscriber has all of the rest.
const IPV6_PREFIX_BITS: u32 = 64;

/// The places. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    max: usize,
    parties: Arc<Mutex<Parties>>,
}

#[derive(Debug, Default)]
struct Parties {
    last: u64,
    taken: usize,
    /// By neighbourhood; the oldest has the least number. None of them is empty.
    of: BTreeMap<IpAddr, BTreeMap<u64, CancellationToken>>,
}

impl Crowd {
    /// With so many places.
    pub(super) fn new(max: usize) -> Self {
        Self { max, parties: Arc::default() }
    }

    /// A place for somebody from here, unless their party has this many already, or all are taken and
    /// nobody has many more.
    pub(super) fn enter(&self, address: IpAddr, of_one_max: usize) -> Option<Foothold> {
        let party = neighbourhood(address);
        let mut parties = self.lock();
        let own = parties.of.get(&party).map_or(0, BTreeMap::len);
        if own >= of_one_max || (parties.taken >= self.max && !parties.make_way(own)) {
            return None;
        }
        parties.last += 1;
        parties.taken += 1;
        let (number, pushed_out) = (parties.last, CancellationToken::new());
        parties.of.entry(party).or_default().insert(number, pushed_out.clone());
        Some(Foothold { crowd: self.clone(), party, number, pushed_out })
    }

    fn lock(&self) -> MutexGuard<'_, Parties> {
        self.parties.lock().expect("nothing panics while it holds the parties")
    }
}

impl Parties {
    /// Pushes out the oldest of the largest party, for one that has so many itself.
    fn make_way(&mut self, own: usize) -> bool {
        let largest = self.of.iter().max_by_key(|(_, members)| members.len());
        // With one more alone they would only push each other out in turn.
        let Some((&party, _)) = largest.filter(|(_, members)| members.len() > own + 1) else {
            return false;
        };
        let oldest = self.of.get(&party).and_then(|members| members.keys().next().copied());
        let Some(pushed_out) = oldest.and_then(|oldest| self.leave(party, oldest)) else {
            return false;
        };
        pushed_out.cancel();
        true
    }

    fn leave(&mut self, party: IpAddr, number: u64) -> Option<CancellationToken> {
        let members = self.of.get_mut(&party)?;
        let left = members.remove(&number)?;
        self.taken -= 1;
        if members.is_empty() {
            self.of.remove(&party);
        }
        Some(left)
    }
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(super) struct Foothold {
    crowd: Crowd,
    party: IpAddr,
    number: u64,
    pushed_out: CancellationToken,
}

impl Foothold {
    /// Goes on with something for as long as it has its place.
    ///
    /// # Errors
    ///
    /// `Crowded`.
    pub(super) async fn staying<T>(&self, work: impl Future<Output = T>) -> Result<T, FleetError> {
        tokio::select! {
            biased;
            () = self.pushed_out.cancelled() => Err(FleetError::Crowded),
            done = work => Ok(done),
        }
    }
}

impl Drop for Foothold {
    fn drop(&mut self) {
        self.crowd.lock().leave(self.party, self.number);
    }
}

/// What counts as one address.
pub(super) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - IPV6_PREFIX_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::FutureExt;

    use super::{Crowd, Foothold};

    fn is_in(foothold: &Foothold) -> bool {
        foothold.staying(std::future::pending::<()>()).now_or_never().is_none()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn all_addresses_of_a_subscriber_are_one_party() {
        let crowd = Crowd::new(100);
        let enter = |text| crowd.enter(address(text), 2);
        let held = [enter("2001:db8:0:1::1"), enter("2001:db8:0:1:ffff::2")];
        assert!(held.iter().all(Option::is_some));
        assert!(enter("2001:db8:0:1:7::7").is_none());
        assert!(enter("2001:db8:0:2::1").is_some());
        assert!(enter("10.0.0.1").is_some() && enter("10.0.0.2").is_some());
        drop(held);
        assert!(enter("2001:db8:0:1:7::7").is_some());
        assert!(crowd.lock().of.is_empty() && crowd.lock().taken == 0);
    }

    #[test]
    fn the_largest_party_makes_way_for_smaller_ones_the_oldest_first() {
        let crowd = Crowd::new(6);
        let enter = |text| crowd.enter(address(text), 6);
        let many: Vec<_> = (0..4).map(|_| enter("10.0.0.1").unwrap()).collect();
        let few: Vec<_> = (0..2).map(|_| enter("10.0.0.2").unwrap()).collect();
        assert!(enter("10.0.0.1").is_none(), "for itself it makes no way");
        let new = enter("10.0.0.3").unwrap();
        assert_eq!(many.iter().map(is_in).collect::<Vec<_>>(), [false, true, true, true]);
        let newer = enter("10.0.0.3").unwrap();
        assert_eq!(many.iter().map(is_in).collect::<Vec<_>>(), [false, false, true, true]);
        assert!(enter("10.0.0.3").is_none(), "all have as many");
        assert!(few.iter().chain([&new, &newer]).all(is_in));
        drop(many); // Those who were pushed out do not count twice.
        assert_eq!(crowd.lock().taken, 4);
        drop((few, new, newer));
        assert!(crowd.lock().of.is_empty() && crowd.lock().taken == 0);
    }
}
