//! Work that holds a thread for long: each user has one turn at a time, and all together a few.

use std::sync::Arc;

use campusgrid_protocol::id::UserId;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Users who may wait for each other.
const SLOTS: usize = 64;

/// Who may work now. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::web) struct Turns {
    own: Arc<[Arc<Mutex<()>>; SLOTS]>,
    places: Arc<Semaphore>,
}

/// Held while the work is done; by the thread that does it, since whoever asked may go away.
#[derive(Debug)]
pub(in crate::web) struct Turn {
    _own: OwnedMutexGuard<()>,
    _place: OwnedSemaphorePermit,
}

impl Turns {
    /// For so many at once, each of another user.
    pub(super) fn new(places: usize) -> Self {
        let own = Arc::new(std::array::from_fn(|_| Arc::default()));
        Self { own, places: Arc::new(Semaphore::new(places)) }
    }

    /// Waits for a turn: that of the user first, so that nobody waits in more than one place of all.
    pub(in crate::web) async fn take(&self, user: UserId) -> Turn {
        let slot = usize::try_from(user.0 % SLOTS as u64).expect("a small number");
        let own = Arc::clone(&self.own[slot]).lock_owned().await;
        let place = Arc::clone(&self.places).acquire_owned().await;
        Turn { _own: own, _place: place.expect("nothing closes it") }
    }
}
