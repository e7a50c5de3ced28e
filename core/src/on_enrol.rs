//! Machines that come for the first time, or anew without a certificate.

use std::collections::BTreeMap;
use std::sync::Arc;

use campusgrid_protocol::id::{SessionId, UserId, VoucherId, WorkerId};

use crate::ask::Ask;
use crate::deadlines::Deadlines;
use crate::effect::{Change, Effects, Refusal, Reply};
use crate::grid::Grid;
use crate::input::{Enrolment, EnrolmentProof, Ticket};
use crate::record::Record;
use crate::time::Timestamp;
use crate::voucher::{Purpose, Shown};
use crate::worker::{KeyHash, Newcomer, Worker};

/// Machines that may wait for approval: whoever reaches the port can be one.
const NEWCOMERS_MAX: usize = 1000;

/// Of these, from one address.
const NEWCOMERS_OF_ADDRESS_MAX: usize = 32;

/// How long a machine that was let in may ask again, since the answer was lost; until it joins, is
/// removed, or its token is revoked, if that is sooner.
const REPEAT_MS: u64 = 10 * 60 * 1000;

/// Which machines were let in lately and by what: one whose answer was lost asks again, when its
/// token may be used up, and its owner has done with it. In memory only.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    by: BTreeMap<KeyHash, Means>,
    ends: Deadlines<KeyHash>,
    /// By which token each machine came since the grid was recovered, for as long as it is there.
    tokens: BTreeMap<KeyHash, VoucherId>,
}

/// By what a machine was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Token(Shown),
    Code,
}

impl Repeats {
    fn note(&mut self, key_hash: KeyHash, means: Means, now: Timestamp) {
        self.forget_old(now);
        self.by.insert(key_hash, means);
        match means {
            Means::Token(shown) => self.tokens.insert(key_hash, shown.id),
            Means::Code => self.tokens.remove(&key_hash),
        };
        self.ends.renew(key_hash, now.plus_ms(REPEAT_MS));
    }

    fn has(&mut self, key_hash: &KeyHash, means: Means, now: Timestamp) -> bool {
        self.forget_old(now);
        self.by.get(key_hash) == Some(&means)
    }

    /// The machine has got its answer, or is no more.
    pub(crate) fn forget(&mut self, key_hash: &KeyHash) {
        self.by.remove(key_hash);
        self.ends.close(key_hash);
    }

    /// The machine is removed; yields the token that it came by.
    pub(crate) fn forget_machine(&mut self, key_hash: &KeyHash) -> Option<VoucherId> {
        self.forget(key_hash);
        self.tokens.remove(key_hash)
    }

    /// A token was revoked.
    pub(crate) fn forget_voucher(&mut self, id: VoucherId) {
        let ends = &mut self.ends;
        self.by.retain(|key_hash, means| {
            let keep = !matches!(means, Means::Token(shown) if shown.id == id);
            if !keep {
                ends.close(key_hash);
            }
            keep
        });
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some(old) = self.ends.pop_over(now) {
            self.by.remove(&old);
        }
    }
}

impl Grid {
    /// A machine asks to be let in: with a token at once, with a code once somebody enters it.
    pub(crate) fn on_enrol(
        &mut self,
        ticket: Ticket,
        enrolment: Enrolment,
        effects: &mut Effects,
    ) -> Option<Reply> {
        let Enrolment { session, key_hash, name, address, proof } = enrolment;
        let others = self.newcomers_of(&key_hash, session);
        if others.iter().any(|&other| other > session) {
            return Some(Reply::Refused(Refusal::Withdrawn)); // It has moved on.
        }
        for older in others {
            self.withdraw(older, effects);
        }
        let means = match &proof {
            EnrolmentProof::Token(shown) => Means::Token(*shown),
            EnrolmentProof::Code { .. } => Means::Code,
        };
        if let Some(&id) = self.worker_of_key.get(&key_hash)
            && self.repeats.has(&key_hash, means, self.now)
        {
            return Some(self.enrolled(id));
        }
        let (code, claimed_owner) = match proof {
            EnrolmentProof::Token(shown) => {
                return Some(self.enrol_by_token(key_hash, name, shown, effects));
            }
            EnrolmentProof::Code { code, claimed_owner } => (code, claimed_owner),
        };
        let of_address = self.newcomers.values().filter(|other| other.address == address);
        if self.newcomers.len() >= NEWCOMERS_MAX || of_address.count() >= NEWCOMERS_OF_ADDRESS_MAX {
            return Some(Reply::Refused(Refusal::TooManyNewcomers));
        }
        let newcomer = Newcomer { key_hash, name, address, claimed_owner, code, ticket };
        self.newcomers.insert(session, newcomer);
        None
    }

