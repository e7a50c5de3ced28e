//! Tells people what has become of their jobs, by mail and by webhook: reads what is due from the
//! outbox on disk, delivers it, and says what has become of it. What is delivered and not yet noted
//! when the manager dies is delivered again, under the same name.

mod letter;
mod limits;
mod mail;
mod round;
pub mod settings;
mod signature;
pub mod target;
mod webhook;

use std::time::Duration;

use campusgrid_protocol::id::UserId;
use campusgrid_protocol::terms::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::engine::handle::{AskError, EngineHandle};
use crate::readers::Readers;
use crate::store::StoreError;
use crate::web::PublicUrl;
use limits::Hourly;
pub use mail::NoPostman;
use mail::Postman;
use round::Rest;
pub use settings::Config;
pub use signature::new_secret;
use target::{Reach, Target, TargetError};
pub use webhook::NoTls;
use webhook::Webhooks;

/// From a sign that something may be due to the look at it: what comes together is told together, and
/// a busy grid is not asked at each of its events.
const GATHER: Duration = Duration::from_millis(250);

/// After the database could not be read, or the engine was busy.
const PAUSE: Duration = Duration::from_secs(5);

/// Why notices cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    #[error(transparent)]
    Mail(#[from] NoPostman),
    #[error(transparent)]
    Webhooks(#[from] NoTls),
}

/// Why a round of deliveries ended early.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("failed to read which notices are due")]
    Read(#[source] StoreError),
    #[error("failed to note what has become of notices")]
    Note(#[source] AskError),
}

impl RoundError {
    fn log(&self) {
        let error: &dyn std::error::Error = self;
        tracing::warn!(error, "notices have to wait");
    }
}

/// What a notifier works with.
#[derive(Debug)]
pub struct Surroundings {
    pub engine: EngineHandle,
    pub readers: Readers,
    pub clock: Clock,
    /// Where people find the dashboard, for links to it.
    pub home: Option<PublicUrl>,
}

/// Delivers notices until it is told to stop.
pub struct Notifier {
    around: Surroundings,
    /// None: no mail is sent.
    postman: Option<Postman>,
    webhooks: Webhooks,
    /// Before a second try. Milliseconds.
    retry_ms: u64,
    /// Mails, by address: several accounts may have the same.
    mails: Hourly<String>,
    /// All mails: addresses are not confirmed, and nobody is to send the campus to strangers.
    all_mails: Hourly<()>,
    /// Webhooks, by user.
    posts: Hourly<UserId>,
}

impl Notifier {
    /// A notifier that has not delivered anything.
    ///
    /// # Errors
    ///
    /// Both of [`NotifyError`].
    pub fn new(config: &Config, around: Surroundings) -> Result<Self, NotifyError> {
        Ok(Self {
            around,
            postman: config.mail.as_ref().map(Postman::new).transpose()?,
            webhooks: Webhooks::new(config.reach())?,
            retry_ms: u64::from(config.retry_s) * 1000,
            mails: Hourly::new(config.mails_per_hour),
            all_mails: Hourly::new(config.all_mails_per_hour),
            posts: Hourly::new(config.webhooks_per_hour),
        })
    }

    /// Delivers what is due, whenever something is, until `shutdown`. What is on its way then is
    /// delivered again after the next start.
    pub async fn run(mut self, shutdown: CancellationToken) {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = self.deliver() => {}
        }
    }

    /// Ends only with the engine.
    async fn deliver(&mut self) {
        let mut events = self.around.engine.events();
        loop {
            events.mark_unchanged();
            let idle = match self.round().await {
                Ok(Rest::None) => Duration::ZERO,
                Ok(Rest::Until(idle)) => idle,
                Err(error) => {
                    error.log();
                    sleep(PAUSE).await;
                    continue;
                }
            };
            tokio::select! {
                biased;
                () = sleep(idle) => {}
                changed = events.changed() => match changed {
                    Ok(()) => sleep(GATHER).await,
                    Err(_) => return,
                },
            }
        }
    }
}

/// What can be asked for in a job's [`Notify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered {
    pub mail: bool,
    pub reach: Reach,
}

impl Config {
    fn reach(&self) -> Reach {
        if self.private_addresses { Reach::Everything } else { Reach::Public }
    }

    /// What people can ask for.
    pub fn offered(&self) -> Offered {
        Offered { mail: self.mail.is_some(), reach: self.reach() }
    }
}

impl Offered {
    /// What is wrong with the address of a webhook, if one is named, as far as can be said without
    /// looking up its host.
    ///
    /// # Errors
    ///
    /// All of [`TargetError`].
    pub fn check_webhook(&self, notify: &Notify) -> Result<(), TargetError> {
        match &notify.webhook {
            Some(url) => Target::parse(url, self.reach).map(drop),
            None => Ok(()),
        }
    }
}
