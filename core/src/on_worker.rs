//! Machines that have an owner: joining, heartbeats, results, leaving.

use std::collections::BTreeSet;
use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, SessionId, UserId, WorkerId};
use campusgrid_protocol::message::{Comeback, ToWorker};
use campusgrid_protocol::resource::Load;
use campusgrid_protocol::rules::Rules;
use campusgrid_protocol::task::{Ended, WorkerFault};

use crate::effect::{Change, Effects, Refusal, Reply};
use crate::gpus::GpuSet;
use crate::grid::Grid;
use crate::input::{Heartbeat, Joined};
use crate::offer::Offer;
use crate::sharing::Cap;
use crate::worker::{Free, Link, Occupancy, Room, Worker};

/// What an attempt may take beyond its time limit to be made ready and to bring its results home,
/// over the slowest of networks. A lease that could be renewed for ever would hold its submitter's
/// credits for ever.
const GRACE_MS: u64 = 24 * 60 * 60 * 1000;

/// Why the older of two sessions of a machine ends.
const TAKEN_OVER: &str = "another process uses this machine's identity, as if its directory had \
    been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, \
    the original is just started again";

/// Why a connection ends whose worker has joined on a newer one since.
const OVERTAKEN: &str = "a newer connection of this worker came in first";

/// Why a machine whose key is of no worker is turned away.
const UNKNOWN: &str = "this worker was removed, or never joined this grid; it has to join anew";

impl Grid {
    pub(crate) fn on_joined(&mut self, session: SessionId, join: Joined, effects: &mut Effects) {
        let Joined { key_hash, name, attempts, .. } = join;
        let mut link = Link {
            session,
            free: Free::whole(&join.capacity),
            capacity: join.capacity,
            isolation: join.isolation,
            isolation_notes: join.isolation_notes,
            offer: self.offers.share(Offer::new(join.labels)),
            load: Load::default(),
            connected_at: self.now,
            heard_at: self.now,
            taken: GpuSet::NONE,
            leaving: false,
            shares: join.shares.map(Arc::new),
            cap: Cap::NONE,
            speed: join.speed,
        };
        if self.newcomers.contains_key(&session) || self.worker_of_session.contains_key(&session) {
            // Two machines on one session would leave a link behind that nothing removes.
            self.withdraw(session, effects);
            self.on_gone(session);
            let reason = "a session joins once".to_owned();
            effects.closes.push((session, reason, Comeback::Later));
            return;
        }
        let Some(&id) = self.worker_of_key.get(&key_hash) else {
            effects.closes.push((session, UNKNOWN.to_owned(), Comeback::Never));
            return;
        };
        self.repeats.forget(&key_hash); // It has a certificate, so its answer was not lost.
        if let Some(other) = self.links.get(&id).map(|link| link.session) {
            // A worker gives up its old connection before it dials anew, so whoever hears this is
            // another process with a copy of its identity.
            let older = other.min(session);
            effects.closes.push((older, TAKEN_OVER.to_owned(), Comeback::Never));
            if other > session {
                // Its join was long on its way, and the worker has moved on: what it lists is out
                // of date, and to believe it would start elsewhere what runs there now.
                return;
            }
            self.on_gone(other);
        } else if self.last_sessions.get(&id).is_some_and(|last| *last > session) {
            // As above, but the newer connection is over already.
            effects.closes.push((session, OVERTAKEN.to_owned(), Comeback::Later));
            return;
        }
        let none = Occupancy::new();
        link.cap = Cap::of(&self.workers[&id].rules, link.shares.as_deref());
        link.free = link.room(self.occupancy.get(&id).unwrap_or(&none));
        self.rename(id, name, effects);
        self.connect(id, link);
        effects.sends.push((session, self.welcome(id)));
        self.adopt((id, session), &attempts, effects);
        self.watch_rules(id);
        self.on_machine_ready(id, effects);
    }

