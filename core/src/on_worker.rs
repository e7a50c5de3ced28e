//! Machines: joining, approval, heartbeats, results, leaving.

use std::collections::BTreeSet;

use campusgrid_protocol::id::{AttemptId, SessionId, UserId, WorkerId};
use campusgrid_protocol::message::{Approval, ToWorker};
use campusgrid_protocol::resource::Load;
use campusgrid_protocol::task::{Ended, WorkerFault};

use crate::effect::{Change, Effects, Refusal, Reply};
use crate::gpus::GpuSet;
use crate::grid::Grid;
use crate::input::{Heartbeat, Joined};
use crate::offer::Offer;
use crate::worker::{Free, KeyHash, Link, Newcomer, Occupancy, Room, Worker};

/// What an attempt may take beyond its time limit to be made ready and to bring its results home,
/// over the slowest of networks. A lease that could be renewed for ever would hold its submitter's
/// credits for ever.
const GRACE_MS: u64 = 24 * 60 * 60 * 1000;

/// Why the older of two sessions of a machine ends.
const TAKEN_OVER: &str = "a newer connection of this worker has taken over";

impl Grid {
    pub(crate) fn on_joined(&mut self, session: SessionId, join: Joined, effects: &mut Effects) {
        let Joined { key_hash, code, name, claimed_owner, attempts, .. } = join;
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
        };
        if self.newcomers.contains_key(&session) || self.worker_of_session.contains_key(&session) {
            // Two machines on one session would leave a link behind that nothing removes.
            self.on_gone(session);
            effects.closes.push((session, "a session joins once".to_owned()));
            return;
        }
        let others = self.sessions_of(&key_hash);
        if others.iter().any(|&other| other > session) {
            // Its join was long on its way, and the worker has moved on: what it lists is out of
            // date, and to believe it would start elsewhere what runs there now.
            effects.closes.push((session, TAKEN_OVER.to_owned()));
            return;
        }
        for older in others {
            self.on_gone(older);
            effects.closes.push((older, TAKEN_OVER.to_owned()));
        }
        let Some(&id) = self.worker_of_key.get(&key_hash) else {
            self.last_worker = WorkerId(self.last_worker.0 + 1);
            let id = self.last_worker;
            let approval = Approval::Waiting { code: code.clone() };
            effects.sends.push((session, self.welcome(id, approval)));
            // It belongs to nobody any more, so nobody waits for what it brings.
            for attempt in attempts {
                effects.sends.push((session, ToWorker::Drop { attempt }));
            }
            let newcomer = Newcomer { id, key_hash, name, claimed_owner, code, link };
            self.newcomers.insert(session, newcomer);
            return;
        };
        let none = Occupancy::new();
        link.free = Free::beside(&link.capacity, self.occupancy.get(&id).unwrap_or(&none));
        self.rename(id, name, effects);
        self.connect(id, link);
        let owner = &self.users[&self.workers[&id].owner];
        let approval = Approval::Owned { by: owner.name.clone() };
        effects.sends.push((session, self.welcome(id, approval)));
        self.adopt((id, session), &attempts, effects);
    }

    fn welcome(&self, worker: WorkerId, approval: Approval) -> ToWorker {
        let (heartbeat_ms, lease_ms) = (self.policy.heartbeat_ms, self.policy.lease_ms);
        ToWorker::Welcome { worker, heartbeat_ms, lease_ms, approval }
    }

    /// The sessions in use of a machine: at most one, since the newer wins.
    fn sessions_of(&self, key_hash: &KeyHash) -> Vec<SessionId> {
        let linked = self.worker_of_key.get(key_hash).and_then(|id| self.links.get(id));
        let newcomers = self.newcomers.iter().filter(|(_, other)| other.key_hash == *key_hash);
        let linked = linked.map(|link| link.session).into_iter();
        linked.chain(newcomers.map(|(&session, _)| session)).collect()
    }

    fn rename(&mut self, id: WorkerId, name: String, effects: &mut Effects) {
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
            } else {
                effects.sends.push((session, ToWorker::Drop { attempt }));
            }
        }
    }

    fn may_go_on(&self, attempt: AttemptId, worker: WorkerId) -> bool {
        let Some(job) = self.jobs.get(&attempt.task.job) else { return false };
        let limit_ms = u64::from(job.spec.time_limit_s) * 1000 + GRACE_MS;
        job.lease(attempt).is_some_and(|lease| {
            lease.worker == worker && self.now.since_ms(lease.leased_at) <= limit_ms
        })
    }

    pub(crate) fn on_heartbeat(
        &mut self,
        session: SessionId,
        heartbeat: Heartbeat,
        effects: &mut Effects,
    ) {
        let Heartbeat { sequence, attempts, load } = heartbeat;
        if let Some(newcomer) = self.newcomers.get_mut(&session) {
            (newcomer.link.heard_at, newcomer.link.load) = (self.now, load);
        } else if let Some(&worker) = self.worker_of_session.get(&session) {
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
        self.newcomers.remove(&session);
        if let Some(worker) = self.worker_of_session.remove(&session)
            && let Some(link) = self.links.remove(&worker)
        {
            self.rooms.remove(&Room::of(worker, &link));
        }
    }

    pub(crate) fn on_approve(&mut self, user: UserId, code: &str, effects: &mut Effects) -> Reply {
        let Some(user) = self.users.get(&user) else {
            return Reply::Refused(Refusal::NotFound);
        };
        let may_approve = |newcomer: &Newcomer| {
            let claim = newcomer.claimed_owner.as_deref();
            newcomer.code == code
                && claim.is_none_or(|name| name.to_lowercase() == user.name.to_lowercase())
        };
        let found = self.newcomers.iter().find(|(_, newcomer)| may_approve(newcomer));
        let Some(session) = found.map(|(&session, _)| session) else {
            return Reply::Refused(Refusal::CodeUnknown);
        };
        let (owner, by) = (user.id, user.name.clone());
        let Newcomer { id, key_hash, name, link, .. } =
            self.newcomers.remove(&session).expect("it has just been found");
        let worker = Worker { id, key_hash, name, owner };
        self.workers.insert(id, worker.clone());
        self.worker_of_key.insert(key_hash, id);
        self.connect(id, link);
        effects.changes.push(Change::WorkerApproved { worker, at: self.now });
        effects.sends.push((session, ToWorker::Approved { owner: by }));
        Reply::Approved { worker: id }
    }

    pub(crate) fn on_remove_worker(
        &mut self,
        user: UserId,
        id: WorkerId,
        effects: &mut Effects,
    ) -> Reply {
        let mine = |worker: &&Worker| self.may_act_for(user, worker.owner);
        if self.workers.get(&id).filter(mine).is_none() {
            return Reply::Refused(Refusal::NotFound);
        }
        let running: Vec<AttemptId> =
            self.occupancy.get(&id).into_iter().flat_map(Occupancy::keys).copied().collect();
        for attempt in running {
            self.send(id, ToWorker::Drop { attempt }, effects);
            self.lose(attempt, WorkerFault::Leaving, effects);
        }
        if let Some(session) = self.links.get(&id).map(|link| link.session) {
            self.on_gone(session);
            effects.closes.push((session, "this worker was removed on the dashboard".to_owned()));
        }
        let worker = self.workers.remove(&id).expect("it has just been looked up");
        self.worker_of_key.remove(&worker.key_hash);
        effects.changes.push(Change::WorkerRemoved { worker: id, at: self.now });
        Reply::Done
    }
}
