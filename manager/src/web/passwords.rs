//! Hashing and checking of passwords, off the async threads and few at a time.

use std::sync::Arc;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;

use super::error::WebError;
use super::{CostsError, PasswordCosts};

/// Each takes its memory and a core for a while, so that a crowd must queue.
const AT_ONCE_MAX: usize = 2;

/// Reserved for each hash, whatever it needs. glibc gives memory of more than 32 MiB
/// (`DEFAULT_MMAP_THRESHOLD_MAX`) back to the system at once, while smaller pieces stay with the
/// thread that hashed: eight logins in a row left 158 MB behind. What is not touched costs nothing.
const RESERVED_BYTES: usize = 33 << 20;

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
            hash_with(argon2, &password, &salt).map(|hash| hash.to_string()).map_err(refused)
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
            Some(hash) => is_of(&password, &hash).map_err(refused),
            None => hash_with(argon2, &password, &[0; 16]).map(|_| false).map_err(refused),
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

type Hashed<T> = Result<T, argon2::password_hash::Error>;

fn hash_with(argon2: &Argon2<'_>, password: &str, salt: &[u8]) -> Hashed<PasswordHash> {
    let needed = argon2.params().block_count();
    let mut memory = Vec::with_capacity(needed.max(RESERVED_BYTES / size_of::<Block>()));
    memory.resize(needed, Block::new());
    let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut out, &mut memory[..])?;
    Ok(PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2.params())?,
        salt: Some(Salt::new(salt)?),
        hash: Some(Output::new(&out)?),
    })
}

/// Whether a password has this hash, at the costs that were set when it was made.
fn is_of(password: &str, stored: &str) -> Hashed<bool> {
    let stored = PasswordHash::new(stored)?;
    let Some(salt) = stored.salt else { return Ok(false) };
    let params = Params::try_from(&stored)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    // Compares algorithm, version and all; that of the output takes equally long for all of them.
    Ok(hash_with(&argon2, password, &salt)? == stored)
}

fn refused(error: argon2::password_hash::Error) -> WebError {
    WebError::Hash(error.to_string())
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
        ] {
            assert_eq!(passwords.verify(password.to_owned(), hash).await.unwrap(), right);
        }
    }

    #[tokio::test]
    async fn a_stored_hash_that_is_none_is_an_error() {
        let stored = Some("not a hash".to_owned());
        assert!(cheap().verify("correct horse".to_owned(), stored).await.is_err());
    }

    #[tokio::test]
    async fn hashes_of_other_costs_stay_good() {
        let older = Passwords::new(PasswordCosts { memory_kib: 128, passes: 2, lanes: 1 }).unwrap();
        let hash = older.hash("correct horse".to_owned()).await.unwrap();
        assert!(cheap().verify("correct horse".to_owned(), Some(hash)).await.unwrap());
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
