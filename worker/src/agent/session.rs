//! The agent's side of one connection after another: heartbeats, what they renew, and silence.

use std::collections::BTreeMap;

use campusgrid_protocol::id::AttemptId;

/// Heartbeats that may pass without a word from the manager.
const SILENT_HEARTBEATS: u64 = 3;

/// Assumed until the manager has named its own: DESIGN §6.
const HEARTBEAT_MS: u64 = 10_000;
const LEASE_MS: u64 = 90_000;

/// A manager that asks for a faster pulse is taken to mean this.
const HEARTBEAT_MIN_MS: u64 = 100;

#[derive(Debug)]
pub(super) struct Session {
    state: State,
    heartbeat_ms: u64,
    lease_ms: u64,
    /// When the newest message was sent that the manager has surely read: whatever it sends in this
    /// session, it sends later.
    read_ms: u64,
    /// The number of the next heartbeat, of all sessions.
    sequence: u64,
    /// Heartbeats that were not answered: when they were sent and what they listed. The silence
    /// limit keeps them few.
    unanswered: BTreeMap<u64, (u64, Vec<AttemptId>)>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Disconnected,
    /// Joined, not welcomed yet.
    Joining {
        heard_ms: u64,
    },
    Welcomed {
        heard_ms: u64,
        heartbeat_at_ms: u64,
    },
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            state: State::Disconnected,
            heartbeat_ms: HEARTBEAT_MS,
            lease_ms: LEASE_MS,
            read_ms: 0,
            sequence: 1,
            unanswered: BTreeMap::new(),
        }
    }

    pub(super) fn is_welcomed(&self) -> bool {
        match self.state {
            State::Welcomed { .. } => true,
            State::Disconnected | State::Joining { .. } => false,
        }
    }

    /// Whether the manager has been told in this session how this machine is shared.
    pub(super) fn is_joined(&self) -> bool {
        match self.state {
            State::Joining { .. } | State::Welcomed { .. } => true,
            State::Disconnected => false,
        }
    }

    /// Until when an attempt may go on whose start has just come in.
    ///
    /// Its lease counts from when the manager sent it, and the message may have been long on its
    /// way, or have waited for a suspended machine to wake up; so it counts from what the manager
    /// must have read before.
    pub(super) fn start_lease_until_ms(&self) -> u64 {
        self.read_ms.saturating_add(self.lease_ms)
    }

    pub(super) fn connected(&mut self, now_ms: u64) {
        self.unanswered.clear();
        self.read_ms = now_ms;
        self.state = State::Joining { heard_ms: now_ms };
    }

    pub(super) fn disconnected(&mut self) {
        self.unanswered.clear();
        self.state = State::Disconnected;
    }

    /// The first heartbeat is due at once: leases may be near their end.
    pub(super) fn welcomed(&mut self, now_ms: u64, heartbeat_ms: u32, lease_ms: u32) {
        self.heartbeat_ms = u64::from(heartbeat_ms).max(HEARTBEAT_MIN_MS);
        self.lease_ms = u64::from(lease_ms);
        self.state = State::Welcomed { heard_ms: now_ms, heartbeat_at_ms: now_ms };
    }

    pub(super) fn heard(&mut self, now_ms: u64) {
        match &mut self.state {
            State::Joining { heard_ms } | State::Welcomed { heard_ms, .. } => *heard_ms = now_ms,
            State::Disconnected => {}
        }
    }

    /// The number of the heartbeat to send now, if one is due; the next one is then planned.
    pub(super) fn heartbeat_due(&mut self, now_ms: u64, jitter_permille: i16) -> Option<u64> {
        let State::Welcomed { heartbeat_at_ms, .. } = &mut self.state else { return None };
        if *heartbeat_at_ms > now_ms {
            return None;
        }
        let permille = 1000 + i64::from(jitter_permille.clamp(-100, 100));
        *heartbeat_at_ms = now_ms + self.heartbeat_ms * permille.unsigned_abs() / 1000;
        let sequence = self.sequence;
        self.sequence += 1;
        Some(sequence)
    }

    pub(super) fn remember_heartbeat(
        &mut self,
        now_ms: u64,
        sequence: u64,
        attempts: Vec<AttemptId>,
    ) {
        self.unanswered.insert(sequence, (now_ms, attempts));
    }

    /// The leases that an answered heartbeat renews: attempts and until when.
    ///
    /// They count from when the heartbeat was sent, since the manager may have read it at once and
    /// its answer may have been long on its way. Earlier heartbeats will not be answered any more.
    pub(super) fn renewed(&mut self, sequence: u64) -> Vec<(AttemptId, u64)> {
        let Some((sent_ms, attempts)) = self.unanswered.remove(&sequence) else {
            return Vec::new();
        };
        self.unanswered.retain(|&other, _| other > sequence);
        self.read_ms = sent_ms;
        let until_ms = sent_ms.saturating_add(self.lease_ms);
        attempts.into_iter().map(|attempt| (attempt, until_ms)).collect()
    }

    /// How long the manager has been silent, if that is too long.
    pub(super) fn too_silent(&self, now_ms: u64) -> Option<u64> {
        let silent_ms = now_ms.saturating_sub(self.heard_ms()?);
        (silent_ms >= self.silence_limit_ms()).then_some(silent_ms)
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        let silence = self.heard_ms()?.saturating_add(self.silence_limit_ms());
        match self.state {
            State::Welcomed { heartbeat_at_ms, .. } => Some(heartbeat_at_ms.min(silence)),
            State::Joining { .. } | State::Disconnected => Some(silence),
        }
    }

    fn heard_ms(&self) -> Option<u64> {
        match self.state {
            State::Joining { heard_ms } | State::Welcomed { heard_ms, .. } => Some(heard_ms),
            State::Disconnected => None,
        }
    }

    fn silence_limit_ms(&self) -> u64 {
        SILENT_HEARTBEATS * self.heartbeat_ms
    }
}
