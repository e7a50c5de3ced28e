//! Hashing and checking of passwords, off the async threads and few at a time.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::error::WebError;
use super::{CostsError, PasswordCosts};

/// Each takes its memory and a core for a while, so that a crowd must queue.
const AT_ONCE_MAX: usize = 2;

/// Logins and registrations that may wait for their turn; more are refused at once.
const WAITING_MAX: usize = 64;

/// Argon2id with the configured costs. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Passwords {
    argon2: Argon2<'static>,
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Passwords {
    /// # Errors
    ///
    /// If argon2 refuses the costs.
    pub(super) fn new(costs: PasswordCosts) -> Result<Self, CostsError> {
        let params = Params::new(costs.memory_kib, costs.passes, costs.lanes, None)
            .map_err(|_| CostsError(costs))?;
        Ok(Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            turns: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            places: Arc::new(Semaphore::new(WAITING_MAX)),
        })
    }

    /// Hashes a password with a fresh salt; yields a PHC string.
    ///
    /// # Errors
    ///
    /// `Busy` when too many wait already; `Hash`, `Random`.
    pub(super) async fn hash(&self, password: String) -> Result<String, WebError> {
        self.work(move |argon2| {
            let mut salt = [0; 16];
            getrandom::fill(&mut salt).map_err(WebError::Random)?;
            hash_with(argon2, &password, &salt)
        })
        .await
    }

    /// Whether the password is the one of this hash. Without a hash (no such user) the answer is
    /// no, after the same work, so that the time taken does not tell who has an account.
    ///
    /// # Errors
    ///
    /// `Busy` when too many wait already; `Hash`.
    pub(super) async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, WebError> {
        self.work(move |argon2| match hash {
            Some(hash) => Ok(argon2.verify_password(password.as_bytes(), hash.as_str()).is_ok()),
            None => hash_with(argon2, &password, &[0; 16]).map(|_| false),
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> Result<T, WebError> + Send + 'static,
    ) -> Result<T, WebError> {
        let busy = |_| WebError::Ask(crate::engine::handle::AskError::Busy);
        let _place = self.places.try_acquire().map_err(busy)?;
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.expect("the semaphore is never closed");
        let argon2 = self.argon2.clone();
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&argon2);
            drop(turn); // Only now: a client that hangs up does not stop the work.
            result
        });
        done.await.expect("hashing does not panic")
    }
}

fn hash_with(argon2: &Argon2<'static>, password: &str, salt: &[u8]) -> Result<String, WebError> {
    let hash = argon2.hash_password_with_salt(password.as_bytes(), salt);
    hash.map(|hash| hash.to_string()).map_err(|error| WebError::Hash(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{PasswordCosts, Passwords};

    fn cheap() -> Passwords {
        Passwords::new(PasswordCosts { memory_kib: 64, passes: 1, lanes: 1 }).unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_opens() {
        let passwords = cheap();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        for (password, hash, right) in [
            ("correct horse", Some(hash.clone()), true),
            ("correct horsf", Some(hash), false),
            ("correct horse", None, false),
            ("correct horse", Some("not a hash".to_owned()), false),
        ] {
            assert_eq!(passwords.verify(password.to_owned(), hash).await.unwrap(), right);
        }
    }

    #[tokio::test]
    async fn equal_passwords_have_different_hashes() {
        let passwords = cheap();
        let first = passwords.hash("the same one".to_owned()).await.unwrap();
        let second = passwords.hash("the same one".to_owned()).await.unwrap();
        assert_ne!(first, second);
    }

    #[test]
    fn costs_that_argon2_cannot_work_with_are_refused() {
        for (memory_kib, passes, lanes) in [(1, 1, 1), (64, 0, 1), (64, 1, 0)] {
            assert!(Passwords::new(PasswordCosts { memory_kib, passes, lanes }).is_err());
        }
    }
}
