//! One round: what is due now, sorted by who gets it, delivered side by side, and noted.

use std::collections::BTreeMap;
use std::time::Duration;

use campusgrid_core::input::NoticeFate;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::UserId;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::Instant;

use super::letter::{body, letter};
use super::webhook::{Post, WebhookError};
use super::{Notifier, RoundError};
use crate::store::read::{Channel, StoredNotice};

/// Notices that are looked at in one round.
const BATCH: u32 = 512;

/// Addresses and users that are served at once.
const AT_ONCE: usize = 32;

/// How long a user's webhooks of one round may take together: others wait for the next round.
const TURN: Duration = Duration::from_secs(20);

/// How often a delivery is tried.
const TRIES_MAX: u32 = 8;

/// The longest idle time: far more often than that something happens. Seconds.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// How long nothing is due.
pub(super) enum Rest {
    None,
    Until(Duration),
}

/// What one gets in a round.
enum Delivery {
    /// One mail about all of them.
    Mail { address: String, notices: Vec<StoredNotice> },
    /// One webhook each.
    Webhooks { notices: Vec<StoredNotice> },
    /// None of it now; what is to be noted.
    Settled(Fates),
}

type Fates = Vec<(u64, NoticeFate)>;

impl Notifier {
    /// Delivers what is due.
    pub(super) async fn round(&mut self) -> Result<Rest, RoundError> {
        let now = self.around.clock.now();
        let read = self
            .around
            .readers
            .read(move |reader| Ok((reader.notices_due(now, BATCH)?, reader.next_notice_at()?)));
        let (due, next) = read.await.map_err(RoundError::Read)?;
        let Some(_) = due.first() else {
            let idle = next.map_or(IDLE_MAX, |at| Duration::from_millis(at.since_ms(now)));
            return Ok(Rest::Until(idle.min(IDLE_MAX)));
        };
        let deliveries = self.sort(due, now);
        let served = stream::iter(deliveries).map(|delivery| self.serve(delivery));
        let mut served = served.buffer_unordered(AT_ONCE);
        while let Some(fates) = served.next().await {
            let noted = self.around.engine.notices_tried(fates).await;
            noted.map_err(RoundError::Note)?;
        }
        Ok(Rest::None)
    }

    /// Puts together what goes to one address or user, as far as they may have it now.
    fn sort(&mut self, due: Vec<StoredNotice>, now: Timestamp) -> Vec<Delivery> {
        let mut mails = BTreeMap::<String, Vec<StoredNotice>>::new();
        let mut webhooks = BTreeMap::<UserId, Vec<StoredNotice>>::new();
        let mut settled = Fates::new();
        for notice in due {
            match &notice.channel {
                Channel::Mail { address } if self.postman.is_some() => match address {
                    Some(address) => mails.entry(address.clone()).or_default().push(notice),
                    None => settled.push((notice.id, never("the account has no address"))),
                },
                Channel::Mail { .. } => {
                    settled.push((notice.id, never("this manager sends no mail")));
                }
                Channel::Webhook { .. } => match self.posts.take(notice.owner, now) {
                    Ok(()) => webhooks.entry(notice.owner).or_default().push(notice),
                    Err(until) => settled.push((notice.id, too_many(&notice, until))),
                },
            }
        }
        let mut deliveries = Vec::new();
        for (address, notices) in mails {
            match self.mails.take(&address, now) {
                Ok(()) => deliveries.push(Delivery::Mail { address, notices }),
                Err(until) => {
                    settled.extend(notices.iter().map(|it| (it.id, too_many(it, until))));
                }
            }
        }
        deliveries.extend(webhooks.into_values().map(|notices| Delivery::Webhooks { notices }));
        deliveries.push(Delivery::Settled(settled));
        deliveries
    }

    fn failed(&self, notice: &StoredNotice, reason: String) -> NoticeFate {
        let until = next_try(notice, self.around.clock.now(), self.retry_ms);
        put_off(notice, until, reason)
    }

    async fn serve(&self, delivery: Delivery) -> Fates {
        match delivery {
            Delivery::Mail { address, notices } => self.mail(&address, &notices).await,
            Delivery::Webhooks { notices } => self.post_all(&notices).await,
            Delivery::Settled(fates) => fates,
        }
    }