    fn welcome(&self, worker: WorkerId) -> ToWorker {
        let (heartbeat_ms, lease_ms) = (self.policy.heartbeat_ms, self.policy.lease_ms);
        let Worker { owner, rules, record, .. } = &self.workers[&worker];
        ToWorker::Welcome {
            worker,
            heartbeat_ms,
            lease_ms,
            owner: self.users[owner].name.clone(),
            rules: Box::new(Rules::clone(rules)),
            earned_micros: record.earned_micros,
        }
    }

    pub(crate) fn rename(&mut self, id: WorkerId, name: String, effects: &mut Effects) {
        let worker = self.workers.get_mut(&id).expect("a key leads to a worker");
        if worker.name != name {
            worker.name.clone_from(&name);
            effects.changes.push(Change::WorkerRenamed { worker: id, name });
        }
    }

    /// A machine returns: what it still has goes on, what it lost is taken back, and what nobody
    /// waits for any more it is told to drop.
    fn adopt(
        &mut self,
        (worker, session): (WorkerId, SessionId),
        attempts: &[AttemptId],
        effects: &mut Effects,
    ) {
        self.renew((worker, session), attempts, effects);
        let listed: BTreeSet<&AttemptId> = attempts.iter().collect();
        let lost: Vec<AttemptId> = self
            .occupancy
            .get(&worker)
            .into_iter()
            .flat_map(Occupancy::keys)
            .filter(|attempt| !listed.contains(attempt))
            .copied()
            .collect();
        for attempt in lost {
            self.lose(attempt, WorkerFault::Restarted, effects);
        }
        for attempt in attempts {
            let job = self.jobs.get(&attempt.task.job);
            if job.and_then(|job| job.lease(*attempt)).is_some_and(|lease| lease.cancelling) {
                effects.sends.push((session, ToWorker::Cancel { attempt: *attempt }));
            }
        }
    }

    /// Renews the leases of exactly the listed attempts: renewing all of the worker's would keep
    /// alive one whose start message was lost.
    fn renew(
        &mut self,
        (worker, session): (WorkerId, SessionId),
        attempts: &[AttemptId],
        effects: &mut Effects,
    ) {
        for &attempt in attempts {
            if self.may_go_on(attempt, worker) {
                self.renew_lease(attempt);
                self.hear_of(worker, attempt);
            } else {
                effects.sends.push((session, ToWorker::Drop { attempt }));
            }
        }
    }

    /// A machine speaks of an attempt, so it has got its start.
    pub(crate) fn hear_of(&mut self, worker: WorkerId, attempt: AttemptId) {
        let occupancy = self.occupancy.get_mut(&worker);
        if let Some(grant) = occupancy.and_then(|occupancy| occupancy.get_mut(&attempt)) {
            grant.heard_of = true;
        }
    }

    fn may_go_on(&self, attempt: AttemptId, worker: WorkerId) -> bool {
        let Some(job) = self.jobs.get(&attempt.task.job) else { return false };
        let limit_ms = job.limit_ms() + GRACE_MS;
        job.lease(attempt).is_some_and(|lease| {
            let since = lease.leased_at.max(self.steady_since);
            lease.worker == worker && self.now.since_ms(since) <= limit_ms
        })
    }

    pub(crate) fn on_heartbeat(
        &mut self,
        session: SessionId,
        heartbeat: Heartbeat,
        effects: &mut Effects,
    ) {
        let Heartbeat { sequence, attempts, load } = heartbeat;
        if let Some(&worker) = self.worker_of_session.get(&session) {
            let link = self.links.get(&worker).expect("a session in use has a link");
            if !self.is_heard(link) {
                self.freed.insert(worker); // It has been passed over.
            }
            let link = self.links.get_mut(&worker).expect("it has just been there");
            (link.heard_at, link.load) = (self.now, load);
            self.see_gpus(worker);
            self.renew((worker, session), &attempts, effects);
        } else {
            return; // A session that a newer one has replaced.
        }
        effects.sends.push((session, ToWorker::Renewed { sequence }));
    }

