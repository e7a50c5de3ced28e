//! What a machine's owner lets it run: by the rules made in the dashboard, by what the machine itself says,
//! and by the price that its owner asks for.

use campusgrid_protocol::id::{UserId, WorkerId};
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::rules::{Limits, Rules, Shares, Whose, Wish};

use crate::ask::Ask;
use crate::offer::Offer;
use crate::pricing::price;
use crate::snapshot::{LinkView, Shape, WorkerView};
use crate::time::Timestamp;
use crate::worker::{Link, Worker};

/// The most that an owner shares of a machine at once, whatever it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    pub cpu_millis: u32,
    pub ram_mib: u32,
    pub disk_mib: u32,
    pub gpus: usize,
    /// Tasks.
    pub at_once: usize,
}

impl Cap {
    /// All that a machine has.
    pub const NONE: Self = Self {
        cpu_millis: u32::MAX,
        ram_mib: u32::MAX,
        disk_mib: u32::MAX,
        gpus: usize::MAX,
        at_once: usize::MAX,
    };

    /// The least of both: what the rules say, and what the machine says.
    pub fn of(rules: &Rules, shares: Option<&Shares>) -> Self {
        limits_of(rules, shares).fold(Self::NONE, Self::and)
    }

    fn and(self, limits: &Limits) -> Self {
        let least = |cap: u32, limit: Option<u32>| cap.min(limit.unwrap_or(u32::MAX));
        let cpu_millis = limits.cores.map(|cores| cores.saturating_mul(1000));
        let at_once = limits.at_once.map_or(usize::MAX, |tasks| tasks as usize);
        Self {
            cpu_millis: least(self.cpu_millis, cpu_millis),
            ram_mib: least(self.ram_mib, limits.ram_mib),
            disk_mib: least(self.disk_mib, limits.disk_mib),
            gpus: self.gpus.min(limits.gpus.map_or(usize::MAX, usize::from)),
            at_once: self.at_once.min(at_once),
        }
    }
}

/// The limits that hold beside each other.
fn limits_of<'a>(
    rules: &'a Rules,
    shares: Option<&'a Shares>,
) -> impl Iterator<Item = &'a Limits> + Clone {
    std::iter::once(&rules.limits).chain(shares.map(|shares| &shares.limits))
}

/// Whether a machine is shared at all that says nothing of it itself, since it speaks an older version.
pub(crate) fn is_shared_by(rules: &Rules, now: Timestamp) -> bool {
    match wish(rules, now) {
        Some(Wish::Pause) => false,
        Some(Wish::Share) => true,
        None => rules.when.enabled && lasts(rules.when.until_ms, now),
    }
}

/// Whether a machine is not shared, whatever it says itself: it is paused, or its offer is over.
pub(crate) fn is_shut_by(rules: &Rules, now: Timestamp) -> bool {
    match wish(rules, now) {
        Some(Wish::Pause) => true,
        Some(Wish::Share) => false,
        None => !lasts(rules.when.until_ms, now),
    }
}

/// What was said by hand and still holds.
fn wish(rules: &Rules, now: Timestamp) -> Option<Wish> {
    let by_hand = rules.by_hand.filter(|by_hand| lasts(by_hand.until_ms, now));
    by_hand.map(|by_hand| by_hand.wish)
}

fn lasts(until_ms: Option<u64>, now: Timestamp) -> bool {
    until_ms.is_none_or(|until| until > now.0)
}

/// When [`is_shared_by`] or [`is_shut_by`] may come to something else, if ever.
pub(crate) fn next_change(rules: &Rules, now: Timestamp) -> Option<Timestamp> {
    let by_hand = rules.by_hand.and_then(|by_hand| by_hand.until_ms);
    let ends = by_hand.into_iter().chain(rules.when.until_ms).filter(|until| *until > now.0);
    ends.min().map(Timestamp)
}

/// A machine as jobs meet it: what decides whether it may run one, beside what it has free.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    id: WorkerId,
    owner: UserId,
    isolation: Isolation,
    offer: &'a Offer,
    rules: &'a Rules,
    shares: Option<&'a Shares>,
    ask: &'a Ask,
}

