//! What was asked for in vain, for a while: the tasks of an array all ask for the same.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::EnvironmentError;
use crate::clock;

/// How long it is taken to stay so: a package may be published meanwhile. Seconds.
const KEPT_S: u64 = 300;
/// Far more than anybody asks for in that time.
const KEPT_MAX: usize = 1000;

type Key = [u8; 32];

/// Answers of the index that are the submitter's to mend.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<Key, Refused>>);

#[derive(Debug)]
struct Refused {
    error: EnvironmentError,
    until_s: u64,
}

impl Refusals {
    /// What this question was answered with a short time ago.
    ///
    /// # Errors
    ///
    /// That answer.
    pub(super) fn check(&self, key: &Key) -> Result<(), EnvironmentError> {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match refused.get(key) {
            Some(refused) if refused.until_s > clock::unix_s() => Err(refused.error.clone()),
            Some(_) | None => Ok(()),
        }
    }

    /// Remembers a failure, if it is one that every task of the job would meet.
    pub(super) fn note<T>(&self, key: Key, result: &Result<T, EnvironmentError>) {
        let Err(error @ EnvironmentError::Requirements { .. }) = result else { return };
        let now_s = clock::unix_s();
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|_, refused| refused.until_s > now_s);
        if refused.len() < KEPT_MAX {
            refused.insert(key, Refused { error: error.clone(), until_s: now_s + KEPT_S });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_submitter_answers_for_is_remembered() {
        let refusals = Refusals::default();
        let message = "no such package".to_owned();
        refusals.note::<()>([1; 32], &Err(EnvironmentError::Machine { message: message.clone() }));
        assert_eq!(refusals.check(&[1; 32]), Ok(()));
        let error = EnvironmentError::Requirements { message };
        refusals.note::<()>([1; 32], &Err(error.clone()));
        assert_eq!(refusals.check(&[1; 32]), Err(error));
        assert_eq!(refusals.check(&[2; 32]), Ok(()));
    }
}
