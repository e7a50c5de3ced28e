//! Links by which people show that an address is theirs: made, mailed, and known again when they are
//! opened. Those that were not opened when the manager ends are good for nothing; another can be sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::UserId;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::letter::{Letter, of_link};
use super::limits::{Hourly, Quota};
use super::mail::{MailError, Postman};
use crate::clock::Clock;
use crate::web::PublicUrl;

/// How long a link is good.
const LIFE_MS: u64 = 24 * 3_600_000;

/// Links that are good at once, one a user; about 150 bytes each. The oldest makes room.
const LINKS_MAX: usize = 10_000;

/// Links that one user has sent within an hour: the address may be a stranger's.
const PER_HOUR: u32 = 3;

/// Mails that wait to be sent, and that are on their way at once; who asks while so many do comes again.
const OUTBOX: usize = 64;
const AT_ONCE: usize = 8;

/// How often a mail is tried: many servers take none of a stranger at the first time.
const TRIES_MAX: u32 = 4;

/// The links that are good now, and the way out for new ones. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Links {
    known: Arc<Mutex<Known>>,
    quota: Quota,
    outbox: mpsc::Sender<Mail>,
    home: Option<PublicUrl>,
}

/// A mail on its way.
#[derive(Debug)]
struct Mail {
    address: String,
    id: String,
    letter: Letter,
}

/// Delivers what [`Links`] has to send.
#[derive(Debug)]
pub(super) struct Courier {
    postman: Postman,
    mails: mpsc::Receiver<Mail>,
    clock: Clock,
    /// Before a second try. Milliseconds.
    retry_ms: u64,
}

#[derive(Debug)]
struct Known {
    /// By the hash of what stands in the link.
    links: BTreeMap<[u8; 32], Link>,
    of_users: BTreeMap<UserId, [u8; 32]>,
    hourly: Hourly<UserId>,
}

#[derive(Debug, Clone)]
struct Link {
    user: UserId,
    address: String,
    until: Timestamp,
}

/// Whose address is to be shown.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub user: UserId,
    pub name: &'a str,
    pub address: &'a str,
}

/// Why no link is sent.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("too many were sent within an hour")]
    TooMany { until: Timestamp },
    #[error("too many mails are on their way")]
    Busy,
    #[error("failed to draw random numbers: {0}")]
    Random(getrandom::Error),
}

impl Links {
    /// Links that come to people through this server, and who takes them there.
    pub(super) fn new(
        postman: Postman,
        quota: Quota,
        home: Option<PublicUrl>,
        (clock, retry_ms): (Clock, u64),
    ) -> (Self, Courier) {
        let (outbox, mails) = mpsc::channel(OUTBOX);
        let known = Known {
            links: BTreeMap::new(),
            of_users: BTreeMap::new(),
            hourly: Hourly::new(PER_HOUR),
        };
        let known = Arc::new(Mutex::new(known));
        (Self { known, quota, outbox, home }, Courier { postman, mails, clock, retry_ms })
    }

    /// Has a fresh link sent; the user's last one is good for nothing any more.
    ///
    /// # Errors
    ///
    /// All of [`LinkError`]; the last link stays good then.
    pub fn send(&self, claim: Claim<'_>, now: Timestamp) -> Result<(), LinkError> {
        let too_many = |until| LinkError::TooMany { until };
        let permit = self.outbox.try_reserve().map_err(|_| LinkError::Busy)?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(LinkError::Random)?;
        let token: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut known = self.lock();
        known.hourly.take(claim.user, now).map_err(too_many)?;
        self.quota.take(claim.address, now).map_err(too_many)?;
        let hash = hash(&token);
        known.enter(hash, claim, now);
        permit.send(Mail {
            address: claim.address.to_owned(),
            // No part of the link: a message's name is no secret.
            id: format!("verify-{}-{}", claim.user.0, now.0),
            letter: of_link(claim.name, &token, self.home.as_ref()),
        });
        Ok(())
    }

    /// Whose address a link shows to be theirs, as long as it is good.
    pub fn find(&self, token: &str, now: Timestamp) -> Option<(UserId, String)> {
        let link = self.lock().links.get(&hash(token.trim())).cloned();
        link.filter(|link| now < link.until).map(|link| (link.user, link.address))
    }

    /// A link has done its work.
    pub fn forget(&self, token: &str) {
        let mut known = self.lock();
        if let Some(link) = known.links.remove(&hash(token.trim())) {
            known.of_users.remove(&link.user);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics while it holds the links")
    }
}

impl Known {
    fn enter(&mut self, hash: [u8; 32], claim: Claim<'_>, now: Timestamp) {
        if let Some(last) = self.of_users.insert(claim.user, hash) {
            self.links.remove(&last);
        }
        if self.links.len() >= LINKS_MAX {
            let oldest = self.links.iter().min_by_key(|(_, link)| link.until);
            let oldest = oldest.map(|(hash, link)| (*hash, link.user));
            if let Some((hash, user)) = oldest {
                self.links.remove(&hash);
                self.of_users.remove(&user);
            }
        }
        let until = now.plus_ms(LIFE_MS);
        let address = claim.address.to_owned();
        self.links.insert(hash, Link { user: claim.user, address, until });
    }
}

impl Courier {
    /// Delivers what comes, some side by side; ends with the last [`Links`].
    pub(super) async fn run(&mut self) {
        let Self { postman, mails, clock, retry_ms } = self;
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                mail = mails.recv(), if under_way.len() < AT_ONCE => match mail {
                    Some(mail) => under_way.push(deliver(postman, mail, *clock, *retry_ms)),
                    None => return,
                },
            }
        }
    }
}