/// Why a machine may not run a task, however idle it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// It does not confine well enough.
    Isolation,
    /// It lacks something that is required by name.
    Labels,
    /// Its owner takes no jobs of this kind.
    Kind,
    /// Its owner takes no jobs that may go on for so long.
    Longest,
    /// Its owner takes no jobs of this submitter.
    Whose,
    /// Its owner asks for more than the formula comes to.
    Price,
    /// Somebody else's machine is to check the result.
    But,
    /// Another machine's bid was accepted.
    Only,
}

impl<'a> Host<'a> {
    pub(crate) fn of(worker: &'a Worker, link: &'a Link) -> Self {
        Self {
            id: worker.id,
            owner: worker.owner,
            isolation: link.isolation,
            offer: &link.offer,
            rules: &worker.rules,
            shares: link.shares.as_deref(),
            ask: &worker.ask,
        }
    }

    pub(crate) fn of_view(worker: &'a WorkerView, link: &'a LinkView) -> Self {
        Self {
            id: worker.id,
            owner: worker.owner,
            isolation: link.isolation,
            offer: &link.offer,
            rules: &worker.rules,
            shares: link.shares.as_deref(),
            ask: &worker.ask,
        }
    }

    pub(crate) fn id(&self) -> WorkerId {
        self.id
    }

    pub(crate) fn owner(&self) -> UserId {
        self.owner
    }

    /// Whether it may run this shape at all. `name` is the submitter's.
    pub(crate) fn admits<'n>(&self, shape: &Shape, name: impl Fn() -> &'n str) -> bool {
        self.bar(shape, name).is_none()
    }

    /// Why it may not run this shape at all, if it may not. The owner's own jobs are run whatever is
    /// asked for and whosever are taken.
    pub(crate) fn bar<'n>(&self, shape: &Shape, name: impl Fn() -> &'n str) -> Option<Bar> {
        let is_own = self.owner == shape.owner;
        let mut limits = limits_of(self.rules, self.shares);
        let fits = |limits: &Limits| limits.longest_s.is_none_or(|most| shape.time_limit_s <= most);
        if shape.only.is_some_and(|only| only != self.id) {
            Some(Bar::Only)
        } else if shape.but.contains(&Some(self.owner)) || (is_own && shape.is_checked()) {
            Some(Bar::But)
        } else if !confines(self.isolation, self.owner, shape) {
            Some(Bar::Isolation)
        } else if !self.offer.has_all(&shape.labels) {
            Some(Bar::Labels)
        } else if !limits.clone().all(|limits| takes_kind(limits, shape)) {
            Some(Bar::Kind)
        } else if !limits.clone().all(fits) {
            Some(Bar::Longest)
        } else if !is_own && !limits.all(|limits| takes_jobs_of(&limits.whose, &name)) {
            Some(Bar::Whose)
        } else if !is_own && shape.only.is_none() && self.asks_for_more(shape) {
            Some(Bar::Price)
        } else {
            None
        }
    }

    fn asks_for_more(&self, shape: &Shape) -> bool {
        let limit_ms = u64::from(shape.time_limit_s) * 1000;
        let asked = self.ask.prices.as_ref();
        asked.is_some_and(|prices| price(prices, &shape.needs, limit_ms) > shape.budget)
    }
}

fn takes_kind(limits: &Limits, shape: &Shape) -> bool {
    limits.kinds.is_empty() || limits.kinds.contains(&shape.kind)
}

fn takes_jobs_of<'n>(whose: &Whose, name: &impl Fn() -> &'n str) -> bool {
    // Most take everyone's, and a name costs a look at all users.
    matches!(whose, Whose::Everyone) || whose.includes(name())
}

/// Whether a machine of this confinement may run a shape: it confines at least as the submitter asks, and
/// one that does not confine at all runs its owner's jobs only.
pub(crate) fn confines(isolation: Isolation, worker_owner: UserId, shape: &Shape) -> bool {
    isolation >= shape.isolation && (isolation > Isolation::None || worker_owner == shape.owner)
}

impl Bar {
    /// In words that follow "this machine cannot run the job: ".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Isolation => "it does not confine tasks as well as the job asks for",
            Self::Labels => "it lacks something that the job requires by name",
            Self::Kind => "its owner's rules take no jobs of this kind",
            Self::Longest => "its owner's rules take no jobs of so long a time limit",
            Self::Whose => "its owner's rules take no jobs of this submitter",
            Self::Price => "its owner asks for more than the job pays",
            Self::But => "a machine of another owner is to check the result",
            Self::Only => "another machine's bid was accepted",
        }
    }
}
