//! The machines that are connected and have an owner: only they may send files.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::SessionId;

/// Sessions of owned machines, by key. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster {
    sessions: Arc<Mutex<BTreeMap<KeyHash, SessionId>>>,
}

impl Roster {
    /// The machine of this key has an owner, and this is its session.
    pub(super) fn enter(&self, key_hash: KeyHash, session: SessionId) {
        self.lock().insert(key_hash, session);
    }

    /// The session is over. If a newer one has taken the machine over, that one stays.
    pub(super) fn strike(&self, session: SessionId) {
        self.lock().retain(|_, entered| *entered != session);
    }

    pub(super) fn has(&self, key_hash: &KeyHash) -> bool {
        self.lock().contains_key(key_hash)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<KeyHash, SessionId>> {
        self.sessions.lock().expect("nothing panics while it holds the roster")
    }
}
