//! How many may be connected, and how many of them may be strangers: whoever reaches the port can be
//! one, so that they leave room to machines that have joined, and none takes the place of all others.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::crowd::{Crowd, Foothold, neighbourhood};
use super::{FleetError, INTRODUCTION};

/// Handshakes under way at once: some milliseconds of a processor each, or some seconds of patience.
const HANDSHAKES_MAX: usize = 256;

/// Of these, from one address. Others wait for their turn: a campus may be behind one address, and all
/// of it returns when the manager does.
const HANDSHAKES_OF_ADDRESS_MAX: usize = 32;

/// How long a handshake may take while half of the turns are taken.
const HURRY: Duration = Duration::from_secs(4);

/// The places. Cheap to clone.
#[derive(Clone)]
pub(super) struct Strangers {
    places: Arc<Semaphore>,
    crowd: Crowd,
    of_address_max: usize,
    handshakes: Arc<Semaphore>,
    neighbours: Arc<Mutex<Neighbours>>,
}

type Neighbours = BTreeMap<IpAddr, Neighbour>;

struct Neighbour {
    /// Of strangers from there.
    places: usize,
    handshakes: Arc<Semaphore>,
}

impl Strangers {
    /// With this many places, of which half may be strangers', and an eighth one address's strangers.
    pub(super) fn new(connections_max: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(connections_max)),
            crowd: Crowd::new(connections_max.div_ceil(2)),
            of_address_max: connections_max.div_ceil(8),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            neighbours: Arc::default(),
        }
    }

    /// A place for one that has just come, if there is one.
    pub(super) fn place(&self, address: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        // What runs on this machine may be in front of many, and needs no socket to harm it.
        let of_address_max = if address.is_loopback() { usize::MAX } else { self.of_address_max };
        let foothold = self.crowd.enter(address, of_address_max)?;
        let all = self.clone();
        let neighbour = AtDoor::of(all, address);
        Some(Place { _permit: permit, stranger: Some(Stranger { foothold, neighbour }) })
    }

    fn lock(&self) -> MutexGuard<'_, Neighbours> {
        self.neighbours.lock().expect("nothing panics while it holds the neighbours")
    }
}

/// One connection's place, until it is dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    stranger: Option<Stranger>,
}

struct Stranger {
    foothold: Foothold,
    neighbour: AtDoor,
}

impl Place {
    /// Waits until it may shake hands; others wait until what this yields is dropped.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let AtDoor { all, address } = &self.stranger.as_ref()?.neighbour;
        let found = all.lock().get(&neighbourhood(*address)).map(|it| Arc::clone(&it.handshakes));
        // Its address's first: who waits there must not take from what all share.
        let of_address = found?.acquire_owned().await.ok()?;
        let of_all = Arc::clone(&all.handshakes).acquire_owned().await.ok()?;
        let is_crowded = all.handshakes.available_permits() < HANDSHAKES_MAX / 2;
        let patience = if is_crowded && !address.is_loopback() { HURRY } else { INTRODUCTION };
        Some(Turn { patience, _of_address: of_address, _of_all: of_all })
    }

    /// Goes on with something until another stranger needs the place more.
    ///
    /// # Errors
    ///
    /// `Crowded`; never, once it is known.
    pub(super) async fn staying<T>(&self, work: impl Future<Output = T>) -> Result<T, FleetError> {
        match &self.stranger {
            Some(Stranger { foothold, .. }) => foothold.staying(work).await,
            None => Ok(work.await),
        }
    }

    /// The engine knows the machine, so that it no longer counts as a stranger.
    pub(super) fn know(&mut self) {
        self.stranger = None;
    }
}

/// The right to shake hands.
pub(super) struct Turn {
    /// How long that may take.
    pub(super) patience: Duration,
    _of_address: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// One stranger of an address.
struct AtDoor {
    all: Strangers,
    address: IpAddr,
}

impl AtDoor {
    fn of(all: Strangers, address: IpAddr) -> Self {
        let fresh = || Neighbour {
            places: 0,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_OF_ADDRESS_MAX)),
        };
        all.lock().entry(neighbourhood(address)).or_insert_with(fresh).places += 1;
        Self { all, address }
    }
}

impl Drop for AtDoor {
    fn drop(&mut self) {
        let mut neighbours = self.all.lock();
        let address = neighbourhood(self.address);
        if let Some(neighbour) = neighbours.get_mut(&address) {
            neighbour.places -= 1;
            if neighbour.places == 0 {
                neighbours.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::FutureExt;

    use super::{HANDSHAKES_MAX, HANDSHAKES_OF_ADDRESS_MAX, HURRY, INTRODUCTION, Place, Strangers};

    fn address(number: usize) -> IpAddr {
        format!("2001:db8:0:{number:x}::1").parse().unwrap()
    }

    fn is_in(place: &Place) -> bool {
        place.staying(std::future::pending::<()>()).now_or_never().is_none()
    }

    #[test]
    fn one_address_has_an_eighth_of_the_places_and_all_strangers_half() {
        let strangers = Strangers::new(64);
        let of_one: Vec<_> = (0..10).flat_map(|_| strangers.place(address(1))).collect();
        assert_eq!(of_one.len(), 8);
        let neighbour = strangers.place("2001:db8:0:1:ffff::2".parse().unwrap());
        assert!(neighbour.is_none(), "of the same network");
        let of_others: Vec<_> = (2..10).flat_map(|other| (0..8).map(move |_| other)).collect();
        let of_others: Vec<_> =
            of_others.into_iter().filter_map(|other| strangers.place(address(other))).collect();
        let all = || of_one.iter().chain(&of_others);
        assert_eq!(all().filter(|place| is_in(place)).count(), 32);
        let late = strangers.place(address(99)).unwrap();
        assert!(is_in(&late), "whoever has most makes way");
        assert_eq!(all().filter(|place| is_in(place)).count(), 31);
    }

    #[test]
    fn strangers_leave_half_of_the_places_to_machines_that_have_joined() {
        let strangers = Strangers::new(8);
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let unknown: Vec<_> = (0..8).flat_map(|_| strangers.place(here)).collect();
        assert_eq!(unknown.len(), 4);
        // One who is known is not pushed out, and does not count.
        drop(unknown);
        let mut known: Vec<_> = Vec::new();
        for _ in 0..8 {
            let mut place = strangers.place(here).unwrap();
            place.know();
            known.push(place);
        }
        assert!(strangers.place(here).is_none() && known.iter().all(is_in));
        drop(known);
        assert!(strangers.lock().is_empty());
    }

    #[test]
    fn handshakes_wait_for_their_turn_and_hurry_when_many_do() {
        let strangers = Strangers::new(10_000);
        let turns = |number| -> Vec<_> {
            let places: Vec<_> =
                (0..100).map(|_| strangers.place(address(number)).unwrap()).collect();
            places.iter().filter_map(|place| place.turn().now_or_never()?).collect()
        };
        let of_one = turns(1);
        assert_eq!(of_one.len(), HANDSHAKES_OF_ADDRESS_MAX);
        assert!(of_one.iter().all(|turn| turn.patience == INTRODUCTION));
        let others: Vec<_> = (2..=8).map(turns).collect();
        let under_way = of_one.len() + others.iter().map(Vec::len).sum::<usize>();
        assert_eq!(under_way, HANDSHAKES_MAX);
        assert!(others.last().unwrap().iter().all(|turn| turn.patience == HURRY));
        assert_eq!(turns(9).len(), 0);
        drop(of_one);
        assert_eq!(turns(9).len(), HANDSHAKES_OF_ADDRESS_MAX);
    }
}
