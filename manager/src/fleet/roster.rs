//! The machines that are connected: only they may send files, and each only so many at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::{SessionId, WorkerId};

/// Bulk connections of one machine at once: it opens one for each attempt that ends.
const BULK_MAX: usize = 64;

/// Sessions of machines, by key. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster {
    entries: Arc<Mutex<BTreeMap<KeyHash, Entry>>>,
}

/// A machine that is connected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Present {
    pub(super) worker: WorkerId,
    /// What it says that its disk has for tasks. MiB.
    pub(super) disk_mib: u32,
}

#[derive(Debug, Default)]
struct Entry {
    session: Option<(SessionId, Present)>,
    bulk: usize,
}

impl Roster {
    /// The machine of this key is welcome, and this is its session.
    pub(super) fn enter(&self, key_hash: KeyHash, session: SessionId, present: Present) {
        self.lock().entry(key_hash).or_default().session = Some((session, present));
    }

    /// The session is over. If a newer one has taken the machine over, that one stays.
    pub(super) fn strike(&self, key_hash: &KeyHash, session: SessionId) {
        self.change(key_hash, |entry| {
            entry.session.take_if(|(entered, _)| *entered == session);
        });
    }

    /// The machine of a key, if it is connected.
    pub(super) fn present(&self, key_hash: &KeyHash) -> Option<Present> {
        self.lock().get(key_hash)?.session.map(|(_, present)| present)
    }

    /// Counts one more bulk connection until what this yields is dropped; None if it has enough.
    pub(super) fn begin_bulk(&self, key_hash: KeyHash) -> Option<Bulk> {
        let mut entries = self.lock();
        let entry = entries.entry(key_hash).or_default();
        if entry.bulk >= BULK_MAX {
            return None;
        }
        entry.bulk += 1;
        Some(Bulk { roster: self.clone(), key_hash })
    }

    fn change(&self, key_hash: &KeyHash, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(key_hash) {
            change(entry);
            if entry.session.is_none() && entry.bulk == 0 {
                entries.remove(key_hash);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<KeyHash, Entry>> {
        self.entries.lock().expect("nothing panics while it holds the roster")
    }
}

/// One bulk connection of a machine.
#[derive(Debug)]
pub(super) struct Bulk {
    roster: Roster,
    key_hash: KeyHash,
}

impl Drop for Bulk {
    fn drop(&mut self) {
        self.roster.change(&self.key_hash, |entry| entry.bulk -= 1);
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::id::{SessionId, WorkerId};

    use super::{BULK_MAX, Present, Roster};

    #[test]
    fn an_older_session_does_not_take_the_newer_one_along() {
        let (roster, key) = (Roster::default(), [1; 32]);
        let present = Present { worker: WorkerId(1), disk_mib: 1 };
        roster.enter(key, SessionId(1), present);
        roster.enter(key, SessionId(2), present);
        roster.strike(&key, SessionId(1));
        assert!(roster.present(&key).is_some());
        roster.strike(&key, SessionId(2));
        assert!(roster.present(&key).is_none());
        assert!(roster.lock().is_empty());
    }

    #[test]
    fn one_machine_cannot_open_all_connections() {
        let roster = Roster::default();
        let open: Vec<_> = (0..BULK_MAX + 5).map(|_| roster.begin_bulk([1; 32])).collect();
        assert_eq!(open.iter().flatten().count(), BULK_MAX);
        assert!(roster.begin_bulk([2; 32]).is_some());
        drop(open);
        assert!(roster.begin_bulk([1; 32]).is_some());
        assert!(roster.lock().is_empty());
    }
}
