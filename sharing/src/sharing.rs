//! The state machine: open, frozen or closed, by the rules of the dashboard, those of the machine's own
//! policy file, and what was said by hand.

use std::collections::BTreeSet;

use campusgrid_protocol::rules::{ByHand, Conditions, Limits, Phase, Rules, Shares, Wish};
use jiff::tz::TimeZone;

use crate::gate::settle_ms;
use crate::limits::{leave_no_kind, stricter};
use crate::senses::{Now, Senses};
use crate::side::{Over, Reason, Side, Weight};
use crate::verdict::Verdict;
use crate::words::time;

/// Reasons that are told at once.
const REASONS_MAX: usize = 3;

/// What is said before a first look.
const NOT_LOOKED: &str = "it has just started";

/// A machine that is shared, or not.
#[derive(Debug)]
pub struct Sharing {
    /// The machine's own.
    zone: TimeZone,
    dashboard: Side,
    policy: Side,
    /// Why the policy file cannot be followed, if it cannot: then nothing is shared.
    unfit: Option<String>,
    /// What was said at the machine itself.
    by_hand: Option<ByHand>,
    state: State,
    verdict: Verdict,
    deadline_ms: Option<u64>,
}

/// The phase, with what is to be known of it. Times of the boot clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Frozen { since_ms: u64 },
    Closed,
}

impl State {
    fn phase(self) -> Phase {
        match self {
            Self::Open => Phase::Open,
            Self::Frozen { .. } => Phase::Frozen,
            Self::Closed => Phase::Closed,
        }
    }
}

impl Sharing {
    /// A machine in this time zone. It is closed until a first [`Self::look`].
    ///
    /// Rules and `by_hand` are those that were kept.
    pub fn new(zone: TimeZone, policy: Rules, rules: Rules, by_hand: Option<ByHand>) -> Self {
        let limits = stricter(&rules.limits, &policy.limits);
        let why = NOT_LOOKED.to_owned();
        let checkpoint_s = rules.when.checkpoint_s.min(policy.when.checkpoint_s);
        Self {
            zone,
            dashboard: Side::new(rules, ""),
            policy: Side::new(policy, " (policy file)"),
            unfit: None,
            by_hand,
            state: State::Closed,
            verdict: Verdict {
                shares: Shares { phase: Phase::Closed, why, since_ms: 0, limits },
                checkpoint_s,
            },
            deadline_ms: None,
        }
    }

