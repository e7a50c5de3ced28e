//! The state of the grid and the one door through which things happen to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, JobId, SessionId, TaskId, UserId, VoucherId, WorkerId};
use campusgrid_protocol::message::ToWorker;

use crate::chain::Chains;
use crate::deadlines::Deadlines;
use crate::draft::Draft;
use crate::durable::{Durable, SubmitKey};
use crate::effect::Effects;
use crate::input::{Input, Intake, WorkerEvent};
use crate::job::Job;
use crate::ledger::Ledger;
use crate::lineup::Lineup;
use crate::markets::Markets;
use crate::money::Micros;
use crate::offer::Offers;
use crate::on_enrol::Repeats;
use crate::policy::Policy;
use crate::queue::Queue;
use crate::record::Shares;
use crate::snapshot::Shape;
use crate::suspicion::Suspicions;
use crate::time::Timestamp;
use crate::user::User;
use crate::voucher::Voucher;
use crate::worker::{Grant, KeyHash, Link, Newcomer, Occupancy, Room, Worker};

/// The grid. The fields of the first group are on disk as well, and whatever changes them pushes a
/// `Change` in the same function; all others are derived or last as long as a connection.
#[derive(Debug)]
pub struct Grid {
    pub(crate) policy: Arc<Policy>,
    /// The time of the newest input.
    pub(crate) now: Timestamp,
    /// Since when the clock has run as clocks do: between two runs of the manager it may have leapt.
    pub(crate) steady_since: Timestamp,

    pub(crate) users: BTreeMap<UserId, User>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) drafts: BTreeMap<JobId, Draft>,
    pub(crate) submit_keys: BTreeMap<(UserId, String), SubmitKey>,
    pub(crate) vouchers: BTreeMap<VoucherId, Voucher>,
    /// Of addresses for which starting credits were given.
    pub(crate) identities: BTreeSet<[u8; 32]>,
    pub(crate) ledger: Ledger,
    pub(crate) last_job: JobId,
    pub(crate) last_worker: WorkerId,
    pub(crate) last_voucher: VoucherId,

    /// By name in lower case: names that differ in case only are the same to people.
    pub(crate) names: BTreeMap<String, UserId>,
    pub(crate) jobs_of: BTreeMap<UserId, BTreeSet<JobId>>,
    pub(crate) drafts_of: BTreeMap<UserId, BTreeSet<JobId>>,
    pub(crate) draft_ends: Deadlines<JobId>,
    /// One for each of `jobs`.
    pub(crate) lineups: BTreeMap<JobId, Lineup>,
    /// Tasks that wait for machines: [`Lineup::waiting`] of all.
    pub(crate) waiting: u64,
    pub(crate) chains: Chains,
    pub(crate) markets: Markets,
    /// Tasks that pause before their next run.
    pub(crate) task_pauses: Deadlines<TaskId>,
    /// Tasks whose results are checked as samples, until when they wait for that.
    pub(crate) checks: Deadlines<TaskId>,
    /// What submitters have paid in fees since the grid was recovered, less what checks of their jobs'
    /// results cost.
    pub(crate) fees_of: BTreeMap<UserId, Micros>,
    /// What each submitter's jobs have made of the machines' records since the grid was recovered.
    pub(crate) shares: Shares,
    /// When what waits of a job is to be cancelled.
    pub(crate) job_deadlines: Deadlines<JobId>,
    pub(crate) submit_key_ends: BTreeSet<(Timestamp, UserId, String)>,
    pub(crate) voucher_ends: Deadlines<VoucherId>,
    /// Jobs of which something waits and is to be cancelled once the grid settles again.
    pub(crate) late_cancels: BTreeSet<JobId>,
    pub(crate) worker_of_key: BTreeMap<KeyHash, WorkerId>,
    pub(crate) links: BTreeMap<WorkerId, Link>,
    /// The last session of each machine that has joined since the grid was recovered.
    pub(crate) last_sessions: BTreeMap<WorkerId, SessionId>,
    /// One for each of `links`, in the order of what is free there.
    pub(crate) rooms: BTreeSet<Room>,
    pub(crate) newcomers: BTreeMap<SessionId, Newcomer>,
    pub(crate) repeats: Repeats,
    pub(crate) worker_of_session: BTreeMap<SessionId, WorkerId>,
    pub(crate) occupancy: BTreeMap<WorkerId, Occupancy>,
    pub(crate) offers: Offers,
    pub(crate) leases: Deadlines<AttemptId>,
    pub(crate) queue: Queue,
    /// Machines that get no task of a shape, since they have just given one back.
    pub(crate) pauses: Deadlines<(WorkerId, Shape)>,
    /// When the rules of machines come to something else that say nothing of their sharing themselves.
    pub(crate) rule_ends: Deadlines<WorkerId>,
    /// Machines that may take more than when the queue last looked.
    pub(crate) freed: BTreeSet<WorkerId>,
    pub(crate) suspicions: Suspicions,
    pub(crate) intake: Intake,
}

