//! How far the fetching of files has come, in words.

use super::cache::Fetching;
use crate::flights::Steps;

const MIB: u64 = 1 << 20;

/// What is to come, and what is here of it.
#[derive(Debug)]
pub(super) struct Telling {
    total_bytes: u64,
    here_bytes: u64,
    steps: Steps,
}

impl Telling {
    pub(super) fn new(claims: &[Fetching], steps: Steps) -> Self {
        let total_bytes = claims.iter().map(|claim| claim.blob().size_bytes).sum();
        let mut telling = Self { total_bytes, here_bytes: 0, steps };
        telling.resume(claims);
        telling
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    pub(super) fn here_bytes(&self) -> u64 {
        self.here_bytes
    }

    /// Of these contents, and of no others, something is still to come.
    pub(super) fn resume(&mut self, claims: &[Fetching]) {
        let missing: u64 = claims.iter().map(Fetching::missing_bytes).sum();
        self.here_bytes = self.total_bytes.saturating_sub(missing);
        self.tell();
    }

    pub(super) fn add(&mut self, bytes: u64) {
        let before = self.here_bytes / MIB;
        self.here_bytes += bytes;
        if self.here_bytes / MIB != before {
            self.tell();
        }
    }

    /// The connection is lost, and another one will be tried.
    pub(super) fn interrupted(&self) {
        self.steps.send_replace(format!("{}, waiting for the manager", self.words()));
    }

    fn tell(&self) {
        self.steps.send_replace(self.words());
    }

    fn words(&self) -> String {
        match self.total_bytes.div_ceil(MIB) {
            0..=1 => "fetching its files".to_owned(),
            total_mib => {
                format!("fetching its files: {} of {total_mib} MiB", self.here_bytes / MIB)
            }
        }
    }
}
