//! Who may have a password looked at, and when: the throttle, the fair queue for hashing, and the
//! devices that neither holds up for what others do.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use campusgrid_core::time::Timestamp;
use campusgrid_core::user::User;
use campusgrid_protocol::id::LoginId;

use super::caller::Caller;
use super::device::DeviceKey;
use super::error::WebError;
use super::passwords::{Passwords, Verdict};
use super::throttle::{AccountName, Attempt, Throttle, TooEarly};
use super::{CostsError, PasswordCosts, Site};

/// What stands before all passwords. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub(super) passwords: Passwords,
    pub(super) devices: DeviceKey,
    throttle: Arc<Mutex<Throttle>>,
}

impl Guard {
    /// # Errors
    ///
    /// If argon2 refuses the costs.
    pub(super) fn new(costs: PasswordCosts, data_dir: &Path) -> Result<Self, CostsError> {
        let devices = DeviceKey::open(data_dir).or_else(|error| {
            tracing::warn!(%error, "the key of device cookies is new and will not be kept");
            DeviceKey::fresh()
        });
        Ok(Self {
            passwords: Passwords::new(costs)?,
            devices: devices.expect("Linux has random numbers once it runs"),
            throttle: Arc::new(Mutex::new(Throttle::new())),
        })
    }

    /// Whether the password is this user's, or, without one, after the same work: no.
    ///
    /// # Errors
    ///
    /// `WrongPassword`, `TooManyAttempts`, `Hash`, `Random`; `Ask(Busy)`.
    pub(super) async fn log_in(
        &self,
        site: &Site,
        caller: &Caller,
        claim: Claim,
    ) -> Result<Verdict, WebError> {
        let Claim { name, password, known } = claim;
        let device = known.as_ref().and_then(|(user, _)| caller.device(site, user.id));
        let account = AccountName::of(&name);
        let attempt = Attempt { account, network: caller.network(), device };
        let counted = self.throttle().begin(site.clock.now(), attempt);
        let counted = counted.map_err(|TooEarly { wait_ms }| {
            site.counters.login_failed();
            tracing::debug!(address = %caller.address.0, "a login came too early");
            WebError::TooManyAttempts { wait_ms }
        })?;
        let (user, hash) = known.unzip();
        let verdict = self.passwords.verify(caller.party(device), password, hash).await;
        match &verdict {
            Err(_) => self.throttle().give_back(site.clock.now(), counted),
            Ok(Verdict::Wrong) => {
                site.counters.login_failed();
                log_failure(caller, user.as_ref());
                return Err(WebError::WrongPassword);
            }
            Ok(Verdict::Right | Verdict::Outdated { .. }) => {
                self.throttle().succeeded(site.clock.now(), counted);
            }
        }
        verdict
    }

    /// Counts a registration from there.
    ///
    /// # Errors
    ///
    /// `TooManyAttempts`.
    pub(super) fn register(&self, now: Timestamp, caller: &Caller) -> Result<(), WebError> {
        Ok(self.throttle().register(now, caller.network())?)
    }

    /// Counts a try at the present password within a login.
    ///
    /// # Errors
    ///
    /// `TooManyAttempts`.
    pub(super) fn show_password(&self, now: Timestamp, login: LoginId) -> Result<(), WebError> {
        Ok(self.throttle().show_password(now, login)?)
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().expect("nothing panics while it counts tries")
    }
}

/// Somebody says who they are.
pub(super) struct Claim {
    pub(super) name: String,
    pub(super) password: String,
    /// The user of this name and the hash of their password, if there is one.
    pub(super) known: Option<(User, String)>,
}

/// Without the name where it is nobody's: it may be a password in the wrong field.
fn log_failure(caller: &Caller, user: Option<&User>) {
    let address = caller.address.0;
    match user {
        Some(user) => tracing::info!(%address, user.id = user.id.0, "a login failed"),
        None => tracing::info!(%address, "a login failed: nobody has this name"),
    }
}

impl From<TooEarly> for WebError {
    fn from(TooEarly { wait_ms }: TooEarly) -> Self {
        Self::TooManyAttempts { wait_ms }
    }
}