impl Grid {
    /// Takes up the grid as it was left. Nothing is connected; every lease gets its full time, so
    /// that workers can return with what they run.
    pub fn recover(policy: Arc<Policy>, durable: Durable, now: Timestamp) -> Self {
        let Durable {
            users,
            workers,
            jobs,
            drafts,
            submit_keys,
            vouchers,
            identities,
            ledger,
            last_job,
            last_worker,
            last_voucher,
        } = durable;
        let mut voucher_ends = Deadlines::default();
        for voucher in vouchers.values() {
            voucher_ends.renew(voucher.id, voucher.until);
        }
        let mut grid = Self {
            policy,
            now,
            steady_since: now,
            names: users.values().map(|user| (user.name.to_lowercase(), user.id)).collect(),
            worker_of_key: workers.values().map(|worker| (worker.key_hash, worker.id)).collect(),
            submit_key_ends: submit_keys
                .iter()
                .map(|((user, key), kept)| (kept.until, *user, key.clone()))
                .collect(),
            users,
            workers,
            jobs: BTreeMap::new(),
            drafts: BTreeMap::new(),
            submit_keys,
            vouchers,
            identities,
            ledger,
            last_job,
            last_worker,
            last_voucher,
            jobs_of: BTreeMap::new(),
            drafts_of: BTreeMap::new(),
            draft_ends: Deadlines::default(),
            lineups: BTreeMap::new(),
            waiting: 0,
            chains: Chains::default(),
            markets: Markets::new(now),
            task_pauses: Deadlines::default(),
            checks: Deadlines::default(),
            fees_of: BTreeMap::new(),
            shares: Shares::new(),
            job_deadlines: Deadlines::default(),
            voucher_ends,
            late_cancels: BTreeSet::new(),
            links: BTreeMap::new(),
            last_sessions: BTreeMap::new(),
            rooms: BTreeSet::new(),
            newcomers: BTreeMap::new(),
            repeats: Repeats::default(),
            worker_of_session: BTreeMap::new(),
            occupancy: BTreeMap::new(),
            offers: Offers::default(),
            leases: Deadlines::default(),
            pauses: Deadlines::default(),
            queue: Queue::default(),
            rule_ends: Deadlines::default(),
            freed: BTreeSet::new(),
            suspicions: Suspicions::default(),
            intake: Intake::Open,
        };
        for job in jobs.into_values() {
            grid.take_up(job);
        }
        // After all of them are there, since they may wait for each other.
        for id in Vec::from_iter(grid.jobs.keys().copied()) {
            grid.begin_lineup(id);
            grid.watch_checks(id);
        }
        for draft in drafts.into_values() {
            grid.take_up_draft(draft);
        }
        grid
    }

    fn take_up(&mut self, job: Job) {
        for (attempt, lease) in job.leases() {
            let mut grant = Grant::new(job.spec.needs, lease.gpus);
            grant.outlast();
            self.occupancy.entry(lease.worker).or_default().insert(attempt, grant);
            self.renew_lease(attempt);
        }
        for (task, until) in job.pausing() {
            self.task_pauses.renew(task, until);
        }
        self.late_cancels.extend(job.cancelling.then_some(job.id));
        self.watch_deadline(&job);
        self.chains.begin(&job);
        self.markets.begin(&job);
        for &worker in job.market.iter().flat_map(|market| market.bids.keys()) {
            self.markets.note_bid(&job, (self.workers[&worker].owner, worker));
        }
        self.jobs_of.entry(job.owner).or_default().insert(job.id);
        self.jobs.insert(job.id, job);
    }

    /// What must be on disk once the effects so far are.
    pub fn durable(&self) -> Durable {
        Durable {
            users: self.users.clone(),
            workers: self.workers.clone(),
            jobs: self.jobs.clone(),
            drafts: self.drafts.clone(),
            submit_keys: self.submit_keys.clone(),
            vouchers: self.vouchers.clone(),
            identities: self.identities.clone(),
            ledger: self.ledger.clone(),
            last_job: self.last_job,
            last_worker: self.last_worker,
            last_voucher: self.last_voucher,
        }
    }

    /// Lets one thing happen. Messages from sessions or attempts that are no longer current change
    /// nothing. Never fails: a request that cannot be met is answered with a refusal.
    pub fn handle(&mut self, now: Timestamp, input: Input, effects: &mut Effects) {
        self.now = self.now.max(now);
        match input {
            Input::Request { ticket, request } => {
                let reply = self.on_request(ticket, request, effects);
                effects.replies.extend(reply.map(|reply| (ticket, reply)));
            }
            Input::FromWorker { session, event } => {
                self.on_worker_event(session, event, effects);
            }
            Input::Tick => self.on_tick(effects),
            Input::Paused => self.on_paused(),
            Input::Intake(intake) => self.on_intake(intake, effects),
        }
        self.settle_due(effects);
        self.follow(effects);
    }

