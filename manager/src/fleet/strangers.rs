//! How many may be connected, and how many may be on the point of saying who they are: whoever reaches
//! the port can be one of these, so that none takes the place of all others.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Handshakes under way at once: some milliseconds of a processor each, or ten seconds of patience.
const HANDSHAKES_MAX: usize = 256;

/// Of these, from one address. Others wait for their turn: a campus may be behind one address, and all
/// of it returns when the manager does.
const HANDSHAKES_OF_ADDRESS_MAX: usize = 64;

/// Bits of an IPv6 address by which neighbours are told apart: one subscriber has all of the rest.
const IPV6_PREFIX_BITS: u32 = 64;

/// The places. Cheap to clone.
#[derive(Clone)]
pub(super) struct Strangers {
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    of_address_max: usize,
    neighbours: Arc<Mutex<Neighbours>>,
}

type Neighbours = BTreeMap<IpAddr, Neighbour>;

struct Neighbour {
    /// Connections from there that have shown no certificate.
    unknown: usize,
    handshakes: Arc<Semaphore>,
}

impl Strangers {
    /// With this many places, of which half may be of one address's strangers.
    pub(super) fn new(connections_max: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(connections_max)),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            of_address_max: connections_max.div_ceil(2),
            neighbours: Arc::default(),
        }
    }

    /// A place for one that has just come, if there is one.
    pub(super) fn place(&self, address: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let address = neighbourhood(address);
        let mut neighbours = self.lock();
        let neighbour = neighbours.entry(address).or_insert_with(|| Neighbour {
            unknown: 0,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_OF_ADDRESS_MAX)),
        });
        if neighbour.unknown >= self.of_address_max {
            return None;
        }
        neighbour.unknown += 1;
        drop(neighbours);
        Some(Place { _permit: permit, unknown: Some(Unknown { all: self.clone(), address }) })
    }

    fn lock(&self) -> MutexGuard<'_, Neighbours> {
        self.neighbours.lock().expect("nothing panics while it holds the neighbours")
    }
}

/// One connection's place, until it is dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    unknown: Option<Unknown>,
}

impl Place {
    /// Waits until it may shake hands; others wait until what this yields is dropped.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let Unknown { all, address } = self.unknown.as_ref()?;
        let of_address = all.lock().get(address).map(|found| Arc::clone(&found.handshakes))?;
        // Its address's first: who waits there must not take from what all share.
        let of_address = of_address.acquire_owned().await.ok()?;
        let of_all = Arc::clone(&all.handshakes).acquire_owned().await.ok()?;
        Some(Turn { _of_address: of_address, _of_all: of_all })
    }

    /// It has shown a certificate of ours, and no longer counts as a stranger of its address.
    pub(super) fn know(&mut self) {
        self.unknown = None;
    }
}

/// The right to shake hands.
pub(super) struct Turn {
    _of_address: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

struct Unknown {
    all: Strangers,
    address: IpAddr,
}

impl Drop for Unknown {
    fn drop(&mut self) {
        let mut neighbours = self.all.lock();
        if let Some(neighbour) = neighbours.get_mut(&self.address) {
            neighbour.unknown -= 1;
            if neighbour.unknown == 0 {
                neighbours.remove(&self.address);
            }
        }
    }
}

/// What counts as one address.
fn neighbourhood(address: IpAddr) -> IpAddr {
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

    use super::{HANDSHAKES_MAX, HANDSHAKES_OF_ADDRESS_MAX, Strangers};

    fn address(number: usize) -> IpAddr {
        format!("2001:db8:0:{number:x}::1").parse().unwrap()
    }

    #[test]
    fn one_address_leaves_half_of_the_places_to_others() {
        let strangers = Strangers::new(4);
        let of_one: Vec<_> = (0..3).map(|_| strangers.place(address(1))).collect();
        assert_eq!(of_one.iter().flatten().count(), 2);
        let neighbour = strangers.place("2001:db8:0:1:ffff::2".parse().unwrap());
        assert!(neighbour.is_none(), "of the same network");
        let other = strangers.place(address(2));
        assert!(other.is_some());
        drop(of_one);
        assert!(strangers.place(address(1)).is_some());
        drop(other);
        assert!(strangers.lock().is_empty());
    }

    #[test]
    fn who_is_known_takes_a_place_but_not_its_neighbours() {
        let strangers = Strangers::new(4);
        let mut known: Vec<_> = Vec::new();
        for _ in 0..4 {
            let mut place = strangers.place(address(1)).unwrap();
            place.know();
            known.push(place);
        }
        assert!(strangers.place(address(1)).is_none() && strangers.place(address(2)).is_none());
    }

    #[test]
    fn handshakes_wait_for_their_turn() {
        let strangers = Strangers::new(10_000);
        let turns = |number| -> Vec<_> {
            let places: Vec<_> =
                (0..100).map(|_| strangers.place(address(number)).unwrap()).collect();
            places.iter().filter_map(|place| place.turn().now_or_never()).collect()
        };
        let of_one = turns(1);
        assert_eq!(of_one.len(), HANDSHAKES_OF_ADDRESS_MAX);
        let others: Vec<_> = (2..=4).map(turns).collect();
        let under_way = of_one.len() + others.iter().map(Vec::len).sum::<usize>();
        assert_eq!(under_way, HANDSHAKES_MAX);
        assert_eq!(turns(5).len(), 0);
        drop(of_one);
        assert_eq!(turns(5).len(), HANDSHAKES_OF_ADDRESS_MAX);
    }
}
