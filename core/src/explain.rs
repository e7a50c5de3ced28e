//! Why a task waits, in words with a next step; and the snapshot that carries it to the pages.

use std::collections::BTreeMap;

use campusgrid_protocol::id::{AttemptId, UserId, WorkerId};
use campusgrid_protocol::resource::{Capacity, Isolation, Needs};

use crate::grid::Grid;
use crate::job::Job;
use crate::snapshot::{LinkView, NewcomerView, Shape, Snapshot, WorkerView, admits};
use crate::worker::{Free, Link, Occupancy};

impl Grid {
    /// The grid as people look at it. Costs O(machines × shapes that wait).
    pub fn snapshot(&self) -> Snapshot {
        let count = |tasks: &dyn Fn(&Job) -> u32| {
            self.jobs.values().map(|job| u64::from(tasks(job))).sum::<u64>()
        };
        Snapshot {
            at: self.now,
            workers: self.worker_views(),
            newcomers: self
                .newcomers
                .values()
                .map(|newcomer| NewcomerView {
                    name: newcomer.name.clone(),
                    claimed_owner: newcomer.claimed_owner.clone(),
                    capacity: newcomer.link.capacity.clone(),
                })
                .collect(),
            tasks_queued: count(&Job::waiting),
            tasks_running: self.occupancy.values().map(|occupancy| occupancy.len() as u64).sum(),
            users: self.users.len() as u64,
            waiting: self.why_all(),
        }
    }

    fn worker_views(&self) -> Vec<WorkerView> {
        let view = |worker: &crate::worker::Worker| WorkerView {
            id: worker.id,
            name: worker.name.clone(),
            owner: worker.owner,
            owner_name: self.users[&worker.owner].name.clone(),
            running: u32::try_from(self.occupancy.get(&worker.id).map_or(0, Occupancy::len))
                .unwrap_or(u32::MAX),
            link: self.links.get(&worker.id).map(|link| LinkView {
                capacity: link.capacity.clone(),
                free: link.free.clone(),
                isolation: link.isolation,
                isolation_notes: link.isolation_notes.clone(),
                load: link.load,
                connected_at: link.connected_at,
            }),
        };
        self.workers.values().map(view).collect()
    }

    /// Why the tasks of each shape that waits do so.
    fn why_all(&self) -> BTreeMap<Shape, String> {
        let mut shapes = self.queue.waiting().peekable();
        if shapes.peek().is_none() {
            return BTreeMap::new();
        }
        let sites = self.sites();
        shapes.map(|shape| (*shape, sites.why(shape))).collect()
    }

    /// All connected machines, with when each has room for what.
    fn sites(&self) -> Sites {
        let site = |(id, link): (&WorkerId, &Link)| Site {
            owner: self.workers[id].owner,
            isolation: link.isolation,
            whole: Free::whole(&link.capacity),
            rooms: if self.takes_tasks(link) { self.rooms_of(*id, link) } else { Vec::new() },
        };
        let most = |of: &dyn Fn(&Capacity) -> u32| {
            self.links.values().map(|link| of(&link.capacity)).max().unwrap_or(0)
        };
        let gpus = |capacity: &Capacity| u32::try_from(capacity.gpus.len()).unwrap_or(u32::MAX);
        Sites {
            all: self.links.iter().map(site).collect(),
            most_cpu_millis: most(&|capacity| capacity.cpu_millis),
            most_ram_mib: most(&|capacity| capacity.ram_mib),
            most_disk_mib: most(&|capacity| capacity.disk_mib),
            most_gpus: most(&gpus),
        }
    }

    fn rooms_of(&self, id: WorkerId, link: &Link) -> Vec<(u64, Free)> {
        let mut running = self.occupancy.get(&id).cloned().unwrap_or_default();
        let mut by_end: Vec<(u64, AttemptId)> =
            running.keys().map(|&attempt| (self.remaining_ms(attempt), attempt)).collect();
        by_end.sort_unstable();
        let mut rooms = vec![(0, link.free.clone())];
        for (end_ms, attempt) in by_end {
            running.remove(&attempt);
            rooms.push((end_ms, Free::beside(&link.capacity, &running)));
        }
        rooms
    }
}

