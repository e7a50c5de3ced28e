//! How much users write anew. What is replaced or taken out of a draft lies on the disk until the sweep has
//! it, and nobody's storage counts it; so that is bounded by itself, in bytes and in files.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::UserId;

use crate::sweep::GRACE;
use crate::web::error::WebError;

/// What users may write while the sweep leaves it alone, in so many times what they may keep.
const TIMES: u64 = 2;

/// Most files that a user may write in that time: each takes an inode, however small it is.
const FILES_MAX: u64 = TIMES * 250_000;

/// What somebody has brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brought {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Who has written how much. It is lost with the process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Churn {
    of: Arc<Mutex<BTreeMap<UserId, Written>>>,
}

/// What a user has written; it is forgotten little by little.
#[derive(Debug, Clone, Copy)]
struct Written {
    files: Level,
    bytes: Level,
    at: Timestamp,
}

/// A number that falls evenly, by all that may be in [`GRACE`]. In parts of it, one for each millisecond of
/// that, so that nothing is lost where little falls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Level(u128);

impl Level {
    fn fall(&mut self, elapsed_ms: u64, max: u64) {
        self.0 = self.0.saturating_sub(u128::from(elapsed_ms) * u128::from(max));
    }

    /// With so many more; None if that is too much.
    fn with(self, more: u64, max: u64) -> Option<Self> {
        let sum = self.0 + u128::from(more) * GRACE.as_millis();
        (sum <= u128::from(max) * GRACE.as_millis()).then_some(Self(sum))
    }
}

impl Churn {
    /// Counts what a user is about to have written, who may keep so many bytes.
    ///
    /// # Errors
    ///
    /// `WrittenTooMuch`; nothing is then counted.
    pub(super) fn add(
        &self,
        user: UserId,
        brought: Brought,
        storage_max_bytes: u64,
        now: Timestamp,
    ) -> Result<(), WebError> {
        let max_bytes = storage_max_bytes.saturating_mul(TIMES);
        let mut of = self.of.lock().expect("nothing panics while it counts what was written");
        // As many as there are users who write, but for those of whom all is forgotten.
        of.retain(|_, written| {
            let elapsed_ms = now.0.saturating_sub(written.at.0);
            written.at = now;
            written.files.fall(elapsed_ms, FILES_MAX);
            written.bytes.fall(elapsed_ms, max_bytes);
            (written.files, written.bytes) != (Level(0), Level(0))
        });
        let none = Written { files: Level(0), bytes: Level(0), at: now };
        let written = of.get(&user).copied().unwrap_or(none);
        let files = written.files.with(brought.files, FILES_MAX);
        let bytes = written.bytes.with(brought.bytes, max_bytes);
        let (Some(files), Some(bytes)) = (files, bytes) else {
            return Err(WebError::WrittenTooMuch { max_bytes, max_files: FILES_MAX });
        };
        of.insert(user, Written { files, bytes, at: now });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_core::time::Timestamp;
    use campusgrid_protocol::id::UserId;

    use super::{Brought, Churn, FILES_MAX};
    use crate::sweep::GRACE;

    const KEPT: u64 = 1000;

    #[test]
    fn what_was_written_is_bounded_and_forgotten() {
        let churn = Churn::default();
        let hours = u64::try_from(GRACE.as_millis()).unwrap() / 48;
        let add = |user, files, bytes, hour: u64| {
            let now = Timestamp(5_000 + hour * hours);
            churn.add(UserId(user), Brought { files, bytes }, KEPT, now).is_ok()
        };
        assert!(add(1, 1, 1500, 0));
        assert!(!add(1, 1, 501, 0));
        assert!(add(1, 1, 500, 0), "what was refused is not counted");
        assert!(add(2, FILES_MAX, 0, 0), "another's share");
        assert!(!add(2, 1, 0, 0), "many small files are as bad as large ones");
        assert!(!add(1, 1, 1001, 24));
        assert!(add(1, 1, 1000, 24));
        assert!(add(1, 0, 0, 24 + 48));
        assert!(add(3, 1, 1, 24 + 48 + 1));
        assert_eq!(churn.of.lock().unwrap().len(), 1, "what is over is forgotten");
    }

    #[test]
    fn little_is_forgotten_however_often_one_looks() {
        let churn = Churn::default();
        let add = |files, ms| {
            churn.add(UserId(1), Brought { files, bytes: 0 }, KEPT, Timestamp(ms)).is_ok()
        };
        assert!(add(FILES_MAX, 0));
        // Less than one file is forgotten in each of these.
        for ms in (0..1000).step_by(100) {
            assert!(!add(3, ms), "{ms}");
        }
        assert!(add(2, 1000));
    }
}