    /// Passes over the GPUs that the machine's owner uses, and no longer those that he has left.
    ///
    /// Between two heartbeats nobody can tell a task's processes from its owner's, so that what is
    /// granted at a heartbeat is not looked at.
    fn see_gpus(&mut self, worker: WorkerId) {
        let none = Occupancy::new();
        let occupancy = self.occupancy.get(&worker).unwrap_or(&none);
        let link = &self.links[&worker];
        let taken = link.taken_beside(occupancy);
        if taken != link.taken {
            self.links.get_mut(&worker).expect("it has just been there").taken = taken;
            self.update_room(worker, |_| {});
            self.freed.insert(worker);
        }
    }

    pub(crate) fn on_started(
        &mut self,
        session: SessionId,
        attempt: AttemptId,
        effects: &mut Effects,
    ) {
        let Some(&worker) = self.worker_of_session.get(&session) else { return };
        let job = self.jobs.get_mut(&attempt.task.job);
        let Some(lease) = job.and_then(|job| job.lease_mut(attempt)) else { return };
        if lease.worker == worker && lease.started_at.is_none() {
            lease.started_at = Some(self.now);
            effects.changes.push(Change::AttemptStarted { attempt, at: self.now });
            self.hear_of(worker, attempt);
            self.believe(attempt, worker, effects);
            self.on_award_started(attempt.task.job, effects);
        }
    }

    pub(crate) fn on_ended(
        &mut self,
        session: SessionId,
        ended: Box<Ended>,
        effects: &mut Effects,
    ) {
        let Some(&worker) = self.worker_of_session.get(&session) else { return };
        let attempt = ended.attempt;
        self.hear_of(worker, attempt);
        if self.is_shut() {
            return; // It keeps what it has, and says it again.
        }
        let job = self.jobs.get(&attempt.task.job);
        if let Some(&lease) =
            job.and_then(|job| job.lease(attempt)).filter(|lease| lease.worker == worker)
        {
            self.settle(lease, ended, effects);
        }
        // A stale result is unpaid but confirmed, or its worker would keep it for ever.
        effects.sends.push((session, ToWorker::Stored { attempt }));
    }

    pub(crate) fn on_gone(&mut self, session: SessionId) {
        if let Some(worker) = self.worker_of_session.remove(&session)
            && let Some(link) = self.links.remove(&worker)
        {
            self.rooms.remove(&Room::of(worker, &link));
            self.rule_ends.close(&worker);
        }
    }

    /// A machine, if this user may decide about it.
    pub(crate) fn own_worker(&self, user: UserId, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id).filter(|worker| self.may_act_for(user, worker.owner))
    }

    pub(crate) fn on_remove_worker(
        &mut self,
        user: UserId,
        id: WorkerId,
        effects: &mut Effects,
    ) -> Reply {
        if self.own_worker(user, id).is_none() {
            return Reply::Refused(Refusal::NotFound);
        }
        if (self.occupancy.contains_key(&id) || self.markets.is_bound(id))
            && let Some(refusal) = self.shut()
        {
            return Reply::Refused(refusal); // What runs there would have to be settled.
        }
        self.withdraw_bids_of(id, effects);
        let running: Vec<AttemptId> =
            self.occupancy.get(&id).into_iter().flat_map(Occupancy::keys).copied().collect();
        for attempt in running {
            self.send(id, ToWorker::Drop { attempt }, effects);
            self.lose(attempt, WorkerFault::Leaving, effects);
        }
        if let Some(session) = self.links.get(&id).map(|link| link.session) {
            self.on_gone(session);
            let reason = "this worker was removed on the dashboard".to_owned();
            effects.closes.push((session, reason, Comeback::Never));
        }
        let worker = self.workers.remove(&id).expect("it has just been looked up");
        self.worker_of_key.remove(&worker.key_hash);
        self.last_sessions.remove(&id);
        let token = self.repeats.forget_machine(&worker.key_hash);
        if let Some(token) = token.filter(|token| self.vouchers.contains_key(token)) {
            // Whoever has the machine has the token too, and would be back under another key.
            self.end_voucher(token, effects);
        }
        self.suspicions.forget(id);
        self.shares.remove(&id);
        effects.changes.push(Change::WorkerRemoved { worker: id, at: self.now });
        Reply::Done
    }
}
