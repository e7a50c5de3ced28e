//! How much one may get, or cause, within an hour.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use campusgrid_core::time::Timestamp;

use super::links::identity;

const HOUR_MS: u64 = 3_600_000;

/// Hours that are over are swept when so many more than after the last time are known.
const SWEEP_EVERY: usize = 1024;

/// What each has had in its hour, which begins with the first of it.
#[derive(Debug)]
pub(super) struct Hourly<K> {
    max: u32,
    hours: BTreeMap<K, Hour>,
    swept_at: usize,
}

#[derive(Debug)]
struct Hour {
    begun: Timestamp,
    count: u32,
}

impl<K: Ord> Hourly<K> {
    pub(super) fn new(max: u32) -> Self {
        Self { max, hours: BTreeMap::new(), swept_at: 0 }
    }

    /// Counts one more.
    ///
    /// # Errors
    ///
    /// When there may be more, if this one is too many. It does not count then.
    pub(super) fn take(&mut self, key: K, now: Timestamp) -> Result<(), Timestamp> {
        if self.hours.len() >= self.swept_at + SWEEP_EVERY {
            self.hours.retain(|_, hour| now.since_ms(hour.begun) < HOUR_MS);
            self.swept_at = self.hours.len();
        }
        let hour = self.hours.entry(key).or_insert(Hour { begun: now, count: 0 });
        if now.since_ms(hour.begun) >= HOUR_MS {
            *hour = Hour { begun: now, count: 0 };
        }
        if hour.count >= self.max {
            return Err(hour.begun.plus_ms(HOUR_MS));
        }
        hour.count += 1;
        Ok(())
    }
}

/// How many mails may be sent, to one address and to all together: addresses are not confirmed, and
/// nobody is to send the campus to strangers. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Quota(Arc<Mutex<Mails>>);

#[derive(Debug)]
struct Mails {
    /// By what counts once of an address: several accounts may have the same, or some of what its server
    /// leaves to its owner to add.
    to_one: Hourly<[u8; 32]>,
    to_all: Hourly<()>,
}

impl Quota {
    pub(super) fn new(to_one: u32, to_all: u32) -> Self {
        let mails = Mails { to_one: Hourly::new(to_one), to_all: Hourly::new(to_all) };
        Self(Arc::new(Mutex::new(mails)))
    }

    /// Counts one more.
    ///
    /// # Errors
    ///
    /// As [`Hourly::take`].
    pub(super) fn take(&self, address: &str, now: Timestamp) -> Result<(), Timestamp> {
        let mut mails = self.0.lock().expect("nothing panics while it counts mails");
        mails.to_one.take(identity(address), now)?;
        mails.to_all.take((), now)
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_core::time::Timestamp;

    use super::{HOUR_MS, Hourly, Quota, SWEEP_EVERY};

    #[test]
    fn so_many_in_an_hour_and_then_anew() {
        let mut hourly = Hourly::new(2);
        let at = |minutes: u64| Timestamp(minutes * 60_000);
        assert_eq!(hourly.take("ada", at(0)), Ok(()));
        assert_eq!(hourly.take("ada", at(30)), Ok(()));
        assert_eq!(hourly.take("ada", at(59)), Err(at(60)));
        assert_eq!(hourly.take("bob", at(59)), Ok(()));
        assert_eq!(hourly.take("ada", at(60)), Ok(()));
    }

    #[test]
    fn addresses_of_one_mailbox_share_what_it_gets() {
        let quota = Quota::new(2, 100);
        assert_eq!(quota.take("victim+1@campus.edu", Timestamp(0)), Ok(()));
        assert_eq!(quota.take("Victim+2@campus.edu", Timestamp(0)), Ok(()));
        assert!(quota.take("victim+3@campus.edu", Timestamp(0)).is_err());
        assert_eq!(quota.take("ada@campus.edu", Timestamp(0)), Ok(()));
    }

    #[test]
    fn hours_that_are_over_take_no_room() {
        let mut hourly = Hourly::new(1);
        for number in 0..5 * SWEEP_EVERY {
            hourly.take(number, Timestamp(number as u64 * HOUR_MS / 10)).unwrap();
        }
        assert!(hourly.hours.len() <= SWEEP_EVERY + 10);
    }
}
