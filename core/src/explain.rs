//! Why a task waits, in words with a next step; and the snapshot that carries it to the pages.

use campusgrid_protocol::resource::Isolation;

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
            waiting: self.queue.waiting().map(|shape| (*shape, self.why(shape))).collect(),
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

    /// Why tasks of a shape wait.
    pub(crate) fn why(&self, shape: &Shape) -> String {
        if self.links.is_empty() {
            return "no worker is connected; it starts as soon as one comes".to_owned();
        }
        if let Some(lack) = self.lack(shape) {
            return lack;
        }
        let able = self.links.iter().filter(|(id, link)| {
            admits(link.isolation, self.workers[*id].owner, shape)
                && Free::whole(&link.capacity).fits(&shape.needs)
        });
        let able = match able.count() {
            1 => "1 worker can run it, and it is".to_owned(),
            count => format!("{count} workers can run it, and all are"),
        };
        match self.room_in_ms(shape) {
            Some(0) => "it is its turn; it starts in a moment".to_owned(),
            Some(ms) => format!("{able} busy; one has room in {} at the latest", duration(ms)),
            None => format!("{able} silent or about to leave; it starts when one is back"),
        }
    }

    /// What no connected machine has, though the shape needs it.
    fn lack(&self, shape: &Shape) -> Option<String> {
        let needs = &shape.needs;
        let most = |of: &dyn Fn(&Link) -> u32| self.links.values().map(of).max().unwrap_or(0);
        let cores = most(&|link| link.capacity.cpu_millis);
        if cores < needs.cpu_millis {
            let (need, most) = (needs.cpu_millis / 1000, cores / 1000);
            return Some(format!("no worker has {need} cores; the largest has {most}"));
        }
        let ram = most(&|link| link.capacity.ram_mib);
        if ram < needs.ram_mib {
            let (need, most) = (needs.ram_mib, ram);
            return Some(format!(
                "no worker has {need} MiB of RAM to share; the largest has {most}"
            ));
        }
        let disk = most(&|link| link.capacity.disk_mib);
        if disk < needs.disk_mib {
            let (need, most) = (needs.disk_mib, disk);
            return Some(format!(
                "no worker has {need} MiB of disk to share; the largest has {most}"
            ));
        }
        let gpus = most(&|link| u32::try_from(link.capacity.gpus.len()).unwrap_or(u32::MAX));
        if gpus < needs.gpus.into() {
            let need = needs.gpus;
            return Some(match gpus {
                0 => format!("needs {need} GPU(s), and no connected worker has one"),
                most => format!("no worker has {need} GPUs; the most that one has is {most}"),
            });
        }
        let fitting: Vec<_> =
            self.links.iter().filter(|(_, link)| Free::whole(&link.capacity).fits(needs)).collect();
        if fitting.is_empty() {
            let gpu = if needs.gpus > 0 {
                format!(" and {} GPU(s) of {} MiB", needs.gpus, needs.gpu_memory_mib)
            } else {
                String::new()
            };
            return Some(format!(
                "no single worker has {} core(s), {} MiB of RAM, {} MiB of disk{gpu} together",
                needs.cpu_millis / 1000,
                needs.ram_mib,
                needs.disk_mib,
            ));
        }
        let admitted =
            fitting.iter().any(|(id, link)| admits(link.isolation, self.workers[*id].owner, shape));
        (!admitted).then(|| {
            let level = match shape.isolation {
                Isolation::None => "none",
                Isolation::Restricted => "restricted",
                Isolation::Full => "full",
            };
            format!("the workers that are large enough do not offer \"{level}\" isolation")
        })
    }
}

fn duration(ms: u64) -> String {
    match ms.div_ceil(1000) {
        s @ 0..100 => format!("{s} s"),
        s @ 100..6000 => format!("{} min", s.div_ceil(60)),
        s => format!("{} h", s.div_ceil(3600)),
    }
}
