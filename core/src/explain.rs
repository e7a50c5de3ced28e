//! The grid as a value for people to look at: machines, counts, and why what waits does so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, JobId, WorkerId};

use crate::grid::Grid;
use crate::input::{Intake, Shut};
use crate::offer::Offer;
use crate::sharing::Host;
use crate::snapshot::{LinkView, NewcomerView, Shape, Snapshot, WorkerView};
use crate::why::{Site, Sites};
use crate::worker::{Free, Link, Occupancy, Worker};

impl Grid {
    /// The grid as people look at it. Costs O(machines × shapes that wait).
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            at: self.now,
            workers: self.worker_views(),
            newcomers: self
                .newcomers
                .values()
                .map(|newcomer| NewcomerView {
                    name: newcomer.name.clone(),
                    address: newcomer.address.clone(),
                    claimed_owner: newcomer.claimed_owner.clone(),
                })
                .collect(),
            tasks_queued: self.tasks_queued(),
            tasks_running: self.occupancy.values().map(|occupancy| occupancy.len() as u64).sum(),
            users: self.users.len() as u64,
            intake: self.intake.clone(),
            waiting: self.why_all(),
            narrow: self.narrow_shapes(),
            stalled: self.why_stalled(),
            rooms: self.rooms_of_bidders(),
            prices: self.policy.prices,
            rate_permille: self.rate_permille(),
        }
    }

    /// Tasks that have not ended and do not run.
    fn tasks_queued(&self) -> u64 {
        let all = self.jobs.values().zip(self.lineups.values());
        all.map(|(job, lineup)| u64::from(job.open_tasks() - lineup.running)).sum()
    }

    fn worker_views(&self) -> Vec<WorkerView> {
        let view = |worker: &Worker| WorkerView {
            id: worker.id,
            name: worker.name.clone(),
            owner: worker.owner,
            owner_name: self.users[&worker.owner].name.clone(),
            running: u32::try_from(self.occupancy.get(&worker.id).map_or(0, Occupancy::len))
                .unwrap_or(u32::MAX),
            set_aside: worker.set_aside.clone(),
            rules: Arc::clone(&worker.rules),
            ask: worker.ask,
            record: worker.record,
            score_permille: worker.record.score_permille(),
            link: self.links.get(&worker.id).map(|link| LinkView {
                capacity: link.capacity.clone(),
                free: link.free.clone(),
                isolation: link.isolation,
                isolation_notes: link.isolation_notes.clone(),
                offer: Arc::clone(&link.offer),
                load: link.load.clone(),
                connected_at: link.connected_at,
                heard_at: link.heard_at,
                silent: !self.is_heard(link),
                whole: link.whole(),
                shares: link.shares.clone(),
                is_open: link.is_open(&worker.rules, self.now),
                speed: link.speed,
            }),
        };
        self.workers.values().map(view).collect()
    }

    /// Of jobs whose tasks only some of the machines may run: under which shapes they may wait.
    fn narrow_shapes(&self) -> BTreeMap<JobId, Vec<Shape>> {
        let narrow = self.lineups.iter().filter_map(|(&job, lineup)| {
            let shapes: Vec<Shape> =
                lineup.shapes().filter(|shape| shape.is_narrow()).cloned().collect();
            (!shapes.is_empty()).then_some((job, shapes))
        });
        narrow.collect()
    }

    /// When the machines have room that bid on open jobs.
    fn rooms_of_bidders(&self) -> BTreeMap<WorkerId, Vec<(u64, Free)>> {
        let markets = self.markets.open().filter_map(|job| self.jobs.get(&job)?.market.as_ref());
        let bidders: BTreeSet<WorkerId> =
            markets.flat_map(|market| market.bids.keys()).copied().collect();
        let room = |id: WorkerId| Some((id, self.rooms_of(id, self.links.get(&id)?)));
        bidders.into_iter().filter_map(room).collect()
    }

    /// Why the tasks of each shape that waits do so.
    fn why_all(&self) -> BTreeMap<Shape, String> {
        let mut shapes = self.queue.waiting().peekable();
        if shapes.peek().is_none() {
            return BTreeMap::new();
        }
        if let Some(words) = self.why_shut() {
            return shapes.map(|shape| (shape.clone(), words.to_owned())).collect();
        }
        let sites = self.sites();
        let name = |shape: &Shape| self.users[&shape.owner].name.as_str();
        shapes.map(|shape| (shape.clone(), sites.why(shape, name(shape)))).collect()
    }

    /// Why nothing at all starts, if nothing does.
    fn why_shut(&self) -> Option<&'static str> {
        match &self.intake {
            Intake::Open => None,
            Intake::Shut(Shut::DiskFull) => {
                Some("the manager's disk is full; nothing new starts until it has room again")
            }
            Intake::Shut(Shut::BooksBroken { findings: _ }) => Some(
                "the manager's books do not balance; nothing new starts until an operator has \
                 looked",
            ),
        }
    }

    /// All connected machines, with when each has room for what.
    fn sites(&self) -> Sites<'_> {
        let mut kinds = Vec::<(Arc<Offer>, u32)>::new();
        // By address, since equal offers are one value. Which comes first decides nothing.
        let mut kind_of = BTreeMap::<*const Offer, usize>::new();
        let mut all = Vec::with_capacity(self.links.len());
        for (id, link) in &self.links {
            let kind = *kind_of.entry(Arc::as_ptr(&link.offer)).or_insert_with(|| {
                kinds.push((Arc::clone(&link.offer), 0));
                kinds.len() - 1
            });
            kinds[kind].1 += 1;
            let worker = &self.workers[id];
            let takes = self.takes_tasks(*id, link);
            all.push(Site {
                host: Host::of(worker, link),
                name: &worker.name,
                set_aside: worker.set_aside.is_some(),
                isolation: link.isolation,
                kind,
                whole: link.whole(),
                shut: self.not_shared(worker, link),
                pauses: self.pauses_of(*id),
                rooms: if takes { self.rooms_of(*id, link) } else { Vec::new() },
            });
        }
        Sites::new(all, kinds, self.queue.waiting())
    }

    /// Why a machine's owner does not share it right now, if they do not.
    fn not_shared<'a>(&self, worker: &Worker, link: &'a Link) -> Option<&'a str> {
        let is_open = link.is_open(&worker.rules, self.now);
        (!is_open).then(|| match &link.shares {
            Some(shares) if !shares.why.is_empty() => shares.why.as_str(),
            Some(_) | None => "by its owner's rules",
        })
    }

    /// How many milliseconds a machine gets nothing of which shapes that wait.
    fn pauses_of(&self, id: WorkerId) -> BTreeMap<Shape, u64> {
        if self.pauses.first().is_none() {
            return BTreeMap::new();
        }
        let pause = |shape: &Shape| {
            let until = self.pauses.end(&(id, shape.clone()))?;
            Some((shape.clone(), until.since_ms(self.now)))
        };
        self.queue.waiting().filter_map(pause).collect()
    }

    fn rooms_of(&self, id: WorkerId, link: &Link) -> Vec<(u64, Free)> {
        let mut running = self.occupancy.get(&id).cloned().unwrap_or_default();
        let mut by_end: Vec<(u64, AttemptId)> =
            running.keys().map(|&attempt| (self.remaining_ms(attempt), attempt)).collect();
        by_end.sort_unstable();
        let mut rooms = vec![(0, link.free.clone())];
        for (end_ms, attempt) in by_end {
            running.remove(&attempt);
            rooms.push((end_ms, link.room(&running)));
        }
        rooms
    }
}