    /// The sessions on which a machine waits, and this one if it does.
    fn newcomers_of(&self, key_hash: &KeyHash, session: SessionId) -> Vec<SessionId> {
        let of_it = self
            .newcomers
            .iter()
            .filter(|(other, newcomer)| **other == session || newcomer.key_hash == *key_hash);
        of_it.map(|(&other, _)| other).collect()
    }

    /// A machine no longer waits on this session.
    pub(crate) fn withdraw(&mut self, session: SessionId, effects: &mut Effects) {
        if let Some(newcomer) = self.newcomers.remove(&session) {
            effects.replies.push((newcomer.ticket, Reply::Refused(Refusal::Withdrawn)));
        }
    }

    fn enrol_by_token(
        &mut self,
        key_hash: KeyHash,
        name: String,
        shown: Shown,
        effects: &mut Effects,
    ) -> Reply {
        let owner = match self.voucher(&shown).map(|voucher| voucher.purpose) {
            Some(Purpose::Join { owner }) => owner,
            Some(Purpose::Invitation { .. }) | None => {
                return Reply::Refused(Refusal::VoucherUnknown);
            }
        };
        let Some(id) = self.let_in(owner, key_hash, name, effects) else {
            return Reply::Refused(Refusal::MachineOwned);
        };
        self.use_voucher(shown.id, effects);
        self.repeats.note(key_hash, Means::Token(shown), self.now);
        self.enrolled(id)
    }

    fn enrolled(&self, id: WorkerId) -> Reply {
        let owner = self.users[&self.workers[&id].owner].name.clone();
        Reply::Enrolled { worker: id, owner }
    }

    /// Makes a machine this user's. One that is already keeps its number and its history; one that is
    /// somebody else's stays that, until they remove it.
    fn let_in(
        &mut self,
        owner: UserId,
        key_hash: KeyHash,
        name: String,
        effects: &mut Effects,
    ) -> Option<WorkerId> {
        if let Some(&id) = self.worker_of_key.get(&key_hash) {
            if self.workers[&id].owner != owner {
                return None;
            }
            self.rename(id, name, effects);
            return Some(id);
        }
        let id = WorkerId(self.last_worker.0 + 1);
        self.last_worker = id;
        let worker = Worker {
            id,
            key_hash,
            name,
            owner,
            set_aside: None,
            rules: Arc::default(),
            ask: Ask::default(),
            record: Record::default(),
        };
        self.workers.insert(id, worker.clone());
        self.worker_of_key.insert(key_hash, id);
        effects.changes.push(Change::WorkerApproved { worker, at: self.now });
        Some(id)
    }

    pub(crate) fn on_approve(&mut self, user: UserId, code: &str, effects: &mut Effects) -> Reply {
        let Some(user) = self.users.get(&user) else {
            return Reply::Refused(Refusal::NotFound);
        };
        let owner = user.id;
        let claims = |newcomer: &Newcomer| {
            let claim = newcomer.claimed_owner.as_deref();
            claim.is_none_or(|name| name.to_lowercase() == user.name.to_lowercase())
        };
        let mut found = self
            .newcomers
            .iter()
            .filter(|(_, newcomer)| newcomer.code == code && claims(newcomer))
            .map(|(&session, _)| session);
        // Two machines with one code, and nobody can tell which of them is meant.
        let (Some(session), None) = (found.next(), found.next()) else {
            return Reply::Refused(Refusal::CodeUnknown);
        };
        let Newcomer { key_hash, name, .. } = &self.newcomers[&session];
        let (key_hash, name) = (*key_hash, name.clone());
        let Some(id) = self.let_in(owner, key_hash, name, effects) else {
            return Reply::Refused(Refusal::CodeUnknown);
        };
        self.repeats.note(key_hash, Means::Code, self.now);
        let newcomer = self.newcomers.remove(&session).expect("it has just been found");
        effects.replies.push((newcomer.ticket, self.enrolled(id)));
        Reply::Approved { worker: id }
    }
}
