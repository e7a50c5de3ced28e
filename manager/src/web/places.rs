//! Connections of each party, counted so that none of them takes all places.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use super::client::Proxies;
use super::network::Network;

/// How many connections each party has. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Places {
    max: usize,
    proxies: Proxies,
    taken: Arc<Mutex<BTreeMap<Network, usize>>>,
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Network,
    taken: Arc<Mutex<BTreeMap<Network, usize>>>,
}

impl Places {
    /// So many for each, but for proxies, which speak for many.
    pub(super) fn new(max: usize, proxies: Proxies) -> Self {
        Self { max, proxies, taken: Arc::default() }
    }

    /// A place for a connection from here; None if this party has all of its places.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let of = Network::of(address);
        let address = address.to_canonical();
        let is_for_many = address.is_loopback() || self.proxies.has(address);
        let max = if is_for_many { usize::MAX } else { self.max };
        let mut taken = lock(&self.taken);
        let count = taken.entry(of).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place { of, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        let count = taken.get_mut(&self.of).expect("a place that is held is counted");
        *count -= 1;
        if *count == 0 {
            taken.remove(&self.of);
        }
    }
}

fn lock(taken: &Mutex<BTreeMap<Network, usize>>) -> MutexGuard<'_, BTreeMap<Network, usize>> {
    taken.lock().expect("nothing panics while it counts places")
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn one_party_leaves_room_for_others() {
        let places = Places::new(2, "10.0.1.1".parse().unwrap());
        let take = |address: &str| places.take(address.parse().unwrap());
        let held = [take("10.0.0.7"), take("::ffff:10.0.0.7")];
        assert!(held.iter().all(Option::is_some));
        assert!(take("10.0.0.7").is_none());
        assert!(take("10.0.0.8").is_some());
        let here: Vec<_> = (0..5).flat_map(|_| ["127.0.0.1", "10.0.1.1"]).map(take).collect();
        assert!(here.iter().all(Option::is_some));
        drop(held);
        assert!(take("10.0.0.7").is_some());
        drop(here);
        assert!(places.taken.lock().unwrap().is_empty(), "what is free is forgotten");
    }
}
