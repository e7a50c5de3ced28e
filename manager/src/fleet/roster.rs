//! The machines that are connected and have an owner: only they may send files.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::{SessionId, WorkerId};

/// Sessions of owned machines, by key. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster {
    sessions: Arc<Mutex<Sessions>>,
}

type Sessions = BTreeMap<KeyHash, (SessionId, WorkerId)>;

impl Roster {
    /// The machine of this key has an owner, and this is its session.
    pub(super) fn enter(&self, key_hash: KeyHash, session: SessionId, worker: WorkerId) {
        self.lock().insert(key_hash, (session, worker));
    }

    /// The session is over. If a newer one has taken the machine over, that one stays.
    pub(super) fn strike(&self, session: SessionId) {
        self.lock().retain(|_, (entered, _)| *entered != session);
    }

    /// The machine of a key, if it is connected and has an owner.
    pub(super) fn worker(&self, key_hash: &KeyHash) -> Option<WorkerId> {
        self.lock().get(key_hash).map(|&(_, worker)| worker)
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().expect("nothing panics while it holds the roster")
    }
}
