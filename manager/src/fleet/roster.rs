//! The machines that are connected: only they may send files, and each only so many at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::{SessionId, WorkerId};

/// Bulk connections of one machine at once: it opens one for each attempt that ends.
const BULK_MAX: usize = 64;

/// Control connections of one machine at once that count as its own: a new one may come while an old
/// one takes its leave.
const CONTROL_MAX: usize = 2;

/// Sessions of machines, by key. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster {
    entries: Arc<Mutex<BTreeMap<KeyHash, Entry>>>,
}

#[derive(Debug, Default)]
struct Entry {
    session: Option<(SessionId, WorkerId)>,
    bulk: usize,
    control: usize,
}

impl Roster {
    /// The machine of this key is welcome, and this is its session.
    pub(super) fn enter(&self, key_hash: KeyHash, session: SessionId, worker: WorkerId) {
        self.lock().entry(key_hash).or_default().session = Some((session, worker));
    }

    /// The session is over. If a newer one has taken the machine over, that one stays.
    pub(super) fn strike(&self, key_hash: &KeyHash, session: SessionId) {
        self.change(key_hash, |entry| {
            entry.session.take_if(|(entered, _)| *entered == session);
        });
    }

    /// The machine of a key, if it is connected.
    pub(super) fn present(&self, key_hash: &KeyHash) -> Option<WorkerId> {
        self.lock().get(key_hash)?.session.map(|(_, worker)| worker)
    }

    /// Counts one more bulk connection until what this yields is dropped; None if it has enough.
    pub(super) fn begin_bulk(&self, key_hash: KeyHash) -> Option<OneOfFew> {
        self.begin(key_hash, Kind::Bulk, BULK_MAX)
    }

    /// The same for control connections of a machine that is welcome.
    pub(super) fn begin_control(&self, key_hash: KeyHash) -> Option<OneOfFew> {
        self.begin(key_hash, Kind::Control, CONTROL_MAX)
    }

    fn begin(&self, key_hash: KeyHash, kind: Kind, max: usize) -> Option<OneOfFew> {
        let mut entries = self.lock();
        let count = entries.entry(key_hash).or_default().count_mut(kind);
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(OneOfFew { roster: self.clone(), key_hash, kind })
    }

    fn change(&self, key_hash: &KeyHash, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(key_hash) {
            change(entry);
            if entry.session.is_none() && entry.bulk == 0 && entry.control == 0 {
                entries.remove(key_hash);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<KeyHash, Entry>> {
        self.entries.lock().expect("nothing panics while it holds the roster")
    }
}

impl Entry {
    fn count_mut(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Bulk => &mut self.bulk,
            Kind::Control => &mut self.control,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Bulk,
    Control,
}

/// One connection of a machine.
#[derive(Debug)]
pub(super) struct OneOfFew {
    roster: Roster,
    key_hash: KeyHash,
    kind: Kind,
}

impl Drop for OneOfFew {
    fn drop(&mut self) {
        self.roster.change(&self.key_hash, |entry| *entry.count_mut(self.kind) -= 1);
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::id::{SessionId, WorkerId};

    use super::{BULK_MAX, CONTROL_MAX, Roster};

    #[test]
    fn an_older_session_does_not_take_the_newer_one_along() {
        let (roster, key) = (Roster::default(), [1; 32]);
        roster.enter(key, SessionId(1), WorkerId(1));
        roster.enter(key, SessionId(2), WorkerId(1));
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
        let sessions: Vec<_> = (0..5).map(|_| roster.begin_control([1; 32])).collect();
        assert_eq!(sessions.iter().flatten().count(), CONTROL_MAX);
        drop((open, sessions));
        assert!(roster.begin_bulk([1; 32]).is_some());
        assert!(roster.lock().is_empty());
    }
}
