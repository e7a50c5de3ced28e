//! Whether anything is taken in: the disk against its reserve, and the books as they were last checked.
//! It makes room for a batch that must be written all the same.

use campusgrid_core::input::{Input, Intake, Shut};
use campusgrid_core::time::Timestamp;

use crate::data_dir;
use crate::disk::{Ballast, Reserve, Space, is_full, try_room};
use crate::health::{Disk, Health};
use crate::store::{Fullness, StoreError};

/// The disk is looked at before a batch, but no more often than this.
const LOOK_EVERY_MS: u64 = 250;

/// How often it is looked at while nothing else happens and nothing is taken in.
const LOOK_AGAIN_MS: u64 = 1000;

/// What must be free beyond the reserve before it counts as free again, as a share of the reserve: or
/// each file that comes and goes would open and shut the door.
const SLACK: u64 = 16;

/// With less than this free, a file that could not grow could not for want of room. Bytes.
const NOTHING_BYTES: u64 = 1 << 20;

/// The door that jobs and results come in by.
#[derive(Debug)]
pub(super) struct Gate {
    reserve: Reserve,
    ballast: Ballast,
    health: Health,
    looked_at: Option<Timestamp>,
    full: bool,
    /// What is broken about the books.
    broken: Option<Vec<String>>,
    told: Intake,
    /// Since when a batch waits to be written.
    stuck_since: Option<Timestamp>,
}

impl Gate {
    /// As the last check of the books has left it; the disk has not been looked at.
    pub(super) fn new(reserve: Reserve, health: Health) -> Self {
        let gate = Self {
            ballast: reserve.ballast(),
            broken: data_dir::broken_books(&reserve.data_dir),
            reserve,
            health,
            looked_at: None,
            full: false,
            told: Intake::Open,
            stuck_since: None,
        };
        gate.tell(); // The reserve is known before the disk is first looked at.
        gate
    }

    /// Notes what a check of the books has found; the disk is looked at here alone.
    pub(super) fn note_books(&mut self, intake: Intake) {
        match intake {
            Intake::Open => self.broken = None,
            Intake::Shut(Shut::BooksBroken { findings }) => self.broken = Some(findings),
            Intake::Shut(Shut::DiskFull) => {}
        }
    }

    /// What the grid is to be told before the next batch, if it has changed.
    pub(super) fn news(&mut self, now: Timestamp) -> Option<Input> {
        self.look(now);
        let intake = match &self.broken {
            Some(findings) => Intake::Shut(Shut::BooksBroken { findings: findings.clone() }),
            None if self.full => Intake::Shut(Shut::DiskFull),
            None => Intake::Open,
        };
        if intake == self.told {
            return None;
        }
        match &intake {
            Intake::Open => tracing::info!("jobs and results are taken in again"),
            Intake::Shut(Shut::DiskFull) => tracing::error!(
                reserve_mib = self.reserve.bytes >> 20,
                "less than the reserve is free on the disk: nothing new is taken in, what runs goes \
                 on, results wait on their workers"
            ),
            Intake::Shut(Shut::BooksBroken { findings }) => tracing::error!(
                findings = findings.len(),
                "the books do not balance: nothing is taken in or settled until they do"
            ),
        }
        self.told = intake.clone();
        Some(Input::Intake(intake))
    }

