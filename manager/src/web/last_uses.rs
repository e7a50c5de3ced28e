//! When logins and API tokens were last used: noted in memory, and told to the grid once in a while.
//! For people to read, so that a few that are lost do no harm.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{ApiTokenId, LoginId};
use tokio_util::sync::CancellationToken;

use crate::engine::handle::EngineHandle;

/// How often they are told: a page that is open asks every few seconds, and none of that needs a disk.
const EVERY: Duration = Duration::from_secs(60);

/// As many are noted between two times; of more, those that come next are noted after it.
const NOTED_MAX: usize = 10_000;

/// What was used since it was last told. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct LastUses(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    logins: BTreeMap<LoginId, Timestamp>,
    tokens: BTreeMap<ApiTokenId, Timestamp>,
}

impl LastUses {
    /// A login is used now.
    pub(super) fn login(&self, login: LoginId, now: Timestamp) {
        note(&mut self.noted().logins, login, now);
    }

    /// An API token is used now.
    pub(super) fn token(&self, token: ApiTokenId, now: Timestamp) {
        note(&mut self.noted().tokens, token, now);
    }

    /// The last use that has not been told yet, if there is one.
    pub(super) fn of_login(&self, login: LoginId) -> Option<Timestamp> {
        self.noted().logins.get(&login).copied()
    }

    /// The last use that has not been told yet, if there is one.
    pub(super) fn of_token(&self, token: ApiTokenId) -> Option<Timestamp> {
        self.noted().tokens.get(&token).copied()
    }

    /// Tells the grid, until the last request is answered, and then once more.
    pub(super) async fn tell(self, engine: EngineHandle, answered: CancellationToken) {
        let mut every = tokio::time::interval(EVERY);
        let mut goes_on = true;
        while goes_on {
            tokio::select! {
                biased;
                () = answered.cancelled() => goes_on = false,
                _ = every.tick() => {}
            }
            let Noted { logins, tokens } = std::mem::take(&mut *self.noted());
            if logins.is_empty() && tokens.is_empty() {
                continue;
            }
            let told = engine.used(logins.into_iter().collect(), tokens.into_iter().collect());
            if let Err(error) = told.await {
                tracing::debug!(%error, "some last uses are not noted");
            }
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().expect("nothing panics while it notes a use")
    }
}

fn note<K: Ord>(noted: &mut BTreeMap<K, Timestamp>, key: K, now: Timestamp) {
    if noted.len() < NOTED_MAX || noted.contains_key(&key) {
        noted.insert(key, now);
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_core::time::Timestamp;
    use campusgrid_protocol::id::{ApiTokenId, LoginId};

    use super::{LastUses, NOTED_MAX};

    #[test]
    fn the_latest_use_counts_and_there_is_an_end_to_them() {
        let uses = LastUses::default();
        for number in 0..=NOTED_MAX as u64 {
            uses.login(LoginId(number), Timestamp(1));
        }
        uses.login(LoginId(0), Timestamp(2));
        uses.token(ApiTokenId(0), Timestamp(3));
        assert_eq!(uses.of_login(LoginId(0)), Some(Timestamp(2)));
        assert_eq!(uses.of_login(LoginId(NOTED_MAX as u64)), None);
        assert_eq!(uses.of_token(ApiTokenId(0)), Some(Timestamp(3)));
        assert_eq!(uses.noted().logins.len(), NOTED_MAX);
    }
}