    /// Other rules from the dashboard; they hold from the next look on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.dashboard.set(rules);
    }

    /// Another policy, or why the file cannot be followed, in words: what it was to forbid is not known
    /// then. It holds from the next look on.
    pub fn set_policy(&mut self, policy: Result<Rules, String>) {
        match policy {
            Ok(policy) => {
                self.policy.set(policy);
                self.unfit = None;
            }
            Err(why) => self.unfit = Some(why),
        }
    }

    /// What is said at the machine itself from now on; it holds from the next look on.
    pub fn set_by_hand(&mut self, by_hand: Option<ByHand>) {
        self.by_hand = by_hand;
    }

    /// What was said at the machine itself.
    pub fn by_hand(&self) -> Option<ByHand> {
        self.by_hand
    }

    /// The programs that rules name.
    pub fn programs(&self) -> BTreeSet<String> {
        let sides = [&self.dashboard, &self.policy];
        sides.into_iter().flat_map(|side| side.rules.when.programs.iter().cloned()).collect()
    }

    /// Whether a rule asks what others than tasks use of the machine's cores.
    pub fn asks_for_load(&self) -> bool {
        self.asks(|when| when.others_load_percent < 100)
    }

    /// Whether a rule asks if somebody is here.
    pub fn asks_for_presence(&self) -> bool {
        self.asks(|when| when.idle_minutes > 0)
    }

    /// Whether a rule asks how hot the processor is.
    pub fn asks_for_temperature(&self) -> bool {
        self.asks(|when| when.temperature_c > 0)
    }

    fn asks(&self, is_asked: fn(&Conditions) -> bool) -> bool {
        [&self.dashboard, &self.policy].iter().any(|side| is_asked(&side.rules.when))
    }

    /// The rules of the dashboard.
    pub fn rules(&self) -> &Rules {
        &self.dashboard.rules
    }

    /// What came of the last look.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// When to look again, by the boot clock, though nothing else is sensed until then; none: whenever
    /// something is. Looking at any other time is harmless.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadline_ms
    }

    /// Takes in what is sensed and what time it is.
    ///
    /// `now.boot_ms` must not go back; `now.unix_ms` may.
    pub fn look(&mut self, now: Now, senses: &Senses) -> &Verdict {
        let grace_s = self.dashboard.rules.when.grace_s.min(self.policy.rules.when.grace_s);
        let grace_ms = u64::from(grace_s) * 1000;
        let mut reasons = self.sense(now, senses, grace_s);
        let mut state = self.next_state(now, &reasons, grace_ms);
        // How long conditions must hold to be back depends on the phase: an owner who has left again
        // while nobody looked has nothing frozen.
        while state.phase() != self.state.phase() {
            self.state = state;
            reasons = self.sense(now, senses, grace_s);
            state = self.next_state(now, &reasons, grace_ms);
        }
        let is_other =
            state.phase() != self.verdict.shares.phase || self.verdict.shares.since_ms == 0;
        let since_ms = if is_other { now.unix_ms } else { self.verdict.shares.since_ms };
        self.deadline_ms = self.deadline(now, &reasons, grace_ms);
        let words: Vec<&str> =
            reasons.iter().take(REASONS_MAX).map(|reason| reason.words.as_str()).collect();
        self.verdict = Verdict {
            shares: Shares {
                phase: state.phase(),
                why: words.join("; "),
                since_ms,
                limits: self.limits(),
            },
            checkpoint_s: self
                .dashboard
                .rules
                .when
                .checkpoint_s
                .min(self.policy.rules.when.checkpoint_s),
        };
        &self.verdict
    }

    /// Takes in what is sensed, and tells what keeps the machine from being shared then.
    fn sense(&mut self, now: Now, senses: &Senses, grace_s: u32) -> Vec<Reason> {
        let settle_ms = match self.state {
            State::Frozen { .. } => Some(settle_ms(grace_s)),
            State::Open | State::Closed => None,
        };
        self.dashboard.step(now, senses, settle_ms);
        self.policy.step(now, senses, settle_ms);
        self.reasons(now, senses)
    }

    fn limits(&self) -> Limits {
        stricter(&self.dashboard.rules.limits, &self.policy.rules.limits)
    }

    fn next_state(&self, now: Now, reasons: &[Reason], grace_ms: u64) -> State {
        if reasons.is_empty() {
            return State::Open;
        }
        if reasons.iter().any(|reason| reason.weight == Weight::Closes) {
            return State::Closed;
        }
        match self.state {
            State::Closed => State::Closed,
            State::Open if grace_ms == 0 => State::Closed,
            State::Open => State::Frozen { since_ms: now.boot_ms },
            State::Frozen { since_ms } if now.boot_ms >= since_ms.saturating_add(grace_ms) => {
                State::Closed
            }
            State::Frozen { since_ms } => State::Frozen { since_ms },
        }
    }

    /// All that keeps the machine from being shared; what closes it first.
    fn reasons(&self, now: Now, senses: &Senses) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = self.pause(now).into_iter().collect();
        if leave_no_kind(&self.dashboard.rules.limits, &self.policy.rules.limits) {
            let words = "its rules and its policy file together allow no kind of job".to_owned();
            reasons.push(Reason { weight: Weight::Closes, words, over: None });
        }
        reasons.extend(self.unfit.clone().map(|why| Reason {
            weight: Weight::Closes,
            words: format!("its policy file cannot be followed: {why}"),
            over: None,
        }));
        reasons.extend(self.policy.reasons(now, senses, &self.zone));
        if self.in_force(now, Wish::Share).is_none() {
            reasons.extend(self.dashboard.reasons(now, senses, &self.zone));
        }
        if senses.is_asleep {
            let words = "it is being suspended".to_owned();
            reasons.push(Reason { weight: Weight::Freezes, words, over: None });
        }
        reasons.sort_by_key(|reason| reason.weight == Weight::Freezes);
        reasons
    }

    fn pause(&self, now: Now) -> Option<Reason> {
        let pause = self.in_force(now, Wish::Pause)?;
        let until =
            pause.until_ms.map(|ms| format!(" until {}", time(ms, now.unix_ms, &self.zone)));
        Some(Reason {
            weight: Weight::Closes,
            words: format!("paused by hand{}", until.unwrap_or_default()),
            over: pause.until_ms.map(Over::Unix),
        })
    }

    /// Of those wishes that are in force the one that lasts longest, wherever it was said.
    fn in_force(&self, now: Now, wish: Wish) -> Option<ByHand> {
        let said = [self.by_hand, self.dashboard.rules.by_hand, self.policy.rules.by_hand];
        said.into_iter()
            .flatten()
            .filter(|said| said.wish == wish && said.until_ms.is_none_or(|ms| ms > now.unix_ms))
            .max_by_key(|said| said.until_ms.unwrap_or(u64::MAX))
    }

    fn deadline(&self, now: Now, reasons: &[Reason], grace_ms: u64) -> Option<u64> {
        let of_boot =
            |unix_ms: u64| now.boot_ms.saturating_add(unix_ms.saturating_sub(now.unix_ms));
        let grace_end = match self.state {
            State::Frozen { since_ms } => Some(since_ms.saturating_add(grace_ms)),
            State::Open | State::Closed => None,
        };
        let ends = [&self.dashboard, &self.policy]
            .into_iter()
            .filter_map(|side| side.next_end(now, &self.zone))
            .chain(self.in_force(now, Wish::Share).and_then(|share| share.until_ms))
            .map(of_boot);
        let over = reasons.iter().filter_map(|reason| match reason.over? {
            Over::Boot(boot_ms) => Some(boot_ms),
            Over::Unix(unix_ms) => Some(of_boot(unix_ms)),
        });
        grace_end.into_iter().chain(ends).chain(over).min()
    }
}

#[cfg(test)]
mod tests;
