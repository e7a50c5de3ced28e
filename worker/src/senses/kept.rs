//! What the owner has said, across starts of the worker: rules of the dashboard, wishes by hand.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use campusgrid_protocol::rules::{ByHand, Rules};
use serde::de::DeserializeOwned;
use tracing::warn;

use super::SensesError;
use crate::disk::{remove_if_there, write_private};

/// The two files.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    rules: PathBuf,
    by_hand: PathBuf,
}

impl Kept {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self { rules: data_dir.join("rules.json"), by_hand: data_dir.join("by_hand.json") }
    }

    /// The rules that the dashboard has given last.
    ///
    /// # Errors
    ///
    /// When there are some and they cannot be read.
    pub(super) fn rules(&self) -> Result<Option<Rules>, SensesError> {
        read(&self.rules)
    }

    /// What was said by hand last, be it over or not.
    ///
    /// # Errors
    ///
    /// As [`Self::rules`].
    pub(super) fn by_hand(&self) -> Result<Option<ByHand>, SensesError> {
        read(&self.by_hand)
    }

    /// Keeps rules. A disk that takes nothing must not keep them from being followed.
    pub(super) fn keep_rules(&self, rules: &Rules) {
        let text = serde_json::to_vec(rules).expect("numbers, names and lists have a form in JSON");
        if let Err(error) = write_private(&self.rules, &text) {
            warn!("rules are followed but not kept in {}: {error}", self.rules.display());
        }
    }

    /// Keeps what was said by hand, or that nothing is said any more.
    ///
    /// # Errors
    ///
    /// `Keep`; what was kept before then stays.
    pub(super) fn keep_by_hand(&self, by_hand: Option<ByHand>) -> Result<(), SensesError> {
        let kept = match by_hand {
            Some(by_hand) => {
                let text = serde_json::to_vec(&by_hand).expect("a word and a number have a form");
                write_private(&self.by_hand, &text)
            }
            None => remove_if_there(&self.by_hand),
        };
        kept.map_err(|source| SensesError::Keep { path: self.by_hand.clone(), source })
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, SensesError> {
    let failed = |source| SensesError::ReadKept { path: path.to_owned(), source };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let parsed = serde_json::from_slice(&text);
    parsed.map(Some).map_err(|error| failed(io::Error::new(ErrorKind::InvalidData, error)))
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rules::Wish;

    use super::*;

    #[test]
    fn what_was_said_is_still_said_after_a_start() {
        let home = tempfile::tempdir().unwrap();
        let kept = Kept::of(home.path());
        assert!(kept.rules().unwrap().is_none() && kept.by_hand().unwrap().is_none());
        let by_hand = Some(ByHand { wish: Wish::Pause, until_ms: Some(7) });
        kept.keep_by_hand(by_hand).unwrap();
        kept.keep_rules(&Rules { by_hand, ..Rules::default() });
        assert_eq!(kept.by_hand().unwrap(), by_hand);
        assert_eq!(kept.rules().unwrap().unwrap().by_hand, by_hand);
        kept.keep_by_hand(None).unwrap();
        assert_eq!(kept.by_hand().unwrap(), None);
        fs::write(home.path().join("by_hand.json"), "{").unwrap();
        kept.by_hand().unwrap_err();
    }
}
