//! Tells people what has become of their jobs, by mail and by webhook, and sends the links by which they
//! show that an address is theirs. Reads what is due of jobs from the outbox on disk, delivers it, and says what has become of it. What is delivered and not yet noted
//! when the manager dies is delivered again, under the same name.

mod letter;
mod limits;
mod links;
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
use limits::{Hourly, Quota};
use links::Courier;
pub use links::{Claim, LinkError, Links, identity};
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
    mails: Quota,
    /// Of links, and who takes them to people; none where no mail is sent.
    links: Option<(Links, Courier)>,
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
        let postman = config.mail.as_ref().map(Postman::new).transpose()?;
        let retry_ms = u64::from(config.retry_s) * 1000;
        let mails = Quota::new(config.mails_per_hour, config.all_mails_per_hour);
        let links = postman.clone().map(|postman| {
            Links::new(postman, mails.clone(), around.home.clone(), (around.clock, retry_ms))
        });
        Ok(Self {
            around,
            postman,
            webhooks: Webhooks::new(config.reach())?,
            retry_ms,
            mails,
            links,
            posts: Hourly::new(config.webhooks_per_hour),
        })
    }

    /// The links by which people show that an address is theirs; none where no mail is sent.
    pub fn links(&self) -> Option<Links> {
        self.links.as_ref().map(|(links, _)| links.clone())
    }

    /// Delivers what is due, whenever something is, until `shutdown`. What is on its way then is
    /// delivered again after the next start.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut courier = self.links.take().map(|(_, courier)| courier);
        let links = async {
            match &mut courier {
                Some(courier) => courier.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = self.deliver() => {}
            () = links => {}
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