    async fn mail(&self, address: &str, notices: &[StoredNotice]) -> Fates {
        let (Some(postman), Some(first)) = (&self.postman, notices.first()) else {
            return Fates::new();
        };
        let letter = letter(notices, self.around.home.as_ref());
        let now = self.around.clock.system_time();
        let id = format!("notice-{}", first.id);
        let sent = postman.send(address, &id, letter, now).await;
        if let Err(error) = &sent {
            let error: &dyn std::error::Error = error;
            tracing::warn!(job.id = first.job.0, notices = notices.len(), error, "sent no mail");
        }
        let fate = |notice: &StoredNotice| match &sent {
            Ok(()) => NoticeFate::Delivered,
            Err(error) if error.is_final() => never(&error.to_string()),
            Err(error) => self.failed(notice, error.to_string()),
        };
        notices.iter().map(|notice| (notice.id, fate(notice))).collect()
    }

    /// One after another, and none to a host any more that has just failed.
    async fn post_all(&self, notices: &[StoredNotice]) -> Fates {
        let mut fates = Fates::new();
        let until = Instant::now() + TURN;
        let mut silent = BTreeMap::<&str, String>::new();
        for notice in notices {
            let Channel::Webhook { url, secret } = &notice.channel else { continue };
            let host = host(url);
            let fate = if let Some(reason) = silent.get(host) {
                self.failed(notice, reason.clone())
            } else if Instant::now() >= until {
                self.failed(notice, "the webhooks before it took too long".to_owned())
            } else {
                match self.post(notice, url, secret.as_deref()).await {
                    Ok(()) => NoticeFate::Delivered,
                    Err(error) if error.is_final() => never(&error.to_string()),
                    Err(error) => {
                        silent.insert(host, error.to_string());
                        self.failed(notice, error.to_string())
                    }
                }
            };
            fates.push((notice.id, fate));
        }
        fates
    }

    async fn post(
        &self,
        notice: &StoredNotice,
        url: &str,
        secret: Option<&str>,
    ) -> Result<(), WebhookError> {
        let body = body(notice, self.around.home.as_ref());
        let body = serde_json::to_string(&body).expect("a notice is JSON");
        let (id, at_s) = (format!("notice_{}", notice.id), self.around.clock.now().0 / 1000);
        let secret = secret.ok_or(WebhookError::Secret)?;
        let posted = self.webhooks.post(Post { url, secret, id: &id, at_s, body }).await;
        if let Err(error) = &posted {
            let error: &dyn std::error::Error = error;
            tracing::info!(job.id = notice.job.0, error, "a webhook was not delivered");
        }
        posted
    }
}

/// Scheme and authority.
fn host(url: &str) -> &str {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find(['/', '?']).map_or(url.len(), |at| begin + at);
    &url[..end]
}

fn never(reason: &str) -> NoticeFate {
    NoticeFate::GivenUp { reason: reason.to_owned() }
}

/// When a notice is tried again that has failed now: after a pause that doubles.
fn next_try(notice: &StoredNotice, now: Timestamp, retry_ms: u64) -> Timestamp {
    now.plus_ms(retry_ms << notice.tries.min(TRIES_MAX))
}

fn too_many(notice: &StoredNotice, until: Timestamp) -> NoticeFate {
    put_off(notice, until, "there were too many within an hour".to_owned())
}

fn put_off(notice: &StoredNotice, until: Timestamp, reason: String) -> NoticeFate {
    if notice.tries + 1 >= TRIES_MAX {
        NoticeFate::GivenUp { reason: format!("{reason}, and so {TRIES_MAX} times") }
    } else {
        NoticeFate::PutOff { until, reason }
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_core::effect::NoticeKind;
    use campusgrid_core::input::NoticeFate;
    use campusgrid_core::time::Timestamp;

    use super::{TRIES_MAX, host, next_try, put_off};
    use crate::notify::letter::tests::notice;

    #[test]
    fn pauses_double_until_it_is_given_up() {
        let mut notice = notice(NoticeKind::Ended, 1, 0);
        let mut minutes = Vec::new();
        let failed = |notice: &_| {
            let until = next_try(notice, Timestamp(0), 60_000);
            put_off(notice, until, "it answered 500".to_owned())
        };
        while let NoticeFate::PutOff { until, .. } = failed(&notice) {
            minutes.push(until.0 / 60_000);
            notice.tries += 1;
        }
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(notice.tries + 1, TRIES_MAX);
        let reason = "it answered 500, and so 8 times".to_owned();
        assert_eq!(failed(&notice), NoticeFate::GivenUp { reason });
    }

    #[test]
    fn a_host_is_what_comes_before_the_path() {
        for url in ["http://a.b:80", "http://a.b:80/c", "http://a.b:80?c/d"] {
            assert_eq!(host(url), "http://a.b:80", "{url}");
        }
    }
}
