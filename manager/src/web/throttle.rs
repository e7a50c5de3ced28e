//! How often who may try a password or register: a table in memory, of bounded size, without a clock
//! of its own.
//!
//! # The policy
//!
//! Guessing must be slow, and nobody's guessing may keep anybody else out. Tries are therefore counted
//! where they come from, each with an allowance that comes back with time; nothing is ever locked. What
//! counts is tries that failed: one that succeeds is given back, so that a lecture hall behind one
//! address can log in at nine o'clock.
//!
//! | counted for | at once | then one every | stands in the way of |
//! | --- | --- | --- | --- |
//! | a network (an IPv4 address, the /64 of an IPv6 one) | 60 | 5 s | tries from there for any account |
//! | an account from a network | 10 | 1 min | tries from there for this account |
//! | an account from anywhere | 100 | 5 s | tries of strangers for this account |
//! | a device for its account | 20 | 1 min | tries of this device for this account |
//!
//! - A **device** is a browser that has logged in to this account before and shows so with a signed
//!   cookie. Only its own tries count against it, so whatever is tried from elsewhere, even from the
//!   address that it shares, does not hinder it. (The idea is OWASP's, "device cookies".)
//! - A network from which this account has been logged in to before is **known**: tries from elsewhere
//!   do not count against it.
//! - Everybody else is a **stranger** to the account. Only strangers are held up by what others try,
//!   and only if many networks try together: one network cannot use up the account's allowance, for
//!   of it it gets 10 and then one a minute, while 12 a minute come back.
//! - Accounts that do not exist are counted like those that do, or the answers would tell them apart.
//! - Registering counts for a network: 60 at once, then one a minute. It is not given back, since
//!   whoever registers has got something.
//! - Whoever is logged in and shows the present password to set a new one has 10 tries at once for this
//!   login, then one a minute; a login that was stolen is no way to try passwords.
//!
//! A restart forgets the counts and the known networks; devices keep their cookies.

mod allowances;

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::LoginId;

use self::allowances::{Allowances, Rule};
use super::network::Network;

const NETWORK: Rule = Rule { burst: 60, every_ms: 5_000 };
const ACCOUNT_FROM_NETWORK: Rule = Rule { burst: 10, every_ms: 60_000 };
const ACCOUNT_FROM_STRANGERS: Rule = Rule { burst: 100, every_ms: 5_000 };
const DEVICE: Rule = Rule { burst: 20, every_ms: 60_000 };
const REGISTRATION: Rule = Rule { burst: 60, every_ms: 60_000 };
const PRESENT_PASSWORD: Rule = Rule { burst: 10, every_ms: 60_000 };

/// Keys kept of each kind; with 32,768 of each, all tables together take about 20 MiB at most.
const KEYS_MAX: usize = 1 << 15;

/// Networks that one account is known from; more belong to somebody who changes them on purpose.
const KNOWN_PER_ACCOUNT_MAX: usize = 16;

/// An account, whether it exists or not: a hash of its name, as all names are equally long then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AccountName([u8; 16]);

impl AccountName {
    /// Names that differ only in case are one account.
    pub(super) fn of(name: &str) -> Self {
        let hash = blake3::hash(name.to_ascii_lowercase().as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&hash.as_bytes()[..16]);
        Self(short)
    }
}

/// A browser that has shown that it has logged in to the account before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Device(pub(super) [u8; 16]);

/// Somebody who tries a password.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub(super) account: AccountName,
    pub(super) network: Network,
    pub(super) device: Option<Device>,
}

/// An attempt that is under way and has been counted, and against what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    attempt: Attempt,
    standing: Standing,
}

#[derive(Debug, Clone, Copy)]
enum Standing {
    Device(Device),
    Known,
    Stranger,
}

/// It is too early. Milliseconds until it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooEarly {
    pub(super) wait_ms: u64,
}

/// All counts.
#[derive(Debug)]
pub(super) struct Throttle {
    networks: Allowances<Network>,
    pairs: Allowances<(AccountName, Network)>,
    accounts: Allowances<AccountName>,
    devices: Allowances<(AccountName, Device)>,
    registrations: Allowances<Network>,
    present_passwords: Allowances<LoginId>,
    known: Known,
}

impl Throttle {
    /// Nobody has tried anything yet.
    pub(super) fn new() -> Self {
        Self {
            networks: Allowances::new(NETWORK, KEYS_MAX),
            pairs: Allowances::new(ACCOUNT_FROM_NETWORK, KEYS_MAX),
            accounts: Allowances::new(ACCOUNT_FROM_STRANGERS, KEYS_MAX),
            devices: Allowances::new(DEVICE, KEYS_MAX),
            registrations: Allowances::new(REGISTRATION, KEYS_MAX),
            present_passwords: Allowances::new(PRESENT_PASSWORD, KEYS_MAX),
            known: Known::default(),
        }
    }