    fn on_worker_event(&mut self, session: SessionId, event: WorkerEvent, effects: &mut Effects) {
        match event {
            WorkerEvent::Joined(joined) => self.on_joined(session, *joined, effects),
            WorkerEvent::Heartbeat(heartbeat) => self.on_heartbeat(session, heartbeat, effects),
            WorkerEvent::Started { attempt } => self.on_started(session, attempt, effects),
            WorkerEvent::Locked { attempt, lock } => {
                self.on_locked(session, attempt, &lock, effects)
            }
            WorkerEvent::Checkpoint { attempt, saved, files } => {
                self.on_checkpoint(session, (attempt, saved), files, effects);
            }
            WorkerEvent::Shares(shares) => self.on_shares(session, *shares, effects),
            WorkerEvent::Ended(ended) => self.on_ended(session, ended, effects),
            WorkerEvent::Gone => {
                self.withdraw(session, effects);
                self.on_gone(session);
            }
        }
    }

    fn on_tick(&mut self, effects: &mut Effects) {
        if !self.is_shut() {
            while let Some(attempt) = self.leases.pop_over(self.now) {
                self.on_lease_over(attempt, effects);
            }
        }
        while let Some((worker, _)) = self.pauses.pop_over(self.now) {
            self.freed.insert(worker); // It has been passed over.
        }
        while let Some(worker) = self.rule_ends.pop_over(self.now) {
            self.freed.insert(worker);
            self.watch_rules(worker);
        }
        self.forget_submit_keys(effects);
        self.forget_vouchers(effects);
        self.forget_drafts(effects);
    }

    /// Settles what is due, unless nothing is settled now.
    fn settle_due(&mut self, effects: &mut Effects) {
        if self.is_shut() {
            return;
        }
        self.settle_late_cancels(effects);
        while let Some(task) = self.task_pauses.pop_over(self.now) {
            self.rouse(task, effects);
        }
        while let Some(job) = self.job_deadlines.pop_over(self.now) {
            self.on_deadline(job, effects);
        }
        self.settle_markets(effects);
        self.settle_checks(effects);
    }

    fn on_paused(&mut self) {
        self.steady_since = self.now;
        self.markets.resume(self.now);
        let mut running: Vec<AttemptId> = Vec::new();
        for (attempt, grant) in self.occupancy.values_mut().flatten() {
            grant.outlast();
            running.push(*attempt);
        }
        for attempt in running {
            self.renew_lease(attempt);
        }
        for (worker, link) in &mut self.links {
            link.heard_at = self.now;
            self.freed.insert(*worker); // It may have been passed over.
        }
    }

    /// When the grid wants an [`Input::Tick`] at the latest, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let key = self.submit_key_ends.first().map(|(until, _, _)| *until);
        let settled = [
            self.leases.first(),
            self.task_pauses.first(),
            self.checks.first(),
            self.job_deadlines.first(),
            self.markets.first(),
        ];
        let settled = settled.into_iter().filter(|_| !self.is_shut());
        let others = [
            self.pauses.first(),
            self.rule_ends.first(),
            self.voucher_ends.first(),
            self.draft_ends.first(),
            key,
        ];
        settled.chain(others).flatten().min()
    }

    /// Gives an attempt its full lease from now on.
    pub(crate) fn renew_lease(&mut self, attempt: AttemptId) {
        self.leases.renew(attempt, self.now.plus_ms(self.policy.lease_ms.into()));
    }

    /// Sends to a machine if it is connected; if not, it learns what it must when it returns.
    pub(crate) fn send(&self, worker: WorkerId, message: ToWorker, effects: &mut Effects) {
        if let Some(link) = self.links.get(&worker) {
            effects.sends.push((link.session, message));
        }
    }

    /// A machine with an owner is connected, and may take what waits.
    pub(crate) fn connect(&mut self, worker: WorkerId, link: Link) {
        self.worker_of_session.insert(link.session, worker);
        self.last_sessions.insert(worker, link.session);
        self.freed.insert(worker);
        self.rooms.insert(Room::of(worker, &link));
        self.links.insert(worker, link);
    }

    /// Counts an attempt on a machine, or no longer, and so what the machine has free.
    pub(crate) fn update_room(&mut self, worker: WorkerId, change: impl FnOnce(&mut Occupancy)) {
        let occupancy = self.occupancy.entry(worker).or_default();
        change(occupancy);
        if let Some(link) = self.links.get_mut(&worker) {
            self.rooms.remove(&Room::of(worker, link));
            link.free = link.room(occupancy);
            self.rooms.insert(Room::of(worker, link));
        }
        if occupancy.is_empty() {
            self.occupancy.remove(&worker);
        }
    }
}
