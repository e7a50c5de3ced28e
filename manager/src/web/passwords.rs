//! Hashing and checking of passwords, off the async threads and few at a time.

pub(super) mod turns;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use self::turns::{Party, Turns};
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
    turns: Turns,
}

/// What comes of checking a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Wrong,
    Right,
    /// Right, but its hash was made at other costs than are configured now. `hash` is at these.
    Outdated {
        hash: String,
    },
}

impl Passwords {
    /// # Errors
    ///
    /// If argon2 refuses the costs.
    pub(super) fn new(costs: PasswordCosts) -> Result<Self, CostsError> {
        Ok(Self { argon2: with_costs(costs)?, turns: Turns::new(AT_ONCE_MAX, WAITING_MAX) })
    }

    /// Hashes a password with a fresh salt; yields a PHC string.
    ///
    /// # Errors
    ///
    /// `Busy` when too many wait already; `Hash`, `Random`.
    pub(super) async fn hash(&self, party: Party, password: String) -> Result<String, WebError> {
        self.work(party, move |argon2| salted(argon2, &password)).await
    }

    /// Whether the password is the one of this hash. Without a hash (no such user) the answer is
    /// no, after the same work, so that the time taken does not tell who has an account.
    ///
    /// # Errors
    ///
    /// `Busy` when too many wait already; `Hash`, `Random`.
    pub(super) async fn verify(
        &self,
        party: Party,
        password: String,
        hash: Option<String>,
    ) -> Result<Verdict, WebError> {
        self.work(party, move |argon2| {
            let Some(hash) = hash else {
                return hash_with(argon2, &password, &[0; 16])
                    .map(|_| Verdict::Wrong)
                    .map_err(refused);
            };
            let (is_right, costs) = is_of(&password, &hash).map_err(refused)?;
            let outdated = costs.is_some_and(|costs| !are_equal(&costs, argon2.params()));
            match (is_right, outdated) {
                (false, _) => Ok(Verdict::Wrong),
                (true, false) => Ok(Verdict::Right),
                (true, true) => Ok(Verdict::Outdated { hash: salted(argon2, &password)? }),
            }
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        party: Party,
        work: impl FnOnce(&Argon2<'static>) -> Result<T, WebError> + Send + 'static,
    ) -> Result<T, WebError> {
        let busy = |_| WebError::Ask(crate::engine::handle::AskError::Busy);
        let turn = self.turns.take(party).await.map_err(busy)?;
        let argon2 = self.argon2.clone();
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&argon2);
            drop(turn); // Only now: a client that hangs up does not stop the work.
            result
        });
        done.await.expect("hashing does not panic")
    }
}

/// Hashes a password here and now, for whoever sits at the manager's own machine; yields a PHC string.
///
/// # Errors
///
/// If argon2 refuses the costs or the machine has no random numbers to give.
pub fn hash_now(costs: PasswordCosts, password: &str) -> Result<String, HashError> {
    let argon2 = with_costs(costs).map_err(HashError::Costs)?;
    salted(&argon2, password).map_err(|error| HashError::Hash(error.to_string()))
}

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error(transparent)]
    Costs(CostsError),
    #[error("{0}")]
    Hash(String),
}

fn with_costs(costs: PasswordCosts) -> Result<Argon2<'static>, CostsError> {
    let params = Params::new(costs.memory_kib, costs.passes, costs.lanes, None)
        .map_err(|_| CostsError(costs))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn salted(argon2: &Argon2<'_>, password: &str) -> Result<String, WebError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(WebError::Random)?;
    hash_with(argon2, password, &salt).map(|hash| hash.to_string()).map_err(refused)
}