async fn deliver(postman: &Postman, mail: Mail, clock: Clock, retry_ms: u64) {
    let Mail { address, id, letter } = mail;
    for tried in 1..=TRIES_MAX {
        let sent = postman.send(&address, &id, letter.clone(), clock.system_time()).await;
        let Err(error) = sent else { return };
        if error.is_final() || tried == TRIES_MAX {
            return log_loss(&id, &error);
        }
        tracing::debug!(mail.id = id, %error, "a link has to wait");
        sleep(Duration::from_millis(retry_ms << tried)).await;
    }
}

fn log_loss(id: &str, error: &MailError) {
    let error: &dyn std::error::Error = error;
    tracing::warn!(mail.id = id, error, "a link could not be sent");
}

fn hash(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

/// What counts once: an address in lower case, without what some servers leave to its owner to add.
pub fn identity(address: &str) -> [u8; 32] {
    let address = address.trim().to_lowercase();
    let usual = match address.rsplit_once('@') {
        Some((mailbox, domain)) => {
            let mailbox = mailbox.split_once('+').map_or(mailbox, |(mailbox, _)| mailbox);
            format!("{mailbox}@{}", domain.trim_end_matches('.'))
        }
        None => address,
    };
    *blake3::hash(usual.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use campusgrid_core::time::Timestamp;
    use campusgrid_protocol::id::UserId;
    use tokio::sync::mpsc;

    use super::{
        Claim, Hourly, Known, LIFE_MS, LINKS_MAX, LinkError, Links, Mail, OUTBOX, Quota, identity,
    };

    fn links(per_hour: u32) -> (Links, mpsc::Receiver<Mail>) {
        let (outbox, mails) = mpsc::channel(OUTBOX);
        let hourly = Hourly::new(per_hour);
        let known = Known { links: BTreeMap::new(), of_users: BTreeMap::new(), hourly };
        let quota = Quota::new(100_000, 100_000);
        let home = Some("https://grid.campus".parse().unwrap());
        (Links { known: Arc::new(Mutex::new(known)), quota, outbox, home }, mails)
    }

    fn ada() -> Claim<'static> {
        Claim { user: UserId(1), name: "ada", address: "ada@campus.edu" }
    }

    fn token(mail: &Mail) -> String {
        let (_, rest) = mail.letter.text.split_once("/verify?token=").unwrap();
        rest.lines().next().unwrap().to_owned()
    }

    #[test]
    fn a_link_is_good_for_a_day_and_until_the_next_one() {
        let (links, mut mails) = links(3);
        links.send(ada(), Timestamp(0)).unwrap();
        let first = token(&mails.try_recv().unwrap());
        assert_eq!(first.len(), 64);
        let found = Some((UserId(1), "ada@campus.edu".to_owned()));
        assert_eq!(links.find(&first, Timestamp(LIFE_MS - 1)), found);
        assert_eq!(links.find(&first, Timestamp(LIFE_MS)), None);
        assert_eq!(links.find("", Timestamp(0)), None);

        links.send(ada(), Timestamp(1)).unwrap();
        let second = token(&mails.try_recv().unwrap());
        assert_eq!(links.find(&first, Timestamp(2)), None);
        assert_eq!(links.find(&format!(" {second}\n"), Timestamp(2)), found);
        links.forget(&second);
        assert_eq!(links.find(&second, Timestamp(2)), None);
        assert!(links.lock().of_users.is_empty());
    }

    #[test]
    fn nobody_has_many_sent() {
        let (links, _mails) = links(2);
        links.send(ada(), Timestamp(0)).unwrap();
        links.send(ada(), Timestamp(0)).unwrap();
        let refused = links.send(ada(), Timestamp(1));
        assert!(matches!(refused, Err(LinkError::TooMany { until: Timestamp(3_600_000) })));
        let (links, _mails) = self::links(u32::MAX);
        for _ in 0..OUTBOX {
            links.send(ada(), Timestamp(0)).unwrap();
        }
        assert!(matches!(links.send(ada(), Timestamp(0)), Err(LinkError::Busy)));
    }

    #[test]
    fn old_links_make_room() {
        let (links, mut mails) = links(1);
        let mut first = None;
        for number in 0..=LINKS_MAX as u64 {
            let claim = Claim { user: UserId(number), ..ada() };
            links.send(claim, Timestamp(number)).unwrap();
            let token = token(&mails.try_recv().unwrap());
            first.get_or_insert(token);
        }
        assert_eq!(links.lock().links.len(), LINKS_MAX);
        assert_eq!(links.lock().of_users.len(), LINKS_MAX);
        assert_eq!(links.find(&first.unwrap(), Timestamp(0)), None);
    }

    #[test]
    fn an_address_is_one_however_it_is_written() {
        let ada = identity("ada@campus.edu");
        for same in ["ADA@Campus.Edu", " ada@campus.edu ", "ada+grid@campus.edu", "ada@campus.edu."]
        {
            assert_eq!(identity(same), ada, "{same}");
        }
        for other in ["ada@campus.org", "adah@campus.edu", "a.da@campus.edu", "ada"] {
            assert_ne!(identity(other), ada, "{other}");
        }
    }
}