    /// When the disk is to be looked at again though nothing happens.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.full.then(|| self.looked_at.unwrap_or_default().plus_ms(LOOK_AGAIN_MS))
    }

    /// Makes room after a commit has failed, so that it can be tried again: at once if the ballast was
    /// still there, else after a while.
    ///
    /// # Errors
    ///
    /// The error itself, if it was not for want of room.
    pub(super) fn make_room(
        &mut self,
        now: Timestamp,
        error: StoreError,
    ) -> Result<Retry, StoreError> {
        let is_full = match error.fullness() {
            Fullness::Full => true,
            // How much is free says nothing of our share, where the disk is parted by quotas.
            Fullness::Perhaps => {
                let data_dir = &self.reserve.data_dir;
                Space::of(data_dir).is_ok_and(|space| !space.has(NOTHING_BYTES))
                    || try_room(data_dir, NOTHING_BYTES).is_err_and(|error| is_full(&error))
            }
            Fullness::Other => false,
        };
        if !is_full {
            return Err(error);
        }
        self.full = true;
        self.looked_at = None; // Whatever is free now, it was not enough a moment ago.
        if self.stuck_since.is_none() {
            self.stuck_since = Some(now);
            self.tell();
        }
        if self.ballast.held_bytes() > 0 {
            tracing::error!("the disk is full: giving up the ballast to write what must be");
            match self.ballast.give_up() {
                Ok(()) => return Ok(Retry::AtOnce),
                Err(failed) => tracing::error!(error = %failed, "failed to give up the ballast"),
            }
        } else if self.stuck_since == Some(now) {
            tracing::error!("the disk is full to the last byte: all waits until there is room");
        }
        Ok(Retry::Later(error))
    }

    /// A batch is on disk; yields whether it had to wait for room.
    pub(super) fn written(&mut self, now: Timestamp) -> bool {
        let Some(since) = self.stuck_since.take() else { return false };
        let waited_ms = now.since_ms(since);
        tracing::warn!(waited_ms, "the batch that had no room is written");
        self.tell();
        true
    }

    fn look(&mut self, now: Timestamp) {
        if self.looked_at.is_some_and(|at| now < at.plus_ms(LOOK_EVERY_MS)) {
            return;
        }
        self.looked_at = Some(now);
        let space = match Space::of(&self.reserve.data_dir) {
            Ok(space) => space,
            Err(error) => {
                tracing::debug!(%error, "the system does not say how much of the disk is free");
                return;
            }
        };
        let reserve = self.reserve.bytes;
        let slack = if self.full { reserve / SLACK } else { 0 };
        // The ballast is ours and counts as free: else giving it up would open the door.
        let held = self.ballast.held_bytes();
        let mut full = !space.has((reserve + slack).saturating_sub(held));
        if held == 0 && !full && space.has(reserve + self.reserve.ballast_bytes()) {
            full = self.take_ballast();
        }
        if full != self.full {
            self.full = full;
            self.tell();
        }
    }

    /// Yields whether there is no room for it, whatever the system says to be free: our share of the disk
    /// may be used up.
    fn take_ballast(&mut self) -> bool {
        let Err(error) = self.ballast.take() else {
            tracing::debug!("took the ballast");
            return false;
        };
        if !self.full {
            tracing::warn!(%error, "failed to take the ballast");
        }
        is_full(&error)
    }

    fn tell(&self) {
        let (reserve_bytes, full) = (self.reserve.bytes, self.full);
        self.health.tell_disk(Disk { reserve_bytes, full, stuck_since: self.stuck_since });
    }
}

/// When a commit is tried again.
#[derive(Debug)]
pub(super) enum Retry {
    AtOnce,
    /// With what it failed of.
    Later(StoreError),
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use campusgrid_core::input::{Input, Intake, Shut};
    use campusgrid_core::time::Timestamp;

    use super::{Gate, Retry};
    use crate::data_dir;
    use crate::disk::{Reserve, Space};
    use crate::health::Health;
    use crate::store::StoreError;

    fn gate(data_dir: &Path, bytes: u64) -> (Gate, Health) {
        let data_dir = data_dir.to_owned();
        let health = Health::new(data_dir.clone());
        (Gate::new(Reserve { data_dir, bytes }, health.clone()), health)
    }

    fn told(gate: &mut Gate, at: u64) -> Option<Intake> {
        gate.news(Timestamp(at)).map(|input| {
            let Input::Intake(intake) = input else { panic!("{input:?}") };
            intake
        })
    }

    fn broken() -> Intake {
        Intake::Shut(Shut::BooksBroken { findings: vec!["it does not add up".to_owned()] })
    }