/// The connected machines as the words see them, gathered once for all shapes.
struct Sites {
    all: Vec<Site>,
    most_cpu_millis: u32,
    most_ram_mib: u32,
    most_disk_mib: u32,
    most_gpus: u32,
}

struct Site {
    owner: UserId,
    isolation: Isolation,
    whole: Free,
    /// What is free from how many milliseconds on, if all that runs there takes as long as it may.
    /// Empty for a machine that takes nothing right now.
    rooms: Vec<(u64, Free)>,
}

impl Site {
    fn room_in_ms(&self, needs: &Needs) -> Option<u64> {
        self.rooms.iter().find(|(_, free)| free.fits(needs)).map(|&(ms, _)| ms)
    }
}

impl Sites {
    /// Why tasks of a shape wait.
    fn why(&self, shape: &Shape) -> String {
        let needs = &shape.needs;
        if self.all.is_empty() {
            return "no worker is connected; it starts as soon as one comes".to_owned();
        }
        if let Some(lack) = self.lack(needs) {
            return lack;
        }
        let fitting = || self.all.iter().filter(|site| site.whole.fits(needs));
        if fitting().next().is_none() {
            return nothing_together(needs);
        }
        let able = || fitting().filter(|site| admits(site.isolation, site.owner, shape));
        let words = match able().count() {
            0 => return no_isolation(shape.isolation),
            1 => "1 worker can run it, and it is".to_owned(),
            count => format!("{count} workers can run it, and all are"),
        };
        match able().filter_map(|site| site.room_in_ms(needs)).min() {
            Some(0) => "it is its turn; it starts in a moment".to_owned(),
            Some(ms) => format!("{words} busy; one has room in {} at the latest", duration(ms)),
            None => format!("{words} silent or about to leave; it starts when one is back"),
        }
    }

    /// What no connected machine has enough of.
    fn lack(&self, needs: &Needs) -> Option<String> {
        if self.most_cpu_millis < needs.cpu_millis {
            let (need, most) = (needs.cpu_millis / 1000, self.most_cpu_millis / 1000);
            return Some(format!("no worker has {need} cores; the largest has {most}"));
        }
        if self.most_ram_mib < needs.ram_mib {
            let (need, most) = (needs.ram_mib, self.most_ram_mib);
            return Some(format!(
                "no worker has {need} MiB of RAM to share; the largest has {most} MiB"
            ));
        }
        if self.most_disk_mib < needs.disk_mib {
            let (need, most) = (needs.disk_mib, self.most_disk_mib);
            return Some(format!(
                "no worker has {need} MiB of disk to share; the largest has {most} MiB"
            ));
        }
        let need = needs.gpus;
        (self.most_gpus < need.into()).then(|| match self.most_gpus {
            0 => format!("needs {need} GPU(s), and no connected worker has one"),
            most => format!("no worker has {need} GPUs; the most that one has is {most}"),
        })
    }
}

fn nothing_together(needs: &Needs) -> String {
    let gpu = if needs.gpus > 0 {
        format!(" and {} GPU(s) of {} MiB", needs.gpus, needs.gpu_memory_mib)
    } else {
        String::new()
    };
    format!(
        "no single worker has {} core(s), {} MiB of RAM, {} MiB of disk{gpu} together",
        needs.cpu_millis / 1000,
        needs.ram_mib,
        needs.disk_mib,
    )
}

fn no_isolation(isolation: Isolation) -> String {
    let level = match isolation {
        Isolation::None => "none",
        Isolation::Restricted => "restricted",
        Isolation::Full => "full",
    };
    format!("the workers that are large enough do not offer \"{level}\" isolation")
}

fn duration(ms: u64) -> String {
    match ms.div_ceil(1000) {
        s @ 0..100 => format!("{s} s"),
        s @ 100..6000 => format!("{} min", s.div_ceil(60)),
        s => format!("{} h", s.div_ceil(3600)),
    }
}