fn are_equal(costs: &Params, configured: &Params) -> bool {
    let all = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    all(costs) == all(configured)
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

/// Whether a password has this hash, at the costs that were set when it was made, and these.
fn is_of(password: &str, stored: &str) -> Hashed<(bool, Option<Params>)> {
    let stored = PasswordHash::new(stored)?;
    let Some(salt) = stored.salt else { return Ok((false, None)) };
    let params = Params::try_from(&stored)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    // Compares algorithm, version and all; that of the output takes equally long for all of them.
    Ok((hash_with(&argon2, password, &salt)? == stored, Some(params)))
}

fn refused(error: argon2::password_hash::Error) -> WebError {
    WebError::Hash(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::turns::Party;
    use super::{PasswordCosts, Passwords, Verdict, hash_now};
    use crate::web::network::Network;

    const CHEAP: PasswordCosts = PasswordCosts { memory_kib: 64, passes: 1, lanes: 1 };
    const DEARER: PasswordCosts = PasswordCosts { memory_kib: 128, passes: 2, lanes: 1 };
    const HERE: Party = Party { network: Network::V4(1), account: None };

    fn cheap() -> Passwords {
        Passwords::new(CHEAP).unwrap()
    }

    async fn verify(passwords: &Passwords, password: &str, hash: Option<&str>) -> Verdict {
        let hash = hash.map(str::to_owned);
        passwords.verify(HERE, password.to_owned(), hash).await.unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_opens() {
        let passwords = cheap();
        let hash = passwords.hash(HERE, "correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        for (password, hash, verdict) in [
            ("correct horse", Some(hash.as_str()), Verdict::Right),
            ("correct horsf", Some(&hash), Verdict::Wrong),
            ("", Some(&hash), Verdict::Wrong),
            ("correct horse", None, Verdict::Wrong),
        ] {
            assert_eq!(verify(&passwords, password, hash).await, verdict);
        }
    }

    #[tokio::test]
    async fn a_stored_hash_that_is_none_is_an_error() {
        let stored = Some("not a hash".to_owned());
        assert!(cheap().verify(HERE, "correct horse".to_owned(), stored).await.is_err());
    }

    #[tokio::test]
    async fn a_hash_of_other_costs_stays_good_and_is_made_anew() {
        for (made_at, now_at) in [(CHEAP, DEARER), (DEARER, CHEAP)] {
            let hash = hash_now(made_at, "correct horse").unwrap();
            let passwords = Passwords::new(now_at).unwrap();
            assert_eq!(verify(&passwords, "correct horsf", Some(&hash)).await, Verdict::Wrong);
            let Verdict::Outdated { hash } = verify(&passwords, "correct horse", Some(&hash)).await
            else {
                panic!("it was made at other costs")
            };
            assert_eq!(verify(&passwords, "correct horse", Some(&hash)).await, Verdict::Right);
        }
    }

    #[tokio::test]
    async fn equal_passwords_have_different_hashes() {
        let passwords = cheap();
        let first = passwords.hash(HERE, "the same one".to_owned()).await.unwrap();
        let second = passwords.hash(HERE, "the same one".to_owned()).await.unwrap();
        assert_ne!(first, second);
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
    async fn a_user_that_does_not_exist_takes_as_long_as_one_that_does() {
        let costs = PasswordCosts { memory_kib: 4096, passes: 2, lanes: 1 };
        let passwords = Passwords::new(costs).unwrap();
        let hash = passwords.hash(HERE, "correct horse".to_owned()).await.unwrap();
        let mut fastest = [Duration::MAX; 2];
        for _ in 0..10 {
            for (fastest, hash) in fastest.iter_mut().zip([Some(hash.as_str()), None]) {
                let began = Instant::now();
                assert_eq!(verify(&passwords, "wrong horse", hash).await, Verdict::Wrong);
                *fastest = began.elapsed().min(*fastest);
            }
        }
        let [known, unknown] = fastest;
        assert!(known < unknown * 2 && unknown < known * 2, "{known:?}, {unknown:?}");
    }

    #[test]
    fn costs_that_argon2_cannot_work_with_are_refused() {
        for (memory_kib, passes, lanes) in [(1, 1, 1), (64, 0, 1), (64, 1, 0)] {
            assert!(Passwords::new(PasswordCosts { memory_kib, passes, lanes }).is_err());
        }
    }
}