    /// Counts a try before its password is looked at: many at the same time are many tries.
    ///
    /// # Errors
    ///
    /// `TooEarly`; nothing is counted then.
    pub(super) fn begin(&mut self, now: Timestamp, attempt: Attempt) -> Result<Counted, TooEarly> {
        let Attempt { account, network, device } = attempt;
        let standing = match device {
            Some(device) => Standing::Device(device),
            None if self.known.contains(account, network) => Standing::Known,
            None => Standing::Stranger,
        };
        let from_there = || {
            let pair = self.pairs.wait_ms(now, &(account, network));
            self.networks.wait_ms(now, &network).max(pair)
        };
        in_time(match standing {
            Standing::Device(device) => self.devices.wait_ms(now, &(account, device)),
            Standing::Known => from_there(),
            Standing::Stranger => from_there().max(self.accounts.wait_ms(now, &account)),
        })?;
        if let Standing::Device(device) = standing {
            self.devices.take(now, (account, device));
        } else {
            self.networks.take(now, network);
            self.pairs.take(now, (account, network));
        }
        if let Standing::Stranger = standing {
            self.accounts.take(now, account);
        }
        Ok(Counted { attempt, standing })
    }

    /// The password was right: the try is given back, earlier mistakes from there are forgiven, and
    /// its network is known from now on.
    pub(super) fn succeeded(&mut self, now: Timestamp, counted: Counted) {
        let Counted { attempt: Attempt { account, network, .. }, standing } = counted;
        self.give_back(now, counted);
        match standing {
            Standing::Device(device) => drop(self.devices.forget(&(account, device))),
            Standing::Known | Standing::Stranger => drop(self.pairs.forget(&(account, network))),
        }
        self.known.insert(now, account, network);
    }

    /// The password was not looked at after all.
    pub(super) fn give_back(&mut self, now: Timestamp, counted: Counted) {
        let Counted { attempt: Attempt { account, network, .. }, standing } = counted;
        if let Standing::Device(device) = standing {
            self.devices.give_back(now, (account, device));
        } else {
            self.networks.give_back(now, network);
            self.pairs.give_back(now, (account, network));
        }
        if let Standing::Stranger = standing {
            self.accounts.give_back(now, account);
        }
    }

    /// Counts a registration.
    ///
    /// # Errors
    ///
    /// `TooEarly`.
    pub(super) fn register(&mut self, now: Timestamp, network: Network) -> Result<(), TooEarly> {
        in_time(self.registrations.wait_ms(now, &network))?;
        self.registrations.take(now, network);
        Ok(())
    }

    /// Counts a try at the present password by somebody who is logged in.
    ///
    /// # Errors
    ///
    /// `TooEarly`.
    pub(super) fn show_password(&mut self, now: Timestamp, login: LoginId) -> Result<(), TooEarly> {
        in_time(self.present_passwords.wait_ms(now, &login))?;
        self.present_passwords.take(now, login);
        Ok(())
    }
}

fn in_time(wait_ms: u64) -> Result<(), TooEarly> {
    if wait_ms == 0 { Ok(()) } else { Err(TooEarly { wait_ms }) }
}

/// From where accounts have been logged in to, the latest of it.
#[derive(Debug, Default)]
struct Known {
    latest: BTreeMap<(AccountName, Network), Timestamp>,
    order: BTreeSet<(Timestamp, AccountName, Network)>,
}

impl Known {
    fn contains(&self, account: AccountName, network: Network) -> bool {
        self.latest.contains_key(&(account, network))
    }

    fn insert(&mut self, now: Timestamp, account: AccountName, network: Network) {
        self.remove(account, network);
        let (first, last) = (Network::V4(0), Network::V6(u64::MAX));
        let of_account = self.latest.range((account, first)..=(account, last));
        let oldest = of_account.clone().min_by_key(|(_, at)| **at).map(|(key, _)| *key);
        if of_account.count() >= KNOWN_PER_ACCOUNT_MAX
            && let Some((account, network)) = oldest
        {
            self.remove(account, network);
        }
        if self.order.len() >= KEYS_MAX
            && let Some((_, account, network)) = self.order.first().copied()
        {
            self.remove(account, network);
        }
        self.latest.insert((account, network), now);
        self.order.insert((now, account, network));
    }

    fn remove(&mut self, account: AccountName, network: Network) {
        if let Some(at) = self.latest.remove(&(account, network)) {
            self.order.remove(&(at, account, network));
        }
    }
}

#[cfg(test)]
mod tests;
