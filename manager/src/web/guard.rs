//! Who may have a password looked at, and when: the throttle, the fair queue for hashing, and the
//! devices that neither holds up for what others do.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use campusgrid_core::time::Timestamp;
use campusgrid_core::user::User;
use campusgrid_protocol::id::UserId;
use campusgrid_protocol::rest::FieldError;

use super::auth::Login;
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
        let account = user.as_ref().filter(|_| device.is_some()).map(|user| user.id);
        let verdict = self.passwords.verify(caller.party(account), password, hash).await;
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

    /// Checks that whoever is logged in knows the password, and did not just find an open browser.
    /// Yields the hash that it has.
    ///
    /// # Errors
    ///
    /// `Fields`, about the one of this name, if it is not the present password; `TooManyAttempts`,
    /// `MissingScope`, `Read`, `Hash`, `Random`; `Ask(Busy)`.
    pub(super) async fn shows_password(
        &self,
        site: &Site,
        caller: &Caller,
        login: &Login,
        PresentPassword { password, field }: PresentPassword,
    ) -> Result<Option<String>, WebError> {
        let (id, _) = login.in_person()?;
        let (user, account) = (login.id(), AccountName::of(&login.user.name));
        self.throttle().show_password(site.clock.now(), id, account)?;
        let hash = site.readers.read(move |reader| reader.password_of(user)).await?;
        let party = caller.party(Some(user));
        let verdict = self.passwords.verify(party, password, hash.clone()).await?;
        if verdict == Verdict::Wrong {
            site.counters.login_failed();
            tracing::info!(address = %caller.address.0, user.id = user.0, "a wrong present password");
            let message = "is not the present password".to_owned();
            return Err(WebError::Fields(vec![FieldError { field: field.to_owned(), message }]));
        }
        self.throttle().password_shown(site.clock.now(), id, account);
        Ok(hash)
    }

    /// Counts what a user wants to submit. Bytes.
    ///
    /// # Errors
    ///
    /// `TooManyAttempts`.
    pub(super) fn submit(&self, now: Timestamp, user: UserId, bytes: u64) -> Result<(), WebError> {
        Ok(self.throttle().submit(now, user, bytes)?)
    }

    /// It was not taken in after all.
    pub(super) fn not_submitted(&self, now: Timestamp, user: UserId, bytes: u64) {
        self.throttle().not_submitted(now, user, bytes);
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

/// Somebody who is logged in says that they know the password.
pub(super) struct PresentPassword {
    pub(super) password: String,
    /// What the request calls it.
    pub(super) field: &'static str,
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