    #[test]
    fn the_grid_is_told_once_and_books_outweigh_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let too_much = Space::of(directory.path()).unwrap().total_bytes * 2;
        let (mut gate, health) = gate(directory.path(), too_much);
        assert_eq!(health.view().disk.reserve_bytes, too_much, "before it was ever looked at");
        assert_eq!(told(&mut gate, 1000), Some(Intake::Shut(Shut::DiskFull)));
        assert!(health.view().disk.full);
        assert_eq!(gate.deadline(), Some(Timestamp(2000)), "it would not notice room");
        assert_eq!(told(&mut gate, 1100), None);
        gate.note_books(broken());
        assert_eq!(told(&mut gate, 1200), Some(broken()));
        gate.reserve.bytes = 0; // As if somebody had made room.
        assert_eq!(told(&mut gate, 1210), None, "it looks too often");
        assert_eq!((told(&mut gate, 2000), health.view().disk.full), (None, false));
        gate.note_books(Intake::Open);
        assert_eq!(told(&mut gate, 2001), Some(Intake::Open));
        assert_eq!(gate.deadline(), None);
    }

    #[test]
    fn a_disk_that_hovers_at_the_reserve_does_not_open_and_shut_the_door() {
        let directory = tempfile::tempdir().unwrap();
        let free = Space::of(directory.path()).unwrap().free_bytes;
        let (mut gate, _) = gate(directory.path(), free * 2);
        assert_eq!(told(&mut gate, 1000), Some(Intake::Shut(Shut::DiskFull)));
        // A thirtieth more than the reserve is not enough, an eighth is.
        gate.reserve.bytes = free - free / 30;
        assert_eq!(told(&mut gate, 2000), None);
        gate.reserve.bytes = free - free / 8;
        assert_eq!(told(&mut gate, 3000), Some(Intake::Open));
    }

    #[test]
    fn the_ballast_goes_first_and_other_errors_end_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let (mut gate, health) = gate(directory.path(), 2 << 20);
        assert_eq!(told(&mut gate, 1000), None);
        assert!(directory.path().join("ballast").exists());
        let full = || failure(rusqlite::ffi::SQLITE_FULL);
        assert!(matches!(gate.make_room(Timestamp(1001), full()), Ok(Retry::AtOnce)));
        assert!(!directory.path().join("ballast").exists());
        assert!(matches!(gate.make_room(Timestamp(1002), full()), Ok(Retry::Later(_))));
        assert_eq!(health.view().disk.stuck_since, Some(Timestamp(1001)));
        assert!(gate.written(Timestamp(3000)) && !gate.written(Timestamp(3000)));
        assert_eq!(health.view().disk.stuck_since, None);
        assert_eq!(told(&mut gate, 3001), None);
        assert!(directory.path().join("ballast").exists(), "there is room again");
        for code in [rusqlite::ffi::SQLITE_CORRUPT, rusqlite::ffi::SQLITE_IOERR_FSYNC] {
            assert!(gate.make_room(Timestamp(4000), failure(code)).is_err());
        }
        // This disk is not full, so that it was something else.
        let write = failure(rusqlite::ffi::SQLITE_IOERR_WRITE);
        assert!(gate.make_room(Timestamp(4000), write).is_err());
    }

    #[test]
    fn a_start_on_books_that_were_broken_is_a_start_behind_a_shut_door() {
        let directory = tempfile::tempdir().unwrap();
        let Intake::Shut(Shut::BooksBroken { findings }) = broken() else { unreachable!() };
        data_dir::note_books(directory.path(), &findings).unwrap();
        let (mut shut, _) = gate(directory.path(), 0);
        assert_eq!(told(&mut shut, 1), Some(broken()), "before the first batch");
        shut.note_books(Intake::Open);
        assert_eq!(told(&mut shut, 2), Some(Intake::Open));
        data_dir::note_books(directory.path(), &[]).unwrap();
        let (mut open, _) = gate(directory.path(), 0);
        assert_eq!(told(&mut open, 1), None);
    }

    fn failure(code: i32) -> StoreError {
        let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        StoreError::Commit { changes: 1, source }
    }
}
