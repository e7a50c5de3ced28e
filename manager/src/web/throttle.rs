//! How often who may try a password or register: a table in memory, of bounded size, without a clock
//! of its own.
//!
//! # The policy
//!
//! Guessing must be slow, and nobody's guessing may keep anybody else out. Tries are therefore counted
//! where they come from, each with an allowance that comes back with time; nothing is ever locked. What
//! counts there is tries that failed: one that succeeds is given back, so that a lecture hall behind one
//! address can log in at nine o'clock.
//!
//! | counted for | at once | then one every | stands in the way of |
//! | --- | --- | --- | --- |
//! | a network (an IPv4 address, the /64 of an IPv6 one) | 60 | 5 s | tries from there for any account |
//! | an account from a network | 10 | 1 min | tries from there for this account |
//! | an account from anywhere | 100 | 5 s | tries of strangers for this account |
//! | a device for its account | 20 | 1 min | tries of this device for this account |
//! | an account, passwords that were right | 60 | 2 s | all tries for this account |
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
//! - **Right** passwords count for their account, or whoever has one account could keep the processors
//!   busy with it. Only somebody who knows the password can use this up.
//! - Registering counts for a network: 60 at once, then one in five minutes. It is not given back, since
//!   whoever registers has got something: credits. So a class behind one address can register within
//!   its first lesson, and in a whole day no network makes more than 348 accounts.
//! - Whoever is logged in and shows the present password, to set a new one or to make an API token, has
//!   10 mistakes at once for this login, then one a minute; a login that was stolen is no way to try
//!   passwords.
//! - What a user submits counts by its size: 64 MiB at once, then 250 KiB a second; a job, a bid, a price
//!   and rules at least as 1 KiB, a price with which the grid bids as 1 KiB for each job that takes bids.
//!   Jobs that are cancelled at once cost no credits, but they stay on the disk, as bids do.
//!
//! A restart forgets the counts and the known networks; devices keep their cookies.

mod allowances;

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{LoginId, UserId};

use self::allowances::{Allowances, Rule};
use super::network::Network;

const NETWORK: Rule = Rule { burst: 60, every_ms: 5_000 };
const ACCOUNT_FROM_NETWORK: Rule = Rule { burst: 10, every_ms: 60_000 };
const ACCOUNT_FROM_STRANGERS: Rule = Rule { burst: 100, every_ms: 5_000 };
const DEVICE: Rule = Rule { burst: 20, every_ms: 60_000 };
const REGISTRATION: Rule = Rule { burst: 60, every_ms: 300_000 };
const RIGHT_PASSWORD: Rule = Rule { burst: 60, every_ms: 2_000 };
const PRESENT_PASSWORD: Rule = Rule { burst: 10, every_ms: 60_000 };
/// In pieces of [`PIECE_BYTES`].
const SUBMITTED: Rule = Rule { burst: (64 << 20) / PIECE_BYTES, every_ms: 1 };
const PIECE_BYTES: u64 = 256;

/// What a job takes beside what is sent of it: its rows in the store. Bytes.
pub(super) const JOB_BYTES: u64 = 1024;

/// The most that counts at once beside that: more would never be allowed. Bytes.
pub(super) const SUBMITTED_MAX_BYTES: u64 = (64 << 20) - JOB_BYTES;

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

/// A browser that has shown that it has logged in to the account before: one of those of this account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Device(pub(super) u8);

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
    right_passwords: Allowances<AccountName>,
    submitted: Allowances<UserId>,
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
            right_passwords: Allowances::new(RIGHT_PASSWORD, KEYS_MAX),
            submitted: Allowances::new(SUBMITTED, KEYS_MAX),
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
        in_time(self.right_passwords.wait_ms(now, &account))?;
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

    /// The password was right: the try is given back and counts as a right one instead, earlier
    /// mistakes from there are forgiven, and its network is known from now on.
    pub(super) fn succeeded(&mut self, now: Timestamp, counted: Counted) {
        let Counted { attempt: Attempt { account, network, .. }, standing } = counted;
        self.give_back(now, counted);
        self.right_passwords.take(now, account);
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
    pub(super) fn show_password(
        &mut self,
        now: Timestamp,
        login: LoginId,
        account: AccountName,
    ) -> Result<(), TooEarly> {
        let right_ms = self.right_passwords.wait_ms(now, &account);
        in_time(self.present_passwords.wait_ms(now, &login).max(right_ms))?;
        self.present_passwords.take(now, login);
        Ok(())
    }

    /// It was the present password: the try is given back and counts as a right one instead.
    pub(super) fn password_shown(&mut self, now: Timestamp, login: LoginId, account: AccountName) {
        self.present_passwords.give_back(now, login);
        self.right_passwords.take(now, account);
    }

    /// Counts what a user wants to submit. Bytes, at most 64 MiB.
    ///
    /// # Errors
    ///
    /// `TooEarly`.
    pub(super) fn submit(
        &mut self,
        now: Timestamp,
        user: UserId,
        bytes: u64,
    ) -> Result<(), TooEarly> {
        in_time(self.submitted.wait_for_ms(now, &user, pieces(bytes)))?;
        self.submitted.take_many(now, user, pieces(bytes));
        Ok(())
    }

    /// It was not taken in after all.
    pub(super) fn not_submitted(&mut self, now: Timestamp, user: UserId, bytes: u64) {
        self.submitted.give_back_many(now, user, pieces(bytes));
    }
}

fn pieces(bytes: u64) -> u64 {
    (JOB_BYTES + bytes).div_ceil(PIECE_BYTES)
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
